"""Every JSON output is as docs/json says: nothing that is required is missing, nothing that is there is undescribed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from connrunner.cli import command_line as cli
from connrunner.core import instant
from connrunner.core.counts import NAMES
from connrunner.core.model import Outcome
from connrunner.scheduler import tick
from tests.conftest import PROFILE, Place
from tests.test_cli import typed

HOME = Path(__file__).parent.parent / "docs" / "json"
FILES = sorted(path.stem for path in HOME.glob("*.json"))
MONDAYS = '{type: days_of_week, days: [monday], time: "06:00"}'
NOW = "2026-11-23T05:00:00Z"


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HOME / f"{name}.json").read_text())
    return found


def closed(part: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that allows no key but those that it describes: outputs are only ever added to, with a word."""
    part = dict(part)
    for keyword in part.keys() & {"properties", "$defs"}:
        part[keyword] = {name: closed(each) for name, each in part[keyword].items()}
    if "oneOf" in part:
        part["oneOf"] = [closed(each) for each in part["oneOf"]]
    for keyword in part.keys() & {"items", "additionalProperties"}:
        part[keyword] = closed(part[keyword]) if isinstance(part[keyword], dict) else part[keyword]
    return {"additionalProperties": False, **part} if "properties" in part else part


def validator(name: str) -> Draft202012Validator:
    resources = [(f"{each}.json", Resource.from_contents(closed(load(each)))) for each in FILES]
    registry: Registry[Any] = Registry().with_resources(resources)
    return Draft202012Validator(
        closed(load(name)), registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def complaints(name: str, data: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(data)]


# --- the schemas -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_each_schema_is_sound_and_says_what_each_key_is(name: str) -> None:
    schema = load(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"{name}.json"
    assert schema["description"]

    def undescribed(part: dict[str, Any], place: str) -> Iterator[str]:
        for key, inner in part.get("properties", {}).items():
            if not inner.get("description") and "$ref" not in inner and "const" not in inner:
                yield f"{place}.{key}"
        several = [*part.get("properties", {}).values(), *part.get("$defs", {}).values(), *part.get("oneOf", ())]
        for inner in [*several, *(part[key] for key in ("items",) if key in part)]:
            yield from undescribed(inner, f"{place}/{inner.get('description', '')}")

    assert list(undescribed(schema, name)) == []


def test_counters_and_outcomes_are_all_there() -> None:
    shared = load("common")["$defs"]
    assert list(shared["counts"]["properties"]) == list(NAMES)
    assert shared["outcome"]["enum"] == list(Outcome)


def test_every_command_that_speaks_json_is_here() -> None:
    """A command that takes `--format json` has to be in `ASKED`, or among those that are looked at on their own."""
    import click

    def speaking(command: click.Command, words: tuple[str, ...]) -> Iterator[str]:
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                inner = command.get_command(click.Context(command), name)
                assert inner is not None
                yield from speaking(inner, (*words, name))
        elif any("json" in getattr(param.type, "choices", ()) for param in command.params):
            yield " ".join(words)

    asked = {" ".join(words) for words, _ in ASKED} | {
        "tick",
        "log",
        "stop",
        "undo",
        "approve",
        "decline",
        "history archive",
    }
    missing = [one for one in speaking(cli.commands, ()) if not any(f"{line} ".startswith(f"{one} ") for line in asked)]
    assert missing == []


# --- what the commands say ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A workspace in which a little of everything has happened."""
    place = Place(tmp_path_factory.mktemp("lived") / "workspace")
    place.write(
        "connrunner.yaml",
        "version: 1\ntimezone: Europe/Amsterdam\ndefaults: {notify: [{to: a@example.com, when: always}]}\n",
    )
    place.write("profile.yaml", PROFILE)
    place.write("in/people.csv", "id,email,name,age\n1,ann@example.com,Ann,30\n2,bob@example.com,Bob,old\n")
    fields = "{id: id, email: email, name: name, age: age}"
    place.write(
        "connections/people.yaml",
        f'schedule: {MONDAYS}\nimport:\n  from: {{type: files, path: "in/*.csv"}}\n  match: [id]\n  fields: {fields}\n',
    )
    place.write(
        "connections/audience.yaml",
        f"schedule: {MONDAYS}\nexport:\n  to: {{type: files, path: out.csv}}\n  fields: {{Id: id}}\nlane: side\n",
    )
    says = (
        'import json; print(json.dumps({"message": "half", "counts": {"created": 1}}), flush=True); raise SystemExit(3)'
    )
    place.command("program", says, schedule=MONDAYS)
    place.command(
        "later", "print()", schedule='{type: days_of_week, days: [friday], time: "06:00"}', more="labels: {team: crm}\n"
    )
    place.write("connections/tap.yaml", TAP)
    place.write("connections/broken.yaml", "schedule: {type: manual}\n")
    assert typed(place, "tick", "--now", "2026-11-22T05:00:00Z")[0] == 0
    code, out, _ = typed(place, "tick", "--now", NOW, "--format", "json")
    assert code == 0
    place.write("tick.jsonl", out)
    return place


TAP = """\
enabled: false
schedule: {type: manual}
import:
  from: {type: singer, package: "tap-jsonl==0.3.1", stream: people, config: {}}
  match: [id]
  fields: {id: id}
"""

ASKED: list[tuple[tuple[str, ...], str]] = [
    (("runs", "people"),                                   "runs"),
    (("runs", "broken"),                                   "runs"),
    (("status", "--now", NOW),                             "status"),
    (("status", "--check", "--now", NOW),                  "status"),
    (("next", "--now", NOW),                               "next"),
    (("rejects", "people"),                                "rejects"),
    (("explain", "program", "--now", NOW),                 "explain"),
    (("explain", "people", "--at", NOW, "--now", NOW),     "explain"),
    (("explain", "broken"),                                "explain"),
    (("explain", "import.match"),                          "explain"),
    (("explain", "exit-status"),                           "explain"),
    (("doctor", "--connections"),                          "doctor"),
    (("notify", "list"),                                   "letters"),
    (("state", "people"),                                  "state"),
    (("profiles",),                                        "profiles"),
    (("profiles", "ann@example.com"),                      "profiles"),
    (("profiles", "erase", "ann@example.com", "--dry-run"), "erasure"),
    (("profiles", "--id", "1"),                            "profiles"),
    (("connectors", "list"),                               "connectors"),
    (("validate",),                                        "problems"),
    (("replay", "--now", "2026-11-27T05:00:00Z"),          "replay"),
    (("plan", "--base", "BASE", "--now", NOW),             "plan"),
    (("run", "people", "--dry-run"),                       "rehearsal"),
    (("notify", "preview", "people"),                      "preview"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("words", "schema"), ASKED, ids=[" ".join(words) for words, _ in ASKED])
def test_what_a_command_says(
    lived: Place, words: tuple[str, ...], schema: str, make_place: Callable[[str], Place]
) -> None:
    if "BASE" in words:
        base = make_place("base")
        base.command("program", "print()", schedule='{type: days_of_week, days: [tuesday], time: "06:00"}')
        base.command("gone", "print()", schedule=MONDAYS)
        words = tuple(str(base.folder) if word == "BASE" else word for word in words)
    _, out, err = typed(lived, *words, "--format", "json")
    assert complaints(schema, json.loads(out)) == [], err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["people", "audience", "program"])
def test_what_a_log_says(lived: Place, name: str) -> None:
    _, out, _ = typed(lived, "log", name, "--format", "json")
    events = [json.loads(line) for line in out.splitlines()]
    assert [complaints("log", event) for event in events] == [[] for _ in events]
    assert [event.get("type") for event in (events[0], events[-1])] == ["started", "ended"]


@pytest.mark.slow
def test_what_a_tick_says(lived: Place) -> None:
    events = [json.loads(line) for line in (lived.folder / "tick.jsonl").read_text().splitlines()]
    assert [complaints("tick", event) for event in events] == [[] for _ in events]
    assert {event["event"] for event in events} == {"queued", "started", "ended", "mailed"}


def test_what_a_tick_seldom_says() -> None:
    at = "2026-11-22T06:00:00Z"
    mail = {"connection": "a", "run": 1, "about": "failed", "reason": "no answer"}
    for event in (
        {"event": "busy", "lane": "main", "connection": "a", "run": 1, "since": at, "waiting": ["b"]},
        {"event": "hole", "from": at, "to": at, "missed": {"a": 3}},
        {"event": "left-over", "lane": "main", "processes": ["sleep (12)"]},
        {"event": "problem", "message": "x"},
        {"event": "stopping", "connection": "a", "run": 1, "reason": "jane"},
        {"event": "adopted", "connection": "a", "run": 1, "lives": True},
        {"event": "mail-waits", **mail},
        {"event": "mail-dead", "recipient": "a@example.com", **mail},
    ):
        assert complaints("tick", event) == [], event
    assert complaints("tick", {"event": "unheard-of"})
    assert complaints("tick", {"event": "problem", "message": "x", "new": 1}), "an undescribed key is seen"


@pytest.mark.slow
@pytest.mark.thorough
def test_what_comes_of_a_run_that_is_asked_for(lived: Place) -> None:
    _, out, _ = typed(lived, "run", "program", "--format", "json")
    assert complaints("run", json.loads(out)) == []


def test_an_archive_and_a_wish_to_stop(place: Place, tmp_path: Path) -> None:
    place.command("a", "print()", schedule="{type: times_per_day, times: 1}")
    place.state.prepare()
    tick.Tick(place.folder, place.state, now=instant.parse(NOW), say=lambda _: None).take_in()
    _, out, _ = typed(place, "history", "archive", "--to", str(tmp_path / "a.tar.gz"), "--format", "json")
    assert complaints("archive", json.loads(out)) == []
    _, out, _ = typed(place, "stop", "a", "--detach", "--format", "json")
    assert complaints("stop", json.loads(out)) == []
