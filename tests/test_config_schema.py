"""The schemas themselves, and the translation of their errors."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from connrunner.config import check, schema, schema_errors, secret_words
from connrunner.config.documents.document import parse
from connrunner.core import schedules
from tests.effort import examples

CASES = Path(__file__).parent / "cases" / "config"
FILES = sorted(path.stem for path in schema.folder().glob("*.json"))
ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description", "examples", "default", "errorMessage", "x-secret"}
STRUCTURE = {"$ref", "properties", "items", "additionalProperties", "propertyNames", "if", "then", "else"}


def parts(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema in the file *name*, with its pointer."""
    yield from _parts(schema.load_schema(name), name)


def _parts(part: Any, pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(part, dict):
        return
    yield pointer, part
    for keyword in ("properties", "$defs"):
        for key, inner in part.get(keyword, {}).items():
            yield from _parts(inner, f"{pointer}/{keyword}/{key}")
    for keyword in ("items", "additionalProperties", "propertyNames", "if", "then", "else"):
        yield from _parts(part.get(keyword), f"{pointer}/{keyword}")
    for keyword in ("oneOf", "anyOf"):
        for number, inner in enumerate(part.get(keyword, [])):
            yield from _parts(inner, f"{pointer}/{keyword}/{number}")


def registry() -> Registry[Any]:
    resources = [(f"{name}.json", Resource.from_contents(schema.load_schema(name))) for name in FILES]
    return Registry().with_resources(resources)


def test_there_is_a_schema_for_every_kind() -> None:
    assert set(schema.KINDS) <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_schema_file(name: str) -> None:
    contents = schema.load_schema(name)
    Draft202012Validator.check_schema(contents)
    assert contents["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert contents["$id"] == f"{name}.json", "relative: an editor finds the neighbours wherever the folder is"
    for pointer, part in parts(name):
        if "$ref" in part:
            assert registry().resolver(f"{name}.json").lookup(part["$ref"]).contents, pointer


@pytest.mark.parametrize("name", FILES)
def test_every_keyword_has_its_words(name: str) -> None:
    """A keyword that `explain` does not know would be a KeyError for somebody with a mistake in a file."""
    known = ANNOTATIONS | STRUCTURE | set(schema_errors._SIMPLE) | {"required", "dependentRequired", "oneOf", "anyOf"}
    for pointer, part in parts(name):
        assert set(part) <= known, pointer


@pytest.mark.parametrize("name", FILES)
def test_beside_a_reference_stand_annotations_only(name: str) -> None:
    """`_written_out` puts the target in the place of the reference: two keywords of one name would be one."""
    for pointer, part in parts(name):
        if "$ref" in part:
            assert set(part) - {"$ref"} <= ANNOTATIONS, pointer


@pytest.mark.parametrize("name", FILES)
def test_every_key_is_described_and_its_examples_are_sound(name: str) -> None:
    for pointer, part in parts(name):
        assert part.get("type") != "object" or "oneOf" in part or "anyOf" in part or "additionalProperties" in part, (
            pointer
        )
        if pointer.rpartition("/")[2] in ("if", "then", "else"):
            continue  # more about keys that are described beside them
        for key, value in part.get("properties", {}).items():
            described = value.get("description") or schema._written_out(value, name).get("description")
            assert described, f"{pointer}/{key}"
            assert described.rstrip("`)")[-1] == "." or described.startswith("`"), described
        checker = Draft202012Validator(schema._written_out(part, name))
        for value in [*part.get("examples", []), *([part["default"]] if "default" in part else [])]:
            assert list(checker.iter_errors(value)) == [], (pointer, value)


def test_what_is_called_like_a_secret_takes_references_only() -> None:
    found = []
    for name in [name for name in FILES if name.startswith("connector-")] + ["workspace"]:
        for pointer, part in parts(name):
            for key, value in part.get("properties", {}).items():
                if secret_words.looks_secret(key):
                    found.append(f"{pointer}/{key}")
                    written = schema._written_out(value, name)
                    each = written.get("properties", {"": written}).values()  # `tokens` has one for each right
                    assert all(schema._written_out(one, name).get("x-secret") is True for one in each), pointer
    assert {"workspace/$defs/mail/password", "connector-sftp/$defs/password/password"} & set(found), found


def test_every_connector_can_be_used() -> None:
    text = json.dumps(schema.load_schema("connection"))
    for name in FILES:
        if name.startswith("connector-"):
            assert f'"{name}.json#/$defs/' in text


# --- the same answers as jsonschema by itself --------------------------------------------------------------------


def documents(kind: str) -> list[Any]:
    places = {"workspace": "connrunner.yaml", "profile": "profile.yaml"}
    sound = (
        [CASES / "workspace" / places[kind]] if kind in places else (CASES / "workspace" / f"{kind}s").glob("*.yaml")
    )
    files = [*sound, *(CASES / "invalid").glob(f"{kind}-*.yaml")]
    return [parse(path.read_bytes(), path.name).data for path in files]


REPLACEMENTS: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "a b",
    "email",
    "nightly",
    "manual",
    [],
    ["x"],
    {},
    {"type": "x"},
    {"from": 1},
)


def mutated(data: Any, chance: random.Random) -> Any:
    """Return a copy of *data* with one part of it changed, removed or added."""
    data = copy.deepcopy(data)
    holders = [part for part in _holders(data) if part]
    if not holders:
        return chance.choice(REPLACEMENTS)
    holder = chance.choice(holders)
    key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    match chance.randrange(4):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[chance.choice(["x", "type", "many", "from", "Title", "time"])] = chance.choice(REPLACEMENTS)
        case _:
            holder[key] = chance.choice(REPLACEMENTS)
    return data


def _holders(data: Any) -> list[Any]:
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return ([data] if isinstance(data, dict | list) else []) + [part for one in inner for part in _holders(one)]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", schema.KINDS)
def test_findings_are_there_when_jsonschema_has_errors_and_only_then(kind: str) -> None:
    stock = Draft202012Validator(schema.load_schema(kind), registry=registry())
    chance = random.Random(kind)
    tried = [data for data in documents(kind) if data is not None]
    while len(tried) < 400:
        tried.append(mutated(chance.choice(tried[:200]), chance))
    answers = set()
    for data in tried:
        found = schema.check_schema(kind, data)
        assert bool(found) == (not stock.is_valid(data)), (data, found)
        answers.add(bool(found))
        _check_words(found)
        _check_further(kind, data, found)
    assert answers == {True, False}


def _check_words(found: list[Any]) -> None:
    for finding in found:
        text = f"{finding.message} {finding.hint}"
        assert "valid under" not in text
        assert not any(python in text for python in ("None", "True", "False", "{'", "ValidationError")), text
        assert finding.code != "invalid"
        assert len(finding.message) < 250


def _check_further(kind: str, data: Any, found: list[Any]) -> None:
    """The checks that follow must cope with whatever is left of a broken file."""
    sound = check.sound_parts(data, found)
    around = check.WorkspaceContext(
        schedules={"nightly": {}},
        targets={"data-team": {}},
        profile=parse((CASES / "workspace" / "profile.yaml").read_bytes(), "x").data,
        profile_missing=False,
    )
    checks: dict[str, Callable[[], Iterable[Any]]] = {
        "workspace": lambda: check.workspace(sound),
        "profile": lambda: check.profile(sound),
        "schedule": lambda: check.schedule(sound),
        "connection": lambda: check.check_connection(sound, around),
        "notification": lambda: iter(()),
    }
    _check_words(list(checks[kind]()))


KINDS_OF_SCHEDULE = st.sampled_from([*schedules.parse.__globals__["KEYS"], "weekly"])
WORDS = st.sampled_from(
    [
        "monday",
        "sunday",
        "mon",
        "first",
        "last",
        "fifth",
        "sixth",
        "01:30",
        "24:00",
        "1:30",
        "UTC",
        "Mars",
        "Europe/Amsterdam",
    ]
)
NUMBERS = st.sampled_from([-1, 0, 1, 31, 32, 1440, 1441, 4.0, True])


DATES = st.sampled_from(["2026-12-25", "2026-02-30", "12-25", "2026-12-24T18:00", "2026-12-26T06:00", "1.1.2027"])
CRON = st.sampled_from(
    ["* * * * *", "@daily", "0 0 31 2 *", "0 24 * * *", "0 6 * *", "0 0 * * FRY", "0 0 */31 2 1#5", ""]
)
RULES = st.sampled_from(
    [
        "FREQ=DAILY",
        "FREQ=DAILY;BYHOUR=6",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=WEEKLY;COUNT=3",
        "RRULE:FREQ=DALY",
        "",
    ]
)


@settings(max_examples=examples(12, long=7500), deadline=None)
@given(
    st.fixed_dictionaries(
        {"type": KINDS_OF_SCHEDULE},
        optional={
            "time": WORDS | NUMBERS,
            "days": st.lists(WORDS, max_size=3) | WORDS,
            "day": WORDS | NUMBERS,
            "week": WORDS,
            "weekday": WORDS,
            "times": NUMBERS,
            "timezone": WORDS,
            "anchor": WORDS,
            "start": DATES,
            "expression": CRON,
            "rule": RULES,
            "schedules": st.lists(st.builds(dict, type=WORDS, time=WORDS, expression=CRON), max_size=2),
            "blackout": st.lists(
                st.dictionaries(
                    st.sampled_from(["dates", "days", "from", "to", "reason", "x"]),
                    WORDS | NUMBERS | DATES | st.lists(WORDS | DATES, max_size=2),
                ),
                max_size=2,
            ),
        },
    )
)
def test_the_schema_and_the_scheduler_mean_the_same(data: dict[str, Any]) -> None:
    found = schema.check_schema("schedule", data)
    found += check.schedule(check.sound_parts(data, found))
    try:
        schedules.check_fires(schedules.parse(data, "UTC"))
    except ValueError:
        assert found, data
    else:
        assert found == []


@pytest.mark.parametrize("kind", sorted(schedules.parse.__globals__["KEYS"]))
def test_every_kind_of_schedule_can_be_written(kind: str) -> None:
    values = {"times": 4, "days": ["monday"], "time": "01:30", "day": "last", "week": "last", "weekday": "sunday"}
    values |= {
        "expression": "@daily",
        "rule": "FREQ=DAILY;BYHOUR=6",
        "schedules": [{"type": "times_per_day", "times": 1}],
    }
    data = {"type": kind, **{key: values[key] for key in schedules.parse.__globals__["KEYS"][kind]}}
    assert schema.check_schema("schedule", data) == []
    assert schedules.parse(data, "UTC")


@pytest.mark.thorough
def test_comparing_items_is_not_quadratic() -> None:
    days = [number if number % 2 else str(number) for number in range(20_000)]
    data = {"type": "days_of_week", "days": [*days, "monday", "monday"], "time": "01:30"}
    codes = {finding.code for finding in schema.check_schema("schedule", data)}
    assert "repeated-item" in codes


@pytest.mark.parametrize("value", ["01:30\n", "01:30 ", "\u0660\u0661:\u0663\u0660", "1:30", "24:00", "23:60"])
def test_a_time_is_exactly_a_time(value: str) -> None:
    data = {"type": "days_of_week", "days": ["monday"], "time": value}
    assert [finding.code for finding in schema.check_schema("schedule", data)] == ["bad-pattern"]
