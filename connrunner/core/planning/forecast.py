"""How long will the queue be? The lanes played through with the run times of the past."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise

from connrunner.core.schedules import zone
from connrunner.lazy_dataclasses import dataclass, replace

TELLING = 20  # runs
GUESS = 300.0  # seconds that a run is taken to last when none has been seen


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDurations:
    """How long the runs of one connection take, in seconds. With no *runs* it is a guess."""

    median: float
    p95: float
    runs: int

    @property
    def has_percentile(self) -> bool:
        """False while there are so few that no 19 of 20 of them can be told from all."""
        return self.runs >= TELLING


def summarize_durations(seconds: Sequence[float], *, guess: float = GUESS) -> RunDurations:
    """Return what *seconds*, the run times of the past, have in common: median and 95th percentile (nearest rank)."""
    if not seconds:
        return RunDurations(median=guess, p95=guess, runs=0)
    known = sorted(seconds)
    middle = len(known) // 2
    median = known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
    return RunDurations(median=median, p95=known[-(-95 * len(known) // 100) - 1], runs=len(known))


def estimate_remaining(usual: RunDurations, elapsed: float) -> float | None:
    """Return how many seconds a run that works for *elapsed* seconds will go on; None when it is slower than p95."""
    for expected in (usual.median, usual.p95):
        if elapsed < expected:
            return expected - elapsed
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictedSlot:
    """A slot that will be due."""

    connection: str
    lane: str
    due_at: datetime
    rank: int = 0  # among those that are due at one instant
    after: tuple[str, ...] = ()  # connections behind which it starts


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictedRun:
    """A predicted run: when it starts and ends, and which one it waits for."""

    connection: str
    lane: str
    due_at: datetime
    starts_at: datetime
    ends_at: datetime
    behind: str = ""  # the connection that runs until this one starts
    merged: int = 0  # slots that fall due while it waits or runs, and have no run of their own [R9]

    @property
    def wait(self) -> timedelta:
        return max(timedelta(0), self.starts_at - self.due_at)


def simulate(
    arrivals: Iterable[PredictedSlot],
    seconds: Mapping[str, float],
    *,
    now: datetime,
    busy: Mapping[str, tuple[str, datetime]] | None = None,
) -> tuple[PredictedRun, ...]:
    """Return the runs that *arrivals* become, by start: in each lane one after the other, as its queue is sorted [R9].

    *seconds* says how long a run of each connection takes. *busy* names the connection that holds a lane now, and when
    its run ends.
    """
    lanes: defaultdict[str, list[PredictedSlot]] = defaultdict(list)
    for arrival in arrivals:
        lanes[arrival.lane].append(arrival)
    visits: list[PredictedRun] = []
    for lane, due in lanes.items():
        holder, free = (busy or {}).get(lane, ("", now))
        visits += _lane(sorted(due, key=lambda one: one.due_at), seconds, holder, max(free, now))
    return tuple(sorted(visits, key=lambda visit: (visit.starts_at, visit.lane)))


def _lane(due: list[PredictedSlot], seconds: Mapping[str, float], holder: str, free: datetime) -> list[PredictedRun]:
    visits: list[PredictedRun] = []
    queue: list[tuple[datetime, int, str]] = []
    after = {arrival.connection: arrival.after for arrival in due}
    waiting: set[str] = set()
    merged: defaultdict[str, int] = defaultdict(int)  # of those that wait
    lane = due[0].lane

    def start() -> None:
        nonlocal holder, free
        held = []
        while not waiting.isdisjoint(after[queue[0][2]]) and len(queue) > 1:
            held.append(heapq.heappop(queue))
        due_at, _, name = heapq.heappop(queue)
        for entry in held:
            heapq.heappush(queue, entry)
        waiting.discard(name)
        starts_at = max(free, due_at)
        behind = holder if free > due_at else ""
        holder, free = name, starts_at + timedelta(seconds=seconds[name])
        visits.append(
            PredictedRun(
                connection=name,
                lane=lane,
                due_at=due_at,
                starts_at=starts_at,
                ends_at=free,
                behind=behind,
                merged=merged.pop(name, 0),
            )
        )

    for due_at, together in groupby(due, key=lambda arrival: arrival.due_at):
        while queue and free <= due_at:
            start()
        for arrival in together:
            name = arrival.connection
            if name in waiting:
                merged[name] += 1
            elif name == holder and free > due_at:
                if visits:
                    visits[-1] = replace(visits[-1], merged=visits[-1].merged + 1)
            else:
                waiting.add(name)
                heapq.heappush(queue, (due_at, arrival.rank, name))
    while queue:
        start()
    return visits


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneDay:
    """What one day of one lane looks like."""

    lane: str
    day: date  # in the workspace's zone, by due instant
    runs: int
    seconds: float  # of work, with median run times; that of merged slots counts, though it is not done
    seconds_p95: float  # of work, when every run is slow
    overlaps: int  # slots that fall due while the lane works or others wait
    merged: int  # slots that get no run of their own
    longest: PredictedRun  # the run that waits longest

    @property
    def is_too_full(self) -> bool:
        """True when its work does not fit into 24 hours, or the queue swallows slots."""
        return self.seconds > 86400 or self.merged > 0


def summarize_days(
    visits: Iterable[PredictedRun], durations: Mapping[str, RunDurations], *, timezone: str
) -> tuple[LaneDay, ...]:
    """Return the days of each lane, in their order."""
    tz = zone.load_zone(timezone)
    parts: defaultdict[tuple[date, str], list[PredictedRun]] = defaultdict(list)
    for visit in visits:
        parts[visit.due_at.astimezone(tz).date(), visit.lane].append(visit)
    return tuple(
        LaneDay(
            lane=lane,
            day=day,
            runs=len(part),
            seconds=sum(durations[visit.connection].median * (1 + visit.merged) for visit in part),
            seconds_p95=sum(durations[visit.connection].p95 * (1 + visit.merged) for visit in part),
            overlaps=sum(1 for visit in part if visit.wait),
            merged=sum(visit.merged for visit in part),
            longest=max(part, key=lambda visit: (visit.wait, visit.due_at)),
        )
        for (day, lane), part in sorted(parts.items())
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TightSchedule:
    """A schedule that is shorter than the run: the next slot comes before a slow run has ended."""

    connection: str
    gap: timedelta  # the shortest one between two of its slots
    at: datetime  # the earlier of the two
    usual: RunDurations


def find_tight_schedules(
    slots: Mapping[str, Sequence[datetime]], durations: Mapping[str, RunDurations]
) -> tuple[TightSchedule, ...]:
    """Return the connections whose slots come closer together than their slow runs (p95) take."""
    found = []
    for name in sorted(slots):
        gaps = [(later - earlier, earlier) for earlier, later in pairwise(slots[name])]
        if gaps and (shortest := min(gaps))[0].total_seconds() < durations[name].p95:
            found.append(TightSchedule(connection=name, gap=shortest[0], at=shortest[1], usual=durations[name]))
    return tuple(found)
