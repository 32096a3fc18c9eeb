"""The values that everything else talks about."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any, Literal

from connrunner.core.counts import Counts
from connrunner.errors import Problem
from connrunner.lazy_dataclasses import dataclass, field

# --- schedules ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class TimesPerDay:
    """*times* runs in every 24 hours of elapsed time, counted from the switching on; no zone [R4]."""

    times: int  # 1..1440


@dataclass(frozen=True, kw_only=True, slots=True)
class DaysOfWeek:
    """At *time* on each of *days*."""

    days: tuple[int, ...]  # 0 is Monday; sorted, unique, never empty
    time: time
    timezone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DayOfMonth:
    """At *time* on one day of each month; a month without that day has no slot [R3]."""

    day: int  # 1..31, or -1 for the last day
    time: time
    timezone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WeekdayOfMonth:
    """At *time* on the first..fifth or last such weekday of each month."""

    week: int  # 1..5, or -1 for the last
    weekday: int  # 0 is Monday
    time: time
    timezone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchoredTimes:
    """*times* runs on each local day, evenly spread over its clock and counted from *anchor*."""

    times: int  # 1..1440
    anchor: time
    timezone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cron:
    """A line of a crontab, without its command."""

    expression: str  # five fields, in upper case, one space between them
    timezone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Recurrence:
    """A recurrence rule (RFC 5545) of days, months or years."""

    rule: str  # its parts in one order, in upper case
    start: date | None  # DTSTART: intervals and COUNT count from it, and nothing fires before it
    time: time | None  # None when the rule says BYHOUR itself
    timezone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manual:
    """Never by itself."""


Calendar = DaysOfWeek | DayOfMonth | WeekdayOfMonth | AnchoredTimes | Cron | Recurrence
Single = TimesPerDay | Calendar


@dataclass(frozen=True, kw_only=True, slots=True)
class Blackout:
    """A time in which nothing is due.

    Either from one local instant to another, or on *dates* and *days*, each at certain hours or the whole day.
    """

    span: tuple[datetime, datetime] | None = None  # naive; the end is outside
    dates: tuple[str, ...] = ()  # 2026-12-25, or 12-25 for every year
    days: tuple[int, ...] = ()  # 0 is Monday; every day when there are neither dates nor days
    begin: time = time.min  # of the window on such a day
    end: time = time.min  # outside of it; at or before *begin* means on the next day
    reason: str = ""
    timezone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleWithBlackouts:
    """Whenever *schedule* fires outside of *blackouts*."""

    schedule: Single | AnyOf
    blackouts: tuple[Blackout, ...]  # one or more


@dataclass(frozen=True, kw_only=True, slots=True)
class AnyOf:
    """Whenever one of *schedules* fires; what they share is one slot."""

    schedules: tuple[Single | ScheduleWithBlackouts, ...]  # never empty


Schedule = Single | Manual | AnyOf | ScheduleWithBlackouts

# --- profiles ----------------------------------------------------------------------------------------------------


class PropertyType(StrEnum):
    TEXT = "text"
    EMAIL = "email"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"


@dataclass(frozen=True, kw_only=True, slots=True)
class Property:
    """A typed field of a profile."""

    name: str
    type: PropertyType = PropertyType.TEXT
    many: bool = False  # a set of values instead of one
    identifier: bool = False  # finds profiles
    personal: bool = True  # masked in rejects and mail


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """A purpose that a profile consented to or refused."""

    name: str
    title: str = ""
    legislation: Literal["opt-in", "opt-out"] = "opt-in"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileModel:
    """What `profile.yaml` declares."""

    properties: Mapping[str, Property] = field(default_factory=dict)
    objectives: Mapping[str, Objective] = field(default_factory=dict)


# --- connections -------------------------------------------------------------------------------------------------


class Write(StrEnum):
    """How an imported value meets the stored one."""

    SET = "set"
    SET_IF_EMPTY = "set_if_empty"
    ADD = "add"  # to a `many` property
    REMOVE = "remove"  # from a `many` property
    INCREMENT = "increment"  # a number


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One imported property and the column it comes from."""

    property: str
    column: str
    write: Write = Write.SET
    only: Literal["all", "new", "existing"] = "all"
    empty: Literal["keep", "clear"] = "keep"  # what an empty cell says about the property
    separator: str = ";"  # between the values of a `many` property in one cell
    timezone: str = ""  # of times without an offset; that of the format when empty


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """How rows stand in a file."""

    type: Literal["csv", "jsonl", "json", "parquet", "excel"] = "csv"
    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    header: bool = True  # CSV only: the first record names the columns
    columns: tuple[str, ...] = ()  # CSV only: the names when there is no header
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto"
    rows: str = ""  # JSON only: where the list is, with dots between the keys
    skip: int = 0  # CSV and Excel, imports: lines (rows of a sheet) before the header that are passed over
    sheet: str = ""  # Excel only: the name of the sheet; the first when empty
    timezone: str = ""  # imports: of times without an offset; when empty, there is no such time
    spreadsheet: bool = False  # exports: values that a spreadsheet would take for formulas are made safe


