"""What does a change of the workspace do? Two versions of it compared: connections, keys, slots."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal

from connrunner.core import schedules
from connrunner.core.model import Connection, Target, Workspace
from connrunner.core.schedules import zone
from connrunner.lazy_dataclasses import dataclass

ChangeKind = Literal["added", "removed", "changed", "switched-on", "switched-off", "broken", "mended"]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyDifference:
    """One key that says something else; None where the key is not there."""

    key: str  # with dots between the steps
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionChange:
    """What becomes of one connection."""

    connection: str
    kind: ChangeKind
    keys: tuple[KeyDifference, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Slots:
    """What becomes of the slots of one connection within the days looked at."""

    added: tuple[datetime, ...] = ()
    removed: tuple[datetime, ...] = ()
    moved: tuple[tuple[datetime, datetime], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.moved)


def find_changes(base: Workspace, head: Workspace) -> tuple[ConnectionChange, ...]:
    """Return what becomes of each connection that is not the same in *base* and *head*, by name."""
    names = sorted({*base.connections, *base.broken, *head.connections, *head.broken})
    return tuple(change for name in names if (change := _change(name, base, head)))


def _change(name: str, base: Workspace, head: Workspace) -> ConnectionChange | None:
    before, after = base.connections.get(name), head.connections.get(name)
    if before is None or after is None:
        kind = _came_or_went(name, base, head)
        return ConnectionChange(connection=name, kind=kind) if kind else None
    keys = find_differences(_said(before), _said(after))
    if before.enabled != after.enabled:
        return ConnectionChange(connection=name, kind="switched-on" if after.enabled else "switched-off", keys=keys)
    return ConnectionChange(connection=name, kind="changed", keys=keys) if keys else None


def _came_or_went(name: str, base: Workspace, head: Workspace) -> ChangeKind | None:
    if name in head.broken:
        # One that is broken on both sides is no change, whatever is wrong with it.
        return None if name in base.broken else "broken"
    if name in head.connections:
        return "mended" if name in base.broken else "added"
    return "removed"


def _said(connection: Connection) -> Mapping[str, Any]:
    return {key: value for key, value in connection.document.items() if key != "enabled"}


def find_shared_differences(base: Workspace, head: Workspace) -> tuple[KeyDifference, ...]:
    """Return what differs in what connections share and no document of theirs shows: profile, mail, targets, state."""

    def shared(workspace: Workspace) -> dict[str, Any]:
        mail, beat = workspace.mail, workspace.heartbeat
        return {
            "source": workspace.source,
            "heartbeat": {"url": beat.url, "every": beat.every} if beat else None,
            "timezone": workspace.timezone,
            "state": workspace.state,
            "mail": {"server": mail.server, "from": mail.sender, "username": mail.username, "password": mail.password},
            "notifications": {name: _target(target) for name, target in workspace.targets.items()},
            "profile": dict(workspace.profile_document),
        }

    return find_differences(shared(base), shared(head))


def _target(target: Target) -> dict[str, Any]:
    said = {
        "to": list(target.to),
        "cc": list(target.cc),
        "reply_to": target.reply_to,
        "language": target.language,
        "digest": schedules.as_document(target.digest) if target.digest else None,
        "limit": target.limit,
    }
    return {key: value for key, value in said.items() if value}


def find_differences(before: Any, after: Any, key: str = "") -> tuple[KeyDifference, ...]:
    """Return the keys by which two plain values differ, each as deep as both sides have mappings."""
    return tuple(_differences(before, after, key))


def _differences(before: Any, after: Any, key: str) -> Iterator[KeyDifference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            yield from _differences(before.get(name), after.get(name), f"{key}.{name}" if key else str(name))
        if before == after and list(before) != list(after):  # the columns of an export
            yield KeyDifference(
                key=f"{key} (order)", before=", ".join(map(str, before)), after=", ".join(map(str, after))
            )
    elif before != after:
        yield KeyDifference(key=key, before=before, after=after)


def compare_slots(before: Sequence[datetime], after: Sequence[datetime], *, timezone: str) -> Slots:
    """Return what becomes of slots. One is *moved* when its day, in *timezone*, keeps its number of slots."""
    tz = zone.load_zone(timezone)
    gone, come = sorted({*before} - {*after}), sorted({*after} - {*before})
    counts = [Counter(slot.astimezone(tz).date() for slot in side) for side in (before, after)]
    partners: defaultdict[date, list[datetime]] = defaultdict(list)
    for slot in come:
        partners[slot.astimezone(tz).date()].append(slot)
    moved, removed = [], []
    for slot in gone:
        day = slot.astimezone(tz).date()
        if counts[0][day] == counts[1][day]:
            moved.append((slot, partners[day].pop(0)))
        else:
            removed.append(slot)
    added = sorted(slot for left in partners.values() for slot in left)
    if removed and len(removed) == len(added):  # another weekday: as many, on other days
        moved += zip(removed, added, strict=True)
        removed, added = [], []
    return Slots(added=tuple(added), removed=tuple(removed), moved=tuple(sorted(moved)))
