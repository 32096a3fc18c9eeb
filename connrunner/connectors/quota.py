"""How much a run may bring to this machine: what its connection allows, and never more than it leaves free there."""

from __future__ import annotations

import os
from pathlib import Path

from connrunner.connectors import Settings
from connrunner.errors import RunError
from connrunner.text.sizes import parse_size

MAX_BYTES = 10_000_000_000  # the default of `max_bytes`
LOOK_EVERY = 1 << 20  # bytes that arrive between two looks at the disk


class FetchQuota:
    """What a run may still fetch into *folder*, which has to lie on the disk that is filled.

    The limits are `max_bytes` of the settings, and one half of the room that is free: the other runs, and the rows of
    this one on their way into the profiles, need some as well.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._most = read_max_bytes(settings)
        self._folder = folder
        self._taken = self._since_look = 0

    def expect(self, size: int, name: str) -> None:
        """RunError when *name*, of which *size* more bytes are to come, would be too much."""
        self._check(self._taken + size, size, name)

    def take(self, size: int, name: str) -> None:
        """Count *size* bytes of *name* that arrived, before they are written; RunError when they are too many."""
        self._taken += size
        self._since_look += size
        if self._taken > self._most or self._since_look >= LOOK_EVERY:
            self._since_look = 0
            self._check(self._taken, size, name)

    def _check(self, whole: int, coming: int, name: str) -> None:
        if whole > self._most:
            raise RunError(
                f"{name} is more than this run may fetch: with it, that would be more than {self._most:,} bytes",
                hint="ask for less at once, or set a larger `max_bytes` if so much is right",
                code="too-large",
            )
        free = measure_free_room(self._folder)
        before = whole - coming  # what lies on the disk already
        if whole > max((free + before) // 2, LOOK_EVERY):
            raise RunError(
                f"{name} would fill the disk: {free:,} bytes are free there, and a run fetches one half at most",
                hint="make room on the disk of the state folder, or ask for less at once",
                code="no-room",
            )


def read_max_bytes(settings: Settings) -> int:
    """Return how many bytes `max_bytes` of the settings allows: a number, or a text such as 500MB."""
    value = settings.get("max_bytes", MAX_BYTES)
    try:
        return value if isinstance(value, int) else parse_size(str(value))
    except ValueError:
        raise RunError(
            f"`max_bytes` is {value!r}", hint="write a size like 500MB, or a number of bytes", code="bad-setting"
        ) from None


def measure_free_room(folder: Path) -> int:
    """Return how many bytes are free for us on the disk of *folder*."""
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize
