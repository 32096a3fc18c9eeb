"""
A workspace for pictures and tests of the page: three lanes, and whatever there is to be seen on one day.

Its past is made up and recorded as connrunner records it: histories, logs, refused rows, the journal with the mail that
it owes. Everything follows from `NOW`, the day before the clock goes back; nothing depends on today's date or on chance.
`python -m tests.page_workspace DIR` makes one to look at.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from connrunner.config import load, zones
from connrunner.core import instant, run_records, schedules
from connrunner.core.alerts import on_run_end
from connrunner.core.counts import Counts
from connrunner.core.model import Connection, Outcome, QueuedRun, Result, Run, RunIntent
from connrunner.core.planning import forecast, queue_order
from connrunner.core.planning.due import Promise
from connrunner.scheduler import idle
from connrunner.state import run_files
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from connrunner.state.journal_state import StartedRun, promise_as_dict, started_as_dict
from connrunner.state.locks import LaneLock, hold_state_lock

NOW = instant.parse("2026-10-24T12:32:10Z")  # Saturday; in Amsterdam the clock goes back the night after
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
BEGIN = NOW - 9 * DAY

SETTINGS = """\
version: 1
timezone: Europe/Amsterdam
mail:
  from: connrunner@example.com
  server: smtp://127.0.0.1:2525
"""
PROFILE = """\
properties:
  crm_id: {type: text, identifier: true}
  email: {type: email, identifier: true}
  first_name: {type: text}
  phone: {type: text}
  city: {type: text}
  lifetime_value: {type: decimal, personal: false}
objectives:
  newsletter: {title: Newsletter}
"""
DATA_TEAM = """\
email: [data-team@example.com, on-call@example.com]
limit: 20
"""
NEWSLETTER_CHANGED = ("where: city = 'Utrecht'", "where: \"city = 'Utrecht' OR city = 'Gouda'\"")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One connection of the workspace and what its runs are like."""

    kind: str
    title: str
    owner: str
    schedule: str
    seconds: float
    rows: int = 0
    lane: str = "main"
    more: str = ""
    enabled: bool = True
    bad: dict[int, Outcome] = field(default_factory=dict)  # by how many runs ago: 0 is the newest
    message: str = ""
    notify: str = "data-team"


def daily(time: str) -> str:
    days = "monday, tuesday, wednesday, thursday, friday, saturday, sunday"
    return f'{{type: days_of_week, days: [{days}], time: "{time}"}}'


def cron(expression: str) -> str:
    return f'{{type: cron, expression: "{expression}"}}'


FAILED, PARTIAL, STOPPED = Outcome.FAILED, Outcome.PARTIAL, Outcome.STOPPED
PARTS = {
    "address-corrections": Part(kind="import", title="Address corrections", owner="data-team", schedule=daily("02:30"), seconds=190, rows=900),
    "crm-contacts": Part(
        kind="import", title="CRM contacts", owner="data-team", schedule=cron("18 2,8,14,20 * * *"), seconds=1320, rows=48000,
        more="description: Contacts that changed in the CRM, four times a day.\n", bad={0: PARTIAL, 11: FAILED, 16: PARTIAL},
        message="the server closed the connection while contacts-2026-10-21T1418.csv was fetched; nothing was written",
    ),
    "erp-customers": Part(
        kind="import", title="ERP customers", owner="finance", schedule=daily("03:00"), seconds=1020, rows=21000,
        bad={0: FAILED, 1: FAILED, 2: FAILED}, message="the server refused the login of user profiles", notify="erp-owner@example.com",
    ),
    "loyalty-points": Part(kind="import", title="Loyalty points", owner="loyalty", schedule=cron("20 */2 * * *"), seconds=190, rows=21200),
    "members": Part(kind="import", title="Members", owner="membership", schedule=daily("06:00"), seconds=420, rows=5200, more="labels: {tier: gold}\n"),
    "email-bounces": Part(kind="import", title="Bounces of the mail service", owner="marketing", schedule=cron("5 * * * *"), seconds=40, rows=310),
    "survey-answers": Part(kind="import", title="Survey answers", owner="research", schedule=daily("05:30"), seconds=240, rows=3118, bad={0: PARTIAL, 3: PARTIAL, 5: PARTIAL}),
    "product-interest": Part(kind="import", title="Product interest", owner="webshop", schedule=cron("40 */2 * * *"), seconds=80, rows=4000),
    "unsubscribes": Part(kind="import", title="Unsubscribes", owner="marketing", schedule=cron("*/20 * * * *"), seconds=22, rows=12),
    "old-shop": Part(kind="import", title="The shop before 2026", owner="webshop", schedule=daily("04:00"), seconds=60, enabled=False),
    "newsletter-audience": Part(kind="export", title="Newsletter audience", owner="marketing", schedule=cron("20 */3 * * *"), seconds=1080, rows=231000, lane="exports"),
    "ads-lookalike": Part(kind="export", title="Look-alike audience", owner="marketing", schedule="{type: manual}", seconds=420, rows=90000, lane="exports"),
    "push-audience": Part(kind="export", title="Push audience", owner="mobile-team", schedule=cron("25 */2 * * *"), seconds=240, rows=64000, lane="exports", more="labels: {tier: gold, channel: push}\n"),
    "refresh-segments": Part(
        kind="command", title="Refresh segments", owner="analytics", schedule=cron("35 1,7,13,19 * * *"), seconds=660, lane="warehouse",
        bad={0: Outcome.INTERRUPTED, 14: FAILED, 20: STOPPED}, message="cut off after 6 min 42 s: the machine ran out of memory",
    ),
    "warehouse-changes": Part(kind="import", title="Warehouse changes", owner="data-team", schedule=cron("15 * * * *"), seconds=240, rows=1500, lane="warehouse"),
}  # fmt: skip


