"""`connrunner metrics`: figures for Prometheus."""

from __future__ import annotations

import os
from pathlib import Path

import click

from connrunner.answers.metrics import read_metrics
from connrunner.cli.options import CommandContext, with_context
from connrunner.core.formats import prometheus
from connrunner.errors import ArgumentError


@click.command()
@click.option("--write", "path", type=click.Path(path_type=Path, dir_okay=False), help="Into this file, in one step.")
@with_context(now=True)
def metrics_command(context: CommandContext, path: Path | None) -> None:
    """Print figures in the text format of Prometheus, or write them where node_exporter's textfile collector looks.

    Of the workspace: ticks, queue, what fails and is late, mail. Of each connection: its last run, failures in a row,
    the next slot.
    """
    page = prometheus.text(read_metrics(context.view))
    if path is None:
        click.echo(page, nl=False)
        return
    replace_file(path, page)


def replace_file(path: Path, content: str, *, mode: int = 0o644) -> None:
    """Put *content* at *path* in one step; programs of other users may read it unless *mode* says otherwise."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(content, encoding="utf-8", newline="")
        beside.chmod(mode)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ArgumentError(f"{path} cannot be written: {error.strerror}") from error