@dataclass(frozen=True, kw_only=True, slots=True)
class Expect:
    """What must hold of a run before it changes anything; None is no expectation."""

    min_rows: int | None = None
    max_rows: int | None = None
    max_invalid_pct: float | None = None  # refused rows of 100 checked
    max_change_pct: float | None = None  # changes of 100 stored (import) or last sent (export) profiles
    columns: tuple[str, ...] = ()  # that every file has
    otherwise: Literal["fail", "hold"] = "fail"  # what becomes of a run for which it does not hold


@dataclass(frozen=True, kw_only=True, slots=True)
class Import:
    """Rows from elsewhere become profiles."""

    source: Mapping[str, Any]  # the settings of the connector, `type` among them; secrets are references
    format: Format
    match: tuple[tuple[str, ...], ...]  # properties: any of the outer, all of the inner
    fields: tuple[Field, ...]
    create: bool = True  # False: rows that find no profile count as not_found
    objectives: tuple[str, ...] = ()
    consent: Mapping[str, str] = field(default_factory=dict)  # objective -> column that says yes or no
    expect: Expect = Expect()
    undo_keep: int | None = 14 * 24 * 3600  # seconds for which a run of it can be undone; None: it never can


LEDGER_RESET = "reset"  # the file that `connrunner reset` leaves in a ledger folder: what stands there is to be doubted
DELETED_COLUMN = "deleted"  # of an export with `deleted: send`: it is true for profiles to delete


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """Profiles become rows elsewhere."""

    destination: Mapping[str, Any]  # the settings of the connector, `type` among them
    format: Format
    fields: Mapping[str, str]  # column -> property, in the order of the columns
    where: str | None = None  # an SQL expression over properties
    rows: Literal["changed", "all"] = "changed"
    objectives: tuple[str, ...] = ()
    deleted: Literal["skip", "send"] = "skip"
    when_empty: Literal["write", "skip"] = "write"
    expect: Expect = Expect()


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """Any program."""

    run: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)  # values may be secret references
    folder: str = "."  # relative to the workspace
    shell: bool = False


Work = Import | Export | Command


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Who is told together (`notifications/NAME.yaml`), or addresses that stand in `notify` itself."""

    name: str = ""  # the stem of its file; empty for addresses of `notify`
    to: tuple[str, ...] = ()  # e-mail addresses, and references to the URLs of channels behind `apprise:`
    cc: tuple[str, ...] = ()  # e-mail addresses that the others may see
    reply_to: str = ""
    language: str = ""  # of dates and numbers, such as nl or de-AT; empty: as connrunner writes them
    timezone: str = ""  # of the digest's time and of what it tells; the workspace's when empty
    digest: DaysOfWeek | None = None  # when its digest is due
    limit: int = 10  # mails in an hour; what is beyond is folded into one

    @property
    def recipients(self) -> tuple[str, ...]:
        """Everybody who is told, each once."""
        everybody: dict[str, str] = {}
        for recipient in (*self.to, *self.cc):
            everybody.setdefault(mailbox(recipient), recipient)
        return tuple(everybody.values())


def mailbox(recipient: str) -> str:
    """Return what is the same for `Zoë <Zoe@bücher.example>`, `zoe@BÜCHER.example` and `zoe@xn--bcher-kva.example`."""
    local, at, domain = recipient.rpartition("<")[2].rstrip("> ").strip().rpartition("@")
    if at and (not domain.isascii() or "xn--" in domain.lower()):
        labels = re.split("[.\u3002]", unicodedata.normalize("NFKC", domain).lower())
        return f"{local.casefold()}@{'.'.join(map(_decoded_label, labels))}"
    return (local + at + domain).casefold()


def _decoded_label(label: str) -> str:
    """Return the part of a domain that an A-label stands for (RFC 5890)."""
    if not label.startswith("xn--"):
        return label
    try:
        return unicodedata.normalize("NFC", label[4:].encode("ascii").decode("punycode"))
    except UnicodeError:  # it stands for nothing, and is a name of its own
        return label


@dataclass(frozen=True, kw_only=True, slots=True)
class Notify:
    """Who is told, and when."""

    to: tuple[Target, ...]
    when: Literal["always", "failure", "change", "late"]
    after: int = 1  # failures in a row before anybody is told
    reminder: int = 0  # seconds between reminders while it stays broken, for `change`; 0: none
    late_after: int = 0  # seconds after a slot at which its run has to be over; 0: it may take any time
    partial: bool = True  # a partial run is a failure
    stopped: bool = False  # a stopped run is a failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """How a run tries again after a failure that may pass by waiting."""

    times: int  # further attempts after the first
    delay: int = 60  # seconds before the second attempt
    backoff: float = 2  # each further wait is so many times as long
    on_exit: tuple[int, ...] = (75,)  # exit statuses of a program that say: later (EX_TEMPFAIL of sysexits.h)


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """Where pings go, so that a monitor outside notices when they stop."""

    url: str  # http:// or https://, or a reference to a secret
    every: int = 300  # seconds between the pings of a workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class Keep:
    """How much of a connection's past is kept; None is no limit."""

    runs: int | None = None
    days: int | None = None
    bytes: int | None = None  # of the logs and refused rows of its runs together


