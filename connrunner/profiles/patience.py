"""How long one waits for a store that others have."""

from __future__ import annotations

from collections.abc import Callable

from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store is waited for, and what is called once, with who has it, when that takes over a second."""

    seconds: float
    say: Callable[[str], None] = lambda _: None  # an empty text: that is not known
