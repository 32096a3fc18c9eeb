"""The last runs of a connection as a strip: a bar for each, as high as its run time, and a mark below trouble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from connrunner.core.model import Outcome
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations
from connrunner.text.words import plural

SLOTS, STEP, WIDTH, BASE, HIGHEST, LOWEST = 30, 4, 3, 18, 17, 2
SERIOUS = (Outcome.FAILED, Outcome.INTERRUPTED)


def style_of(outcome: str) -> str:
    """Return the class of an *outcome*: of its colour and its icon."""
    return "ok" if outcome == Outcome.SUCCEEDED else outcome


def sign_of(outcome: str) -> str:
    """Return what is written above a run that did not succeed, in pictures with room for it."""
    return "\u00d7" if outcome in SERIOUS else "!"


class EndedRun(Protocol):
    """What a strip needs of a run."""

    @property
    def outcome(self) -> Outcome: ...

    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True, slots=True)
class StripPath:
    """All bars, or all marks, of one outcome."""

    style: str
    path: str


@dataclass(frozen=True, slots=True)
class Strip:
    """A picture of 120 x 24, what it says in words, and what stands under it."""

    paths: tuple[StripPath, ...]
    words: str
    trouble: str  # `2 partial, 1 failed`; empty when all succeeded


def draw_strip(runs: Sequence[EndedRun]) -> Strip:
    """Return the strip of *runs*, newest first, SLOTS at most: the newest stands at the right."""
    shown = list(reversed(runs[:SLOTS]))
    longest = max((run.seconds for run in shown), default=0)
    bars: dict[str, list[str]] = {}
    marks: dict[str, list[str]] = {}
    for place, run in enumerate(shown, SLOTS - len(shown)):
        x = place * STEP
        height = max(LOWEST, round(HIGHEST * run.seconds / longest)) if longest else LOWEST
        bars.setdefault(run.outcome, []).append(f"M{x} {BASE - height}h{WIDTH}v{height}h-{WIDTH}z")
        if run.outcome in SERIOUS:
            marks.setdefault(run.outcome, []).append(f"M{x - 0.5:g} 24h4l-2-4z")
        elif run.outcome is not Outcome.SUCCEEDED:
            marks.setdefault(run.outcome, []).append(f"M{x} 20.5h3v2h-3z")
    paths = [
        StripPath(f"f-{style_of(outcome)}", "".join(parts)) for part in (bars, marks) for outcome, parts in part.items()
    ]
    return Strip(tuple(paths), _words(shown, longest), describe_unsuccessful(runs[:SLOTS]))


def describe_unsuccessful(runs: Sequence[EndedRun]) -> str:
    """Return how many of *runs* ended how, those that succeeded left out."""
    counts = Counter(run.outcome for run in runs if run.outcome is not Outcome.SUCCEEDED)
    return ", ".join(f"{count:,} {outcome}" for outcome, count in counts.most_common())


def _words(shown: Sequence[EndedRun], longest: float) -> str:
    if not shown:
        return "No run has ended yet"
    counts = Counter(run.outcome for run in shown)
    ended = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    last = f"the newest {shown[-1].outcome}; longest {durations.in_words(longest)}"
    return f"Last {plural(len(shown), 'run')}: {ended}; {last}"
