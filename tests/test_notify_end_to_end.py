"""From ticks to mails: a failure, an outage of the scheduler, a recovery, and a digest."""

from __future__ import annotations

from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest

from connrunner.core import instant
from connrunner.scheduler.tick import tick
from connrunner.state.journal import Journal
from tests.conftest import Place

FLAGGED = "import os, sys; sys.exit(not os.path.exists('good'))"
DAILY = '{type: days_of_week, days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], time: "03:00"}'


def ticked(place: Place, at: str) -> tuple[list[dict[str, object]], dict[str, EmailMessage]]:
    """Do one tick at *at*; return what it said, and the new mails by recipient and event."""
    box = place.state.mail
    before = {file.name for file in box.iterdir()} if box.is_dir() else set()
    said: list[dict[str, object]] = []
    tick(place.folder, place.state, now=instant.parse(at), say=said.append)
    mails = {}
    for file in sorted(box.iterdir()) if box.is_dir() else []:
        if file.name not in before:
            mail = message_from_bytes(file.read_bytes(), policy=default)
            assert isinstance(mail, EmailMessage)
            mails[f"{mail['X-Connrunner-Event']} to {file.name.rpartition('-')[2].removesuffix('.eml')}"] = mail
    return said, mails


@pytest.mark.slow
@pytest.mark.thorough
def test_a_source_that_always_has_a_bad_row_and_then_is_gone_is_told_as_failing_and_back(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\ntimezone: UTC\n")
    place.write("profile.yaml", "properties: {id: {type: text, identifier: true}, born: {type: date}}\n")
    source = "import:\n  from: {type: files, path: in/people.csv, when_none: fail}\n  match: [id]\n  fields: {id: id, born: born}\n"
    told = "notify: [{to: [ann@example.com], when: change}]\n"
    place.write("connections/crm.yaml", f"title: CRM\nschedule: {DAILY}\n{told}{source}")
    people = {"bad": "id,born\n1,2000-01-01\n2,soon\n", "good": "id,born\n3,2000-01-01\n"}

    first, said, abouts = "", {}, list[str]()
    ticked(place, "2026-11-20T02:59:00Z")
    for day, file in ((20, "bad"), (21, "bad"), (22, None), (24, "bad"), (25, "good")):
        (place.folder / "in").mkdir(exist_ok=True)
        (place.folder / "in/people.csv").unlink(missing_ok=True)
        if file:
            place.write("in/people.csv", people[file] + f"{day},\n")
        events, mails = ticked(place, f"2026-11-{day}T03:00:00Z")
        abouts += [str(one["about"]) for one in events if one["event"] == "mailed"]
        for mail in mails.values():
            said[day] = str(mail["Subject"])
            first = first or str(mail["Message-ID"])
            assert mail["In-Reply-To"] in (None, first)
            assert (mail["In-Reply-To"] is None) == (day == 20)
    assert said == {
        20: "CRM: failing with run 1, 1 row refused",
        22: "CRM: now failing with run 3 (no-files)",
        24: "CRM: partly recovered with run 4, 1 row refused",
        25: "CRM: recovered with run 5 after 4 failures",
    }
    assert abouts == ["failing", "failing", "partly recovered", "recovered"]


NEW = "What is new does not run until the mistakes are corrected: no version of it was ever valid."
LAST_GOOD = "What was due by the last good version is recorded as skipped until the mistakes are corrected."


def test_files_that_are_broken_are_told_at_once_and_once_and_that_they_are_fixed(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\ndefaults: {notify: [{to: [ops@example.com], when: failure}]}\n")
    place.command("sound", "pass", schedule=DAILY)
    for name in ("crm", "shop"):
        place.write(f"connections/{name}.yaml", "schedul: nightly\n")

    def subjects(at: str) -> list[str]:
        return sorted(str(mail["Subject"]) for mail in ticked(place, f"2026-11-20T{at}:00Z")[1].values())

    (both,) = ticked(place, "2026-11-20T09:00:00Z")[1].values()
    assert both["Subject"] == "workspace: 2 files cannot be used: crm, shop"
    text = both.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "\r\ncrm\r\n  connections/crm.yaml:1:1: " in text
    assert NEW in text
    assert LAST_GOOD not in text
    assert subjects("09:01") == []
    place.write("connections/crm.yaml", "schedule: nightly\n")
    assert subjects("09:02") == ["workspace: 1 file cannot be used: crm"]
    place.command("crm", "pass")
    assert subjects("09:03") == ["workspace: recovered, 1 file can be used again: crm"]
    assert subjects("09:04") == []
    (place.folder / "connections" / "shop.yaml").unlink()
    assert subjects("09:05") == ["workspace: 1 file that could not be used is gone: shop"]
    assert subjects("09:06") == []
    place.write("connections/sound.yaml", "schedul: nightly\n")
    (worked,) = ticked(place, "2026-11-20T09:07:00Z")[1].values()
    text = worked.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert NEW not in text
    assert LAST_GOOD in text


@pytest.mark.slow
@pytest.mark.thorough
def test_retries_and_dead_letters_can_be_rehearsed_by_a_clock_that_is_made_up(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\ntimezone: UTC\nmail: {server: 'smtp+plain://127.0.0.1:9'}\n")
    place.command("crm", FLAGGED, schedule=DAILY, more="notify: [{to: [ann@example.com], when: change}]\n")
    ticked(place, "2026-11-20T02:59:00Z")
    tries = []
    for at in ("20T03:00:10", "20T03:00:55", "20T03:02:30", "20T05:00:00", "27T02:00:00", "27T04:00:00"):
        ticked(place, f"2026-11-{at}Z")
        journal_state = Journal(place.state).read()
        (attempts,) = [len(owed.deliveries) for owed in journal_state.owed.values()] or [0]
        tries.append((attempts, len(journal_state.dead)))
    assert tries == [(1, 0), (1, 0), (2, 0), (3, 0), (4, 0), (0, 1)]
    assert journal_state.dead[0]["at"].startswith("2026-11-27T04:00:")


@pytest.mark.slow
@pytest.mark.thorough
def test_a_failure_an_outage_a_recovery_and_a_digest(place: Place) -> None:
    place.write(
        "connrunner.yaml",
        "version: 1\ntimezone: Europe/Amsterdam\ndefaults: {notify: [{to: ops@example.com, when: failure}]}\n",
    )
    place.write(
        "notifications/team.yaml",
        "email: [ann@example.com]\ncc: [boss@example.com]\nreply_to: help@example.com\nlanguage: nl\n"
        'digest: {type: daily, time: "07:30"}\n',
    )
    place.command("crm", FLAGGED, schedule=DAILY, more="notify: [{to: team, when: change, late_after: 30m}]\n")

    assert ticked(place, "2026-11-20T01:59:00Z")[1] == {}
    _, mails = ticked(place, "2026-11-20T02:00:00Z")
    assert sorted(mails) == ["failing to ann@example.com", "failing to boss@example.com"]
    failing = mails["failing to ann@example.com"]
    assert (failing["To"], failing["Cc"], failing["Reply-To"]) == (
        "ann@example.com",
        "boss@example.com",
        "help@example.com",
    )
    assert "vr 20 nov 2026 03:00:00 +01:00" in failing.get_body(("plain",)).get_content()  # type: ignore[union-attr]

    place.write("good", "")
    said, mails = ticked(place, "2026-11-22T09:00:00Z")
    assert sorted(mails) == [
        "digest to ann@example.com",
        "digest to boss@example.com",
        "outage to ops@example.com",
        "recovered to ann@example.com",
        "recovered to boss@example.com",
    ]
    (hole,) = [each for each in said if each["event"] == "hole"]
    assert hole == {
        "event": "hole",
        "from": "2026-11-20T02:00:00Z",
        "to": hole["to"],
        "missed": {"crm": 2},
    }
    assert datetime.fromisoformat(str(hole["to"])).minute == 0
    recovered = mails["recovered to ann@example.com"]
    assert recovered["In-Reply-To"] == recovered["References"] == failing["Message-ID"]
    assert "crm: run 1 failed" not in str(recovered["Subject"])
    digest = mails["digest to ann@example.com"]
    assert (digest["X-Connrunner-Connection"], digest["X-Connrunner-Run"]) == (None, None)
    assert "crm" in digest.get_body(("plain",)).get_content()  # type: ignore[union-attr]

    said, mails = ticked(place, "2026-11-22T09:01:00Z")
    assert (said, mails) == ([], {})
