"""What an export would change in an audience: by the hashes that it was given, for Meta shows nobody its members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from connrunner.connectors import ComparedRows, Refusal, RunContext, Settings
from connrunner.connectors.meta import member_rows
from connrunner.connectors.meta.member_rows import KeyMapping
from connrunner.connectors.meta.members import NAME, Member, MemberLedger

PROFILE_KEY = "profile_key"
OTHER = "another value"  # only its hash is known


def compare_members(
    settings: Settings, context: RunContext, local: Path, samples: Sequence[Mapping[str, str | None]]
) -> ComparedRows:
    """Prepare the rows of *local* as a run would, and compare those of *samples* with the ledger; nothing is asked."""
    mapping = KeyMapping.from_settings(settings)
    keys = [str(one.get(PROFILE_KEY)) for one in samples]
    refused: list[Refusal] = []
    wanted: dict[str, list[Member]] = {}
    for some in member_rows.prepare_rows(local, int(settings.get("batch", 10_000)), mapping):
        refused += some.refused
        wanted |= {key: some.wanted[key] for key in keys if key in some.wanted}
    known = _find_known(context, keys) if settings.get("operation", "add") != "remove" else {}
    held = [_compare(mapping, known[key], wanted.get(key, ())) if key in known else None for key in keys]
    return ComparedRows(refused=tuple(refused), held=tuple(held))


def _find_known(context: RunContext, keys: Iterable[str]) -> Mapping[str, list[Member]]:
    folder = context.ledger
    if folder is None or not (folder / NAME).exists():
        return {}
    with closing(MemberLedger(folder)) as ledger:
        return ledger.find(keys)


def _compare(mapping: KeyMapping, before: Iterable[Member], now: Iterable[Member]) -> dict[str, str | None]:
    """Return the columns of which another value was sent than would be now; None stands for no value."""
    old, new = _by_key(before), _by_key(now)
    return {
        column: OTHER if key in old else None
        for key, column in mapping.keys.items()
        if column and old.get(key) != new.get(key)
    }


def _by_key(members: Iterable[Member]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for member in members:
        for key, value in member.row.items():
            found.setdefault(key, set()).add(value)
    return found
