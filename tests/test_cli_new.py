"""`connrunner new` and `init --empty`: files that are sound at once, and overwrite nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from connrunner.answers.new_connection import KINDS, format_connection, name_variable
from connrunner.cli import init
from connrunner.config import load
from connrunner.core.model import ProfileModel, Property
from tests.conftest import Place
from tests.test_cli import typed

PROFILES = {
    "one": "properties:\n  email: {type: email, identifier: true}\n",
    "numbers": "properties:\n  age: {type: integer}\n  customer: {type: integer, identifier: true}\n  at: {type: datetime}\n",
    "words": "properties:\n"
    + "".join(f'  "{name}": {{type: text, identifier: true}}\n' for name in ("true", "null", "key", "name", "id"))
    + "objectives:\n  newsletter: {title: News, legislation: opt-in}\n  post: {title: Post, legislation: opt-out}\n",
    "sets": "properties:\n  id: {type: text, identifier: true}\n  tags: {type: text, many: true}\n"
    "  vip: {type: boolean}\n  value: {type: decimal}\n  born: {type: date}\n",
}


@pytest.mark.parametrize("profile", PROFILES)
def test_each_kind_is_sound_in_each_workspace(place: Place, profile: str) -> None:
    place.write("profile.yaml", PROFILES[profile])
    for number, kind in enumerate(KINDS):
        for name, more in ((f"in-{kind}", []), (f"{number}_out", ["--export"])):
            code, out, err = typed(place, "new", name, "--from", kind, *more)
            assert (code, err, f"wrote connections/{name}.yaml" in out) == (0, "", True)

    code, out, err = typed(place, "validate")
    assert (code, err) == (0, ""), out
    found = load.load(place.folder).connections
    assert len(found) == 2 * len(KINDS)
    assert not any(one.enabled for one in found.values())
    typed(place, "tick")
    assert not any(place.state.history(name).exists() for name in found)
    for name, one in found.items():
        if one.kind != "command":
            assert one.kind == ("import" if name.startswith("in-") else "export")


def test_it_has_the_fields_of_the_workspace_and_no_secret(place: Place) -> None:
    typed(place, "new", "crm-nl", "--from", "sftp")

    text = (place.folder / "connections/crm-nl.yaml").read_text()
    assert "match: [id] " in text
    assert re.findall(r"^    (\w+): \1$", text, re.MULTILINE) == ["id", "email", "name", "age"]
    assert 'password: "env:CRM_NL_PASSWORD"' in text
    assert not re.search(r"[A-Z]+(?<!SHA)\b", re.sub(r"CRM_NL\w+|SHA256|URL|SELECT|FROM|IS NOT NULL", "", text))
    assert "$schema" not in text  # there are no schemas for the editor here


def test_the_schema_for_the_editor_is_named_where_there_is_one(tmp_path: Path) -> None:
    place = Place(tmp_path / "made")
    init.create_empty(place.folder)
    typed(place, "new", "crm", "--from", "files", "--export")
    first = (place.folder / "connections/crm.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../.schemas/connection.json"


NAMES = ["", "X", "a b", "../a", "a/b", "a.yaml", "-a", "_a", "ä", "x" * 64, ".a"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_file_may_have(place: Place, name: str) -> None:
    assert typed(place, "new", "--from", "files", "--", name)[0] == 2
    assert not (place.folder / "connections").exists()


def test_nothing_is_overwritten(place: Place, tmp_path: Path) -> None:
    place.write("connections/a.yaml", "mine")
    (place.folder / "connections/b.yaml").symlink_to(tmp_path / "elsewhere")
    for name in ("a", "b"):
        code, _, err = typed(place, "new", name, "--from", "files")
        assert (code, "is there already" in err) == (2, True)
    assert (place.folder / "connections/a.yaml").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_what_cannot_be_written(place: Place) -> None:
    assert typed(place, "new", "a", "--from", "gopher")[0] == 2
    assert typed(place, "new", "a")[0] == 2
    place.write("connections", "a file")
    code, _, err = typed(place, "new", "a", "--from", "files")
    assert (code, "connections" in err) == (2, True)
    (place.folder / "connections").unlink()
    place.write("profile.yaml", "properties: {}\n")
    assert typed(place, "new", "a", "--from", "files")[0] == 2
    assert not (place.folder / "connections").exists()
    assert typed(place, "new", "a", "--from", "command")[0] == 0  # a program needs no profile


def test_names_of_variables() -> None:
    assert [name_variable(name) for name in ("crm", "crm-nl_2", "2nd")] == ["CRM", "CRM_NL_2", "_2ND"]
    text = format_connection("a", "s3", ProfileModel(properties={"id": Property(name="id")}), export=True)
    assert '"env:A_KEY_ID"' in text


# --- an empty workspace ------------------------------------------------------------------------------------------


def test_an_empty_workspace(tmp_path: Path) -> None:
    place = Place(tmp_path / "new" / "workspace")
    place.folder.parent.mkdir()
    here = Place(tmp_path)
    code, out, _ = typed(here, "init", "--empty", "new/workspace")

    assert (code, "cd new/workspace" in out) == (0, True)
    assert sorted(path.name for path in place.folder.iterdir()) == [
        ".github", ".gitignore", ".pre-commit-config.yaml", ".schemas", "connections", "connrunner.yaml", "notifications",
        "profile.yaml", "schedules", "templates",
    ]  # fmt: skip
    assert [typed(place, command)[0] for command in ("validate", "tick", "tick", "status", "next", "runs")] == [0] * 6
    assert json.loads(typed(place, "status", "--format", "json")[1])["off"] == []
    workspace = load.load(place.folder)
    assert [name for name, one in workspace.profile.properties.items() if one.identifier] == ["email"]
    for path in (place.folder / "connrunner.yaml", place.folder / "profile.yaml"):
        schema = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
        assert schema
        assert (place.folder / schema[1]).is_file()


def test_an_empty_workspace_overwrites_nothing(tmp_path: Path) -> None:
    here = Place(tmp_path)
    (tmp_path / "connections").mkdir()
    code, _, err = typed(here, "init", "--empty")
    assert (code, "already has connections; choose an empty folder" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["connections"]
