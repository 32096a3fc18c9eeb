"""What a run says of itself, without its secrets."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from connrunner.core.report import Level, Report

KNOWN_FACTS = 64  # texts beside a message that are masked once: the names of streams and the like


class MaskedReport:
    """A report that no secret reaches."""

    def __init__(self, report: Report, mask: Callable[[str], str]) -> None:
        self._report, self._mask = report, mask
        self._mask_fact = lru_cache(KNOWN_FACTS)(mask)  # few words come again and again

    def message(self, text: str, *, level: Level = "info", **facts: Any) -> None:
        masked = {key: self._mask_fact(value) if isinstance(value, str) else value for key, value in facts.items()}
        self._report.message(self._mask(text), level=level, **masked)

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        self._report.progress(stage, done, of)
