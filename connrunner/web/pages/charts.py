"""Run times and rows of the last runs as bars."""

from __future__ import annotations

from collections.abc import Sequence

from connrunner.core.model import Outcome, Run
from connrunner.core.planning.forecast import RunDurations
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations
from connrunner.web.pages.moments import Moments
from connrunner.web.pages.shapes import Shape, label, level, rectangle
from connrunner.web.pages.strip import describe_unsuccessful, sign_of, style_of

BARS, LEFT, FLOOR, CEILING = 30, 7.0, 108.0, 4.0
STEP = (100 - LEFT) / BARS
WIDTH = STEP * 0.74
UNITS = ((3600, "h"), (60, "min"), (1, "s"))
THOUSANDS = ((1_000_000_000, " billion"), (1_000_000, " million"), (1000, " thousand"), (1, ""))


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture and what it says in words."""

    shapes: tuple[Shape, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Axis:
    """Where values stand, and which of them are written."""

    top: float
    marks: tuple[tuple[float, str], ...]  # value and words, from 0

    def height(self, value: float) -> float:
        return FLOOR - (FLOOR - CEILING) * value / self.top


def make_axis(largest: float, units: Sequence[tuple[int, str]]) -> Axis:
    """Return an axis from 0 to a round number at or above *largest*, with three steps at most."""
    size, unit = next((one for one in units if largest >= one[0]), units[-1])
    wanted = max(largest / size, 0.1) / 3
    scale = 10.0 ** _exponent(wanted)
    step = next(part * scale for part in (1, 2, 5, 10) if part * scale >= wanted)
    count = max(1, -int(-(largest / size) // step))
    separator = " " if unit and not unit.startswith(" ") else ""
    words = [f"{step * place:,g}" for place in range(count + 1)]
    words[-1] += f"{separator}{unit}"
    return Axis(step * count * size, tuple((step * place * size, words[place]) for place in range(count + 1)))


def _exponent(value: float) -> int:
    exponent = 0
    while value >= 10:
        value, exponent = value / 10, exponent + 1
    while value < 1:
        value, exponent = value * 10, exponent - 1
    return exponent


def _frame(axis: Axis) -> list[Shape]:
    found = []
    for value, words in axis.marks:
        y = axis.height(value)
        found += [level("s-grid", y), label(words, 0, max(10.0, y - 3))]
    return found


def _numbers(shown: Sequence[Run]) -> list[Shape]:
    first = BARS - len(shown)
    return [
        label(f"#{run.run}", _x(first + place) + WIDTH / 2, 126, anchor="middle")
        for place, run in enumerate(shown)
        if (len(shown) - place) % 9 == 2
    ]


def _x(place: int) -> float:
    return LEFT + STEP * place


def draw_run_times(runs: Sequence[Run], usual: RunDurations, moments: Moments) -> Chart:
    """Return the run times of *runs*, newest first, with a dotted line at the usual one."""
    shown = list(reversed(runs[:BARS]))
    longest = max([run.seconds for run in shown] + ([usual.median] if usual.runs else []), default=0.0)
    axis = make_axis(max(longest, 1.0), UNITS)
    shapes = _frame(axis)
    for place, run in enumerate(shown, BARS - len(shown)):
        top = min(axis.height(run.seconds), FLOOR - 1)
        took = durations.in_words(run.seconds)
        title = f"#{run.run} {run.outcome}, {took}, {moments.minute(run.ended_at)}"
        shapes.append(
            rectangle(f"f-{style_of(run.outcome)}", _x(place), top, WIDTH, FLOOR - top, title=title, round_by=1)
        )
        if run.outcome is not Outcome.SUCCEEDED:
            shapes.append(label(sign_of(run.outcome), _x(place) + WIDTH / 2, top - 4, style="ink", anchor="middle"))
    if usual.runs:
        shapes.append(level("s-usual", axis.height(usual.median), start=LEFT))
    return Chart((*shapes, *_numbers(shown)), _say_run_times(shown))


def _say_run_times(shown: Sequence[Run]) -> str:
    if not shown:
        return "No run has ended yet"
    seconds = [run.seconds for run in shown]
    between = f"between {durations.in_words(min(seconds))} and {durations.in_words(max(seconds))}"
    trouble = describe_unsuccessful(shown)
    return f"Run time of the last {len(shown)} runs: {between}" + (f"; {trouble}" if trouble else "")


def draw_rows(runs: Sequence[Run]) -> Chart:
    """Return the rows that *runs*, newest first, read: changed, refused, and all others."""
    shown = list(reversed(runs[:BARS]))
    most = max((run.result.counts.read for run in shown), default=0)
    axis = make_axis(float(max(most, 1)), THOUSANDS)
    shapes = _frame(axis)
    for place, run in enumerate(shown, BARS - len(shown)):
        counts = run.result.counts
        changed = counts.created + counts.updated + counts.deleted
        title = f"#{run.run}: {counts.read:,} read, {changed:,} created, updated or deleted, {counts.refused:,} refused"
        base = 0
        for style, rows in (
            ("k-unchanged", counts.read - changed - counts.refused),
            ("k-created", changed),
            ("k-refused", counts.refused),
        ):
            if rows > 0:
                top, bottom = axis.height(base + rows), axis.height(base)
                height = max(bottom - top, 2.0 if style == "k-refused" else 0.5)
                shapes.append(rectangle(style, _x(place), bottom - height, WIDTH, height, title=title))
            base += rows
    refused = sum(run.result.counts.refused > 0 for run in shown)
    words = f"Rows of the last {len(shown)} runs: {most:,} at most" + (
        f"; {refused} of them refused some" if refused else ""
    )
    return Chart((*shapes, *_numbers(shown)), words if shown else "No run has ended yet")
