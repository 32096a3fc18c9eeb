"""`doctor`: each check is ok when all is well, and tells what to type when something is not."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connrunner.config import load
from connrunner.core import instant
from connrunner.doctor import Check, erased_people, machine, partners, state_folder, ticks
from connrunner.doctor import workspace as files
from connrunner.scheduler import idle
from connrunner.state import filesystem as state_ground
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from tests.conftest import Place
from tests.servers.smtp import PASSWORD, Start
from tests.test_cli import typed
from tests.test_notify_smtp import start  # noqa: F401 - a fixture

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def said(checks: Any) -> dict[str, Check]:
    found = list(checks)
    for check in found:
        assert bool(check.fix) == (check.level != "ok"), "each trouble has a remedy"
    return {check.name: check for check in found}


def levels(checks: Any) -> dict[str, str]:
    return {name: check.level for name, check in said(checks).items()}


# --- what it stands on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "level"), [("3.11", "ok"), ("3.99", "failure")])
def test_a_package_for_older_pythons_only(version: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [f'backports-gone>=1.0; python_version < "{version}"']
    monkeypatch.setattr("importlib.metadata.requires", lambda name: wanted)
    assert levels(machine.check_packages()) == {"packages": level}


def test_this_python_and_its_packages() -> None:
    assert levels([*machine.check_python(), *machine.check_packages()]) == {"Python": "ok", "packages": "ok"}


def test_a_package_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["click>=99.1", "no-such-package>=1", "duckdb<99,>=1.5.5", 'obstore>=0.12; extra == "s3"']
    monkeypatch.setattr("importlib.metadata.requires", lambda name: wanted)
    check = said(machine.check_packages())["packages"]
    assert check.level == "failure"
    assert "and 99.1 is the oldest that will do; no-such-package is missing" in check.found
    assert "duckdb" not in check.found


CLOCKS = [
    # kept right, seen before,           level
    (True,  None,                        "ok"),
    (None,  NOW,                         "ok"),
    (True,  NOW + timedelta(minutes=1),  "ok"),
    (True,  NOW + timedelta(minutes=10), "failure"),
    (False, None,                        "warning"),
]  # fmt: skip


@pytest.mark.parametrize(("kept", "seen", "level"), CLOCKS)
def test_the_clock(kept: bool | None, seen: datetime | None, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_synchronised", lambda: kept)
    monkeypatch.setattr(machine, "time_asleep", lambda: timedelta(hours=3))
    assert levels(machine.check_clock(NOW, seen=seen)) == {"clock": level}


def test_the_kernel_can_be_asked_about_its_clock() -> None:
    assert machine.is_synchronised() in (True, False, None)


def test_time_zones() -> None:
    assert levels(machine.check_zone_data(["UTC", "Europe/Amsterdam"], NOW)) == {"time zones": "ok"}
    assert levels(machine.check_zone_data(["UTC", "Europe/Nowhere"], NOW)) == {"time zones": "failure"}
    assert levels(machine.check_zone_data(["UTC"], NOW + timedelta(days=4000))) == {"time zones": "warning"}


# --- the state folder --------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    Journal(folder).open()
    return folder


def test_a_sound_state_folder(state: StateFolder) -> None:
    before = sorted(state.root.rglob("*"))
    assert set(levels(state_folder.check_state_folder(state)).values()) == {"ok"}
    assert sorted(state.root.rglob("*")) == before, "nothing is left behind"


def test_a_state_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert levels(state_folder.check_state_folder(StateFolder(tmp_path / "a" / "b"))) == {
        "state folder": "warning",
        "room": "ok",
    }
    (tmp_path / "file").touch()
    assert levels(state_folder.check_state_folder(StateFolder(tmp_path / "file"))) == {"state folder": "failure"}


@pytest.mark.parametrize(("mode", "level"), [(0o755, "warning"), (0o770, "failure")])
def test_who_may_look_into_the_state(state: StateFolder, mode: int, level: str) -> None:
    state.root.chmod(mode)
    check = said(state_folder.check_state_folder(state))["state folder"]
    assert (check.level, check.fix) == (level, f"chmod 700 {state.root}")


def test_the_state_of_somebody_else(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: state.root.stat().st_uid + 1)
    assert "sudo --user" in said(state_folder.check_state_folder(state))["state folder"].fix


def test_room_and_locks(state: StateFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(state_ground, "ROOM", 1 << 60)
    (tmp_path / "mounts").write_text("30 21 0:40 / / rw,relatime shared:5 - nfs4 server:/export rw\n")
    monkeypatch.setattr(state_ground, "MOUNTS", tmp_path / "mounts")
    found = said(state_folder.check_state_folder(state))
    assert (found["room"].level, found["locks"].level) == ("failure", "failure")
    assert "is on nfs4" in found["locks"].found


def test_locks_that_lie(state: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    assert said(state_folder.check_state_folder(state))["locks"].level == "failure"


def test_a_damaged_and_a_newer_journal(state: StateFolder) -> None:
    (state.root / "journal.damaged").write_bytes(b"\0\0")
    assert said(state_folder.check_state_folder(state))["journal"].level == "warning"
    state.journal.write_text('{"v":99,"type":"planned","at":"2026-11-22T06:00:00Z"}\n')
    assert said(state_folder.check_state_folder(state))["journal"].level == "failure"


@pytest.mark.parametrize("name", ["state", "lane-main", "supervisor-main"])
def test_a_lock_that_cannot_be_one(state: StateFolder, name: str) -> None:
    (state.locks / name).mkdir()
    check = said(state_folder.check_state_folder(state))["locks"]
    assert (check.level, check.found) == (
        "failure",
        f"{state.locks / name} is no file but a folder, which no connrunner puts there",
    )


def test_a_history_that_cannot_be_one(state: StateFolder) -> None:
    state.history("a").mkdir(parents=True)
    check = said(state_folder.check_state_folder(state))["history"]
    assert (check.level, check.found) == (
        "failure",
        f"a does not run: {state.history('a')} is no file but a folder, which no connrunner puts there",
    )


# --- ticks -------------------------------------------------------------------------------------------------------


def planned(before: str, end: str) -> dict[str, str]:
    return {"type": "planned", "before": f"2026-11-{before}:00Z", "at": f"2026-11-{end}:00Z"}


TICKS = [
    # the last tick,                records,                                              level,     words
    (None,                          [],                                                   "failure", "no tick ever looked"),
    (NOW - timedelta(minutes=40),   [],                                                   "failure", "40 min ago"),
    (NOW - timedelta(seconds=20),   [],                                                   "ok",      "20 s ago, no gap"),
    (NOW + timedelta(seconds=20),   [],                                                   "ok",      "0 s ago"),
    (NOW, [planned("22T06:00", "22T06:01"), planned("21T02:00", "21T05:00")],             "ok",      "no gap"),
    (NOW, [planned("22T02:10", "22T03:50"), {"type": "started"}, {"type": "planned"}],    "warning", "02:10 to 03:50"),
    (NOW, [planned("22T02:10", "22T03:00"), planned("22T02:10", "22T03:10")],             "warning", ": 02:10 to 03:10 UTC"),
    (NOW, [planned("22T02:10", "22T03:00"), planned("22T02:30", "22T02:50"), planned("22T03:00", "22T03:10")],
                                                                                          "warning", "for 60 min: 02:10"),
    (NOW, [planned("20T02:10", "22T03:00")],                                              "warning", "none came for 15 h"),
]  # fmt: skip


@pytest.mark.parametrize(("last", "records", "level", "words"), TICKS)
def test_ticks(last: datetime | None, records: list[dict[str, str]], level: str, words: str) -> None:
    check = said(ticks.check_ticks(last, records, NOW))["ticks"]
    assert (check.level, words in check.found) == (level, True), check


# --- the workspace -----------------------------------------------------------------------------------------------


def test_files_commit_and_templates(place: Place) -> None:
    place.command("a", "print()")
    assert levels(files.check_files(load.load(place.folder))) == {"workspace": "ok"}
    assert levels(files.check_commit(load.load(place.folder))) == {"git": "warning"}
    place.write("templates/run.txt.j2", "{{ nobody }}")
    assert "templates/run.txt.j2:1:" in said(files.check_mail_templates(load.load(place.folder)))["templates"].found
    place.write("connections/b.yaml", "schedule: {type: manual}\n")
    assert said(files.check_files(load.load(place.folder)))["workspace"].found == "1 connection cannot run: b"
    (place.folder / ".gitignore").write_text(".connrunner\n")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "x"]):
        who = ("-c", "user.name=Jane", "-c", "user.email=j@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *command], cwd=place.folder, check=True)
    assert levels(files.check_commit(load.load(place.folder))) == {"git": "ok"}
    place.write("connections/c.yaml", "schedule: {type: manual}\n")
    check = said(files.check_commit(load.load(place.folder)))["git"]
    assert (check.level, "connections/c.yaml" in check.found) == ("warning", True)


def test_secrets_are_looked_at_and_not_shown(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.write_text("correct horse")
    key.chmod(0o644)
    monkeypatch.setenv("THERE", "battery staple")
    monkeypatch.delenv("MISSING", raising=False)
    env = f'env: {{A: "env:THERE", B: "env:MISSING", C: "file:{key}"}}'
    place.write("connections/a.yaml", f"schedule: {{type: manual}}\ncommand: {{run: [ls], {env}}}\n")
    found = list(files.check_secret_references(load.load(place.folder)))
    assert [(check.level, check.found.split(" ")[0]) for check in found[:2]] == [
        ("failure", "env:MISSING"),
        ("warning", f"file:{key}"),
    ]
    assert found[1].fix == f"chmod 600 {key}"
    assert not any(word in str(found) for word in ("horse", "staple"))


# --- partners ----------------------------------------------------------------------------------------------------


def mail_of(place: Place, text: str) -> Check:
    place.write(
        "connrunner.yaml", f"version: 1\nmail: {text}\ndefaults: {{notify: [{{to: a@example.com, when: always}}]}}\n"
    )
    return said(partners.check_mail(load.load(place.folder), place.state, login=True))["mail"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_mail_server(place: Place, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    plain, closed = start(), start(auth=True)
    assert mail_of(place, f'{{server: "smtp+plain://127.0.0.1:{plain.port}"}}').level == "ok"
    assert plain.connections == 1
    assert plain.taken == []
    monkeypatch.setenv("PASSWORD", PASSWORD)
    check = mail_of(place, f'{{server: "smtps://127.0.0.1:{closed.port}", username: me, password: "env:PASSWORD"}}')
    assert (check.level, PASSWORD in str(check)) == ("failure", False)


MAILS = [
    ("{}",                                                                                 "warning", "reaches nobody"),
    ('{server: "smtp://127.0.0.1:1"}',                                                     "failure", "cannot be reached"),
    ('{server: "smtp://127.0.0.1:1", username: "env:NO_SUCH_NAME", password: "env:NO_SUCH_NAME"}', "failure", "NO_SUCH_NAME is not set"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "level", "words"), MAILS)
def test_no_mail_server(place: Place, text: str, level: str, words: str) -> None:
    check = mail_of(place, text)
    assert (check.level, words in check.found) == (level, True), check


COMMANDS = [
    # run,                    level
    ('[sh, -c, "exit 7"]',    "ok"),
    ("[no-such-program]",     "failure"),
    ("[jobs/there]",          "ok"),
    ("[jobs/plain]",          "failure"),
    ("[jobs]",                "failure"),
    ('"exit 7", shell: true', "ok"),
]  # fmt: skip


@pytest.mark.parametrize(("run", "level"), COMMANDS)
def test_programs_are_found_and_not_run(place: Place, run: str, level: str) -> None:
    place.write("jobs/there", "#!/bin/sh\nexit 7\n").chmod(0o755)
    place.write("jobs/plain", "").chmod(0o644)
    place.write("connections/a.yaml", f"schedule: {{type: manual}}\ncommand: {{run: {run}}}\n")
    connection = load.load(place.folder).connections["a"]
    check = partners.check_partner(connection, place.folder, place.state, NOW)
    assert check.level == level, check


def test_what_hangs_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    place.command("a", "print()")
    monkeypatch.setattr(partners, "PATIENCE", 0.05)
    monkeypatch.setattr("connrunner.connectors.command.probe", lambda *_, **__: threading.Event().wait(20))
    connection = load.load(place.folder).connections["a"]
    check = partners.check_partner(connection, place.folder, place.state, NOW)
    assert (check.level, check.found) == ("failure", "no answer within 0.05 s")


# --- the command -------------------------------------------------------------------------------------------------


def test_the_command(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_synchronised", lambda: True)
    place.command("a", "print()")
    place.command("b", "print()")
    code, out, _ = typed(place, "doctor")
    assert (code, "failure  ticks: no tick ever looked" in out) == (1, True)
    place.state.prepare()
    idle.note_look(str(place.state.root), instant.parse("2020-01-01T00:00:00Z").timestamp())
    code, out, _ = typed(place, "doctor", "--format", "json")
    assert code == 1
    idle.note_look(str(place.state.root), datetime.now(UTC).timestamp())
    code, out, _ = typed(place, "doctor", "--connections", "b*", "--format", "json")
    assert code == 0
    assert [one["name"] for one in json.loads(out)["checks"] if "connection" in one["name"]] == ["connection b"]
    assert typed(place, "doctor", "--connections", "c")[0] == 2
    assert typed(place, "doctor", "a")[0] == 2


def test_a_workspace_that_cannot_be_read_is_a_check_like_others(place: Place) -> None:
    place.write("connrunner.yaml", "version: 7\n")
    code, out, _ = typed(place, "doctor")
    assert (code, "failure  workspace: connrunner.yaml" in out) == (1, True)


def test_secrets_and_extras_of_those_who_are_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT", raising=False)
    monkeypatch.delenv("BEAT", raising=False)
    place.write("connrunner.yaml", 'version: 1\nheartbeat: {url: "env:BEAT"}\n')
    place.write("notifications/ops.yaml", 'apprise: ["env:CHAT"]\n')
    workspace = load.load(place.folder)
    assert workspace.problems == ()
    found = [check.found.split(":")[:2] for check in files.check_secret_references(workspace)]
    assert found == [["env", "BEAT (heartbeat)"], ["env", "CHAT (notifications/ops)"]]
    assert levels(machine.check_extras(workspace)) == {"extras": "ok"}
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert said(machine.check_extras(workspace))["extras"].fix.endswith("-m pip install 'connrunner[apprise]'")


WEB = [
    # web                                                                     level      words
    ("", None, ""),
    ('web: {listen: "127.0.0.1:8080"}', "ok", "on 127.0.0.1:8080, for the account that runs it"),
    ('web: {tokens: {read: "env:A", act: "env:B"}}', "ok", "by tokens"),
    ('web: {proxy: {user_header: X-User, from: ["::1"]}, tokens: {act: "env:B"}}', "ok", "by tokens and a proxy"),
    ('web: {tokens: {read: "env:A", act: "env:A"}}', "warning", "one and the same"),
    ('web: {listen: "0.0.0.0:8080"}', "failure", "nothing says who may see the page"),
    ('web: {proxy: {user_header: Cookie, from: ["::1"]}}', "failure", "a header for something else"),
]


@pytest.mark.parametrize(("lines", "level", "words"), WEB)
def test_the_settings_of_the_page(place: Place, lines: str, level: str | None, words: str) -> None:
    place.write("connrunner.yaml", f"version: 1\n{lines}\n")
    found = list(files.check_web(load.load(place.folder)))
    assert (found[0].level if found else None) == level
    assert all(words in check.found for check in found[:1])


def test_the_tokens_of_the_page_are_secrets_that_have_to_be_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGE_READ", "read-token-of-16-and-more")
    place.write("connrunner.yaml", 'version: 1\nweb: {tokens: {read: "env:PAGE_READ", act: "env:PAGE_ACT"}}\n')
    (missing,) = files.check_secret_references(load.load(place.folder))
    assert (missing.level, "env:PAGE_ACT (web)" in missing.found) == ("failure", True)


WAITS = {  # the export, and what is said of an erased person whom its partner still has to delete
    "on": ("deleted: send", None),
    "off": ("deleted: send\nenabled: false", "which is switched off"),
    "keeps": ("deleted: skip", "which sends no deletions any more"),
    "broken": ("deleted: maybe", None),
    "gone": (None, "which the workspace has no more"),
}


def test_an_erased_person_who_waits_for_a_run_that_does_not_come(place: Place) -> None:
    place.write("profile.yaml", "properties: {id: {type: text, identifier: true}}\n")
    folder = StateFolder(place.folder / "state")
    for name, (ending, _) in WAITS.items():
        if ending is not None:
            place.write(
                f"connections/{name}.yaml",
                "schedule: {type: manual}\nexport:\n  to: {type: files, path: out.csv}\n"
                f"  fields: {{id: id}}\n  {ending}\n",
            )
        folder.withdrawals(name).parent.mkdir(parents=True, exist_ok=True)
        folder.withdrawals(name).write_text('{"id": "x"}\n' * 2)
    folder.withdrawals("empty").write_text("")
    workspace = load.load(place.folder)
    found = list(erased_people.check_withdrawals(workspace, folder))
    expected = {name: why for name, (_, why) in WAITS.items() if why}
    assert [(one.level, one.found) for one in found] == [
        ("warning", f"2 erased people wait to be deleted at the partner of {name}, {expected[name]}")
        for name in sorted(expected)
    ]
    assert all(str(folder.withdrawals(name)) in one.fix for name, one in zip(sorted(expected), found, strict=True))
