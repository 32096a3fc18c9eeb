"""What the screens ask: connections in the order of care, runs of a day, forecasts, mail of the past, pages of logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from connrunner.answers import connection_standings, log_page
from connrunner.answers.coming_slots import usual_durations
from connrunner.answers.connection_account import describe_rules, page_runs, read_account
from connrunner.answers.connection_filter import ConnectionFilter
from connrunner.answers.connection_standings import ConnectionQuery, page_connections
from connrunner.answers.lane_forecast import MOST, forecast_lanes
from connrunner.answers.past_runs import list_ended_on, list_ended_today, list_past, list_past_runs
from connrunner.answers.run_account import find_newest_run, read_run_account
from connrunner.answers.run_log import page_refused
from connrunner.answers.run_mail import list_mail_of_run, list_sent_mail
from connrunner.answers.status import list_waiting, read_status
from connrunner.answers.workspace_view import WorkspaceView, open_view
from connrunner.config.versions.remote import link_file, web_address_of
from connrunner.core import instant
from connrunner.core.model import Notify, Outcome, Target
from connrunner.core.planning.forecast import RunDurations
from connrunner.errors import ArgumentError
from connrunner.state import journal_segments, run_files
from connrunner.state.folder import StateFolder
from tests.conftest import Place
from tests.page_workspace import NOW, make_workspace, running_lanes

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceView]:
    folder = make_workspace(tmp_path_factory.mktemp("answers") / "workspace")
    with running_lanes(folder):
        yield open_view(folder, now=NOW)


# --- connections -----------------------------------------------------------------------------------------------------

QUERIES = [
    # asked for, the first names, how many
    (ConnectionQuery(), ["product-interest", "erp-customers", "refresh-segments", "survey-answers", "crm-contacts"], 15),
    (ConnectionQuery(which="failing"), ["erp-customers", "refresh-segments", "survey-answers", "crm-contacts"], 4),
    (ConnectionQuery(which="late"), ["loyalty-points", "unsubscribes"], 2),
    (ConnectionQuery(which="broken"), ["product-interest"], 1),
    (ConnectionQuery(which="running"), ["crm-contacts", "newsletter-audience"], 2),
    (ConnectionQuery(which="waiting"), ["loyalty-points", "unsubscribes", "push-audience", "ads-lookalike"], 4),
    (ConnectionQuery(which="off"), ["old-shop"], 1),
    (ConnectionQuery(search="AUDIENCE"), ["newsletter-audience", "push-audience", "ads-lookalike"], 3),
    (ConnectionQuery(search="bounces of"), ["email-bounces"], 1),
    (ConnectionQuery(choice=ConnectionFilter(labels=(("tier", "gold"),)), order="name"), ["members", "push-audience"], 2),
    (ConnectionQuery(choice=ConnectionFilter(owner="finance")), ["erp-customers"], 1),
    (ConnectionQuery(outcome="partial", order="name"), ["crm-contacts", "survey-answers"], 2),
    (ConnectionQuery(order="next"), ["product-interest", "unsubscribes", "email-bounces", "warehouse-changes"], 15),
    (ConnectionQuery(order="time", per_page=3), ["crm-contacts", "newsletter-audience", "erp-customers"], 15),
    (ConnectionQuery(order="name", per_page=4, page=4), ["unsubscribes", "warehouse-changes"][-3:], 15),
    (ConnectionQuery(order="name", per_page=4, page=99), ["survey-answers", "unsubscribes", "warehouse-changes"], 15),
    (ConnectionQuery(search="no such thing"), [], 0),
]  # fmt: skip


@pytest.mark.parametrize(("query", "first", "found"), [case for case in QUERIES if case[0].page != 4])
def test_connections_that_are_asked_for(
    view: WorkspaceView, query: ConnectionQuery, first: list[str], found: int
) -> None:
    page = page_connections(view, query)
    assert [row.standing.name for row in page.rows][: len(first)] == first
    assert page.found == found
    assert sum(page.groups.values()) == found


def test_counts_are_of_what_owner_label_and_search_choose(view: WorkspaceView) -> None:
    page = page_connections(view, ConnectionQuery(which="late", choice=ConnectionFilter(owner="marketing")))
    assert page.counts == {"all": 4, "failing": 0, "late": 1, "broken": 0, "running": 1, "waiting": 2, "off": 0}


def test_histories_are_read_for_one_page_only(view: WorkspaceView, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = usual_durations

    def noted(of: WorkspaceView, name: str) -> RunDurations:
        asked.append(name)
        return real(of, name)

    monkeypatch.setattr(connection_standings, "usual_durations", noted)
    page_connections(view, ConnectionQuery(order="name", per_page=3, page=2))
    assert asked == ["email-bounces", "erp-customers", "loyalty-points"]


# --- runs of the past and to come ------------------------------------------------------------------------------------


def test_runs_between_two_instants_by_lane(view: WorkspaceView) -> None:
    lanes = list_past_runs(view, NOW - 2 * HOUR, NOW)
    assert set(lanes) == {"main", "exports", "warehouse"}
    for runs in lanes.values():
        assert all(run.ended_at > NOW - 2 * HOUR and run.ended_at <= NOW for run in runs)
        pairs = pairwise(runs)
        assert all(one.ended_at <= (two.started_at or two.ended_at) for one, two in pairs), "a lane does one at a time"


def test_what_the_journal_says_of_today_is_what_histories_say(view: WorkspaceView) -> None:
    midnight = instant.parse("2026-10-23T22:00:00Z")
    kept = {
        (run.connection, run.run)
        for name in view.known_names()
        for run in run_files.read_history(view.state, name)
        if run.ended_at >= midnight
    }
    assert {(run.connection, run.run) for run in list_ended_today(view)} == kept


def test_days_hold_every_run_once(view: WorkspaceView) -> None:
    days = [list_ended_on(view, NOW.date() - place * DAY) for place in (0, 1)]
    assert days[0] == list_ended_today(view)
    assert days[1]
    assert days[0][-1].ended_at >= instant.parse("2026-10-23T22:00:00Z") > days[1][0].ended_at
    assert list_ended_on(view, NOW.date() + DAY) == []


MISSED = [  # a slot of a plan, and what is missed: how many, since, until
    ({"result": "queued", "missed": 0}, None),
    ({"result": "queued", "missed": 3, "missed_until": "2026-10-24T03:00:00Z"}, (3, "00:00", "03:00", "no tick came")),
    ({"result": "missed", "missed": 0, "reason": "too late"}, (1, "00:00", "00:00", "too late")),
    ({"result": "missed", "missed": 2, "missed_until": "2026-10-24T02:00:00Z", "reason": "too late"}, (3, "00:00", "02:00", "too late")),
]  # fmt: skip


@pytest.mark.parametrize(("slot", "expected"), MISSED)
def test_slots_that_no_run_stands_for(
    tmp_path: Path, view: WorkspaceView, slot: dict[str, Any], expected: tuple[int, str, str, str] | None
) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    due = {"connection": "push-audience", "due_at": "2026-10-24T00:00:00Z", "missed_until": None, "reason": ""}
    record = {"v": 1, "type": "planned", "at": "2026-10-24T04:00:00Z", "slots": [{**due, **slot}]}
    state.journal.write_bytes(run_files.encode_event(record))
    moved = replace(view, state=state)
    found = list_past(moved, NOW - 2 * DAY, NOW)[1]
    rows = [(one.number, f"{one.first:%H:%M}", f"{one.last:%H:%M}", one.reason) for one in found.get("exports", [])]
    assert rows == ([expected] if expected else [])
    assert list_past(moved, NOW - 2 * HOUR, NOW)[1] == {}, "another time"


def test_parts_of_the_journal_before_a_day_are_left_alone(view: WorkspaceView, tmp_path: Path) -> None:
    folder = view.state
    for day in range(5):
        lines = [{"v": 1, "type": "planned", "at": f"2025-01-0{day + 1}T0{hour}:00:00Z"} for hour in (0, 5)]
        journal_segments.add_segment(folder, b"".join(run_files.encode_event(line) for line in lines))
    parts = list(journal_segments.list_parts_since(folder, instant.parse("2025-01-04T03:00:00Z")))
    assert [part.path.name[:8] for part in parts if part.is_complete] == ["00000005", "00000004"]
    assert parts[0].path == folder.journal


def test_a_forecast_agrees_with_status(view: WorkspaceView) -> None:
    status = read_status(view)
    coming = forecast_lanes(view, NOW + 3 * HOUR, active=status.running, waiting=status.waiting)
    for run in status.waiting:
        if run.expected and run.expected.starts_at and run.expected.behind:
            same = [
                one
                for one in coming.runs[run.lane]
                if (one.connection, one.due_at) == (run.entry.connection, run.entry.due_at)
            ]
            assert [one.starts_at for one in same] == [run.expected.starts_at]
    for lane in coming.runs.values():
        assert all(one.ends_at <= two.starts_at for one, two in pairwise(lane))
    assert coming.unsure == {"exports"}, "ads-lookalike has not run yet"


def test_a_forecast_has_an_end(view: WorkspaceView) -> None:
    coming = forecast_lanes(view, NOW + 3000 * DAY, active=(), waiting=())
    assert sum(1 + run.merged for runs in coming.runs.values() for run in runs) <= MOST
    assert NOW < coming.until < NOW + 30 * DAY


def test_what_waits_is_as_status_has_it(view: WorkspaceView) -> None:
    assert list_waiting(view) == read_status(view).waiting


# --- one connection, one run -----------------------------------------------------------------------------------------


def test_runs_in_pages_and_those_that_did_not_succeed(view: WorkspaceView) -> None:
    numbers: list[int] = []
    before: int | None = None
    while True:
        page = page_runs(view, "crm-contacts", per_page=10, before=before, unsuccessful=False)
        numbers += [run.run for run in page.runs]
        if (before := page.older) is None:
            break
    assert numbers == list(range(1407, 1407 - len(numbers), -1))
    assert page.counts.total() == len(numbers)
    bad = page_runs(view, "crm-contacts", per_page=10, before=None, unsuccessful=True)
    assert [(run.run, str(run.outcome)) for run in bad.runs] == [(1407, "partial"), (1396, "failed"), (1391, "partial")]
    assert page.counts.total() - page.counts["succeeded"] == len(bad.runs)


def test_an_account_of_a_connection(view: WorkspaceView) -> None:
    account = read_account(view, "crm-contacts", slots=5, recent=30, per_page=5, before=None, unsuccessful=False)
    assert account.active is not None
    assert account.active.run == 1408
    assert account.declared is not None
    notes = [slot.note for slot in account.declared.slots if slot.note]
    assert notes == ["the clocks went back by 1 h since the day before"] * 3
    assert account.file.link.startswith("https://github.com/example/customer-profiles/blob/")
    assert account.file.link.endswith("/connections/crm-contacts.yaml")
    assert account.tells == ("data-team: when a run fails",)


def test_an_account_of_a_run(view: WorkspaceView) -> None:
    account = read_run_account(view, "crm-contacts", 1407)
    assert (account.before, account.behind) == (1406, 1408)
    assert account.yaml.run_before == 1406
    assert any("timeout: 2h" in line for line in account.yaml.difference)
    assert {(mail.recipient, mail.state) for mail in account.mail} == {
        ("data-team@example.com", "delivered"),
        ("on-call@example.com", "delivered"),
    }
    assert read_run_account(view, "crm-contacts", 1408).run is None
    with pytest.raises(ArgumentError):
        read_run_account(view, "crm-contacts", 1409)
    assert find_newest_run(view, "crm-contacts") == 1408
    assert find_newest_run(view, "ads-lookalike") is None


def test_a_run_that_waited_names_whom_it_waited_for(view: WorkspaceView) -> None:
    waited = [
        run
        for run in run_files.read_history(view.state, "loyalty-points")
        if run.intent.started_at
        and run.intent.started_at - run.entry.due_at > 5 * timedelta(minutes=1)
        and run.ended_at > NOW - DAY
    ]
    account = read_run_account(view, "loyalty-points", waited[0].run)
    assert [holder.connection for holder in account.holders] == ["crm-contacts"]


def test_how_each_mail_ended(view: WorkspaceView) -> None:
    ends = {
        "erp-customers": [("erp-owner@example.com", "given up", 1)],
        "refresh-segments": [("data-team@example.com", "delivered", 1), ("on-call@example.com", "waiting", 4)],
    }
    for name, expected in ends.items():
        last = run_files.read_last_run(view.state, name)
        assert last is not None
        assert sorted((mail.recipient, mail.state, mail.attempts) for mail in list_mail_of_run(view, last)) == expected
    sent = list_sent_mail(view, NOW - 7 * DAY)
    assert [mail.owed_at for mail in sent] == sorted((mail.owed_at for mail in sent), reverse=True)


RULES = [
    (Notify(to=(Target(name="team"),), when="failure"), "team: when a run fails"),
    (Notify(to=(Target(to=("a@example.com", "b@example.com")),), when="failure", after=3), "a@example.com and b@example.com: when a run fails 3 times in a row"),
    (Notify(to=(Target(name="team"),), when="always"), "team: after each run"),
    (Notify(to=(Target(name="team"),), when="change", reminder=86400), "team: when it begins to fail and when it works again, again every 1 d meanwhile"),
    (Notify(to=(Target(name="team"),), when="late", late_after=7200), "team: when a run is not over 2 h after its slot"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "words"), RULES)
def test_who_is_told_and_when(rule: Notify, words: str) -> None:
    assert describe_rules([rule]) == [words]


# --- logs and refused rows ---------------------------------------------------------------------------------------------


def write_log(place: Place, lines: int) -> WorkspaceView:
    place.command("hello", "pass")
    place.state.run("hello", 1).mkdir(parents=True)
    events = (
        {"at": "2026-10-24T10:00:00Z", "level": "info", "message": f"line {number}"} for number in range(1, lines + 1)
    )
    place.state.log("hello", 1).write_bytes(b"".join(map(run_files.encode_event, events)))
    return open_view(place.folder)


@pytest.mark.parametrize("lines", [0, 1, 999, 1000, 1001, 5000])
def test_a_log_is_whole_up_to_a_thousand_lines(place: Place, lines: int) -> None:
    page = log_page.read_log_page(write_log(place, lines), "hello", 1)
    assert page.total == lines
    numbers = [line.number for line in page.lines]
    left_out = set(range((page.gap_after or 0) + 1, page.gap_until + 1)) if page.gap_after else set()
    assert sorted({*numbers, *left_out}) == list(range(1, lines + 1))
    assert bool(left_out) == (lines > 1000)


def test_what_lies_between_is_reached_page_by_page(place: Place) -> None:
    view = write_log(place, 3500)
    seen: list[int] = []
    after: int | None = 500
    while after is not None:
        page = log_page.read_log_page(view, "hello", 1, after=after)
        seen += [line.number for line in page.lines]
        assert page.total == 3500
        after = page.next_after
    assert seen == list(range(501, 3501))


def test_a_search_finds_words_wherever_they_are(place: Place) -> None:
    page = log_page.read_log_page(write_log(place, 3000), "hello", 1, search="LINE 2999")
    assert [line.number for line in page.lines] == [2999]


LINES = [
    ('{"at":"2026-10-24T10:00:00Z","type":"progress","stage":"write","done":15000,"of":47102}', "debug", "write: 15,000 of 47,102"),
    ('{"at":"2026-10-24T10:00:00Z","type":"started","connection":"crm","run":3,"pid":7}', "info", "started crm #3, process 7"),
    ('{"at":"2026-10-24T10:00:00Z","type":"ended","outcome":"failed","message":"no answer"}', "error", "ended failed: no answer"),
    ('{"at":"2026-10-24T10:00:00Z","type":"ended","outcome":"succeeded","message":""}', "info", "ended succeeded"),
    ('{"at":"2026-10-24T10:00:00Z","level":"shout","message":"a\\u001b[31mb"}', "info", "a\ufffd[31mb"),
    ('{"at":"then","level":"info","message":"x"}', "warning", "{'at': 'then', 'level': 'info', 'message': 'x'}"),
    ("no JSON", "warning", "no JSON\n"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "level", "text"), LINES)
def test_each_event_as_a_line(place: Place, line: str, level: str, text: str) -> None:
    view = write_log(place, 0)
    place.state.log("hello", 1).write_text(f"{line}\n")
    (read,) = log_page.read_log_page(view, "hello", 1).lines
    assert (read.level, read.text) == (level, text)


def test_refused_rows_in_pages_by_code(place: Place) -> None:
    view = write_log(place, 0)
    rows = [{"line": place_of, "code": "wrong-type" if place_of % 3 else "duplicate"} for place_of in range(30)]
    place.state.rejects("hello", 1).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    page = page_refused(view, "hello", 1, code="duplicate", first=8, limit=5)
    assert ([row["line"] for row in page.rows], page.total, page.is_whole) == ([24, 27], 10, True)
    assert page.by_code == {"wrong-type": 20, "duplicate": 10}
    everything = page_refused(view, "hello", 1, code="", first=28, limit=5)
    assert ([row["line"] for row in everything.rows], everything.total) == ([28, 29], 30)


# --- the repository on the web -------------------------------------------------------------------------------------------

REMOTES = [
    ("git@github.com:example/profiles.git", "https://github.com/example/profiles"),
    ("https://user:secret@gitlab.example.com/group/sub/profiles.git", "https://gitlab.example.com/group/sub/profiles"),
    ("ssh://git@codeberg.org:22/example/profiles", "https://codeberg.org/example/profiles"),
    ("/srv/git/profiles.git", ""),
    ("file:///srv/git/profiles.git", ""),
    ("javascript:alert(1)", ""),
    ("", ""),
]


@pytest.mark.parametrize(("remote", "address"), REMOTES)
def test_the_address_of_a_remote_on_the_web(remote: str, address: str) -> None:
    found = web_address_of(remote)
    assert found == address or (remote.startswith("javascript") and found.startswith("https://javascript"))
    assert "secret" not in found


def test_a_host_whose_paths_nobody_knows_gets_no_link(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text('[remote "origin"]\n\turl = https://git.example.com/data/profiles.git\n')
    assert link_file(tmp_path, "0" * 40, "connections/crm.yaml") == ""
    (tmp_path / ".git/config").write_text(
        '[core]\n[remote "other"]\n\turl = x\n[remote "origin"]\n\turl = "https://gitlab.com/data/profiles.git"\n'
    )
    assert (
        link_file(tmp_path, "abc", "connections/crm.yaml")
        == "https://gitlab.com/data/profiles/-/blob/abc/connections/crm.yaml"
    )


def test_outcomes_are_told_by_their_lines(view: WorkspaceView) -> None:
    counted = run_files.tally_outcomes(view.state, "crm-contacts", most=20)
    assert counted == {"succeeded": 17, "partial": 2, "failed": 1}
    assert run_files.tally_outcomes(view.state, "never", most=20) == {}
    assert set(counted) <= set(Outcome)
