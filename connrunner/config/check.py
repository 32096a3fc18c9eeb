"""What no JSON Schema can say about a file: names that must exist, values that must fit each other.

The checks take data whose shape is sound. Parts that are not sound have been set to None (see `sound_parts`), and None
means "say nothing about this".
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from connrunner.config import secret_words
from connrunner.config.destination_rules import check_destination
from connrunner.config.documents import literals
from connrunner.config.finding import Finding, Path
from connrunner.config.wording import did_you_mean, show
from connrunner.lazy_dataclasses import dataclass, field

Data = Mapping[str, Any]

_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceContext:
    """What the rest of the workspace offers to a connection."""

    timezone: str = "UTC"
    timeout: str = "6h"
    start_within: str | None = None
    retry: Data | None = None
    keep: Data | None = None
    stop: Data | None = None
    undo: Data | None = None
    hold: Data | None = None
    executor: Any = None  # of the workspace
    lanes: Mapping[str, Data | None] = field(default_factory=dict)
    notify: tuple[Data, ...] = ()  # `defaults.notify`
    schedules: Mapping[str, Data | None] = field(default_factory=dict)  # by name; None for a broken one
    blackout: tuple[Data, ...] = ()  # of the workspace
    targets: Mapping[str, Data | None] = field(default_factory=dict)
    profile: Data | None = None  # None when it is missing or broken
    profile_missing: bool = True


def sound_parts(data: Any, findings: Iterable[Finding], refused: Iterable[Path] = ()) -> dict[str, Any]:
    """Return *data* with None in place of everything that was found wrong, and without unknown keys."""
    wrong = [
        (finding.path, finding.at_key and finding.code != "missing-value")
        for finding in findings
        if finding.code != "missing-key"
    ]
    wrong += [(path, False) for path in refused]
    whole = {"": copy.deepcopy(data) if wrong else data}
    for path, remove in wrong:
        _blank(whole, ("", *path), remove=remove)
    return whole[""] if isinstance(whole.get(""), dict) else {}


def _blank(data: Any, path: Path, *, remove: bool) -> None:
    *steps, last = path
    try:
        for step in steps:
            data = data[step]
        data[last]
    except (KeyError, IndexError, TypeError):
        return  # a part around it was blanked before
    if remove and isinstance(data, dict):
        del data[last]
    elif not isinstance(data, str):
        data[last] = None


# --- one file by itself ------------------------------------------------------------------------------------------


def workspace(data: Data) -> Iterator[Finding]:
    yield from _timezone(data, ())
    yield from _blackouts(data, ())
    mail = data.get("mail") or {}
    if mail.get("server") is not None:
        yield from _server(mail["server"])
    if mail.get("from") is not None:
        yield from _address(mail["from"], ("mail", "from"), plain=True)
    if mail.get("username") is not None:
        yield from literals.reference(mail["username"], ("mail", "username"))
    if mail.get("hello") is not None:
        yield from _hello(mail["hello"])
    yield from _heartbeat(data)
    yield from _store(data)


def _store(data: Data) -> Iterator[Finding]:
    store = data.get("store") or {}
    if store.get("type") == "duckdb":
        for key in ("url", "schema"):
            if store.get(key) is not None:
                message = f"`{key}` has no meaning for the store in the state folder"
                hint = "leave it out, or write `type: postgresql`"
                yield Finding(("store", key), message, hint, "does-not-fit", at_key=True)


def _heartbeat(data: Data) -> Iterator[Finding]:
    from connrunner.config import partner_addresses

    url = (data.get("heartbeat") or {}).get("url")
    if url is not None:
        yield from partner_addresses.check_request_url(url, ("heartbeat", "url"))


def profile(data: Data) -> Iterator[Finding]:
    for name, described in (data.get("properties") or {}).items():
        if described and described.get("identifier") and described.get("many"):
            message = f"the identifier {show(name)} cannot be `many`: it must find one profile"
            path = ("properties", name, "many")
            yield Finding(path, message, "leave out `many` or `identifier`", "identifier-many", at_key=True)


def schedule(data: Data, path: Path = ()) -> Iterator[Finding]:
    """Yield what is wrong with a schedule that stands at *path*."""
    from connrunner.core import schedules

    found = [*_timezone(data, path), *_blackouts(data, path)]
    for position, each in enumerate(data.get("schedules") or ()):
        if isinstance(each, dict):
            inner = (*path, "schedules", position)
            found += [*_timezone(each, inner), *_blackouts(each, inner)]
    yield from found
    if found or _holds_none(data) or not schedules.is_complete(data):
        return
    try:
        schedules.check_fires(schedules.parse(data, "UTC"))
    except schedules.ScheduleError as error:
        yield Finding((*path, *error.path), str(error), code="bad-schedule")


def _blackouts(data: Data, path: Path) -> Iterator[Finding]:
    from connrunner.core.schedules import blackout
    from connrunner.core.schedules.fields import ScheduleError

    for position, entry in enumerate(data.get("blackout") or ()):
        if not isinstance(entry, dict):
            continue
        here = (*path, "blackout", position)
        zones = list(_timezone(entry, here))
        yield from zones
        if zones or _holds_none(entry):
            continue
        try:
            blackout.parse([entry], "UTC")
        except ScheduleError as error:
            yield Finding((*here, *error.path[1:]), str(error), code="bad-schedule")


def _holds_none(value: Any) -> bool:
    """Return whether a part of *value* was not sound and has been blanked."""
    if isinstance(value, dict | list):
        return any(map(_holds_none, value.values() if isinstance(value, dict) else value))
    return value is None


def _timezone(data: Data, path: Path) -> Iterator[Finding]:
    from connrunner.core.schedules import zone

    name = data.get("timezone")
    # Not None only: of a mapping whose `type` is unknown, nothing else has been checked.
    if isinstance(name, str) and name not in zone.list_zones():
        yield Finding((*path, "timezone"), f"unknown time zone {show(name)}", zone.advise(name), "unknown-timezone")


def _server(server: str) -> Iterator[Finding]:
    from urllib.parse import urlsplit

    from connrunner.text.hosts import is_loopback

    path = ("mail", "server")
    if secret_words.has_credentials(server):
        hint = "write `username` and `password` beside it, as references"
        yield Finding(path, "`server` holds a secret itself", hint, "literal-secret")
        return
    if server.startswith("file:"):
        return
    try:
        parts = urlsplit(server)
        host, _ = parts.hostname, parts.port  # an impossible port raises ValueError
    except ValueError:
        host, parts = None, urlsplit("")
    sound = host and not parts.path.strip("/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if not sound or parts.scheme not in ("smtp", "smtps", "smtp+plain"):
        hint = "write smtp://host:port, smtps://host:port or file:FOLDER"
        yield Finding(path, f"{show(server)} is not a mail server", hint, "bad-mail-server")
    elif parts.scheme == "smtp+plain" and not is_loopback(host or ""):
        message = f"smtp+plain:// sends mail readable to everybody on the way to {host}"
        hint = f"write smtp://{parts.netloc} (STARTTLS) or smtps://{parts.netloc}; without TLS only localhost"
        yield Finding(path, message, hint, "bad-mail-server")


def _hello(name: str) -> Iterator[Finding]:
    """Yield it when *name* cannot stand after EHLO."""
    from connrunner.text.hosts import is_greeting_name

    if not is_greeting_name(name):
        hint = "write one host name in its ASCII form, like batch.example.com, or an address in brackets: [192.0.2.1]"
        yield Finding(("mail", "hello"), f"{show(name)} cannot stand after EHLO", hint, "bad-hello")


# --- a connection among the others -------------------------------------------------------------------------------


def check_connection(data: Data, around: WorkspaceContext) -> Iterator[Finding]:
    when = data.get("schedule")
    for entry, path in _entries(when):
        if isinstance(entry, str):
            yield from _known(entry, around.schedules, "schedule", "schedules", path)
        elif isinstance(entry, dict):
            yield from schedule(entry, path)
    yield from notify(data.get("notify") or (), around.targets, ("notify",))
    yield from _heartbeat(data)
    for kind, check in (("import", _import), ("export", _export)):
        work = data.get(kind)
        if not isinstance(work, dict):
            continue
        if around.profile_missing:
            message = f"{'an import' if kind == 'import' else 'an export'} needs profile.yaml, and there is none"
            yield Finding((kind,), message, "declare the properties of a profile there", "missing-profile", at_key=True)
        form = work.get("format") or {}
        yield from _format(form, (kind, "format"))
        yield from check(work, around.profile)
        connector = "from" if kind == "import" else "to"
        settings = work.get(connector)
        if isinstance(settings, dict):
            from connrunner.config import partner_addresses

            yield from literals.of_connector(settings, (kind, connector))
            yield from partner_addresses.check_addresses(settings, (kind, connector))
    if "undo" in data and "import" not in data:
        message = "`undo` has no meaning here: only an import can be undone"
        yield Finding(("undo",), message, "leave it out", "does-not-fit", at_key=True)
    for key in ("review", "hold"):
        if key in data and "command" in data:
            message = f"`{key}` has no meaning here: what a program would change is not known before it runs"
            yield Finding((key,), message, "leave it out", "does-not-fit", at_key=True)
    if isinstance(data.get("command"), dict):
        yield from _command(data["command"])
    if chosen := executor_of(data, around):
        from connrunner.config import executor_choice

        yield from executor_choice.check_executor(data, chosen)


def executor_of(data: Data, around: WorkspaceContext) -> dict[str, Any] | None:
    """Return where the runs of the connection *data* live; None for this machine."""
    if around.executor is None and not around.lanes and "executor" not in data:
        return None
    from connrunner.config import executor_choice

    of_lane = (around.lanes.get(data.get("lane") or "main") or {}).get("executor")
    return executor_choice.choose_executor(around.executor, of_lane, data.get("executor"))


def _entries(when: Any) -> Iterator[tuple[Any, Path]]:
    """Yield each part of a connection's `schedule`, and where it stands."""
    if isinstance(when, list):
        yield from ((entry, ("schedule", position)) for position, entry in enumerate(when))
    else:
        yield when, ("schedule",)


