"""A mistake at a part of a file's data, before anybody looked up its line."""

from __future__ import annotations

from typing import TypeAlias

from connrunner.lazy_dataclasses import dataclass

Path: TypeAlias = tuple[str | int, ...]  # the keys and positions that lead to a part of the data


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong at *path*. Checks yield these; a file is read for its lines only when there are any."""

    path: Path
    message: str
    hint: str = ""
    code: str = "invalid"  # a stable kebab-case word
    at_key: bool = False  # the mistake is the key, not the value