def document(name: str, part: Part) -> str:
    """Return the file of a connection."""
    head = f"title: {part.title}\n{part.more}owner: {part.owner}\nlane: {part.lane}\nschedule: {part.schedule}\n"
    head += "" if part.enabled else "enabled: false\n"
    tells = f"notify:\n  - {{to: {part.notify}, when: failure}}\n"
    match part.kind:
        case "import":
            fields = "{crm_id: Id, email: Email, first_name: FirstName, phone: Phone, lifetime_value: LTV}"
            body = f'import:\n  from: {{type: files, path: "in/{name}-*.csv"}}\n  match: [email, crm_id]\n  fields: {fields}\n'
        case "export":
            body = f"export:\n  to: {{type: files, path: \"out/{name}-{{run}}.csv\"}}\n  where: city = 'Utrecht'\n"
            body += "  fields: {email: email, first_name: first_name}\n"
        case _:
            body = "command:\n  run: [./jobs/refresh, --all]\n"
    return f"{head}{body}{tells}"


# --- the workspace ------------------------------------------------------------------------------------------------


def git(folder: Path, *words: str, at: datetime) -> str:
    stamp = instant.text(at)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": stamp,
        "GIT_COMMITTER_DATE": stamp,
    }
    who = ("-c", "user.name=Ann de Vries", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main")
    return subprocess.run(["git", *who, *words], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout


def write_workspace(folder: Path) -> tuple[str, str]:
    """Write the files and commit them twice; return both commits."""
    for path, text in {
        "connrunner.yaml": SETTINGS,
        "profile.yaml": PROFILE,
        "notifications/data-team.yaml": DATA_TEAM,
        ".gitignore": ".connrunner/\n",
        **{f"connections/{name}.yaml": document(name, part) for name, part in PARTS.items()},
    }.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git(folder, "init", "--quiet", at=BEGIN)
    git(folder, "add", "-A", at=BEGIN)
    git(folder, "commit", "--quiet", "--message", "Connections of the customer profiles", at=BEGIN)
    git(folder, "remote", "add", "origin", "git@github.com:example/customer-profiles.git", at=BEGIN)
    first = git(folder, "rev-parse", "HEAD", at=BEGIN).strip()
    contacts = folder / "connections/crm-contacts.yaml"
    changed = (
        contacts.read_text()
        .replace("import:\n", "timeout: 2h\nimport:\n")
        .replace("phone: Phone, ", "phone: Phone, city: City, ")
    )
    contacts.write_text(changed)
    changed_at = instant.parse("2026-10-24T06:02:00Z")
    git(folder, "commit", "--quiet", "--all", "--message", "Ask for cities, give it two hours", at=changed_at)
    return first, git(folder, "rev-parse", "HEAD", at=changed_at).strip()


def break_file(folder: Path) -> None:
    """Break one connection's file, as somebody did this morning."""
    path = folder / "connections/product-interest.yaml"
    path.write_text(path.read_text().replace("  fields:", "  feilds:"))


# --- its past -----------------------------------------------------------------------------------------------------


def counts_of(part: Part, outcome: Outcome, chance: random.Random) -> Counts:
    if part.kind == "command" or outcome in (FAILED, Outcome.INTERRUPTED):
        return Counts()
    read = round(part.rows * chance.uniform(0.96, 1.03))
    filtered, created = read // 40, read // 150
    updated, duplicate, blocked = read // 17, read // 2600, read // 95
    invalid = max(39, read // 35) if outcome is PARTIAL and part.rows < 10_000 else 39 if outcome is PARTIAL else 0
    checked = read - filtered
    unchanged = checked - created - updated - duplicate - blocked - invalid
    return Counts(
        read=read, filtered=filtered, checked=checked, created=created, updated=updated, unchanged=unchanged,
        duplicate=duplicate, consent_blocked=blocked, invalid=invalid,
    )  # fmt: skip


def words_of(counts: Counts) -> str:
    """Return what an import says of itself."""
    refused = f", {counts.invalid:,} refused" if counts.invalid else ""
    return f"{counts.created:,} created, {counts.updated:,} updated, {counts.unchanged:,} unchanged{refused}"


def result_of(name: str, part: Part, outcome: Outcome, chance: random.Random) -> Result:
    counts = counts_of(part, outcome, chance)
    detail: dict[str, Any] = {}
    if part.kind == "import" and counts.read:
        detail = {"files": [{"name": f"in/{name}-2026-10-24.csv", "read": counts.read}]}
    match outcome:
        case Outcome.FAILED:
            return Result(outcome=outcome, message=part.message or "no answer", code="source-failed", attempts=3)
        case Outcome.INTERRUPTED:
            return Result(outcome=outcome, message=part.message, code="interrupted")
        case Outcome.STOPPED:
            words = "stopped by ann: the warehouse is being moved"
            return Result(outcome=outcome, counts=counts, message=words, code="stopped", detail={"stopped_by": "ann"})
        case Outcome.PARTIAL:
            return Result(outcome=outcome, counts=counts, message=words_of(counts), detail=detail)
    return Result(
        outcome=outcome, counts=counts, message=words_of(counts) if part.kind == "import" else "", detail=detail
    )


@dataclass(kw_only=True)
class Past:
    """What is recorded while the days are played through."""

    folder: Path
    commits: tuple[str, str]
    connections: dict[str, Connection]
    records: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.folder / ".connrunner")


def slots_of(connection: Connection, until: datetime) -> list[datetime]:
    return list(schedules.between(connection.schedule, BEGIN, until, on_since=BEGIN))


def play(past: Past) -> tuple[forecast.PredictedRun, ...]:
    """Return every run until now, lane by lane, one after the other."""
    on = {name: one for name, one in past.connections.items() if one.enabled}
    arrivals = [queue_order.predict_slot(name, slot, on) for name, one in on.items() for slot in slots_of(one, NOW)]
    return forecast.simulate(arrivals, {name: PARTS[name].seconds for name in on}, now=BEGIN)


def record_past(past: Past) -> None:
    chance = random.Random(20261024)
    ended: dict[str, list[forecast.PredictedRun]] = {}
    for visit in play(past):
        if visit.ends_at < NOW - 3 * MINUTE and not is_open(visit):
            ended.setdefault(visit.connection, []).append(visit)
    numbered = []
    for name, visits in ended.items():
        first = 1408 - len(visits) if name == "crm-contacts" else 101
        for place, visit in enumerate(visits):
            outcome = PARTS[name].bad.get(len(visits) - 1 - place, Outcome.SUCCEEDED)
            numbered.append((visit, first + place, outcome))
    for visit, number, outcome in sorted(numbered, key=lambda one: one[0].ends_at):
        add_run(past, visit, number, outcome, chance)


def is_open(visit: forecast.PredictedRun) -> bool:
    """Tell whether the run of *visit* is one of those that work or wait now."""
    return visit.due_at >= OPEN.get(visit.connection, NOW)


OPEN = {  # slots whose runs work or wait at NOW
    "crm-contacts": instant.parse("2026-10-24T12:18:00Z"),
    "loyalty-points": instant.parse("2026-10-24T12:20:00Z"),
    "unsubscribes": instant.parse("2026-10-24T12:20:00Z"),
    "newsletter-audience": instant.parse("2026-10-24T12:20:00Z"),
    "push-audience": instant.parse("2026-10-24T12:25:00Z"),
}


def entry_of(visit: forecast.PredictedRun) -> QueuedRun:
    return QueuedRun(connection=visit.connection, due_at=visit.due_at, queued_at=visit.due_at + timedelta(seconds=2))


def add_run(past: Past, visit: forecast.PredictedRun, number: int, outcome: Outcome, chance: random.Random) -> None:
    name, part = visit.connection, PARTS[visit.connection]
    connection = past.connections[name]
    factor = {Outcome.FAILED: 0.3, Outcome.INTERRUPTED: 0.6}.get(outcome, chance.uniform(0.86, 1.0))
    started_at = visit.starts_at + timedelta(seconds=3)
    seconds = round(part.seconds * factor - 3, 3)
    entry = replace(entry_of(visit), merged=visit.merged)
    commit = past.commits[started_at > instant.parse("2026-10-24T06:02:00Z")]
    intent = RunIntent(
        run=number,
        started_at=started_at,
        commit=commit,
        config=connection.fingerprint,
        kind=part.kind,
        title=part.title,
    )
    result = result_of(name, part, outcome, chance)
    run = Run(
        entry=entry, intent=intent, result=result, ended_at=started_at + timedelta(seconds=seconds), seconds=seconds
    )
    past.runs.setdefault(name, []).append(run)
    if run.ended_at > NOW - timedelta(days=2.6):
        record_run(past, run, connection)


def slot_record(entry: QueuedRun, at: datetime) -> dict[str, Any]:
    slot = {**run_records.entry_as_dict(entry), "result": "queued", "reason": "", "missed_until": None}
    return {
        "type": "planned",
        "at": instant.text(at),
        "before": instant.text(at - MINUTE),
        "promises": {},
        "slots": [slot],
    }


def started_record(run: Run | StartedRun, lane: str) -> dict[str, Any]:
    started = (
        run
        if isinstance(run, StartedRun)
        else StartedRun(entry=run.entry, intent=run.intent, lane=lane, mark="made-up")
    )
    return {"type": "started", "at": instant.text(started.started_at), **started_as_dict(started)}


def record_run(past: Past, run: Run, connection: Connection) -> None:
    """Record slot, start, end and the mail that the end owes, and what became of that."""
    past.records += [slot_record(run.entry, run.entry.queued_at), started_record(run, connection.lane)]
    past.records.append(
        {
            "type": "ended",
            "at": instant.text(run.ended_at),
            "run": run_records.as_dict(run),
            "owes": [],
            "broken": "",
            "dequeued": False,
        }
    )


def add_notices(past: Past, journal: Journal) -> None:
    """Append what was recorded; each end owes what the rules say, given what was told before."""
    for record in sorted(past.records, key=lambda one: str(one["at"])):
        if record["type"] == "ended":
            run = run_records.from_mapping(record["run"])
            rules = past.connections[run.connection].notify
            token = f"{run.connection}-{run.run}"
            notices = on_run_end.decide_notices(rules, run, journal.state.alerts, token=token)
            record["owes"] = [notice.as_dict() for notice in notices]
            journal.append(record)
            for notice in notices:
                journal.append(*(answer for to in notice.recipients for answer in answers_of(notice.id, to, run)))
        else:
            journal.append(record)


def answers_of(notice: str, recipient: str, run: Run) -> Iterator[dict[str, Any]]:
    """Yield how each attempt to deliver a mail ended."""
    at = run.ended_at + timedelta(seconds=5)
    said: dict[str, Any] = {"type": "delivered", "notice": notice, "recipient": recipient}
    if recipient == "erp-owner@example.com":
        why = "550 5.7.1 not accepted: the sender is not allowed"
        yield {**said, "result": "refused", "at": instant.text(at), "reason": why}
    elif recipient == "on-call@example.com" and run.outcome is Outcome.INTERRUPTED:
        for wait in (0, 1, 6, 21):
            again = at + wait * MINUTE
            yield {**said, "result": "deferred", "at": instant.text(again), "reason": "451 4.7.1 try again later"}
    else:
        yield {**said, "result": "sent", "at": instant.text(at), "reason": ""}


def write_histories(past: Past) -> None:
    for name, runs in past.runs.items():
        home = past.state.connection(name)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lines = b"".join(run_files.encode_event(run_records.as_dict(run)) for run in runs)
        past.state.history(name).write_bytes(lines)
        for run in runs[-3:]:
            write_run_files(past.state, run)


def write_run_files(state: StateFolder, run: Run) -> None:
    """Write the log of *run*, and the rows that it refused."""
    state.run(run.connection, run.run).mkdir(mode=0o700, exist_ok=True)
    begin, counts = run.intent.started_at, run.result.counts
    assert begin is not None
    lines: list[tuple[float, dict[str, Any]]] = [
        (0.1, {"type": "started", "connection": run.connection, "run": run.run, "pid": 20714})
    ]
    if counts.read:
        lines += [
            (0.9, {"level": "info", "message": f"in/{run.connection}-2026-10-24.csv: 11.4 MB, not seen before"}),
            (2.2, {"level": "debug", "message": 'delimiter ; quote " encoding utf-8, 5 columns'}),
            (4.7, {"level": "info", "message": f"{counts.read:,} rows read, {counts.filtered:,} filtered by where"}),
        ]
    if counts.invalid:
        words = f"{counts.invalid} rows have a value that is not of its type; the first is line 214"
        lines += [(5.1, {"level": "warning", "message": words})]
    lines += [
        (6 + part * 9, {"type": "progress", "stage": "write", "done": counts.checked * part // 4, "of": counts.checked})
        for part in range(1, 5)
        if counts.checked
    ]
    if run.outcome.is_failure and not counts.invalid:
        lines.append((run.seconds - 1, {"level": "error", "message": run.result.message}))
    lines.append((run.seconds, {"type": "ended", **run_records.result_as_dict(run.result)}))
    write_log(state, run.connection, run.run, begin, lines)
    if counts.refused or counts.duplicate:
        rows = list(refused_rows(run))
        state.rejects(run.connection, run.run).write_bytes(b"".join(map(run_files.encode_event, rows)))


def write_log(
    state: StateFolder, name: str, number: int, begin: datetime, lines: list[tuple[float, dict[str, Any]]]
) -> None:
    events = ({"at": instant.text(begin + timedelta(seconds=after)), **event} for after, event in lines)
    state.log(name, number).write_bytes(b"".join(map(run_files.encode_event, events)))


def refused_rows(run: Run) -> Iterator[dict[str, Any]]:
    counts, file = run.result.counts, f"in/{run.connection}-2026-10-24.csv"
    for place in range(counts.invalid):
        fields = ("phone", "0…9 (9)") if place % 5 else ("lifetime_value", "1.204,50")
        why = f"{fields[0]} must be a {'telephone number like +31201234567' if place % 5 else 'decimal like 12.50'}"
        yield {
            "line": 214 + 163 * place,
            "key": f"c-{88213 - 611 * place}",
            "field": fields[0],
            "stage": "validate",
            "code": "wrong-type",
            "message": why,
            "value": fields[1],
            "file": file,
        }
    for place in range(counts.duplicate):
        why = f"a later row of the file is about the same profile and wins: line {30411 + place}"
        yield {
            "line": 2040 + 977 * place,
            "key": f"c-{71640 + 7 * place}",
            "field": "",
            "stage": "match",
            "code": "duplicate",
            "message": why,
            "value": "",
            "file": file,
        }


# --- now ----------------------------------------------------------------------------------------------------------


def record_now(past: Past) -> list[dict[str, Any]]:
    """Return the records of what works, what waits and what is promised."""
    records = [
        slot_record(QueuedRun(connection=name, due_at=due, queued_at=due + timedelta(seconds=2)), due)
        for name, due in OPEN.items()
    ]
    asked = QueuedRun(
        connection="ads-lookalike", due_at=instant.parse("2026-10-24T12:24:00Z"), queued_at=instant.parse("2026-10-24T12:24:02Z"),
        trigger="manual", asked_by="ann",
    )  # fmt: skip
    records.append(slot_record(asked, asked.due_at))
    for name, number in (("crm-contacts", 1408), ("newsletter-audience", len(past.runs["newsletter-audience"]) + 101)):
        connection, began = past.connections[name], OPEN[name] + timedelta(seconds=3)
        intent = RunIntent(
            run=number,
            started_at=began,
            commit=past.commits[1],
            config=connection.fingerprint,
            kind=connection.kind,
            title=connection.title,
        )
        entry = QueuedRun(connection=name, due_at=OPEN[name], queued_at=OPEN[name])
        records.append(
            started_record(
                StartedRun(entry=entry, intent=intent, lane=connection.lane, mark="made-up"), connection.lane
            )
        )
        write_open_log(past.state, name, number, began)
    return records


def write_open_log(state: StateFolder, name: str, number: int, began: datetime) -> None:
    state.run(name, number).mkdir(mode=0o700, parents=True, exist_ok=True)
    stage, total = ("write", 47102) if name == "crm-contacts" else ("send", 231806)
    elapsed = (NOW - began).total_seconds()
    lines: list[tuple[float, dict[str, Any]]] = [
        (0.1, {"type": "started", "connection": name, "run": number, "pid": 31877}),
        (2.0, {"level": "info", "message": f"{total:,} rows to {stage}"}),
        (
            9.3,
            {
                "level": "warning",
                "message": "phone: 12 rows have a value that is not a telephone number; the first is line 88",
            },
        ),
    ]
    lines += [
        (
            12 + (elapsed - 12) * part / 9,
            {"type": "progress", "stage": stage, "done": int(total * 0.63 * part / 9), "of": total},
        )
        for part in range(10)
    ]
    write_log(state, name, number, began, lines)


def promises_of(past: Past) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, connection in past.connections.items():
        if not connection.enabled:
            continue
        slots = slots_of(connection, NOW + 40 * DAY)
        coming = next((slot for slot in slots if slot > NOW), None)
        found[name] = promise_as_dict(
            Promise(
                on_since=BEGIN,
                schedule=schedules.as_document(connection.schedule),
                next_due=coming,
                last_due=max((slot for slot in slots if slot <= NOW), default=None),
                zones=zones.version(),
                recorded=None,
            )
        )
    return found


def make_workspace(folder: Path) -> Path:
    """Make the workspace in *folder*, which is new, with its state folder; return *folder*.

    Nothing of it has to survive a power cut, so no disk is waited for.
    """
    with mock.patch("os.fsync"):
        return _make_workspace(folder)


def _make_workspace(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    commits = write_workspace(folder)
    connections = dict(load.load(folder).connections)
    past = Past(folder=folder, commits=commits, connections=connections)
    past.state.prepare()
    record_past(past)
    journal = Journal(past.state)
    off: dict[str, Any] = {
        "type": "planned",
        "at": instant.text(BEGIN),
        "before": None,
        "promises": {},
        "slots": [],
        "off": ["old-shop"],
    }
    with hold_state_lock(past.state):
        journal.open()
        write_histories(past)
        journal.append(off)
        add_notices(past, journal)
        last = NOW - timedelta(seconds=10)
        broken = {"product-interest": "0123456789abcdef"}
        promises = {
            "type": "planned",
            "at": instant.text(last),
            "before": instant.text(last - MINUTE),
            "promises": promises_of(past),
            "slots": [],
            "broken": broken,
            "commit": commits[1],
        }
        journal.append(*record_now(past), promises)
    idle.note_look(str(past.state.root), last.timestamp())
    break_file(folder)
    return folder


@contextmanager
def running_lanes(folder: Path) -> Iterator[None]:
    """Hold the lanes whose runs work at `NOW`: a run lives as long as its lane is held."""
    with ExitStack() as stack:
        for lane in ("main", "exports"):
            lock = LaneLock(StateFolder(folder / ".connrunner"), lane)
            assert lock.take()
            stack.callback(lock.release)
        yield


if __name__ == "__main__":
    made = make_workspace(Path(sys.argv[1]))
    sys.stdout.write(f"{made} at {instant.text(NOW)}\n")