GRACE = 10  # seconds between asking the processes of a run to end and killing them, where nothing says it


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """One import, export or command, with its schedule, owner and notifications."""

    name: str  # the stem of its file
    title: str
    description: str = ""
    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    lane: str = "main"
    after: tuple[str, ...] = ()  # connections of its lane behind which it starts when they are queued together
    schedule: Schedule
    work: Work
    notify: tuple[Notify, ...] = ()
    heartbeat: Heartbeat | None = None
    timeout: int  # seconds
    start_within: int | None = None  # seconds after its slot in which a run may start; None: however late
    retry: Retry | None = None
    keep: Keep = Keep()
    grace: int = GRACE  # seconds
    executor: Mapping[str, Any] | None = None  # where its runs live, by `type`; None: on this machine
    is_reviewed: bool = False  # each run that would change anything is held until somebody approves it
    hold_expires: int = 3 * 24 * 3600  # seconds after which a held run is declined by itself
    document: Mapping[str, Any]  # the checked plain data that this connection was built from, names resolved
    fingerprint: str  # of the document; recorded with each run as `config`

    @property
    def kind(self) -> Literal["import", "export", "command"]:
        match self.work:
            case Import():
                return "import"
            case Export():
                return "export"
            case Command():
                return "command"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the file says about the other side, references to secrets among it: `from`, `to` or `env`."""
        match self.work:
            case Import(source=said) | Export(destination=said) | Command(env=said):
                return said


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    """How mail leaves.

    *server* is smtp:// (STARTTLS), smtps://, smtp+plain:// (loopback only) or file: (a folder, as when there is none).
    """

    server: str = "file:"
    sender: str = "connrunner@localhost"
    username: str | None = None  # a secret reference or plain text
    password: str | None = None  # a secret reference
    login: Literal["password", "oauth2"] = "password"  # what the password is: with oauth2, an access token
    hello: str = ""  # the name after EHLO; empty: the domain of the sender
    certificate: str | None = None  # a secret reference: PEM
    key: str | None = None  # a secret reference: PEM; None when it stands in the certificate


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSettings:
    """Where profiles are kept: in a file of the state folder, or in a schema of a PostgreSQL database."""

    type: Literal["duckdb", "postgresql"] = "duckdb"
    url: str = ""  # a reference; what it leads to may hold a password
    schema: str = "connrunner"


@dataclass(frozen=True, kw_only=True, slots=True)
class WebSettings:
    """The page and its interface: where they listen, and who may see and act."""

    listen: str = "127.0.0.1:8080"
    hosts: tuple[str, ...] = ()  # names under which browsers reach it, beside localhost and addresses
    root: str = ""  # the path below which a proxy offers it
    read_token: str = ""  # a reference
    act_token: str = ""  # a reference
    user_header: str = ""  # in which a proxy says who asks
    proxies: tuple[str, ...] = ()  # addresses and networks that are believed
    actors: tuple[str, ...] = ()  # who of those may act; `*` is everybody


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    """Every connection of one version of the workspace, checked."""

    folder: str  # absolute
    state: str  # what `state:` says; relative to the folder
    timezone: str
    mail: Mail
    profile: ProfileModel
    connections: Mapping[str, Connection]  # the sound ones, by name
    broken: Mapping[str, tuple[Problem, ...]]  # connections that cannot be used now, by name, and why
    problems: tuple[Problem, ...]  # every problem of every file, the broken connections' among them
    default_notify: tuple[Notify, ...] = ()
    heartbeat: Heartbeat | None = None
    web: WebSettings = WebSettings()
    store: StoreSettings = StoreSettings()
    default_keep: Keep = Keep()
    targets: Mapping[str, Target] = field(default_factory=dict)  # the sound ones, by name
    commit: str | None = None  # of the git repository that the folder is in
    document: Mapping[str, Any] = field(default_factory=dict)  # connrunner.yaml as checked plain data
    profile_document: Mapping[str, Any] = field(default_factory=dict)  # profile.yaml as checked plain data
    target_documents: Mapping[str, Any] = field(default_factory=dict)  # the files of `targets` as checked plain data
    repository: tuple[str, str] | None = None  # of `source: git`: the folder of HEAD, and that of all worktrees
    source: str = "folder"  # what `source:` says: where the files are read from, `folder` or `git`
    trouble: str = ""  # why this is the last good version, and not the newest

    def find_use(self, name: str) -> ConnectionUse:
        """Return how the connection *name* stands here: one without a file is gone, also when it never was."""
        if name in self.broken:
            return "broken"
        known = self.connections.get(name)
        return "gone" if known is None else "on" if known.enabled else "off"


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One version of the workspace, as git describes it."""

    id: str
    author: str
    at: datetime
    subject: str


