"""Rows of an export as Meta takes them: prepared a batch ahead, while an earlier one is on its way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from connrunner.connectors import Refusal, Settings
from connrunner.connectors.meta import normalization
from connrunner.connectors.meta.members import Member
from connrunner.lazy_dataclasses import dataclass, field

DELETED = b'"deleted":true'
NO_PERSON = ("EXTERN_ID", "COUNTRY")  # keys by which nobody can be found


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
    rows = [member.row for member in members]
    names = set().union(*rows)
    schema = [key for key in normalization.KEYS if key in names]
    # Most rows have all keys, in their order; those out of the ledger have them in another one.
    data = [list(row.values()) if list(row) == schema else [row.get(key, "") for key in schema] for row in rows]
    body = {"payload": {"schema": schema, "data": data}, "session": session}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _prepare(lines: Sequence[tuple[int, bytes]], mapping: KeyMapping) -> PreparedRows:
    found = PreparedRows(rows=len(lines))
    for number, line in lines:
        record = json.loads(line)
        if record.get("deleted") is True:
            continue
        profile = record["profile_key"]
        rows = list(_make_rows(record, mapping, found.unusable))
        if rows:
            found.wanted[profile] = [Member.from_row(profile, row) for row in rows]
        else:
            given = ", ".join(key for key in mapping.keys if key not in NO_PERSON)
            message = f"nothing that Meta could find a person by: {given} are empty or cannot be used"
            found.refused.append(Refusal(row=number, code="no-key", message=message))
    return found


def _make_rows(record: Mapping[str, Any], mapping: KeyMapping, unusable: Counter[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a profile: as many as its key with the most values has."""
    column = mapping.keys.get("COUNTRY", "")
    country = normalization.read_country(next(iter(_texts(record.get(column))), "")) or mapping.country
    values: dict[str, list[str]] = {}
    most = 0
    finds = False
    for key, column in mapping.keys.items():
        given = _texts(record.get(column))
        if not given:
            if key != "COUNTRY" or not country:
                continue
            given = [country]
        used = [normalization.encode(key, text, country, hashed=column in mapping.hashed) for text in given]
        if not all(used):
            used = list(filter(None, used))
            unusable[key] += 1
        if len(used) > 1:
            used = list(dict.fromkeys(used))
        if used:
            values[key] = used
            most = max(most, len(used))
            finds = finds or key not in NO_PERSON
    if not finds:
        return
    if most == 1:
        yield {key: texts[0] for key, texts in values.items()}
        return
    for place in range(most):
        row = {}
        for key, texts in values.items():
            if place < len(texts):
                row[key] = texts[place]
            elif len(texts) == 1:
                row[key] = texts[0]
        yield row


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [str(value)] if str(value).strip() else []
