"""The bar that adds up: what was read, and what became of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connrunner.core.counts import Counts
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import listed
from connrunner.web.pages.shapes import Shape, label, rectangle, vertical

LEFT_OUT = ("skipped", "filtered", "not_attempted")
CHECKED = (
    *("created", "updated", "deleted", "unchanged"),
    *("duplicate", "consent_blocked", "not_found"),
    *("ambiguous", "invalid", "rejected"),
)
STYLES: Mapping[str, str] = {
    **dict.fromkeys(LEFT_OUT, "k-hatch"),
    "created": "k-created",
    "updated": "k-updated",
    "deleted": "k-created",
    "unchanged": "k-unchanged",
    **dict.fromkeys(("duplicate", "consent_blocked", "not_found"), "k-aside"),
    **dict.fromkeys(("ambiguous", "invalid", "rejected"), "k-refused"),
}
SMALLEST, GAP, TOP, HEIGHT = 0.55, 0.12, 22, 22  # percent, and pixels


@dataclass(frozen=True, slots=True)
class CounterFigure:
    """One counter as it is written below the bar."""

    name: str
    count: int
    share: str  # of the rows read
    style: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CounterBar:
    """The picture and all figures of a run's counters."""

    shapes: tuple[Shape, ...]  # empty when no row was read
    words: str
    left_out: tuple[CounterFigure, ...]
    checked: tuple[CounterFigure, ...]
    sum_left_out: int
    sum_checked: int
    equation: str  # `read = filtered + checked`
    imbalance: str  # the equation that does not hold; empty when all do


def draw_counters(counts: Counts) -> CounterBar:
    """Return the bar and the figures of *counts*."""
    values = counts.as_dict()
    figures = {name: _figure(name, values[name], counts.read) for name in (*LEFT_OUT, *CHECKED)}
    parts = [name for name in LEFT_OUT if values[name]]
    return CounterBar(
        shapes=tuple(_shapes(counts, values)) if counts.read else (),
        words=_words(counts, values),
        left_out=tuple(figures[name] for name in LEFT_OUT),
        checked=tuple(figures[name] for name in CHECKED),
        sum_left_out=sum(values[name] for name in LEFT_OUT),
        sum_checked=counts.checked,
        equation=f"read = {' + '.join([*map(_spaced, parts), 'checked'])}",
        imbalance=counts.imbalance(),
    )


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _figure(name: str, count: int, read: int) -> CounterFigure:
    return CounterFigure(_spaced(name), count, f"{100 * count / read if read else 0:.1f} %", STYLES[name])


def _words(counts: Counts, values: Mapping[str, int]) -> str:
    left = [f"{values[name]:,} {_spaced(name)}" for name in LEFT_OUT if values[name]]
    became = [f"{values[name]:,} {_spaced(name)}" for name in CHECKED if values[name]]
    parts = listed([*left, f"{counts.checked:,} checked"])
    return f"{counts.read:,} rows read: {parts}." + (f" Of those checked {', '.join(became)}." if became else "")


def share_out(counts: Sequence[int]) -> list[float]:
    """Return the width of each of *counts*, above 0, in percent: none is too small to see, and all are 100 together.

    What the small ones get in addition is taken from the others, in proportion.
    """
    total = sum(counts)
    room = 100 - GAP * (len(counts) - 1)
    widths = [max(SMALLEST, room * count / total) for count in counts]
    small = sum(width for width in widths if width <= SMALLEST)
    large = sum(width for width in widths if width > SMALLEST)
    factor = (room - small) / large if large else 1
    return [width if width <= SMALLEST else width * factor for width in widths]


def _shapes(counts: Counts, values: Mapping[str, int]) -> list[Shape]:
    names = [name for name in (*LEFT_OUT, *CHECKED) if values[name]]
    found, x = [], 0.0
    begin = None  # of what was checked
    for name, width in zip(names, share_out([values[name] for name in names]), strict=True):
        if begin is None and name in CHECKED:
            begin = x
        found.append(rectangle(STYLES[name], x, TOP, width, HEIGHT, title=f"{_spaced(name)} {values[name]:,}"))
        x += width + GAP
    found.append(label(f"read {counts.read:,}", 0, 12, style="ink"))
    if begin:
        text_at, anchor = (begin + 0.26, "") if begin < 80 else (begin - 0.26, "end")
        found.append(label(f"checked {counts.checked:,}", text_at, 59, anchor=anchor))
        found.append(vertical("s-day", begin - GAP / 2, 18, 62))
    if counts.refused:
        found.append(label(f"refused {counts.refused:,}", 100, 12, anchor="end"))
    return found
