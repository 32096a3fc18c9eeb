"""Numbers of bytes as people write them."""

from __future__ import annotations

import re

UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_WRITTEN = re.compile(r"([0-9]{1,6})(KB|MB|GB|TB)")


def parse_size(text: str) -> int:
    """Return how many bytes `500MB` or `2GB` are; ValueError for anything else."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a size: a whole number and KB, MB, GB or TB, like 500MB")
    return int(found[1]) * UNITS[found[2]]
