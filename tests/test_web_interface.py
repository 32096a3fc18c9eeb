"""What the page answers: the same as the commands, refusals that say what to do, and nothing to strangers."""

from __future__ import annotations

import base64
import csv
import fcntl
import io
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connrunner.core import instant
from connrunner.core.model import Outcome
from connrunner.scheduler import tick
from connrunner.state import locks, requests
from connrunner.state.journal import Journal
from connrunner.state.journal_state import as_snapshot
from connrunner.web.application import SECURITY_HEADERS
from connrunner.web.log_reading import iter_events
from tests.conftest import PROFILE, SETTINGS, Place
from tests.test_cli import AT, ended, typed
from tests.web_client import Answered, WebClient

MONDAYS = '{type: days_of_week, days: [monday], time: "06:00"}'
NOW = AT + timedelta(minutes=2)
OWN = {"origin": "http://127.0.0.1:8080", "sec-fetch-site": "same-origin"}
TITLE = "<script>alert('x')</script>\"'&"
HOSTILE = "<script>alert('x')</script>\"'&\x1b[31m\u202e"
READ, ACT = "read-token-of-16-and-more", "act-token-of-16-and-more"


def make_busy(place: Place) -> Place:
    """Give *place* a past, a queue, a promise, a broken file and hostile names in titles, logs and rows."""
    title = json.dumps(TITLE)
    place.command("a", "print()", schedule=MONDAYS, more=f"title: {title}\nowner: data\nlabels: {{team: crm}}\n")
    place.command("b", "print()", schedule="{type: times_per_day, times: 4}", more="lane: side\n")
    place.command("off", "print()", more="enabled: false\n")
    place.write("connections/broken.yaml", "schedule: {type: manual}\n")
    tick.Tick(place.folder, place.state, now=AT, say=lambda _: None).take_in()
    ended(place, "a", 1)
    ended(place, "a", 2, outcome=Outcome.FAILED, code="unreachable", message=HOSTILE)
    log = place.state.log("a", 2)
    events = [
        {"at": instant.text(AT), "level": "info", "message": HOSTILE},
        {"at": instant.text(AT), "type": "ended", "outcome": "failed", "message": "", "code": "", "counts": {}},
    ]
    log.write_text(json.dumps(events[0]) + "\n{damaged\n" + json.dumps(events[1], ensure_ascii=False) + "\n")
    row: dict[str, Any] = {"file": "in.csv", "line": 2, "key": "=1+1", "field": "email", "stage": "validate"}
    row |= {"code": "bad-email", "message": HOSTILE, "value": '@SUM(A1);"=2"'}
    place.state.rejects("a", 2).write_text("".join(json.dumps({**row, "line": line}) + "\n" for line in range(2, 6)))
    return place


@pytest.fixture
def busy(place: Place) -> Place:
    """A workspace that a test may change."""
    return make_busy(place)