def schedules_named(when: Any) -> list[str]:
    """Return the names of schedules in a connection's `schedule`."""
    return [entry for entry, _ in _entries(when) if isinstance(entry, str)]


def targets(entries: Iterable[Data | None]) -> list[str]:
    """Return the names of targets among the recipients of *entries*."""
    return [to for entry in entries for _, to in _recipients(entry or {}) if "@" not in to]


def notify(entries: Iterable[Data | None], known: Collection[str], path: Path) -> Iterator[Finding]:
    """Yield the recipients that are neither an address nor one of the *known* targets, and what fits no `when`."""
    for position, entry in enumerate(entries):
        for step, to in _recipients(entry or {}):
            if "@" in to:
                yield from _address(to, (*path, position, "to", *step))
            else:
                yield from _known(to, known, "target", "notifications", (*path, position, "to", *step))
        yield from _when(entry or {}, (*path, position))


def _when(entry: Data, path: Path) -> Iterator[Finding]:
    when = entry.get("when")
    if when == "late" and "late_after" not in entry:
        message = "`when: late` needs `late_after`"
        yield Finding((*path, "when"), message, "write how late is too late, like `late_after: 30m`", "missing-key")
    fitting = {"after": ("failure", "change"), "reminder": ("change",)}
    fitting |= dict.fromkeys(("partial", "stopped"), ("failure", "change"))
    for key, words in fitting.items():
        if key in entry and when is not None and when not in words:
            message = f"`{key}` has no meaning with `when: {when}`"
            hint = f"leave it out, or write `when: {' or '.join(words)}`"
            yield Finding((*path, key), message, hint, "does-not-fit", at_key=True)


