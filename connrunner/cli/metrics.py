"""`connrunner metrics`: figures for Prometheus."""

from __future__ import annotations

from pathlib import Path

import click

from connrunner.answers.metrics import read_metrics
from connrunner.cli.options import CommandContext, with_context
from connrunner.core.formats import prometheus
from connrunner.errors import ArgumentError
from connrunner.text.files import replace_file


@click.command()
@click.option("--write", "path", type=click.Path(path_type=Path, dir_okay=False), help="Into this file, in one step.")
@with_context(now=True)
def metrics_command(context: CommandContext, path: Path | None) -> None:
    """Print figures in the text format of Prometheus, or write them where node_exporter's textfile collector looks.

    Of the workspace: ticks, queue, what fails and is late, mail. Of each connection: its last run, failures in a row,
    the next slot.
    """
    page = prometheus.format_metrics(read_metrics(context.view))
    if path is None:
        click.echo(page, nl=False)
        return
    write_page(path, page)


def write_page(path: Path, content: str) -> None:
    """Put *content* at *path* in one step; programs of other users may read it."""
    try:
        replace_file(path, content.encode(), mode=0o644, durable=False)
    except OSError as error:
        raise ArgumentError(f"{path} cannot be written: {error.strerror}") from error
