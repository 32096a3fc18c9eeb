"""`connrunner init`: a workspace that runs at once."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click

import connrunner
from connrunner.errors import ArgumentError

SCHEMAS = ".schemas"  # where a workspace keeps the schemas for the editor
WORKFLOW = ".github/workflows/connrunner.yaml"
LEFT_OUT = shutil.ignore_patterns(".connrunner", "out", "__pycache__", "*.pyc")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
def init_command(folder: Path) -> None:
    """Make a workspace in FOLDER (default: here) that runs at once.

    It has sample data, an import, an export, a program, who is told, the schemas for the editor, and files for
    pre-commit and CI. Nothing that is there already is overwritten.
    """
    create(folder)
    here = folder == Path()
    click.echo(f"a workspace is in {folder.absolute()}; type next:")
    if not here:
        click.echo(f"  cd {folder}")
    click.echo("  connrunner tick                 # runs what is due: an import, then an export")
    click.echo("  connrunner runs members         # what the import did")
    click.echo("  connrunner validate             # checks every file")


def create(folder: Path) -> None:
    """Copy the example workspace and the schemas to *folder*; ArgumentError when it holds a workspace's files."""
    example = shipped("examples")
    taken = sorted(entry.name for entry in example.iterdir() if (folder / entry.name).exists() and entry.name != ".git")
    if taken:
        raise ArgumentError(f"{folder.absolute()} already has {', '.join(taken)}", hint="choose an empty folder")
    try:
        shutil.copytree(example, folder, ignore=LEFT_OUT, dirs_exist_ok=True)
        shutil.copytree(shipped("schemas"), folder / SCHEMAS)
        _pin_version(folder / WORKFLOW)
    except OSError as error:
        raise ArgumentError(f"{error.filename or folder}: {error.strerror or error}") from error


def _pin_version(workflow: Path) -> None:
    """Have *workflow* install the connrunner that writes it, whatever comes out later."""
    text = workflow.read_text(encoding="utf-8")
    workflow.write_text(
        re.sub(r"\bconnrunner==[^\s\"]+", f"connrunner=={connrunner.__version__}", text), encoding="utf-8"
    )


def shipped(name: str) -> Path:
    """Return the folder *name* that comes with connrunner: in the installed package, or at the top of a checkout."""
    package = Path(connrunner.__file__).parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
