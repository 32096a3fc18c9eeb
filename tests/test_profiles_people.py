"""
Imports by several identifiers against a model in plain Python, which walks from row to row.

The model shares no thought with the SQL: it looks profiles up in a list, joins rows that hang together with a
union-find, and changes dicts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connrunner.core.counts import NAMES
from connrunner.core.model import Field, Format, Import, Objective, ProfileModel, Write
from tests.effort import examples
from tests.test_profiles_open import Shelf, properties

COLUMNS = ("id", "email", "code", "name", "visits", "tags", "news", "ads")
MODEL = ProfileModel(
    properties=properties(id="text!", email="email!", code="text!", name="text", visits="integer", tags="text*"),
    objectives={"news": Objective(name="news"), "ads": Objective(name="ads", legislation="opt-out")},
)
IDENTIFIERS = ("id", "email", "code")
Row = dict[str, str]
Profile = dict[str, Any]


@dataclass
class Person:
    """What the model thinks of one row."""

    number: int
    values: Profile = field(default_factory=dict)
    found: set[int] = field(default_factory=set)
    verdict: str = ""


def parsed(row: Row, work: Import) -> Profile | None:
    """Return the values of *row*, or None when one of them is wrong or no key is complete."""
    values: Profile = {
        "id": row["id"] or None,
        "email": row["email"].lower() or None,
        "code": row["code"] or None,
        "name": row["name"] or None,
        "visits": None,
        "tags": {tag for tag in row["tags"].split(";") if tag} or None,
    }
    if row["visits"]:
        if not row["visits"].lstrip("-").isdigit():
            return None
        values["visits"] = int(row["visits"])
    if values["email"] and "@" not in values["email"]:
        return None
    for objective in ("news", "ads"):
        values[objective] = {"": None, "yes": True, "no": False}[row[objective]]
    return values if any(all(values[name] for name in group) for group in work.match) else None


def after(profile: Profile | None, values: Profile, work: Import) -> Profile:
    """Return what becomes of *profile* (None: a new one)."""
    is_new = profile is None
    result = dict(profile) if profile else dict.fromkeys(COLUMNS)
    for one in work.fields:
        name, value = one.property, values[one.property]
        if one.only == ("existing" if is_new else "new"):
            continue
        if value is None:
            if one.empty == "clear" and one.write is not Write.SET_IF_EMPTY:
                result[name] = None
            continue
        match one.write:
            case Write.SET:
                result[name] = value
            case Write.SET_IF_EMPTY:
                result[name] = value if result[name] is None else result[name]
            case Write.INCREMENT:
                result[name] = (result[name] or 0) + value
            case Write.ADD:
                result[name] = (result[name] or set()) | value
            case Write.REMOVE:
                result[name] = ((result[name] or set()) - value) or None
    for objective in work.consent:
        if values[objective] is not None:
            result[objective] = values[objective]
    return result


def acts(profile: Profile | None, values: Profile, work: Import) -> bool:
    """Tell whether the connection may act."""

    def said(objective: str) -> bool | None:
        own = values[objective] if objective in work.consent else None
        return (profile or {}).get(objective) if own is None else own

    if "news" in work.objectives and said("news") is not True:
        return False
    return "ads" not in work.objectives or said("ads") is not False


def model_import(profiles: list[Profile], rows: Sequence[Row], work: Import) -> dict[str, int]:
    """Do to *profiles* what the import of *rows* does; return the counters."""
    people = []
    counts = dict.fromkeys(NAMES, 0) | {"read": len(rows), "checked": len(rows)}
    for number, row in enumerate(rows):
        values = parsed(row, work)
        if values is None:
            counts["invalid"] += 1
            continue
        person = Person(number, values)
        for position, known in enumerate(profiles):
            if any(all(values[name] and known[name] == values[name] for name in group) for group in work.match):
                person.found.add(position)
        if len(person.found) > 1:
            counts["ambiguous"] += 1
        else:
            people.append(person)

    above = {person.number: person.number for person in people}

    def top(number: int) -> int:
        return number if above[number] == number else top(above[number])

    for one in people:
        for other in people:
            shares = any(
                all(one.values[name] and one.values[name] == other.values[name] for name in group)
                for group in work.match
            )
            if shares or (one.found and one.found == other.found):
                above[top(one.number)] = top(other.number)

    winners: list[tuple[Person, int | None]] = []
    for root in {top(person.number) for person in people}:
        crowd = [person for person in people if top(person.number) == root]
        found = set().union(*(person.found for person in crowd))
        if len(found) > 1:
            counts["ambiguous"] += len(crowd)
        else:
            counts["duplicate"] += len(crowd) - 1
            winners.append((max(crowd, key=lambda person: person.number), found.pop() if found else None))

    changes: list[tuple[Person, int | None, Profile]] = []
    for person, place in sorted(winners, key=lambda winner: winner[0].number):
        profile = None if place is None else profiles[place]
        if profile is None and not work.create:
            counts["not_found"] += 1
        elif not acts(profile, person.values, work):
            counts["consent_blocked"] += 1
            if profile is not None:
                for objective in work.consent:
                    if person.values[objective] is False:
                        profile[objective] = False
        else:
            result = after(profile, person.values, work)
            if result == profile:
                counts["unchanged"] += 1
            else:
                changes.append((person, place, result))

    alone = {group[0] for group in work.match if len(group) == 1}
    written = {one.property for one in work.fields}
    refused = set()
    for name in IDENTIFIERS:
        if name in alone or name not in written:
            continue
        takers = [
            (person.number, place, result[name])
            for person, place, result in changes
            if result[name] is not None and (place is None or profiles[place][name] != result[name])
        ]
        for number, _, value in takers:
            owners = [profile for profile in profiles if profile[name] == value]
            rivals = [taker for taker in takers if taker[0] != number and taker[2] == value]
            if owners or rivals:
                refused.add(number)
    for person, place, result in changes:
        if person.number in refused:
            counts["ambiguous"] += 1
        elif place is None:
            counts["created"] += 1
            profiles.append(result)
        else:
            counts["updated"] += 1
            profiles[place] = result
    return counts


GROUPS = st.sampled_from(
    [
        [["id"]],
        [["email"]],
        [["id"], ["email"]],
        [["email"], ["id"]],
        [["id", "email"]],
        [["id", "email"], ["code"]],
        [["id"], ["email"], ["code"]],
        [["id", "code"], ["email"]],
    ]
)
ROWS = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["", "1", "2", "3", "4"]),
        "email": st.sampled_from(["", "a@x.org", "B@x.org", "c@x.org", "d@x.org", "nobody"]),
        "code": st.sampled_from(["", "", "p", "q", "r"]),
        "name": st.sampled_from(["", "Ann", "Bob", "Jörg"]),
        "visits": st.sampled_from(["", "1", "-2", "x"]),
        "tags": st.sampled_from(["", "a", "b;a", "b;c;b"]),
        "news": st.sampled_from(["", "yes", "no"]),
        "ads": st.sampled_from(["", "", "yes", "no"]),
    }
)
Only = Literal["all", "new", "existing"]
ONLY: st.SearchStrategy[Only] = st.sampled_from(["all", "all", "new", "existing"])
ALL_OR_NEW: st.SearchStrategy[Only] = st.sampled_from(["all", "new"])
EMPTY: st.SearchStrategy[Literal["keep", "clear"]] = st.sampled_from(["keep", "clear"])


@st.composite
def works(draw: st.DrawFn) -> Import:
    """Draw an import that means something."""
    match = draw(GROUPS)
    keys = {name for group in match for name in group}
    create = draw(st.booleans())
    fields = [
        Field(
            property=name,
            column=name,
            write=draw(st.sampled_from([Write.SET, Write.SET_IF_EMPTY])),
            only=draw(ALL_OR_NEW if create else ONLY) if name in keys else draw(ONLY),
            empty=draw(EMPTY),
        )
        for name in IDENTIFIERS
        if name in keys or draw(st.booleans())
    ]
    writes = {
        "name": [Write.SET, Write.SET_IF_EMPTY],
        "visits": [Write.SET, Write.SET_IF_EMPTY, Write.INCREMENT],
        "tags": [Write.SET, Write.SET_IF_EMPTY, Write.ADD, Write.REMOVE],
    }
    fields += [
        Field(property=name, column=name, write=draw(st.sampled_from(allowed)), only=draw(ONLY), empty=draw(EMPTY))
        for name, allowed in writes.items()
    ]
    return Import(
        source={},
        format=Format(),
        match=tuple(map(tuple, match)),
        fields=tuple(fields),
        create=create,
        objectives=tuple(draw(st.lists(st.sampled_from(["news", "ads"]), unique=True))),
        consent={name: name for name in draw(st.lists(st.sampled_from(["news", "ads"]), unique=True))},
    )


def text_of(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def parsed_alike(rows: Sequence[Row], work: Import) -> list[Row]:
    """Return *rows* as the model sees them: a column that no field reads cannot be wrong."""
    read = {one.column for one in work.fields} | set(work.consent.values())
    return [{name: value if name in read else "" for name, value in row.items()} for row in rows]


@pytest.mark.slow
@settings(max_examples=examples(3), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(works(), st.lists(ROWS, max_size=9)), min_size=1, max_size=3))
def test_an_import_does_what_plain_python_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Import, list[Row]]]
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("people"), MODEL)
    profiles: list[Profile] = []
    everyone = Import(
        source={},
        format=Format(),
        match=(("id",), ("email",)),
        fields=tuple(Field(property=name, column=name) for name in MODEL.properties),
        consent={"news": "news", "ads": "ads"},
    )
    seed = [
        dict(zip(COLUMNS, row, strict=True))
        for row in (
            ("1", "a@x.org", "p", "Ann", "3", "a;b", "yes", ""),
            ("2", "b@x.org", "", "", "", "", "", "no"),
            ("3", "", "q", "Bob", "", "c", "no", "yes"),
        )
    ]
    with shelf.open() as store:
        for work, rows in [(everyone, seed), *steps]:
            want = model_import(profiles, parsed_alike(rows, work), work)
            got = shelf.take(work, text_of(rows), store=store)
            assert got.counts.as_dict() == want, (work, rows)
            told = {reject["line"] for reject in shelf.told()}
            assert len(told) == sum(
                want[name] for name in ("invalid", "ambiguous", "duplicate", "not_found", "consent_blocked")
            )
    names = list(MODEL.properties)
    kept = shelf.sql(f"SELECT {', '.join(names)}, consent_news, consent_ads FROM store.profiles ORDER BY _id")
    wanted = [
        tuple(sorted(value) if isinstance(value, set) else value for value in (profile[name] for name in COLUMNS))
        for profile in profiles
    ]
    assert sorted(kept, key=repr) == sorted(wanted, key=repr)
    for name in IDENTIFIERS:
        values = [profile[names.index(name)] for profile in kept if profile[names.index(name)] is not None]
        assert len(values) == len(set(values))


def test_a_long_chain_of_rows_is_one_person(tmp_path: Path) -> None:
    """Each row shares its id with the one before and its e-mail address with the one after."""
    shelf = Shelf(tmp_path, MODEL)
    rows = ["id,email", *(f"{(number + 1) // 2},a{number // 2}@x.org" for number in range(2000))]
    work = Import(
        source={},
        format=Format(),
        match=(("id",), ("email",)),
        fields=(Field(property="id", column="id"), Field(property="email", column="email")),
    )
    result = shelf.take(work, "\n".join(rows) + "\n")
    assert (result.counts.created, result.counts.duplicate) == (1, 1999)
    assert shelf.profiles("id", "email") == [("1000", "a999@x.org")]
