"""`connrunner plan`: what a change of the workspace does, before it is merged."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from connrunner.cli import preview_text
from connrunner.cli.home import Home, Instant, find_folder, leave
from connrunner.config import compiled, load, place, zones
from connrunner.config.versions import revision
from connrunner.core import instant as instants
from connrunner.core.model import Workspace
from connrunner.core.planning import forecast
from connrunner.core.planning.forecast import RunDurations
from connrunner.core.planning.preview import preview_change
from connrunner.errors import ArgumentError, ConnrunnerError, PreviewError, WorkspaceError
from connrunner.state import run_files
from connrunner.state.folder import StateFolder
from connrunner.text.durations import parse
from connrunner.text.nesting import parse_json

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


class PlanCommand(click.Command):
    """A command whose every error ends with 1: its 2 says that there are changes."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            error.show()
            leave(1)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConnrunnerError as error:
            problems = error.problems if isinstance(error, WorkspaceError) else ()
            raise PreviewError(error.message, hint=error.hint, problems=problems) from error


@click.command(cls=PlanCommand)
@click.argument("versions", required=False, metavar="[BASE[..HEAD]]")
@click.option(
    "--base", "base_folder", type=FOLDER, help="Compare with the workspace in this folder instead of a commit."
)
@click.option("--days", type=click.IntRange(1, 366), default=7, show_default=True, help="How many days to look ahead.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    help="For people, programs, or a comment in a pull request.",
)
@click.option("--durations", type=FILE, help="Run times of the past: a file made by `connrunner next --format json`.")
@click.option(
    "--guess", default="5m", show_default=True, help="How long a run takes that nobody has seen (90s, 5m, 2h)."
)
@click.option("--now", "now", type=Instant(), help="Take this instant for the clock (RFC 3339).")
@click.option("--state", type=FOLDER, help="The state folder with run times and promises; wins over CONNRUNNER_STATE.")
@click.option("--workspace", type=FOLDER, help="The folder with connrunner.yaml; without it, this folder or one above.")
def plan_command(
    versions: str | None,
    base_folder: Path | None,
    days: int,
    output: str,
    durations: Path | None,
    guess: str,
    now: datetime | None,
    state: Path | None,
    workspace: Path | None,
) -> None:
    """Show what a change of the workspace does: connections, slots, and the queue of the coming days.

    Without BASE the files as they are now are compared with the last commit; with BASE, with that commit; BASE..HEAD
    compares two commits, BASE...HEAD what HEAD changed since both parted. Exit codes: 0 no change, 2 changes, 1 error.
    """
    folder = find_folder(workspace)
    if base_folder is not None and versions:
        raise ArgumentError("BASE and --base name the same thing", hint="leave one of them out")
    home = Home(folder, StateFolder(Path(place.state_folder(str(folder), str(state) if state else None))), now=now)
    with ExitStack() as stack:
        cache = _cache(stack, home)
        (base_name, base), (head_name, head) = _versions(stack, home, versions, base_folder, cache)
        names = {*base.connections, *head.connections}
        found = preview_change(
            base,
            head,
            promises=home.journal_state.promises,
            durations=_durations(home, names, durations, _seconds(guess)),
            now=instants.minute(now or datetime.now(UTC)),
            days=days,
            zones=zones.version(),
        )
        shown = preview_text.PreviewText(
            found,
            base_name,
            head_name,
            head,
            base_connections=base.connections,
            known=durations is not None or home.state.journal.exists(),
            guess=guess,
        )
        if output == "json":
            click.echo(json.dumps(shown.as_json(), indent=2, ensure_ascii=False))
        else:
            click.echo(shown.as_markdown() if output == "markdown" else shown.as_text())
    leave(0 if found.is_empty else 2)


Version = tuple[str, Workspace]


def _versions(
    stack: ExitStack, home: Home, versions: str | None, base_folder: Path | None, cache: Path
) -> tuple[Version, Version]:
    """Return the two versions to compare, each with how people call it."""
    if base_folder is not None:
        if not base_folder.is_dir():
            raise ArgumentError(f"there is no folder {base_folder}", hint="name one with the workspace to compare with")
        if not (base_folder / place.FILE).is_file():
            hint = "name the folder that holds it, or compare with a commit: `connrunner plan HEAD~1`"
            raise ArgumentError(f"{base_folder} has no {place.FILE}", hint=hint)
        return _written(base_folder, str(base_folder), cache), _written(home.folder, "files", cache)
    base, dots, head = _parted(versions or "HEAD")
    if not dots:
        return _at(stack, home.folder, revision.resolve(home.folder, base), cache), _written(
            home.folder, "files", cache
        )
    first, second = revision.resolve(home.folder, base or "HEAD"), revision.resolve(home.folder, head or "HEAD")
    if dots == "...":
        first = revision.fork(home.folder, first, second)
    return _at(stack, home.folder, first, cache), _at(stack, home.folder, second, cache)


def _parted(versions: str) -> tuple[str, str, str]:
    dots = "..." if "..." in versions else ".."
    return versions.partition(dots)


def _cache(stack: ExitStack, home: Home) -> Path:
    """Return a folder of checked files for this command alone: what one version has read the other one need not."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connrunner-")))
    with suppress(OSError):
        shutil.copy(home.state.compiled / compiled.NAME, folder)
    return folder


def _written(folder: Path, name: str, cache: Path) -> Version:
    """What is written, committed or not, is what a person asks about, also where ticks obey commits only."""
    return name, load.load(folder, as_written=True, cache=cache)


def _at(stack: ExitStack, folder: Path, commit: str, cache: Path) -> Version:
    _, workspace = _written(stack.enter_context(revision.checkout(folder, commit)), "", cache)
    return f"commit {commit[:12]}", workspace


def _durations(home: Home, names: set[str], file: Path | None, guess: float) -> Mapping[str, RunDurations]:
    """Return how long runs take: as *file* says, else as the histories of the state folder say, else *guess*."""
    known = dict(_from_file(file)) if file is not None else {}
    return {
        name: known.get(name) or forecast.summarize_durations(run_files.read_durations(home.state, name), guess=guess)
        for name in names
    }


def _from_file(file: Path) -> Iterator[tuple[str, RunDurations]]:
    advice = "write it with `connrunner next --format json`"
    try:
        for entry in parse_json(file.read_bytes()):
            said = entry.get("usual") or {}
            if said.get("runs"):
                median, p95 = float(said["median"]), float(said["p95"])
                yield str(entry["connection"]), RunDurations(median=median, p95=p95, runs=int(said["runs"]))
    except OSError as error:
        raise ArgumentError(f"{file} cannot be read: {error.strerror}", hint=advice) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ArgumentError(f"{file} is no list of coming runs with their usual run times", hint=advice) from None


def _seconds(guess: str) -> float:
    try:
        seconds = parse(guess)
    except ValueError:
        seconds = 0
    if seconds <= 0:
        raise ArgumentError(f"--guess takes a duration such as 90s, 5m or 2h, not {guess!r}")
    return float(seconds)
