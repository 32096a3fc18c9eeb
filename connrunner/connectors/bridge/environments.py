"""Third-party programs, each installed in a virtual environment of its own and pinned to one version.

An environment is named by what is in it: another version or another lock is another folder, so nothing changes under a
run that works with the old one. `connrunner connectors install` makes them; a run never does. Only wheels are
installed, for a source distribution runs code of its own while it is built: `build` names those that may.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connrunner.connectors import bridge
from connrunner.connectors.bridge import lock_file
from connrunner.connectors.bridge.lock_file import Release
from connrunner.core import instant
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.processes.temporary_folders import temporary_folder
from connrunner.processes.tree import ProcessTree
from connrunner.text.files import replace_file
from connrunner.text.nesting import parse_json
from connrunner.text.words import plural

MARKER = "installed.json"  # written last: without it the environment is half made
PIN = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?:\[[A-Za-z0-9,._-]+\])?==[A-Za-z0-9.!+_-]+")
PATIENCE = 600  # seconds without a word from pip before it is ended

# Runs inside the new environment: what is in it, and which programs the package brought.
_LOOK = """
import importlib.metadata, json, platform, sys
scripts = importlib.metadata.distribution(sys.argv[1]).entry_points.select(group="console_scripts")
print(json.dumps({
    "python": platform.python_version(),
    "programs": sorted({script.name for script in scripts}),
    "packages": sorted(f"{each.metadata['Name']}=={each.version}" for each in importlib.metadata.distributions()),
}))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """What an environment is made of."""

    pin: str  # name==version
    more: tuple[str, ...] = ()  # further packages in the same environment, pinned too
    python: str = ""  # the interpreter, as a command or a path; that of connrunner when empty
    build: tuple[str, ...] = ()  # packages that may be built from their source
    lock: tuple[Release, ...] = ()  # all that belongs into the environment; nothing when it is not locked

    @property
    def name(self) -> str:
        found = PIN.fullmatch(self.pin)
        assert found is not None
        return lock_file.canonical(found["name"])

    @property
    def request(self) -> str:
        """A name for what the settings ask for, by which its lock is called."""
        return self._named(self._asked)

    @property
    def folder(self) -> str:
        """The name of its environment's folder."""
        return self._named([*self._asked, [release.text for release in self.lock]] if self.lock else self._asked)

    @property
    def _asked(self) -> list[Any]:
        asked = [self.pin, sorted(self.more), self.python]
        return [*asked, sorted(self.build)] if self.build else asked

    def _named(self, said: list[Any]) -> str:
        return f"{self.name}-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:10]}"


def package(settings: Mapping[str, Any], workspace: Path) -> Package | None:
    """Return the package that a connector's settings ask for, with its lock if *workspace* has one.

    None when they name a program that is there already.
    """
    if "command" in settings:
        return None
    if "package" not in settings:
        raise RunError("it names no program", hint="write `package: NAME==VERSION`, or `command`", code="no-program")
    more = tuple(settings.get("with", ()))
    for pin in (settings["package"], *more):
        if not PIN.fullmatch(pin):
            raise RunError(
                f"the package {pin!r} is not pinned to one version", hint="write NAME==VERSION", code="not-pinned"
            )
    asked = Package(
        pin=settings["package"],
        more=more,
        python=settings.get("python", ""),
        build=tuple(map(lock_file.canonical, settings.get("build", ()))),
    )
    lock = lock_file.read_lock(lock_file.lock_path(workspace, asked.request), (asked.pin, *asked.more))
    return replace(asked, lock=lock)


def is_installed(wanted: Package, folder: Path) -> bool:
    """True when the environment of *wanted* below *folder* is complete and its interpreter still there."""
    place = folder / wanted.folder
    return (place / MARKER).is_file() and (place / "bin" / "python").exists()


def program(wanted: Package, name: str, folder: Path, *, connection: str) -> Path:
    """Return the program *name* of an installed package; without a name, the one that it brought.

    RunError tells what to type when it is not installed.
    """
    place = folder / wanted.folder
    if not is_installed(wanted, folder):
        raise RunError(
            f"{wanted.pin} is not installed",
            hint=f"type `connrunner connectors install {connection}`",
            code="not-installed",
        )
    brought: list[str] = json.loads((place / MARKER).read_bytes())["programs"]
    if not name:
        name = wanted.name if wanted.name in brought or len(brought) != 1 else brought[0]
    path = place / "bin" / name
    if not path.is_file():
        raise RunError(
            f"{wanted.pin} has no program {name!r}",
            hint=f"set `program` to one of {', '.join(brought)}" if brought else "it brings none; use another package",
            code="no-program",
        )
    return path


def install(wanted: Package, folder: Path, report: Report) -> Path:
    """Make the environment of *wanted* below *folder* unless it is there; return where it is.

    An environment cannot be moved, so it is made at its final place; a half made one, without its marker, is made
    anew. RunError with the reason when the package cannot be installed, or another process is installing it now.
    """
    from filelock import FileLock, Timeout

    place = folder / wanted.folder
    with _told(place):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(folder / f".{wanted.folder}.lock", timeout=0, mode=0o600, fallback_to_soft=False)
        try:
            with lock:
                if not is_installed(wanted, folder):
                    shutil.rmtree(place, ignore_errors=True)
                    _make(wanted, place, report)
        except Timeout:
            raise RunError(
                f"another connrunner is installing {wanted.pin}",
                hint="wait until it is done",
                code="busy",
                waiting_helps=True,
            ) from None
    return place


