"""A lane as a picture: what ran, works, is expected, and what waits for its turn. x is a share of the window."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from connrunner.answers.active_runs import ActiveRun
from connrunner.answers.past_runs import MissedSlots, PastRun
from connrunner.answers.status import WaitingRun
from connrunner.core.model import Outcome
from connrunner.core.planning.forecast import PredictedRun
from connrunner.lazy_dataclasses import dataclass
from connrunner.text import durations
from connrunner.text.words import plural
from connrunner.web.pages.moments import Moments
from connrunner.web.pages.shapes import Shape, label, level, number, rectangle, vertical
from connrunner.web.pages.strip import sign_of, style_of

NARROW = 0.34  # percent of the window: runs below it are drawn together
COLUMNS = 800  # of the picture in which they are drawn: however many there are, they are no more
NAMED, LETTER = 14, 0.5  # names below blocks, and percent of the window that a letter takes in a close-up
ALONE = 25  # blocks of a lane that are drawn by themselves
SHORTEST_WAIT = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneContent:
    """What there is to draw of one lane."""

    lane: str
    past: Sequence[PastRun] = ()
    missed: Sequence[MissedSlots] = ()
    active: Sequence[ActiveRun] = ()
    waiting: Sequence[WaitingRun] = ()
    expected: Sequence[PredictedRun] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """From when to when, and how the picture is laid out."""

    start: datetime
    end: datetime
    height: float
    block: tuple[float, float]  # top and height of a block
    named: bool = False  # names go below blocks
    waits: bool = True  # waits are drawn

    def x(self, at: datetime) -> float:
        """Return the place of *at* in percent, within the picture."""
        share = (at - self.start) / (self.end - self.start)
        return 100 * min(1.0, max(0.0, share))

    def holds(self, at: datetime) -> bool:
        return self.start <= at <= self.end


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One run in the window."""

    connection: str
    style: str
    start: datetime
    end: datetime
    run: int = 0  # 0 for one that is expected
    outcome: str = "expected"
    sign: str = ""  # above it
    weight: int = 0  # of its name: the greatest are written first


@dataclass(frozen=True, slots=True)
class Together:
    """Many narrow runs of one kind: a path in a picture of COLUMNS x the height."""

    style: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LanePicture:
    """One lane in one window."""

    lane: str
    height: float
    words: str
    behind: tuple[Shape, ...]  # grid and the part that is over
    together: tuple[Together, ...]
    shapes: tuple[Shape, ...]


def draw_lane(
    content: LaneContent, window: Window, grid: Sequence[Shape], moments: Moments, *, alone: int = ALONE
) -> LanePicture:
    """Return the picture of a lane; *grid* is what lies behind it, as high as the window says.

    *alone*: how many blocks are drawn by themselves, and how many waits, missed slots and names beside them.
    """
    now = moments.now
    blocks = [*_past(content, window), *_expected(content, window)]
    wide, narrow = _divide(blocks, window, most=alone)
    top, height = window.block
    shapes = _missed(content, window, moments, most=alone)
    shapes += [shape for one in wide for shape in _block(one, window, moments)]
    shapes += [shape for run in content.active for shape in _active(run, window, moments)]
    if window.waits:
        shapes += _waits(content, window, most=alone)
    if window.named:
        shapes += _names(blocks, content.active, window, most=alone)
    if window.holds(now):
        shapes.append(vertical("s-now", window.x(now), 0, window.height))
    behind = [rectangle("f-past", 0, 0, window.x(now), window.height)] if now > window.start else []
    return LanePicture(
        lane=content.lane,
        height=window.height,
        words=_words(content, window),
        behind=(*behind, *grid),
        together=tuple(_together(narrow, window, top, height)),
        shapes=tuple(shapes),
    )


