"""Files of our own: at a path that is not taken, and for our eyes only."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_numbers = itertools.count()  # of all folders of this process: to look which are taken takes longer with each


def choose_path(folder: Path) -> Path:
    """Return a path in *folder* that is not taken yet; no reader interprets a character of its name."""
    while os.path.lexists(path := folder / f"file-{next(_numbers)}"):
        pass
    return path


def open_private(path: Path) -> BinaryIO:
    """Open a new or emptied file for writing that no other user may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")


@contextmanager
def placing(folder: Path, path: Path) -> Iterator[Path]:
    """Yield an empty private file in *folder*, the only one that DuckDB may write to; it becomes *path* at the end."""
    new = choose_path(folder)
    open_private(new).close()
    yield new
    shutil.move(new, path)  # between file systems it is copied, mode and all