# --- files between connectors and the profile store --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalFile:
    """A file of rows, on this machine now, wherever it came from."""

    path: str  # where it can be read now, absolute; empty for one that is known and was not fetched again
    name: str  # how people and the ledger of processed files call it: relative path, object key, URL
    size: int  # bytes
    modified: str  # the source's own stamp of its version: RFC 3339 time, ETag, ...
    digest: str = ""  # SHA-256 of the bytes, in hex; empty when not computed yet
    format: Format | None = None  # how its rows stand, when the source decides; else as the connection says
    numbers: frozenset[str] = frozenset()  # columns whose texts were numbers at the source: 2.00 of them is whole
    once: bool = False  # its rows are handed over once and stay nowhere: those that are refused are kept by us


# --- runs --------------------------------------------------------------------------------------------------------


NOT_HELD = "not-held"  # the code of a decision about a run that was not held any more


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"  # some rows were refused
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"  # how it ended is not known
    SKIPPED = "skipped"  # due, but it could not start
    HELD = "held"  # what it would change waits for somebody to approve it

    @property
    def is_failure(self) -> bool:
        """True for the outcomes that count as a failure unless a rule of `notify` says otherwise."""
        return self in (Outcome.PARTIAL, Outcome.FAILED, Outcome.INTERRUPTED, Outcome.SKIPPED)


Trigger = Literal["schedule", "manual", "undo", "approve", "decline"]
ConnectionUse = Literal["on", "off", "broken", "gone"]  # how a workspace has it; the last two cannot be run


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuedRun:
    """A run in the queue. Its number is given when it starts."""

    connection: str
    due_at: datetime
    queued_at: datetime
    trigger: Trigger = "schedule"
    missed: int = 0  # slots that passed before this one was seen, and have no run of their own
    merged: int = 0  # slots that became due while this run waited or worked
    asked_by: str = ""  # who asked for it, unless its schedule did
    request: str = ""  # the request that asked for it; history does not keep it
    force: bool = False  # it runs even if its connection is switched off; history does not keep it
    notify: tuple[Notify, ...] | None = None  # who is told if it cannot start, when somebody asked for it
    undo: int | None = None  # the run that it undoes; history has it in the result
    held: int | None = None  # the held run that it approves or declines; the same
    reason: str = ""  # why somebody asked for it; the same

    @property
    def was_asked_for(self) -> bool:
        """True when a person asked for it, also while it waited by its schedule."""
        return self.trigger != "schedule" or self.notify is not None

    @property
    def is_decision(self) -> bool:
        """True for what somebody decided about an earlier run: it takes no place in the queue, and goes before it."""
        return self.trigger in ("undo", "approve", "decline")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunIntent:
    """What is recorded of a run before anything of it starts."""

    run: int  # 1, 2, 3... for each connection
    started_at: datetime | None  # None: it ended without a start
    commit: str | None = None
    config: str = ""  # fingerprint of the connection's document
    kind: str = ""  # import, export, command or undo
    title: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How the work of a run ended, in its own words."""

    outcome: Outcome
    counts: Counts = field(default_factory=Counts)
    message: str = ""
    code: str = ""  # a stable word for the reason of a failure: timeout, exit-status, config-error, ...
    exit_status: int | None = None  # of a command's program
    attempts: int = 1  # how often it was tried; the counters and the message are those of the last attempt
    waiting_helps: bool = False  # a failure that may pass by itself; known to the worker alone
    detail: Mapping[str, Any] = field(default_factory=dict)  # more facts, for readers: files, output path, ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One ended execution, as history keeps it. Instants are aware UTC."""

    entry: QueuedRun
    intent: RunIntent
    result: Result
    ended_at: datetime
    seconds: float = 0  # from start to end; 0 when it never started

    @property
    def connection(self) -> str:
        return self.entry.connection

    @property
    def run(self) -> int:
        return self.intent.run

    @property
    def outcome(self) -> Outcome:
        return self.result.outcome

    @property
    def is_about_health(self) -> bool:
        """False when it says nothing of whether its connection works: an undo, a decision that came to nothing."""
        return self.entry.trigger not in ("undo", "decline") and self.result.code != NOT_HELD
