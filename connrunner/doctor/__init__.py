"""Is all well? Each answer is a check: what was looked at, what was found, and the command or edit that fixes it."""

from __future__ import annotations

from typing import Any, Literal

from connrunner.lazy_dataclasses import dataclass

Level = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    level: Level  # a failure keeps connrunner from its work, or soon will
    found: str
    fix: str = ""  # what to type or to change; empty when all is well

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "level": self.level, "found": self.found, "fix": self.fix}


def ok(name: str, found: str) -> Check:
    return Check(name=name, level="ok", found=found)


def warning(name: str, found: str, fix: str) -> Check:
    return Check(name=name, level="warning", found=found, fix=fix)


def failure(name: str, found: str, fix: str) -> Check:
    return Check(name=name, level="failure", found=found, fix=fix)
