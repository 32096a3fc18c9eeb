"""`connrunner init`: a workspace that runs at once."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

import connrunner
from connrunner.core import workspace_files
from connrunner.errors import ArgumentError

SCHEMAS = ".schemas"  # where a workspace keeps the schemas for the editor
WORKFLOW = ".github/workflows/connrunner.yaml"
LEFT_OUT = shutil.ignore_patterns(".connrunner", "out", "__pycache__", "*.pyc")


SETTINGS = """\
# yaml-language-server: $schema=.schemas/workspace.json
version: 1
timezone: UTC                  # of every schedule that names no other, like Europe/Amsterdam
state: .connrunner             # what connrunner remembers; keep it out of git
"""
PROFILE = """\
# yaml-language-server: $schema=.schemas/profile.json
# What is known about a customer. An identifier finds profiles.
properties:
  email: {type: email, identifier: true}
"""
WITHOUT_SAMPLES = (".gitignore", ".pre-commit-config.yaml", ".github")  # of the example workspace


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--empty", is_flag=True, help="Without samples: settings, a profile with one identifier, empty folders.")
def init_command(folder: Path, empty: bool) -> None:
    """Make a workspace in FOLDER (default: here) that runs at once.

    It has sample data, an import, an export, a program, who is told, the schemas for the editor, and files for
    pre-commit and CI. Nothing that is there already is overwritten.
    """
    (create_empty if empty else create)(folder)
    here = folder == Path()
    click.echo(f"a workspace is in {folder.absolute()}; type next:")
    if not here:
        click.echo(f"  cd {folder}")
    if empty:
        click.echo("  $EDITOR profile.yaml            # what is known about a customer")
        click.echo("  connrunner new crm --from sftp  # the file of a connection, to be filled in")
    else:
        click.echo("  connrunner tick                 # runs what is due: an import, then an export")
        click.echo("  connrunner runs members         # what the import did")
    click.echo("  connrunner validate             # checks every file")


def create(folder: Path) -> None:
    """Copy the example workspace and the schemas to *folder*; ArgumentError when it holds a workspace's files."""
    example = shipped("examples")
    _refuse_taken(folder, (entry.name for entry in example.iterdir()))
    with _writing(folder):
        shutil.copytree(example, folder, ignore=LEFT_OUT, dirs_exist_ok=True)
        _finish(folder)


def create_empty(folder: Path) -> None:
    """Make a workspace without samples in *folder*; ArgumentError when it holds a workspace's files."""
    texts = dict(zip(workspace_files.FILES, (SETTINGS, PROFILE), strict=True))
    folders = (*workspace_files.FOLDERS, workspace_files.TEMPLATES)
    _refuse_taken(folder, (*texts, *folders, *WITHOUT_SAMPLES, SCHEMAS))
    with _writing(folder):
        for name in folders:
            (folder / name).mkdir(parents=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        for name in WITHOUT_SAMPLES:
            source = shipped("examples") / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        _finish(folder)


def _refuse_taken(folder: Path, names: Iterable[str]) -> None:
    taken = sorted(name for name in names if os.path.lexists(folder / name) and name != ".git")
    if taken:
        raise ArgumentError(f"{folder.absolute()} already has {', '.join(taken)}", hint="choose an empty folder")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArgumentError(f"{error.filename or folder}: {error.strerror or error}") from error


def _finish(folder: Path) -> None:
    """Add to a new workspace what is the same in all."""
    shutil.copytree(shipped("schemas"), folder / SCHEMAS)
    _pin_version(folder / WORKFLOW)


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
