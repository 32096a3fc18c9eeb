"""Rows of an export as Meta takes them: prepared a batch ahead, while an earlier one is on its way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from connrunner.connectors import Refusal, Settings
from connrunner.connectors.meta import normalization
from connrunner.connectors.meta.members import Member, Row
from connrunner.lazy_dataclasses import dataclass, field

DELETED = b'"deleted":true'
NO_PERSON = frozenset({"EXTERN_ID", "COUNTRY"})  # keys by which nobody can be found

Encoder = tuple[str, str, Callable[[str, str], str]]
"""A key, its column, and what makes what is sent of a value and the profile's country."""


_parse = json.JSONDecoder().raw_decode  # `json.loads` of a line that we wrote: it need not look for its encoding


@dataclass(frozen=True, slots=True)
class KeyMapping:
    """Which keys are made of which columns."""

    keys: Mapping[str, str]  # Meta's key -> column
    hashed: frozenset[str]  # columns whose values are hashes already
    country: str  # of profiles that do not say theirs; empty when nobody knows

    @classmethod
    def from_settings(cls, settings: Settings) -> KeyMapping:
        pairs = [
            (key, column)
            for column, said in settings["keys"].items()
            for key in ([said] if isinstance(said, str) else said)
        ]
        country = normalization.read_country(str(settings.get("country", "")))
        if country and "COUNTRY" not in dict(pairs):
            pairs.append(("COUNTRY", ""))  # Meta wants it in every row, also when all are of one country
        return cls(
            keys=dict(sorted(pairs, key=lambda pair: normalization.KEYS.index(pair[0]))),
            hashed=frozenset(settings.get("hashed", ())),
            country=country,
        )


@dataclass(slots=True)
class PreparedRows:
    """Some rows of the file: what is wanted of each profile, and which rows cannot be sent."""

    wanted: dict[str, list[Member]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    unusable: Counter[str] = field(default_factory=Counter)  # values that are none, by key
    rows: int = 0


def list_deleted(local: Path) -> Iterator[str]:
    """Yield the keys of the profiles that the partner is to delete."""
    with local.open("rb") as file:
        for line in file:
            if DELETED in line and (record := json.loads(line)).get("deleted") is True:
                yield record["profile_key"]


def prepare_rows(local: Path, size: int, mapping: KeyMapping) -> Iterator[PreparedRows]:
    """Yield what is wanted by the rows that are not deleted, *size* at a time."""
    with local.open("rb") as file, ThreadPoolExecutor(1) as pool:
        lines = enumerate(file)

        def submit() -> Future[PreparedRows] | None:
            some = list(islice(lines, size))
            return pool.submit(_prepare, some, mapping) if some else None

        future = submit()
        while future:
            done = future.result()
            future = submit()
            yield done


def hash_file(local: Path) -> str:
    """Return the SHA-256 of the file."""
    digest = sha256()
    with local.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def compose_body(members: Sequence[Member], session: Mapping[str, Any]) -> bytes:
    """Return the body of a request about *members*; keys that a row does not have are empty texts."""
    names = {key for keys in {member.keys or tuple(member.row) for member in members} for key in keys}
    schema = tuple(key for key in normalization.KEYS if key in names)
    # Most rows have all keys, in their order; those out of the ledger have them in another one.
    data = ",".join(member.values if member.keys == schema else _list_values(member.row, schema) for member in members)
    head = json.dumps({"schema": schema}, separators=(",", ":"))[:-1]
    last = json.dumps(session, separators=(",", ":"))
    return f'{{"payload":{head},"data":[{data}]}},"session":{last}}}'.encode()


def _list_values(row: Row, schema: Iterable[str]) -> str:
    return json.dumps([row.get(key, "") for key in schema], ensure_ascii=False, separators=(",", ":"))


def _prepare(lines: Sequence[tuple[int, bytes]], mapping: KeyMapping) -> PreparedRows:
    found = PreparedRows(rows=len(lines))
    wanted, unusable = found.wanted, found.unusable
    encoders = [
        (key, column, normalization.encoder(key, hashed=column in mapping.hashed))
        for key, column in mapping.keys.items()
    ]
    for number, line in lines:
        record, _ = _parse(line.decode())
        if record.get("deleted") is True:
            continue
        profile = record["profile_key"]
        rows = _make_rows(record, mapping, encoders, unusable)
        if rows:
            wanted[profile] = [Member.from_row(profile, row) for row in rows]
        else:
            given = ", ".join(key for key in mapping.keys if key not in NO_PERSON)
            message = f"nothing that Meta could find a person by: {given} are empty or cannot be used"
            found.refused.append(Refusal(row=number, code="no-key", message=message))
    return found


def _make_rows(
    record: Mapping[str, Any], mapping: KeyMapping, encoders: Iterable[Encoder], unusable: Counter[str]
) -> list[dict[str, str]]:
    """Return the rows of a profile: as many as its key with the most values has."""
    column = mapping.keys.get("COUNTRY", "")
    country = mapping.country
    if column:
        country = normalization.read_country(next(iter(_texts(record.get(column))), "")) or country
    one: dict[str, str] = {}  # the values of keys with one
    several: dict[str, list[str]] = {}
    for key, column, encode in encoders:
        value = record.get(column)
        if type(value) is str and not value.isspace() and value:  # the usual value, and the usual way
            if used := encode(value, country):
                one[key] = used
            else:
                unusable[key] += 1
            continue
        given = _texts(value)
        if not given:
            if key != "COUNTRY" or not country:
                continue
            given = [country]
        all_used = [encode(text, country) for text in given]
        found = list(dict.fromkeys(filter(None, all_used)))
        if not all(all_used):
            unusable[key] += 1
        if len(found) > 1:
            several[key] = found
        elif found:
            one[key] = found[0]
    if not several:
        return [one] if one.keys() - NO_PERSON else []
    return _spread(one, several, [key for key, _, _ in encoders])


def _spread(one: Mapping[str, str], several: Mapping[str, list[str]], keys: Iterable[str]) -> list[dict[str, str]]:
    """Return a row for each place in the lists of *several*; those of *one* stand in all, in the order of *keys*."""
    if not (one.keys() | several.keys()) - NO_PERSON:
        return []
    rows: list[dict[str, str]] = []
    for place in range(max(map(len, several.values()))):
        row = {}
        for key in keys:
            if key in one:
                row[key] = one[key]
            elif place < len(several.get(key, ())):
                row[key] = several[key][place]
        rows.append(row)
    return rows


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [str(value)] if str(value).strip() else []
