"""A workspace whose profiles are in PostgreSQL, by its commands: imports, exports, questions, a person who is erased."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tests.conftest import PROFILE
from tests.servers.postgres import Server
from tests.test_erasure_end_to_end import ANN, BOB, IMPORT, Story

URL = "PROFILES_URL"


@pytest.fixture
def story(tmp_path: Path, postgres_server: Server, monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.setenv(URL, postgres_server.url)
    story = Story(tmp_path)
    schema = f"e2e_{uuid.uuid4().hex[:12]}"
    story.place.write(
        "connrunner.yaml", f'version: 1\nstore: {{type: postgresql, url: "env:{URL}", schema: {schema}}}\n'
    )
    return story


@pytest.mark.slow
def test_imports_exports_questions_and_an_erasure(story: Story) -> None:
    story.offer("a", ANN, BOB, "3,x,Cal\n")
    assert story.run("people") == {"read": 3, "created": 2, "invalid": 1}
    assert story.run("people") == {"read": 3, "skipped": 2, "invalid": 1}
    assert story.run("shop") == {"read": 2, "created": 2}
    assert story.run("shop") == {"read": 2, "unchanged": 2}
    assert json.loads(story.place.run("profiles", "--format", "json").out) == {"profiles": 2, "where": None}
    assert (
        json.loads(story.place.run("profiles", "ann@example.com", "--format", "json").out)[0]["properties"]["name"]
        == "Ann Canary"
    )
    assert "2 profiles where id < '3'" in story.place.run("profiles", "--where", "id < '3'").out
    assert [one["name"] for one in json.loads(story.place.run("state", "people", "--format", "json").out)["files"]] == [
        "in/a.csv"
    ]
    assert (
        "would be removed: 1 profile and 1 sent row"
        in story.place.run("profiles", "erase", "ann@example.com", "--dry-run").out
    )
    assert "removed: 1 profile and 1 sent row" in story.place.run("profiles", "erase", "ann@example.com").out
    assert story.run("shop") == {"read": 2, "unchanged": 1, "deleted": 1}, "the partner deletes her"
    assert "ann@example.com" in (story.place.folder / "out/shop-5.csv").read_text()
    story.offer("b", ANN)
    assert story.run("people") == {"read": 4, "skipped": 2, "invalid": 1, "consent_blocked": 1}, "she stays away"
    assert not story.state.profiles.exists(), "nothing is kept twice"


@pytest.mark.slow
def test_profiles_move_there_and_back(story: Story, tmp_path: Path) -> None:
    place = story.place
    settings = (place.folder / "connrunner.yaml").read_text()
    place.write("connrunner.yaml", "version: 1\n")
    long = "t" * 63
    place.write("profile.yaml", f"{PROFILE}  {long}: {{type: text, many: true}}\n  xmin: {{type: decimal}}\n")
    fields = f"{{id: id, email: email, name: name, {long}: tags, xmin: sum}}"
    place.write("connections/people.yaml", IMPORT.replace("{id: id, email: email, name: name}", fields))
    place.write(
        "in/a.csv", 'id,email,name,tags,sum\n1,ann@example.com,Ann,"a,\\ ""b""",1.5\n2,x,,,\n3,bob@example.com,,,\n'
    )
    assert story.run("people") == {"read": 3, "created": 2, "invalid": 1}
    story.run("shop")
    place.run("profiles", "erase", "bob@example.com")
    before = [place.run("profiles", "1", "--format", "json").out, place.run("state", "people", "--format", "json").out]
    assert "names no database" in place.run("profiles", "move", "--to", "postgresql", check=2).err

    place.write("connrunner.yaml", settings)
    assert "every row of 12 tables is the same" in place.run("profiles", "move", "--to", "postgresql").out
    assert not story.state.profiles.exists()
    after = [place.run("profiles", "1", "--format", "json").out, place.run("state", "people", "--format", "json").out]
    assert after == before
    assert story.run("people") == {"read": 3, "skipped": 2, "invalid": 1}
    assert story.run("shop") == {"read": 2, "unchanged": 1, "deleted": 1}
    place.write("in/b.csv", "id,email,name,tags,sum\n3,bob@example.com,,,\n4,,Dee,,2\n")
    assert story.run("people") == {"read": 5, "skipped": 2, "invalid": 1, "consent_blocked": 1, "created": 1}

    told = place.run("profiles", "move", "--to", "duckdb", "--format", "json").out
    assert json.loads(told)["rows"]["profiles"] == 2
    now = place.run("profiles", "4", "--format", "json").out
    place.write("connrunner.yaml", "version: 1\n")
    assert place.run("profiles", "4", "--format", "json").out == now
    assert story.run("people") == {"read": 5, "skipped": 4, "invalid": 1}
    assert place.run("profiles", "1", "--format", "json").out == before[0]