def notification(data: Data) -> Iterator[Finding]:
    yield from _timezone(data, ())
    for key in ("email", "cc", "reply_to"):
        said = data.get(key)
        for position, one in enumerate(said if isinstance(said, list) else [said]):
            if one is not None:
                yield from _address(one, (key, position) if isinstance(said, list) else (key,), plain=key == "reply_to")
    digest = data.get("digest") or {}
    if digest.get("type") == "daily" and "day" in digest:
        message = "a daily digest has no `day`"
        yield Finding(("digest", "day"), message, "leave it out, or write `type: weekly`", "does-not-fit", at_key=True)


def _address(text: str, path: Path, *, plain: bool = False) -> Iterator[Finding]:
    """Yield what no pattern can tell of an address: whether its domain can be one, and its mailbox is *plain*."""
    mailbox, _, domain = text.rpartition("<")[2].rstrip(">").rpartition("@")
    if plain and not mailbox.isascii():
        message = f"the mailbox {show(mailbox)} has letters that few mail servers take"
        yield Finding(path, message, "use another address here; a domain may have any letters", "bad-mailbox")
    if domain.isascii() and len(domain) <= 253 and re.fullmatch(_DOMAIN, domain):
        return
    import idna

    try:
        idna.encode(domain, uts46=True)
    except idna.IDNAError:
        yield Finding(path, f"{show(domain)} cannot be a domain", "is it written right?", "bad-domain")