@pytest.fixture
def client(busy: Place) -> WebClient:
    return WebClient(busy.folder, now=NOW)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A workspace that tests only look at."""
    place = Place(tmp_path_factory.mktemp("seen") / "workspace")
    place.write("connrunner.yaml", SETTINGS)
    place.write("profile.yaml", PROFILE)
    return make_busy(place)


@pytest.fixture(scope="module")
def looking(seen: Place) -> WebClient:
    return WebClient(seen.folder, now=NOW)


def with_settings(place: Place, lines: str) -> None:
    place.write("connrunner.yaml", f"version: 1\ntimezone: Europe/Amsterdam\n{lines}")


def form_token(answered: Answered) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', answered.text)
    assert found, answered.text[:2000]
    return found[1]


# --- the same as the commands ----------------------------------------------------------------------------------------

SAME = [
    # path                                     the command
    ("/api/v1/status",                         ("status", "--now", instant.text(NOW))),
    ("/api/v1/status?owner=data",              ("status", "--owner", "data", "--now", instant.text(NOW))),
    ("/api/v1/connections/a",                  ("explain", "a", "--now", instant.text(NOW))),
    ("/api/v1/connections/a?count=3",          ("explain", "a", "--count", "3", "--now", instant.text(NOW))),
    ("/api/v1/connections/a?at=06:00",         ("explain", "a", "--at", "06:00", "--now", instant.text(NOW))),
    ("/api/v1/connections/a/runs",             ("runs", "a", "--limit", "100", "--now", instant.text(NOW))),
    ("/api/v1/connections/a/runs?limit=1",     ("runs", "a", "--limit", "1", "--now", instant.text(NOW))),
    ("/api/v1/connections/a/runs/2/rejects",   ("rejects", "a", "2")),
    ("/api/v1/next?connection=a&limit=4",      ("next", "a", "--count", "4", "--now", instant.text(NOW))),
    ("/api/v1/notifications",                  ("notify", "list", "--now", instant.text(NOW))),
]  # fmt: skip


@pytest.mark.parametrize(("path", "command"), SAME, ids=[path for path, _ in SAME])
def test_an_answer_is_that_of_its_command(seen: Place, looking: WebClient, path: str, command: tuple[str, ...]) -> None:
    code, out, err = typed(seen, *command, "--format", "json")
    assert code == 0, err
    path, _, query = path.partition("?")
    answered = looking.ask("GET", path, query=query)
    assert (answered.status, answered.headers["content-type"]) == (200, "application/json")
    assert answered.json == json.loads(out)


def test_parts_of_a_command_s_answer(seen: Place, looking: WebClient) -> None:
    runs = json.loads(typed(seen, "runs", "a", "--format", "json")[1])
    assert looking.get("/api/v1/connections/a/runs/2").json == runs[0]
    status = json.loads(typed(seen, "status", "--now", instant.text(NOW), "--format", "json")[1])
    queue = looking.get("/api/v1/queue").json
    assert queue == {key: status[key] for key in ("at", "running", "waiting")}
    log = typed(seen, "log", "a", "2", "--format", "json")[1]
    assert [json.loads(line) for line in looking.get("/api/v1/connections/a/runs/2/log").text.splitlines()] == [
        json.loads(line) for line in log.splitlines()
    ]
    code, text, _ = typed(seen, "log", "a", "2")
    assert code == 0
    assert looking.get("/connections/a/runs/2/log.txt").text == text
    soonest = looking.get("/api/v1/next", limit=1).json
    slots = json.loads(typed(seen, "next", "--now", instant.text(NOW), "--format", "json")[1])
    assert soonest == slots[:1]
    figures = typed(seen, "metrics", "--now", instant.text(NOW))[1]
    answered = looking.get("/metrics").text
    assert [line for line in answered.splitlines() if "free_bytes" not in line] == [
        line for line in figures.splitlines() if "free_bytes" not in line
    ]
    calendar = typed(seen, "calendar", "--now", instant.text(NOW))[1]
    assert looking.get("/calendar.ics").content.decode().splitlines() == calendar.splitlines()


def test_a_run_that_works_is_that_of_the_status(busy: Place, client: WebClient) -> None:
    record = {"type": "started", "at": instant.text(NOW), "connection": "b", "due_at": instant.text(AT), "run": 1}
    record |= {"queued_at": instant.text(AT), "trigger": "schedule", "missed": 0, "merged": 0, "asked_by": ""}
    record |= {
        "lane": "side",
        "started_at": instant.text(AT),
        "commit": None,
        "config": "",
        "kind": "command",
        "title": "",
    }
    journal = Journal(busy.state)
    journal.append(record)
    running = client.get("/api/v1/status").json["running"]
    assert [run["run"] for run in running] == [1]
    assert client.get("/api/v1/connections/b/runs/1").json == running[0]


def test_connections_are_chosen_and_paged(looking: WebClient) -> None:
    def names(**query: object) -> list[str]:
        answered = looking.get("/api/v1/connections", None, **query)
        assert answered.status == 200, answered.text
        return [one["connection"] for one in answered.json]

    assert names() == ["a", "b", "broken", "off"]
    assert names(owner="data") == names(label="team=crm") == names(label="team") == names(q="ALERT") == ["a"]
    assert names(failing="true") == ["broken"]
    first = looking.get("/api/v1/connections", limit=3)
    assert first.headers["x-total-count"] == "4"
    assert first.headers["link"] == '</api/v1/connections?limit=3&after=broken>; rel="next"'
    assert names(limit=3, after="broken") == ["off"]
    assert "link" not in looking.get("/api/v1/connections", limit=3, after="broken").headers
    one = looking.get("/api/v1/connections", owner="data").json[0]
    assert one["last"]["outcome"] == "failed"
    assert one["title"] == TITLE


def test_runs_rejects_and_logs_are_paged(looking: WebClient) -> None:
    first = looking.get("/api/v1/connections/a/runs", limit=1)
    assert [run["run"] for run in first.json] == [2]
    assert 'before=2>; rel="next"' in first.headers["link"]
    last = looking.get("/api/v1/connections/a/runs", limit=1, before=2)
    assert [run["run"] for run in last.json] == [1]
    assert "link" not in last.headers
    rows = looking.get("/api/v1/connections/a/runs/2/rejects", limit=3)
    assert [row["line"] for row in rows.json] == [2, 3, 4]
    assert [row["line"] for row in looking.get("/api/v1/connections/a/runs/2/rejects", limit=3, after=3).json] == [5]
    assert looking.get("/api/v1/connections/a/runs/2/rejects", code="other").json == []
    lines = looking.get("/api/v1/connections/a/runs/2/log", limit=1)
    assert 'after=1>; rel="next"' in lines.headers["link"]
    assert json.loads(looking.get("/api/v1/connections/a/runs/2/log", after=1).text)["type"] == "ended"


# --- refusals --------------------------------------------------------------------------------------------------------

REFUSED = [
    # method, path, query                                       status  words
    ("GET", "/api/v1/connections/zz", "", 404, "there is no connection 'zz'"),
    ("GET", "/api/v1/connections/../../etc/runs", "", 404, "no such path"),
    ("GET", "/api/v1/connections/%2e%2e/runs", "", 404, "there is no connection"),
    ("GET", "/api/v1/connections/a/runs/9", "", 404, "a has no run 9"),
    ("GET", "/api/v1/connections/a/runs/0", "", 404, "no such run"),
    ("GET", "/api/v1/connections/a/runs/-1", "", 404, "no such run"),
    ("GET", "/api/v1/connections/a/runs/1e3", "", 404, "no such run"),
    ("GET", "/api/v1/connections/a/runs/٣", "", 404, "no such run"),
    ("GET", "/api/v1/connections/a/runs/99999999999999999999/log", "", 404, "no such run"),
    ("GET", "/api/v1/connections/b/runs/1/log", "", 404, "b has not run yet"),
    ("GET", "/api/v1/connections", "limit=0", 400, "`limit` is not a whole number"),
    ("GET", "/api/v1/connections", "limit=1001", 400, "`limit` is not a whole number"),
    ("GET", "/api/v1/connections", "limit=x", 400, "`limit` is not a whole number"),
    ("GET", "/api/v1/connections", "failing=maybe", 400, "`failing` is neither true nor false"),
    ("GET", "/api/v1/connections", "label==x", 400, "`label` is neither KEY nor KEY=VALUE"),
    ("GET", "/api/v1/connections", "&".join(f"x{n}=1" for n in range(40)), 400, "the query has more than 30 parts"),
    ("GET", "/api/v1/connections", "q=" + "x" * 5000, 414, "the address has more than"),
    ("GET", "/api/v1/connections/a", "at=never", 400, "never"),
    ("GET", "/api/v1/nothing", "", 404, "the interface has no such path"),
    ("PUT", "/api/v1/status", "", 405, "GET, HEAD and POST"),
    ("POST", "/api/v1/status", "", 405, "another method"),
    ("GET", "/static/nothing.css", "", 404, "no such file"),
]


@pytest.mark.parametrize(("method", "path", "query", "status", "words"), REFUSED)
def test_what_is_refused_says_why(
    looking: WebClient, method: str, path: str, query: str, status: int, words: str
) -> None:
    answered = looking.ask(method, path, query=query)
    assert (answered.status, answered.headers["content-type"]) == (status, "application/problem+json")
    problem = answered.json
    assert problem["type"] == "about:blank"
    assert problem["status"] == status
    assert words in problem["detail"]


ACTIONS: list[tuple[str, Any, int, str]] = [
    # path, body, status, words
    ("/api/v1/connections/a/run", None, 202, ""),
    ("/api/v1/connections/a/run", {}, 202, ""),
    ("/api/v1/connections/off/run", {}, 409, "switched off"),
    ("/api/v1/connections/off/run", {"force": True}, 202, ""),
    ("/api/v1/connections/off/run", {"force": "yes"}, 400, "`force` is not true or false"),
    ("/api/v1/connections/broken/run", {}, 409, "cannot be used until its file is fixed"),
    ("/api/v1/connections/zz/run", {}, 404, "there is no connection"),
    ("/api/v1/connections/a/run", {"forse": True}, 400, "a key that means nothing here"),
    ("/api/v1/connections/a/run", [], 400, "not an object"),
    ("/api/v1/connections/a/stop", {}, 409, "no run of a works or waits"),
    ("/api/v1/connections/a/stop", {"run": 1}, 409, "a #1 has ended already"),
    ("/api/v1/connections/a/stop", {"run": True}, 400, "`run` is not a whole number"),
    ("/api/v1/connections/a/stop", {"run": -1}, 400, "not the number of a run"),
    ("/api/v1/connections/b/stop", {"reason": "x" * 301}, 400, "the reason has 301 characters"),
    ("/api/v1/connections/b/stop", {"reason": "wrong file"}, 202, ""),
    ("/api/v1/connections/b/remove", {"reason": "wrong file"}, 202, ""),
    ("/api/v1/connections/a/remove", {}, 409, "no run of a waits"),
    ("/api/v1/notifications/a.1/retry", {}, 404, "no such mail"),
]


@pytest.mark.parametrize(("path", "body", "status", "words"), ACTIONS)
def test_what_is_asked_for(client: WebClient, path: str, body: Any, status: int, words: str) -> None:
    answered = client.post_json(path, body)
    assert answered.status == status, answered.text
    if status == 202:
        assert answered.json["id"]
    else:
        assert words in answered.json["detail"]


def test_what_is_asked_for_is_what_the_command_asks_for(busy: Place, client: WebClient) -> None:
    made = client.post_json("/api/v1/connections/a/run").json["id"]
    (asked,) = requests.read_run_requests(busy.state)
    assert asked.id == made
    assert asked.connection == "a"
    assert asked.asked_by.endswith(" on the page")
    made = client.post_json("/api/v1/connections/b/stop", {"reason": "wrong file"}).json["id"]
    (stop,) = requests.read_stop_requests(busy.state)
    assert (stop.id, stop.connection, stop.run, stop.reason) == (made, "b", None, "wrong file")
    assert stop.due_at == AT
    assert client.get("/api/v1/queue").json["waiting"][-1]["asked_by"] == asked.asked_by


# --- forms -----------------------------------------------------------------------------------------------------------


def test_a_form_needs_the_token_of_who_was_shown_it(busy: Place, client: WebClient) -> None:
    token = form_token(client.get("/"))
    done = client.post_form("/connections/a/run", token=token, back="/connections/a?row=3")
    assert done.status == 303
    (asked,) = requests.read_run_requests(busy.state)
    assert done.headers["location"] == f"/connections/a?row=3&asked={asked.id}"
    for wrong in ("", "0" * 64, "x"):
        assert client.post_form("/connections/a/run", token=wrong, back="/").status == 403
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
        assert client.post_form("/connections/a/run", headers=headers, token=token).status in (403, 421)
    json_body = {"content-type": "application/json"}
    assert client.post_form("/connections/a/run", headers=json_body, token=token).status == 415
    assert len(requests.read_run_requests(busy.state)) == 1


BACKS = [
    ("/queue", "/queue?asked="),
    ("//evil.example/", "/?asked="),
    ("/\\evil.example/", "/?asked="),
    ("https://evil.example/", "/?asked="),
    ("javascript:alert(1)", "/?asked="),
    ("/a\r\nSet-Cookie: x=1", "/?asked="),
    ("", "/?asked="),
    ("/?asked=old&q=a%26b", "/?q=a%26b&asked="),
]


@pytest.mark.parametrize(("back", "location"), BACKS)
def test_the_way_back_leads_to_no_other_site(client: WebClient, back: str, location: str) -> None:
    token = form_token(client.get("/"))
    done = client.post_form("/connections/a/run", token=token, back=back)
    assert done.status == 303
    assert done.headers["location"].startswith(location)


def test_a_body_of_another_site_is_not_taken_for_json(looking: WebClient) -> None:
    plain = looking.ask("POST", "/api/v1/connections/a/run", b"{}", headers={"content-type": "text/plain"})
    assert plain.status == 415
    large = looking.ask("POST", "/api/v1/connections/a/run", b"x" * 20_000)
    assert (large.status, large.headers["connection"]) == (413, "close")
    deep = looking.ask("POST", "/api/v1/connections/a/run", b"[" * 10_000, headers={"content-type": "application/json"})
    assert deep.status == 400


# --- sign-in ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(busy: Place, monkeypatch: pytest.MonkeyPatch) -> WebClient:
    """A page with tokens, asked from another machine."""
    monkeypatch.setenv("PAGE_READ", READ)
    monkeypatch.setenv("PAGE_ACT", ACT)
    tokens = '{read: "env:PAGE_READ", act: "env:PAGE_ACT"}'
    with_settings(busy, f'web: {{listen: "0.0.0.0:8080", hosts: [runs.example.com], root: /runs, tokens: {tokens}}}\n')
    return WebClient(busy.folder, now=NOW, is_open=True, peer="192.0.2.9", account=None)


def test_a_stranger_is_shown_the_way_in(guarded: WebClient) -> None:
    page = guarded.get("/connections/a")
    assert page.status == 401
    assert 'name="password"' in page.text
    assert HOSTILE not in page.text
    problem = guarded.get("/api/v1/status")
    assert (problem.status, problem.headers["www-authenticate"]) == (401, 'Bearer realm="connrunner"')
    assert guarded.get("/metrics").status == guarded.get("/connections/a/runs/2/log.txt").status == 401
    assert guarded.get("/healthz").status in (200, 503)
    assert "a" not in guarded.get("/healthz").json.get("connections", "")
    assert guarded.get("/openapi.json").json["servers"] == [{"url": "/runs"}]


def test_who_signs_in_sees_and_who_may_acts(busy: Place, guarded: WebClient) -> None:
    token = form_token(guarded.get("/sign-in"))
    refused = guarded.post_form("/sign-in", token=token, password="wrong", back="/runs/queue")
    assert (refused.status, "set-cookie" in refused.headers) == (401, False)
    assert guarded.post_form("/sign-in", token="x", password=ACT).status == 403
    done = guarded.post_form("/sign-in", token=token, password=ACT, back="/runs/queue", name="Anna")
    assert (done.status, done.headers["location"]) == (303, "/runs/queue")
    cookie = done.headers["set-cookie"]
    assert ACT not in cookie
    assert {"HttpOnly", "SameSite=strict", "Path=/runs"} <= {part.strip() for part in cookie.split(";")}
    signed_in = {"cookie": cookie.partition(";")[0]}
    page = guarded.get("/runs/", headers=signed_in)
    assert page.status == 200
    form = {"token": form_token(page), "back": "/runs/"}
    assert guarded.post_form("/runs/connections/a/run", signed_in, **form).status == 303
    assert [one.asked_by for one in requests.read_run_requests(busy.state)] == ["Anna on the page"]
    assert guarded.post_form("/connections/a/run", None, **form).status == 401
    secure = guarded.post_form("/sign-in", {"x-forwarded-proto": "https"}, token=token, password=READ)
    assert "Secure" in secure.headers["set-cookie"]
    reader = {"cookie": secure.headers["set-cookie"].partition(";")[0]}
    assert guarded.get("/", headers=reader).status == 200
    assert 'name="token"' not in guarded.get("/", headers=reader).text
    refused = guarded.post_form("/connections/a/run", reader, **form)
    assert (refused.status, "act" in refused.text) == (403, True)
    out = guarded.post_form("/sign-out", headers=reader)
    assert 'connrunner_session=""' in out.headers["set-cookie"]


def test_a_program_shows_its_token(busy: Place, guarded: WebClient) -> None:
    for token, status in ((READ, 403), (ACT, 202)):
        headers = {"authorization": f"Bearer {token}"}
        assert guarded.get("/api/v1/status", headers=headers).status == 200
        assert guarded.ask("POST", "/api/v1/connections/a/run", headers=headers).status == status
    assert [one.asked_by for one in requests.read_run_requests(busy.state)] == ["the act token on the page"]
    assert guarded.get("/api/v1/status", headers={"authorization": "Bearer x"}).status == 401


def test_tokens_that_cannot_be_read_let_nobody_in(
    busy: Place, guarded: WebClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAGE_READ")
    monkeypatch.setenv("PAGE_ACT", "too-short")
    for account in (0, guarded.account):
        guarded.peer, guarded.account = "127.0.0.1", account
        refused = guarded.get("/api/v1/status", headers={"authorization": f"Bearer {ACT}"})
        assert (refused.status, "cannot be read" in refused.json["detail"]) == (503, True)


def test_a_page_that_loses_its_rights_is_closed(busy: Place) -> None:
    open_page = WebClient(busy.folder, now=NOW, is_open=True, peer="192.0.2.9", account=None)
    refused = open_page.get("/api/v1/status")
    assert (refused.status, "does not say who may see" in refused.json["detail"]) == (503, True)


def test_another_account_of_this_machine_is_a_stranger(busy: Place) -> None:
    stranger = WebClient(busy.folder, now=NOW, account=12345)
    assert stranger.get("/api/v1/status").status == 401
    assert "web.tokens" in stranger.get("/").text


# --- what every answer carries ---------------------------------------------------------------------------------------

EVERYWHERE = ["/", "/nope", "/api/v1/status", "/api/v1/nope", "/healthz", "/metrics", "/calendar.ics", "/openapi.json",
              "/static/nope", "/connections/a/runs/2/log.txt", "/connections/a/runs/2/rejects.csv", "/sign-in"]  # fmt: skip


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_has_the_headers(looking: WebClient, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answered = looking.ask(method, path)
        assert {name.lower() for name in SECURITY_HEADERS} <= set(answered.headers), (method, path)
        assert answered.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", "/", {"GET", "HEAD", "POST"}), ("POST", "/queue", {"GET", "HEAD"})],
)  # fmt: skip
def test_a_refused_method_comes_with_those_that_are_not(
    looking: WebClient, method: str, path: str, allowed: set[str]
) -> None:
    answered = looking.ask(method, path)
    assert (answered.status, set(answered.headers["allow"].split(", "))) == (405, allowed)


def test_a_calendar_signs_in_with_a_token_as_its_password(guarded: WebClient) -> None:
    stranger = guarded.get("/runs/calendar.ics")
    assert (stranger.status, stranger.headers["www-authenticate"][:5]) == (401, "Basic")
    assert guarded.get("/runs/api/v1/status").headers["www-authenticate"].startswith("Bearer")
    password = {"authorization": f"Basic {base64.b64encode(f'ann:{READ}'.encode()).decode()}"}
    assert guarded.get("/runs/calendar.ics", headers=password).text.startswith("BEGIN:VCALENDAR")
    assert guarded.get("/runs/", headers=password).status == 401, "for the calendar alone"


def test_static_files_are_kept_for_good(looking: WebClient) -> None:
    style = re.search(r'href="(/static/app\.[0-9a-f]+\.css)"', looking.get("/").text)
    assert style
    answered = looking.get(style[1], headers={"accept-encoding": "gzip"})
    assert "immutable" in answered.headers["cache-control"]
    assert answered.headers["content-encoding"] == "gzip"
    assert looking.get(style[1]).headers["content-type"] == "text/css; charset=utf-8"


PAGES = ["/", "/queue", "/timeline", "/notifications", "/health", "/runs", "/connections/a", "/connections/a/runs/2",
         f"/{HOSTILE}", "/connections/broken"]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_hostile_words_are_shown_as_words(looking: WebClient, path: str) -> None:
    page = looking.get(path, q=HOSTILE)
    assert page.status in (200, 404)
    assert "<script>alert" not in page.text


def test_downloads_have_safe_names_types_and_cells(looking: WebClient) -> None:
    text = looking.get("/connections/a/runs/2/log.txt")
    assert text.headers["content-disposition"] == 'attachment; filename="a-2-log.txt"'
    assert "\x1b" not in text.text
    assert "\u202e" not in text.text
    kept = looking.get("/connections/a/runs/2/log.jsonl")
    assert kept.content.count(b"\n") == 3
    table = looking.get("/connections/a/runs/2/rejects.csv")
    assert table.headers["content-type"].startswith("text/csv")
    head, first, *_ = csv.reader(io.StringIO(table.text))
    assert head[:3] == ["file", "line", "key"]
    assert first[1:3] == ["2", "'=1+1"]
    assert first[-1] == "'@SUM(A1);\"'=2\""


# --- it stays up -----------------------------------------------------------------------------------------------------


def test_no_state_at_all(place: Place) -> None:
    client = WebClient(place.folder, now=NOW)
    assert client.get("/").status == 200
    assert client.get("/api/v1/status").json["last_tick"] is None
    assert client.get("/api/v1/connections").json == []
    assert (client.get("/healthz").status, client.get("/healthz").json["healthy"]) == (503, False)


def test_a_state_of_a_newer_version(busy: Place, client: WebClient) -> None:
    assert client.get("/api/v1/status").status == 200
    with busy.state.journal.open("a") as journal:
        journal.write('{"v":999,"type":"planned"}\n')
    refused = client.get("/api/v1/status")
    assert (refused.status, "newer connrunner" in refused.json["detail"]) == (503, True)
    page = client.get("/")
    assert (page.status, "newer connrunner" in page.text) == (503, True)


def test_damaged_records(busy: Place, client: WebClient) -> None:
    with busy.state.journal.open("a") as journal:
        journal.write("{damaged\n")
    history = busy.state.history("a")
    history.write_bytes(b"\x00\xff{\n" + history.read_bytes() + b"{half")
    busy.state.rejects("a", 2).write_bytes(b"\xff\n[1]\n{\n")
    for path in ("/", "/connections/a", "/connections/a/runs/2", "/api/v1/status", "/api/v1/connections/a/runs"):
        assert client.get(path).status == 200, path
    assert client.get("/api/v1/connections/a/runs/2/rejects").json == []


def test_a_log_that_was_removed(busy: Place, client: WebClient) -> None:
    for file in busy.state.run("a", 2).iterdir():
        file.unlink()
    busy.state.run("a", 2).rmdir()
    refused = client.get("/api/v1/connections/a/runs/2/log")
    assert (refused.status, "is not kept any more" in refused.json["detail"]) == (404, True)
    assert client.get("/api/v1/connections/a/runs/2").status == 200
    busy.state.run("a", 2).mkdir()
    assert client.get("/connections/a/runs/2/log.txt").text == ""


def test_a_broken_workspace_is_said_plainly_and_an_edit_is_seen(busy: Place, client: WebClient) -> None:
    assert client.get("/api/v1/connections/a").json["schedule"]
    busy.write("connrunner.yaml", "version: 1\nnonsense: true\n")
    client.site.live._looked_at = float("-inf")  # a second later
    answered = client.get("/api/v1/status")
    assert (answered.status, "nonsense" in answered.json["trouble"]) == (200, True)
    assert "nonsense" in client.get("/").text
    with_settings(busy, "")
    busy.command("new", "print()")
    client.site.live._looked_at = float("-inf")
    assert "new" in [one["connection"] for one in client.get("/api/v1/connections").json]
    assert client.get("/api/v1/status").json["trouble"] == ""


def test_what_is_not_a_file_is_not_read(busy: Place, tmp_path: Path, client: WebClient) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"at": "2026-11-22T01:30:00Z", "message": "secret"}\n')
    log = busy.state.log("a", 2)
    log.unlink()
    log.symlink_to(secret)
    for path in ("/api/v1/connections/a/runs/2/log", "/connections/a/runs/2/log.txt", "/connections/a/runs/2"):
        assert "secret" not in client.get(path).text
    assert list(iter_events(busy.state.log("b", 7), 0, 10)) == []


def test_it_reads_while_the_locks_of_ticks_and_of_the_store_are_held(busy: Place, client: WebClient) -> None:
    store = busy.state.profiles
    store.write_bytes(b"an import holds this")
    with locks.hold_state_lock(busy.state), store.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for path in ("/", "/queue", "/connections/a/runs/2", "/api/v1/status", "/api/v1/connections/a", "/metrics"):
            assert client.get(path).status == 200, path
        assert client.post_json("/api/v1/connections/a/run").status == 202


def test_mail_that_was_given_up_is_sent_again(busy: Place, client: WebClient) -> None:
    notice: dict[str, Any] = {"id": "a.2.failure", "event": "failure", "connection": "a", "run": 2, "target": "team"}
    journal = Journal(busy.state)
    dead = {"connection": "a", "run": 2, "recipient": "x@example.com", "reason": "refused", "attempts": 1}
    dead |= {"at": instant.text(AT), "owed_at": instant.text(AT), "notice": {**notice, "recipients": ["x@example.com"]}}
    with locks.hold_state_lock(busy.state):
        state = as_snapshot(journal.open())
        journal.append({"type": "snapshot", "at": instant.text(AT), **state, "dead": [dead]})
    listed = client.get("/api/v1/notifications").json
    assert [(one["id"], one["state"]) for one in listed] == [("a.2.failure", "dead")]
    refused = client.post_json("/api/v1/notifications/a.2.failure/retry", {"recipient": "y@example.com"})
    assert refused.status == 409
    assert client.post_json("/api/v1/notifications/a/retry").status == 404  # the whole id, and no more than it names
    done = client.post_json("/api/v1/notifications/a.2.failure/retry")
    assert (done.status, done.json["recipients"]) == (202, ["x@example.com"])
    assert [one["state"] for one in client.get("/api/v1/notifications").json] == ["waiting"]
    records = [json.loads(line) for line in busy.state.journal.read_text().splitlines()]
    assert records[-1]["type"] == "retried"
    assert records[-1]["reason"].endswith(" on the page")