def require_lock(wanted: Package, workspace: Path, *, connection: str) -> None:
    """RunError unless *wanted* is locked, or nothing of *workspace* is."""
    if not wanted.lock and lock_file.has_locks(workspace):
        raise RunError(
            f"{wanted.pin} is not locked, and other programs of this workspace are",
            hint=f"type `connrunner connectors lock {connection}`, and commit what it writes",
            code="not-locked",
        )


def write_lock_of(wanted: Package, workspace: Path, folder: Path, report: Report) -> tuple[Path, int]:
    """Put the lock of *wanted* into *workspace*; return where it is, and of how many packages it is.

    *folder* and errors are as in `resolve_lock`.
    """
    found = resolve_lock(wanted, folder, report)
    path = lock_file.lock_path(workspace, wanted.request)
    lock_file.write_lock(path, found, f"What {wanted.pin} needs, written by `connrunner connectors lock`.")
    return path, len(found)


def resolve_lock(wanted: Package, folder: Path, report: Report) -> tuple[Release, ...]:
    """Find out what the environment of *wanted* would hold on this machine, each with the hash of its file.

    Versions of the lock of *wanted* stay, and so do their hashes. Nothing is installed; *folder* gets temporary files.
    RunError with the reason when it cannot be found out.
    """
    failure = f"cannot lock {wanted.pin}"
    with _told(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with temporary_folder(folder) as made:
            place = Path(made) / "environment"
            inside = _make_environment(wanted, place, report)
            constraints, said = Path(made) / "constraints.txt", Path(made) / "report.json"
            constraints.write_text("".join(f"{each.name}=={each.version}\n" for each in wanted.lock))
            arguments = ["--dry-run", "--ignore-installed", "--report", str(said), "--constraint", str(constraints)]
            _run([*_pip(inside, wanted), *arguments, "--", wanted.pin, *wanted.more], Path(made), report, failure)
            try:
                found = lock_file.releases_of(parse_json(said.read_bytes()))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise RunError(
                    f"{failure}: the report of pip is none", hint="use a newer Python with it", code="cannot-lock"
                ) from error
    return lock_file.united(found, wanted.lock)


def _make_environment(wanted: Package, place: Path, report: Report) -> str:
    """Make an empty environment at *place* and return its interpreter."""
    python = wanted.python or sys.executable
    report.message(f"{wanted.pin}: making an environment with {python}")
    # In a folder of our own: a module beside `python -m` would be taken for the real one.
    _run([python, "-m", "venv", str(place)], place.parent, report, f"cannot make an environment with {python}")
    return str(place / "bin" / "python")


def _pip(inside: str, wanted: Package) -> list[str]:
    """Return how pip is asked to install, without what."""
    pip = [inside, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--require-virtualenv"]
    return [*pip, "--only-binary", ":all:", *(word for name in wanted.build for word in ("--no-binary", name))]


def _make(wanted: Package, place: Path, report: Report) -> None:
    try:
        inside = _make_environment(wanted, place, report)
        what = ["--", wanted.pin, *wanted.more]
        if wanted.lock:
            requirements = place / "lock.txt"
            lock_file.write_lock(requirements, wanted.lock, wanted.pin)
            what = ["--require-hashes", "--requirement", str(requirements)]
        _run([*_pip(inside, wanted), *what], place, report, f"cannot install {wanted.pin}")
        found = json.loads(_run([inside, "-c", _LOOK, wanted.name], place, report, f"cannot look at {wanted.pin}"))
        made = {
            "package": wanted.pin,
            "with": wanted.more,
            "interpreter": wanted.python,
            "at": instant.text(datetime.now(UTC)),
            **found,
        }
        replace_file(place / MARKER, (json.dumps(made, indent=2) + "\n").encode(), mode=0o644, durable=False)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    report.message(f"{wanted.pin}: installed in {place}, {plural(len(found['packages']), 'package')}")


def _run(arguments: Sequence[str], folder: Path, report: Report, failure: str) -> str:
    """Run *arguments* and return the last line that they print; RunError that begins with *failure*."""
    last = b""
    errors: list[str] = []

    def take(line: bytes) -> bytes:
        nonlocal last
        last = line
        return line

    def hear(line: bytes) -> None:
        if line.startswith(b"ERROR:"):  # as pip says it; what follows is often advice
            errors.append(line.removeprefix(b"ERROR:").strip().decode("utf-8", "backslashreplace"))

    pip_settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    try:
        ended = bridge.run_program(
            bridge.Program(name=arguments[0], arguments=tuple(arguments[:1]), environment=pip_settings),
            arguments[1:],
            bridge.Dialogue(take=take, hear=hear, idle=PATIENCE),
            workspace=folder,
            report=report,
            tree=ProcessTree.new(),
        )
    except RunError as error:
        raise RunError(
            f"{failure}: {error.message}",
            hint="correct `python`" if error.code == "no-program" else "try again",
            code=error.code,
            waiting_helps=error.waiting_helps,
        ) from error
    if ended.failure is not None:
        reason = "; ".join(errors[-2:])[: bridge.WORDS] or ended.failure.message
        raise RunError(f"{failure}: {reason}", hint=_advice(reason), code="cannot-install") from ended.failure
    return last.decode()


def _advice(reason: str) -> str:
    if "hash" in reason.casefold():
        return "what the index has is not what was locked: find out why before you lock it anew"
    if "No matching distribution" in reason:
        return "if there is no wheel of it for this machine, `build` may name it; `--verbose` shows all that was said"
    return "add `--verbose` to see all that was said"


@contextmanager
def _told(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot make {place}: {error.strerror or error}",
            hint="make room, or repair the state folder",
            code="unwritable",
            waiting_helps=True,
        ) from error
