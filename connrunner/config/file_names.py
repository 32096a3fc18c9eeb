"""Which files of a folder are connections, schedules or targets, and what is wrong with the names of the others."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from posixpath import basename, splitext

from connrunner.config.wording import show
from connrunner.core.workspace_files import is_name
from connrunner.errors import Problem
from connrunner.text.words import escape

_SUFFIXES = (".yaml", ".yml")


def name_files(paths: Iterable[str]) -> tuple[dict[str, str], list[tuple[str, Problem]]]:
    """Return the paths of the files by name, and for each of the others its name and what is wrong with it."""
    sound: dict[str, str] = {}
    others: list[tuple[str, str, str]] = []
    for path in sorted(path for path in paths if path.lower().endswith(_SUFFIXES)):
        name = path.rpartition("/")[2]
        if name.endswith(".yaml") and is_name(name[:-5]):
            sound[name[:-5]] = path
        else:
            others.append((path, *splitext(name)))
    twins = {_folded(name): path for name, path in sound.items()} if others else {}
    wrong = []
    for path, name, suffix in others:
        problem = wrong_suffix(path) if suffix != ".yaml" else _wrong_name(path, name, twins.get(_folded(name)))
        wrong.append((escape(name), problem))
    return sound, wrong


def wrong_suffix(path: str) -> Problem:
    """Return the problem of a file that ends in .yml, or in capitals."""
    name, _ = splitext(basename(path))
    better = name if is_name(name) or not is_name(name.lower()) else name.lower()
    return whole_file(path, "files end in .yaml here", f"rename it to {escape(better)}.yaml", "wrong-suffix")


def whole_file(path: str, message: str, hint: str, code: str) -> Problem:
    """Return a problem of a file as such."""
    return Problem(path=escape(path), line=1, column=1, message=message, hint=hint, code=code)


def _wrong_name(path: str, name: str, twin: str | None) -> Problem:
    if twin is not None:
        message = f"{show(name)} differs from {twin} only in how it is written"
        return whole_file(path, message, "rename or remove one of them", "duplicate-name")
    hint = "use small letters, digits, - and _, at most 63, and begin with a letter or digit"
    return whole_file(path, f"{show(name)} cannot be a name", hint, "bad-name")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
