"""How many examples a generated test tries: few in `make test`, many in `make torture`."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("CONNRUNNER_LONG_TESTS"))


def examples(few: int, *, long: int | None = None) -> int:
    """Return *few*, or *long* (50 times as many unless said) where the long tests are asked for."""
    return (long or few * 50) if LONG else few
