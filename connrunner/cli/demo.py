"""`connrunner demo`: the main job from end to end, in a folder of its own."""

from __future__ import annotations

import email
import email.policy
import shutil
import subprocess
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import click

from connrunner.cli import init, text
from connrunner.cli.options import leave

FOLDER = "connrunner-demo"
SITE = "page"  # the folder, within the workspace, of the page as files
MARK = ".connrunner-demo"  # says that the folder is ours to make anew


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path(FOLDER))
def demo_command(folder: Path) -> None:
    """Show the main job in FOLDER (default: connrunner-demo): due, imported, exported, logged, mailed.

    Makes the example workspace and types the commands that you would type. Needs no server and no network.
    """
    if (folder / MARK).exists():
        shutil.rmtree(folder)
    init.create(folder)
    (folder / MARK).touch()
    for path in (folder / "flawed").iterdir():
        shutil.copy(path, folder / "in")
    click.echo(f"A new workspace is in {folder.absolute()}.")
    codes = [
        _type(folder, "A tick finds what is due, runs it in order, and ends.", "tick"),
        _type(folder, "What the import did.", "runs", "members"),
        _type(folder, "Which rows it refused, and why.", "rejects", "members"),
        _type(folder, "What the export did.", "runs", "newsletter-audience"),
    ]
    for path in sorted((folder / "out").glob("*")):
        _show(f"The first rows of {path.relative_to(folder)}.", islice(path.open(), 4))
    codes.append(_type(folder, "Nothing is left to do, so the next tick is quiet.", "tick"))
    codes.append(_type(folder, "What comes next.", "status"))
    _mail(folder)
    codes.append(_type(folder, "All of it as a page.", "site", SITE))
    click.echo(f"\nOpen it in a browser: {(folder / SITE / 'index.html').absolute().as_uri()}")
    click.echo(f"Look around: cd {folder}; connrunner --help")
    leave(max(codes))


def _type(folder: Path, why: str, *command: str) -> int:
    _head(why)
    click.echo(click.style(f"$ connrunner {' '.join(command)}", bold=True))
    arguments = [sys.executable, "-P", "-m", "connrunner", *command]
    return subprocess.run(arguments, cwd=folder, check=False).returncode  # noqa: S603 - our own interpreter


def _mail(folder: Path) -> None:
    for path in sorted((folder / ".connrunner" / "mail").glob("*.eml"))[:1]:
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        body = message.get_body(("plain",))
        lines = [f"{name}: {message[name]}\n" for name in ("From", "To", "Subject")]
        lines += ["\n", *(f"{line}\n" for line in (body.get_content().splitlines() if body else ()))]
        _show(f"The mail that would have been sent ({path.relative_to(folder)}).", lines)


def _show(why: str, lines: Iterable[str]) -> None:
    _head(why)
    for line in lines:
        click.echo(text.clean(line), nl=False)


def _head(why: str) -> None:
    click.echo()
    click.echo(click.style(f"# {why}", fg="cyan"))
    sys.stdout.flush()