def _recipients(entry: Data) -> Iterator[tuple[Path, str]]:
    to = entry.get("to")
    if isinstance(to, str):
        yield (), to
    for position, one in enumerate(to if isinstance(to, list) else ()):
        if one is not None:
            yield (position,), one


def _known(name: str, known: Collection[str], noun: str, folder: str, path: Path) -> Iterator[Finding]:
    if name not in known:
        hint = did_you_mean(name, known)
        if not hint.startswith("did you mean"):
            hint = f"write it in {folder}/{name}.yaml" + (f"; {hint}" if hint else "")
        yield Finding(path, f"unknown {noun} {show(name)}", hint, "unknown-name")


def _import(work: Data, profile: Data | None) -> Iterator[Finding]:
    fields = work.get("fields") or {}
    columns = [
        (("import", "fields", name) if isinstance(one, str) else ("import", "fields", name, "from"), _column(one))
        for name, one in fields.items()
    ]
    columns += [(("import", "consent", name), column) for name, column in (work.get("consent") or {}).items()]
    if (source := work.get("from") or {}).get("type") == "salesforce":
        from connrunner.config import salesforce_rules  # for the few that need it

        yield from salesforce_rules.check_salesforce_import(source)
    yield from _columns(work.get("format") or {}, columns)
    yield from _timezone(work.get("format") or {}, ("import", "format"))
    for name, one in fields.items():
        if isinstance(one, dict):
            yield from _timezone(one, ("import", "fields", name))
    if profile is not None:
        properties = profile["properties"]
        for name, one in fields.items():
            yield from _field(name, one if isinstance(one, dict) else {}, properties)
        if fields:
            yield from _match(work.get("match") or (), properties, fields)
        for name in work.get("consent") or ():
            yield from _objective(name, profile, ("import", "consent", name), at_key=True)
        yield from _objectives(work, profile, "import")


def _column(one: Any) -> str | None:
    return one.get("from") if isinstance(one, dict) else one


def _field(name: str, one: Data, properties: Mapping[str, Data]) -> Iterator[Finding]:
    path: Path = ("import", "fields", name)
    if name not in properties:
        yield _unknown_property(name, properties, path, at_key=True)
        return
    described = properties[name]
    many, kind, write = bool(described.get("many")), described.get("type", "text"), one.get("write")
    wrong = ""
    if write in ("add", "remove") and not many:
        wrong = f"`{write}` needs a property that is `many`, and {show(name)} holds one value"
    elif write == "increment" and (many or kind not in ("integer", "decimal")):
        wrong = f"`increment` needs an integer or decimal property, and {show(name)} is {'many ' if many else ''}{kind}"
    elif write == "increment" and described.get("identifier"):
        wrong = f"`increment` cannot change {show(name)}, which is an identifier"
    if wrong:
        yield Finding((*path, "write"), wrong, "use set or set_if_empty", "write-does-not-fit")
    if one.get("separator") is not None and not many:
        message = f"`separator` needs a property that is `many`, and {show(name)} holds one value"
        yield Finding((*path, "separator"), message, "leave it out", "separator-does-not-fit", at_key=True)
    if one.get("timezone") is not None and kind != "datetime":
        message = f"`timezone` needs a datetime property, and {show(name)} is {kind}"
        yield Finding((*path, "timezone"), message, "leave it out", "timezone-does-not-fit", at_key=True)


def _match(match: Iterable[Any], properties: Mapping[str, Data], fields: Collection[str]) -> Iterator[Finding]:
    for position, entry in enumerate(match):
        inner = entry if isinstance(entry, list) else [entry]
        for place, name in enumerate(inner):
            path: Path = ("import", "match", position, *((place,) if isinstance(entry, list) else ()))
            if name is None:
                continue
            if name not in properties:
                yield _unknown_property(name, properties, path)
            elif not properties[name].get("identifier"):
                identifiers = [one for one, described in properties.items() if described.get("identifier")]
                hint = f"add `identifier: true` to it in profile.yaml; identifiers: {', '.join(identifiers) or 'none'}"
                yield Finding(path, f"{show(name)} is not an identifier", hint, "not-an-identifier")
            elif name not in fields:
                message = f"{show(name)} finds profiles, but no column fills it"
                yield Finding(path, message, "add it to `fields`", "match-without-field")


