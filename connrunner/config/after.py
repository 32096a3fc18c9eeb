"""What is wrong with `after`, which connections go behind which: names that do not exist, other lanes, cycles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from connrunner.config.finding import Finding, Path
from connrunner.config.wording import did_you_mean, show
from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a connection waits, and behind which others."""

    lane: str
    after: tuple[str, ...]
    is_list: bool = False  # `after` is written as a list


def read_place(data: Mapping[str, object]) -> Placed:
    """Return what the document of a connection says of its place; parts that are not sound say nothing."""
    said, lane = data.get("after"), data.get("lane", "main")
    names = said if isinstance(said, list) else [said]
    return Placed(
        lane=lane if isinstance(lane, str) else "main",
        after=tuple(name if isinstance(name, str) else "" for name in names) if said is not None else (),
        is_list=isinstance(said, list),
    )


def find_wrong_places(places: Mapping[str, Placed], behind: Iterable[str]) -> Iterator[tuple[str, Finding]]:
    """
    Yield the connections whose `after` cannot be obeyed, with what is wrong.

    *places* has every file, *behind* the names of those that may have an `after`.
    """
    for name in sorted(behind):
        place = places[name]
        for position, other in enumerate(place.after):
            path: Path = ("after", position) if place.is_list else ("after",)
            if not other:
                continue
            if other not in places:
                hint = did_you_mean(other, places) or "name a file of connections/ without .yaml"
                yield name, Finding(path, f"unknown connection {show(other)}", hint, "unknown-name")
            elif places[other].lane != place.lane:
                message = f"{show(other)} waits in lane {show(places[other].lane)}, and this one in {show(place.lane)}"
                hint = "`after` holds within a lane: give both the same `lane`"
                yield name, Finding(path, message, hint, "does-not-fit")
            elif (way := _find_way(other, name, places)) is not None:
                circle = " -> ".join((name, *way))
                hint = "nothing of this could ever start first: take one `after` out"
                yield name, Finding(path, f"a cycle: each goes after the next: {circle}", hint, "cycle")


def _find_way(start: str, end: str, places: Mapping[str, Placed]) -> tuple[str, ...] | None:
    """Return the shortest way from *start* to *end* along `after`, both among it; None when there is none."""
    ways: dict[str, tuple[str, ...]] = {start: (start,)}
    ahead = [start]
    for name in ahead:  # grows meanwhile
        if name == end:
            return ways[name]
        for other in places[name].after:
            if other in places and other not in ways:
                ways[other] = (*ways[name], other)
                ahead.append(other)
    return None