def _divide(blocks: Sequence[Block], window: Window, *, most: int) -> tuple[list[Block], list[Block]]:
    """Return which blocks are drawn by themselves, and which together: however many there are, the picture has an end.

    What did not succeed is drawn by itself unless there is some already at its place.
    """
    signed: dict[int, Block] = {}
    for one in blocks:
        if one.sign:
            signed.setdefault(round(window.x(one.start) / NARROW), one)
    alone = list(signed.values())[:most]
    large = [one for one in blocks if not one.sign and _width(one, window) >= NARROW]
    large.sort(key=lambda one: _width(one, window), reverse=True)
    alone += large[: max(most - len(alone), most // 2)]
    chosen = {id(one) for one in alone}
    return alone, [one for one in blocks if id(one) not in chosen]


def _width(one: Block, window: Window) -> float:
    return window.x(one.end) - window.x(one.start)


def _past(content: LaneContent, window: Window) -> list[Block]:
    found = []
    for run in content.past:
        start = run.started_at or run.ended_at
        if run.ended_at < window.start or start > window.end:
            continue
        is_good = run.outcome == Outcome.SUCCEEDED
        found.append(
            Block(
                connection=run.connection,
                style=f"f-{style_of(run.outcome)}",
                start=start,
                end=run.ended_at,
                run=run.run,
                outcome=run.outcome,
                sign="" if is_good else sign_of(run.outcome),
                weight=0 if is_good else 1,
            )
        )
    return found


def _expected(content: LaneContent, window: Window) -> list[Block]:
    return [
        Block(
            connection=run.connection,
            style="hatch",
            start=run.starts_at,
            end=run.ends_at,
        )
        for run in content.expected
        if run.ends_at >= window.start and run.starts_at <= window.end
    ]


def _title(one: Block, moments: Moments) -> str:
    start, end = moments.minute(one.start), moments.minute(one.end)
    number_of_run = f" #{one.run}" if one.run else ""
    return f"{one.connection}{number_of_run}, {start[:3]} {start[15:20]} to {end[15:20]}, {one.outcome}"


def _block(one: Block, window: Window, moments: Moments) -> list[Shape]:
    top, height = window.block
    x, width = window.x(one.start), max(_width(one, window), 0.12)
    inset = 0.5 if one.style.startswith("hatch") else 0.0
    shapes = [rectangle(one.style, x, top + inset, width, height - 2 * inset, title=_title(one, moments), round_by=2)]
    if one.sign:
        shapes.append(label(one.sign, x + width / 2, top - 2, style="ink", anchor="middle"))
    return shapes


def _active(run: ActiveRun, window: Window, moments: Moments) -> list[Shape]:
    if run.started_at > window.end or moments.now < window.start:
        return []
    top, height = window.block
    start, now = window.x(run.started_at), window.x(moments.now)
    state = "running" if run.lives else "cut off"
    until = f" to {moments.hour(run.ends_at)}" if run.ends_at else ""
    title = f"{run.connection} #{run.run}, {moments.hour(run.started_at)}{until}, {state}"
    found = [
        rectangle(
            "f-running" if run.lives else "f-interrupted", start, top, max(now - start, 0.12), height, title=title
        )
    ]
    if run.ends_at and (rest := window.x(run.ends_at) - now) > 0:
        found.append(rectangle("hatch-run", now, top + 0.5, rest, height - 1, title=title))
    return found


def _missed(content: LaneContent, window: Window, moments: Moments, *, most: int) -> list[Shape]:
    """Return an empty block for slots that no run stands for; the first ones of the window when there are many."""
    top, height = window.block
    found = []
    for one in content.missed[:most]:
        if one.last >= window.start and one.first <= window.end:
            x = window.x(one.first)
            title = (
                f"{one.connection}: {plural(one.number, 'slot')} missed from {moments.minute(one.first)}: {one.reason}"
            )
            found.append(rectangle("f-missed", x, top, max(window.x(one.last) - x, 0.3), height, title=title))
    return found


def _waits(content: LaneContent, window: Window, *, most: int) -> list[Shape]:
    """Return a line from the slot to the start for the longest waits: of runs that ended, and of those to come."""
    top = window.block[0] + window.block[1] + (19 if window.named else 5)
    past = [
        (run.started_at - run.due_at, run.due_at, run.started_at, f"{run.connection} #{run.run} waited", "")
        for run in content.past
        if run.started_at is not None
    ]
    coming = [
        (run.wait, run.due_at, run.starts_at, f"{run.connection} waits", f" behind {run.behind}" if run.behind else "")
        for run in content.expected
    ]
    found = []
    for waits in (past, coming):
        shown = [one for one in waits if one[0] >= SHORTEST_WAIT and one[1] <= window.end and one[2] >= window.start]
        longest = heapq.nlargest(max(2, most // 2), shown, key=lambda one: one[0])
        for place, (wait, due, start, words, behind) in enumerate(sorted(longest, key=lambda one: one[1])):
            title = f"{words} {durations.in_words(wait.total_seconds())}{behind}"
            y = top + 4 * (place % 3)
            found.append(level("s-wait", y, start=window.x(due), end=window.x(start), title=title))
    return found


def _names(blocks: Sequence[Block], active: Sequence[ActiveRun], window: Window, *, most: int) -> list[Shape]:
    """Return names below blocks where they fit: what works, then what was not well, then the longest."""
    wanted = [(run.started_at, run.connection, 2, 0.0) for run in active if window.holds(run.started_at)]
    wanted += [
        (one.start, one.connection, one.weight, _width(one, window)) for one in blocks if window.holds(one.start)
    ]
    wanted.sort(key=lambda one: (-one[2], -one[3], one[0]))
    taken: list[tuple[float, float]] = []
    found: list[Shape] = []
    for at, name, _, _ in wanted:
        x, width = window.x(at), LETTER * len(name) + 1
        if (
            len(found) < min(NAMED, most)
            and x + width <= 101
            and all(x >= end or x + width <= begin for begin, end in taken)
        ):
            taken.append((x, x + width))
            found.append(label(name, x, window.block[0] + window.block[1] + 14, style="ink halo"))
    return found


def _together(blocks: Sequence[Block], window: Window, top: float, height: float) -> list[Together]:
    """Return the narrow blocks of each kind as one path: a column of the picture is drawn once."""
    columns: defaultdict[str, set[int]] = defaultdict(set)
    for one in blocks:
        first, last = (int(window.x(at) / 100 * COLUMNS) for at in (one.start, one.end))
        columns[one.style].update(range(min(first, COLUMNS - 1), min(last, COLUMNS - 1) + 1))
    styles = sorted(columns, key=lambda style: style != "hatch")
    return [
        Together("f-skipped" if style == "hatch" else style, "".join(_spans(columns[style], top, height)))
        for style in styles
    ]


def _spans(columns: set[int], top: float, height: float) -> list[str]:
    found: list[str] = []
    begin, before, drawn = None, -2, 0
    for column in [*sorted(columns), -1]:
        if column != before + 1 or column < 0:
            if begin is not None:
                width = before + 1 - begin
                move = f"m{begin - drawn} 0" if found else f"M{begin} {number(top)}"  # `z` goes back to where one began
                found.append(f"{move}h{width}v{number(height)}h-{width}z")
                drawn = begin
            begin = column
        before = column
    return found


def _words(content: LaneContent, window: Window) -> str:
    ended = [
        run for run in content.past if run.ended_at >= window.start and (run.started_at or run.ended_at) <= window.end
    ]
    bad = sum(run.outcome != Outcome.SUCCEEDED for run in ended)
    coming = [run for run in content.expected if run.starts_at <= window.end]
    words = f"Lane {content.lane}: {plural(len(ended), 'run')} ended, {bad:,} of them not succeeded"
    words += f"; {len(content.active):,} at work; {len(coming):,} expected"
    if missed := sum(one.number for one in content.missed):
        words += f"; {plural(missed, 'slot')} missed"
    longest = max(coming, key=lambda run: run.wait, default=None)
    if longest is not None and longest.wait >= SHORTEST_WAIT:
        words += f"; longest wait {durations.in_words(longest.wait.total_seconds())}, {longest.connection}"
    return words