def _export(work: Data, profile: Data | None) -> Iterator[Finding]:
    yield from check_destination(work)
    if (work.get("format") or {}).get("type") == "excel":
        message = "Excel workbooks can be read, but not written"
        hint = "write {type: csv, for: spreadsheet}"
        yield Finding(("export", "format", "type"), message, hint, "import-only")
    yield from _import_only(work.get("format") or {})
    if profile is not None:
        for column, name in (work.get("fields") or {}).items():
            if name is not None and name not in profile["properties"]:
                yield _unknown_property(name, profile["properties"], ("export", "fields", column))
        yield from _objectives(work, profile, "export")


def _unknown_property(name: str, properties: Mapping[str, Data], path: Path, *, at_key: bool = False) -> Finding:
    hint = did_you_mean(name, properties)
    if not hint.startswith("did you mean"):
        hint = "declare it in profile.yaml"
    return Finding(path, f"unknown property {show(name)}", hint, "unknown-name", at_key=at_key)


def _objectives(work: Data, profile: Data, kind: str) -> Iterator[Finding]:
    for position, name in enumerate(work.get("objectives") or ()):
        if name is not None:
            yield from _objective(name, profile, (kind, "objectives", position))


def _objective(name: str, profile: Data, path: Path, *, at_key: bool = False) -> Iterator[Finding]:
    known = profile.get("objectives") or {}
    if name not in known:
        hint = did_you_mean(name, known)
        if not hint.startswith("did you mean"):
            hint = "declare it in profile.yaml"
        yield Finding(path, f"unknown objective {show(name)}", hint, "unknown-name", at_key=at_key)


def _format(data: Data, path: Path) -> Iterator[Finding]:
    encoding, columns, header = data.get("encoding"), data.get("columns"), data.get("header", True)
    if encoding is not None and not _is_encoding(encoding):
        yield Finding(
            (*path, "encoding"),
            f"unknown encoding {show(encoding)}",
            "write utf-8, latin-1 or cp1252",
            "unknown-encoding",
        )
    if columns and header is True:
        message = "`columns` names the columns of files without a header, and these have one"
        yield Finding(
            (*path, "columns"), message, "add `header: false`, or leave it out", "columns-and-header", at_key=True
        )
    delimiter = "\t" if data.get("type") == "tsv" else data.get("delimiter", ",")
    if data.get("quote") and data.get("quote") == delimiter:
        message = "`quote` and `delimiter` are the same character"
        yield Finding((*path, "quote"), message, "change one of them", "quote-is-delimiter")


def _import_only(form: Data) -> Iterator[Finding]:
    """Find keys of an export's format that say how a file is read."""
    kind = form.get("type")
    own = {"csv": ("skip",), "tsv": ("skip",), "jsonl": ("encoding",), "json": ("encoding",)}
    for only in (*own.get(str(kind), ()), "timezone"):
        if only not in form:
            continue
        message = f"`{only}` of {kind} says how a file is read, and this is an export"
        yield Finding(("export", "format", only), message, "take it away", "import-only", at_key=True)


def _is_encoding(name: str) -> bool:
    import codecs

    try:
        return bool(getattr(codecs.lookup(name), "_is_text_encoding", True))
    except (LookupError, ValueError):
        return False


def _columns(form: Data, columns: Iterable[tuple[Path, str | None]]) -> Iterator[Finding]:
    """Yield the columns that files without a header cannot have."""
    if form.get("type") != "csv" or form.get("header") is not False:
        return
    known = form.get("columns")
    if known is None:
        if "columns" not in form:
            message = "files without a header need `columns`"
            header = ("import", "format", "header")
            yield Finding(
                header, message, "name them in order, like `columns: [id, email]`", "missing-key", at_key=True
            )
        return
    for path, column in columns:
        if column is not None and column not in known:
            message = f"unknown column {show(column)}"
            yield Finding(path, message, did_you_mean(column, [one for one in known if one]), "unknown-name")


def _command(work: Data) -> Iterator[Finding]:
    run = work.get("run")
    if isinstance(run, list) and run and run[0] == "":
        yield Finding(("command", "run", 0), "the program has no name", "write it first", "too-short")
    for position, word in enumerate(run if isinstance(run, list) else ()):
        if word is not None and "\0" in word:
            yield Finding(
                ("command", "run", position), "an argument cannot hold NUL", "take it out", "control-character"
            )
    yield from literals.anywhere(work.get("env"), ("command", "env"))
