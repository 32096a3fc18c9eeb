"""The lock of a third-party program: every package that it needs, at one version and with the hashes of its files.

`connrunner connectors lock` writes one into the folder `locks` of the workspace, in the form of pip's requirements
files, and `connrunner connectors install` installs that and nothing else. Only releases and hashes are read from it: an
option of pip in it, such as another index, is refused.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.files import replace_file

FOLDER = "locks"
LARGEST = 4_000_000  # bytes; a lock of a thousand packages with twenty files each is smaller

_RELEASE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?P<extras>\[[A-Za-z0-9,._-]+\])?==(?P<version>[A-Za-z0-9.!+_-]+)"
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One package of a lock."""

    name: str  # in its canonical form
    extras: str  # such as [s3], or nothing
    version: str
    hashes: tuple[str, ...]  # SHA-256 of each file that may be installed, sorted

    @property
    def text(self) -> str:
        lines = [f"{self.name}{self.extras}=={self.version}", *(f"--hash=sha256:{each}" for each in self.hashes)]
        return " \\\n    ".join(lines)


def canonical(name: str) -> str:
    """Return the one spelling of a package's *name* by which names are compared (PEP 503)."""
    return re.sub(r"[._-]+", "-", name).lower()


def lock_path(workspace: Path, request: str) -> Path:
    """Return where the lock of what *request* names is, or would be."""
    return workspace / FOLDER / f"{request}.txt"


def has_locks(workspace: Path) -> bool:
    """Return whether something of the workspace is locked: then all has to be."""
    folder = workspace / FOLDER
    return folder.is_dir() and any(path.suffix == ".txt" for path in folder.iterdir())


def read_lock(path: Path, pins: Iterable[str]) -> tuple[Release, ...]:
    """Return what the lock at *path* holds, nothing when there is none; RunError when it is none for *pins*."""
    try:
        text = _read(path)
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path, 0, f"it cannot be read: {error.strerror if isinstance(error, OSError) else error}") from error
    releases = _parse(path, text)
    for pin in pins:
        found = _RELEASE.fullmatch(pin)
        if found is None or not any(_is_same(release, found) for release in releases):
            raise _bad(path, 0, f"it does not hold {pin}")
    return releases


def _is_same(release: Release, pin: re.Match[str]) -> bool:
    return (release.name, release.version) == (canonical(pin["name"]), pin["version"])


def write_lock(path: Path, releases: Iterable[Release], title: str) -> None:
    """Put a lock at *path*, in one step; *title* is its first line, a comment."""
    path.parent.mkdir(exist_ok=True)
    text = f"# {title}\n" + "".join(f"{release.text}\n" for release in releases)
    replace_file(path, text.encode(), mode=0o644, durable=False)


def releases_of(report: Any) -> tuple[Release, ...]:
    """Return what an installation report of pip (`pip install --report`) says would be installed, by name."""
    return tuple(sorted((_release_of(item) for item in report["install"]), key=lambda release: release.name))


def _release_of(item: Mapping[str, Any]) -> Release:
    name, version = item["metadata"]["name"], item["metadata"]["version"]
    archive = item["download_info"].get("archive_info", {})
    found = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").removeprefix("sha256=")
    if not re.fullmatch("[0-9a-f]{64}", found):
        raise RunError(f"no file of {name}=={version} has a hash", hint="use a release on an index", code="cannot-lock")
    extras = ",".join(sorted(item.get("requested_extras", ())))
    return Release(name=canonical(name), extras=f"[{extras}]" if extras else "", version=version, hashes=(found,))


def united(new: Iterable[Release], old: Iterable[Release]) -> tuple[Release, ...]:
    """Return the *new* releases, each with the hashes that the *old* lock has of the same version.

    Those are of files for other machines: a lock grows by one run of `connectors lock` on each kind of machine.
    """
    known = {(release.name, release.version): release.hashes for release in old}
    return tuple(
        Release(
            name=release.name,
            extras=release.extras,
            version=release.version,
            hashes=tuple(sorted({*release.hashes, *known.get((release.name, release.version), ())})),
        )
        for release in new
    )


def _read(path: Path) -> str:
    """Read a regular file that is no link and of a bounded size."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is no regular file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise OSError(0, f"it has more than {LARGEST:,} bytes")
    return data.decode("utf-8")


def _parse(path: Path, text: str) -> tuple[Release, ...]:
    found: dict[str, Release] = {}
    pending = ""
    for number, line in enumerate(text.split("\n"), 1):
        pending += " " + line.removesuffix("\r")
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        words, pending = pending.split(), ""
        if not words or words[0].startswith("#"):
            continue
        release = _RELEASE.fullmatch(words[0])
        hashes = [_HASH.fullmatch(word) for word in words[1:]]
        if release is None or not hashes or None in hashes:
            raise _bad(path, number, "this is no line NAME==VERSION --hash=sha256:...")
        name = canonical(release["name"])
        if name in found:
            raise _bad(path, number, f"{name} stands here a second time")
        found[name] = Release(
            name=name,
            extras=release["extras"] or "",
            version=release["version"],
            hashes=tuple(sorted({match[1] for match in hashes if match})),
        )
    if pending:
        raise _bad(path, text.count("\n") + 1, "the last line goes on, and nothing follows")
    return tuple(found.values())


def _bad(path: Path, line: int, what: str) -> RunError:
    place = f"{path.parent.name}/{path.name}" + (f":{line}:1" if line else "")
    return RunError(f"{place}: {what}", hint="write it anew with `connrunner connectors lock`", code="bad-lock")
