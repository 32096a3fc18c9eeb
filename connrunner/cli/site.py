"""`connrunner site`: the page as files."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

import click

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.cli.options import CommandContext, with_context
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import replace
from connrunner.text.files import put_in_place
from connrunner.text.words import plural

MARK = ".connrunner-site"  # says that the folder is ours to write anew


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--runs", type=click.IntRange(min=1), default=30, show_default=True, help="Of each connection, the newest."
)
@with_context(now=True)
def site_command(context: CommandContext, folder: Path, runs: int) -> None:
    """Write the page of the workspace into FOLDER, as files that any web server can hand out, or a browser open.

    Connections, queue, timeline, notifications, health, and the newest runs with their logs; no buttons. Written beside
    FOLDER first, then put in its place. The files say what the terminal says: who may see them is up to you.
    """
    count = write_site(context.view, folder, runs=runs)
    click.echo(f"{plural(count, 'page')} in {folder}; open {folder.absolute() / 'index.html'}")


def write_site(view: WorkspaceView, folder: Path, *, runs: int) -> int:
    """Write the site of *view* into *folder*; return how many pages it has. ArgumentError when it cannot be written."""
    from connrunner.web.pages.static_site import iter_site  # templates are slow to import

    refuse_foreign_site(folder)
    new = folder.absolute().parent / f"{folder.absolute().name}.{uuid.uuid4().hex[:8]}.new"
    count = 0
    try:
        new.mkdir(parents=True)
        for name, content in iter_site(replace(view, now=view.clock()), runs=runs):
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            count += name.endswith(".html")
        (new / MARK).write_text("written by connrunner site, which writes it anew\n")
        replace_site(new, folder)
    except OSError as error:
        raise ArgumentError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return count


def refuse_foreign_site(folder: Path) -> None:
    """ArgumentError when *folder* holds something that `site` did not write: it would be lost."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise ArgumentError(
            f"{folder} holds files that are not of a site of connrunner", hint="name a new folder, or an empty one"
        )


def replace_site(new: Path, folder: Path) -> None:
    """Give *new* the place of *folder*; what was there is removed then."""
    target = Path(os.path.realpath(folder))
    old = target.parent / f"{target.name}.{uuid.uuid4().hex[:8]}.old"
    with suppress(FileNotFoundError):
        put_in_place(target, old, durable=False)
    try:
        put_in_place(new, target, durable=False)
    except OSError:
        if old.exists():
            put_in_place(old, target, durable=False)
        raise
    shutil.rmtree(old, ignore_errors=True)
