"""A connection's document, its schedule and defaults written out, and the Connection that such a document stands for.

A document is plain data that JSON can carry: a worker rebuilds its connection from it, without YAML and schemas. It is
itself a sound connection file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connrunner.config import zones
from connrunner.config.after import read_place
from connrunner.core import schedules
from connrunner.core.model import (
    GRACE,
    Command,
    Connection,
    DaysOfWeek,
    Expect,
    Export,
    Field,
    Format,
    Heartbeat,
    Import,
    Keep,
    Mail,
    Manual,
    Notify,
    Objective,
    ProfileModel,
    Property,
    PropertyType,
    Retry,
    Schedule,
    StoreSettings,
    Target,
    WebSettings,
    Work,
    Workspace,
    Write,
)
from connrunner.core.schedules import blackout
from connrunner.core.schedules.fields import WEEKDAYS
from connrunner.text import durations, sizes

if TYPE_CHECKING:
    from connrunner.config.check import WorkspaceContext

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def workspace_from(
    folder: str,
    document: Mapping[str, Any],
    *,
    profile: Mapping[str, Any],
    targets: Mapping[str, Any],
    connections: Mapping[str, Connection],
) -> Workspace:
    """Return what *document*, a sound connrunner.yaml, and the sound ones of the other files stand for.

    ValueError when the time-zone database has lost a zone.
    """
    defaults = document.get("defaults") or {}
    timezone = document.get("timezone") or "UTC"
    people = {name: target_from(name, data, timezone=timezone) for name, data in targets.items()}
    return Workspace(
        folder=folder,
        state=document.get("state", ".connrunner"),
        source=document.get("source", "folder"),
        timezone=timezone,
        mail=Mail(**{"sender" if key == "from" else key: value for key, value in document.get("mail", {}).items()}),
        profile=profile_model_from(profile),
        connections=connections,
        broken={},
        problems=(),
        default_notify=notify_from(defaults.get("notify") or (), people),
        heartbeat=heartbeat_from(document.get("heartbeat")),
        web=web_settings_from(document.get("web") or {}),
        store=store_settings_from(document.get("store") or {}),
        default_keep=keep_from(defaults.get("keep") or {}),
        targets=people,
        document=document,
        profile_document=profile,
        target_documents=targets,
    )


def resolve_connection(name: str, data: Mapping[str, Any], around: WorkspaceContext) -> dict[str, Any]:
    """Return the document of the sound connection *data*: schedules written out, defaults filled in."""
    entries = data.get("notify", around.notify)
    filled = {
        "title": name,
        **data,
        "schedule": _schedule_document(data["schedule"], around),
        "timeout": data.get("timeout", around.timeout),
        "notify": list(entries),
    }
    inherited = {
        "start_within": around.start_within,
        "retry": around.retry,
        "keep": around.keep,
        "stop": around.stop,
        "undo": around.undo if "import" in data else None,
        "hold": around.hold if "import" in data or "export" in data else None,
    }
    filled = {**{key: value for key, value in inherited.items() if value is not None}, **filled}
    filled.pop("executor", None)  # this machine is not mentioned
    from connrunner.config.check import executor_of  # the file was checked, so it is imported already

    if executor := executor_of(data, around):
        filled["executor"] = executor
    return dict(sorted(filled.items()))


def _schedule_document(when: Any, around: WorkspaceContext) -> dict[str, Any]:
    """Return the one mapping of a connection's `schedule`, with the blackouts of the workspace in it."""
    several = when if isinstance(when, list) else [when]
    mappings: list[Any] = [around.schedules[one] if isinstance(one, str) else one for one in several]
    assert None not in mappings, "a broken schedule breaks the connection before this"
    mapping = {"type": "any_of", "schedules": mappings} if len(mappings) > 1 else mappings[0]
    schedule = schedules.parse(mapping, around.timezone)
    if around.blackout and not isinstance(schedule, Manual):
        schedule = schedules.add_blackouts(schedule, blackout.parse(around.blackout, around.timezone))
    return schedules.as_document(schedule)


def connection_from(
    name: str, document: Mapping[str, Any], *, timezone: str, targets: Mapping[str, Target] | None = None
) -> Connection:
    """Return the connection that *document*, made by `resolve_connection`, stands for.

    *timezone* is for a calendar schedule without one. Without *targets* nobody but addresses is told. ValueError when
    the time-zone database has lost a zone.
    """
    zones.choose()
    return built(name, document, timezone, targets or {}, fingerprint(document))


def built(
    name: str, document: Mapping[str, Any], timezone: str, targets: Mapping[str, Target], fingerprint: str
) -> Connection:
    """Return what `connection_from` does, for those who know the fingerprint already."""
    return Connection(
        name=name,
        title=document["title"],
        description=document.get("description", ""),
        owner=document.get("owner", ""),
        labels=document.get("labels", {}),
        enabled=document.get("enabled", True),
        lane=document.get("lane", "main"),
        after=read_place(document).after,
        schedule=schedules.parse(document["schedule"], timezone),
        work=_work(document),
        notify=notify_from(document["notify"], targets),
        heartbeat=heartbeat_from(document.get("heartbeat")),
        timeout=durations.parse(document["timeout"]),
        start_within=durations.parse(document["start_within"]) if "start_within" in document else None,
        retry=_retry(document["retry"]) if "retry" in document else None,
        keep=keep_from(document.get("keep", {})),
        grace=durations.parse(document["stop"]["grace"]) if "stop" in document else GRACE,
        executor=document.get("executor"),
        is_reviewed=document.get("review") == "always",
        **({"hold_expires": durations.parse(document["hold"]["expires"])} if "hold" in document else {}),
        document=document,
        fingerprint=fingerprint,
    )


def notify_from(entries: Any, targets: Mapping[str, Target]) -> tuple[Notify, ...]:
    """Return who is told. A target that is missing or broken adds nobody, and an entry without anybody is none."""
    found = []
    for entry in entries:
        names = [entry["to"]] if isinstance(entry["to"], str) else entry["to"]
        to = [targets[name] for name in dict.fromkeys(names) if name in targets]
        if addresses := tuple(dict.fromkeys(name for name in names if "@" in name)):
            to.append(Target(to=addresses))
        if to:
            said = {key: value for key, value in entry.items() if key != "to"}
            said |= {key: durations.parse(said[key]) for key in ("reminder", "late_after") if key in said}
            found.append(Notify(to=tuple(to), **said))
    return tuple(found)


def heartbeat_from(data: Mapping[str, Any] | None) -> Heartbeat | None:
    """Return where signs of life go, when *data* says it."""
    if data is None:
        return None
    return Heartbeat(url=data["url"], **({"every": durations.parse(data["every"])} if "every" in data else {}))


def store_settings_from(data: Mapping[str, Any]) -> StoreSettings:
    """Return what `store` says of where profiles are kept."""
    return StoreSettings(**data)


def web_settings_from(data: Mapping[str, Any]) -> WebSettings:
    """Return what `web` says of the page."""
    tokens, proxy = data.get("tokens") or {}, data.get("proxy") or {}
    return WebSettings(
        listen=data.get("listen", WebSettings().listen),
        hosts=tuple(data.get("hosts", ())),
        root=data.get("root", ""),
        read_token=tokens.get("read", ""),
        act_token=tokens.get("act", ""),
        user_header=proxy.get("user_header", ""),
        proxies=tuple(proxy.get("from", ())),
        actors=tuple(proxy.get("act", ())),
    )


def target_from(name: str, data: Mapping[str, Any], *, timezone: str) -> Target:
    """Return the target that *data*, a sound file of notifications/, declares; *timezone* is the workspace's."""
    digest = data.get("digest")
    zone = data.get("timezone", timezone)
    when: Schedule | None = None
    if digest:
        days = [digest.get("day", "monday")] if digest["type"] == "weekly" else list(WEEKDAYS)
        when = schedules.parse({"type": "days_of_week", "days": days, "time": digest["time"]}, zone)
    assert when is None or isinstance(when, DaysOfWeek)
    return Target(
        name=name,
        to=(*data.get("email", ()), *(f"apprise:{reference}" for reference in data.get("apprise", ()))),
        cc=tuple(data.get("cc", ())),
        reply_to=data.get("reply_to", ""),
        language=data.get("language", ""),
        timezone=zone,
        digest=when,
        limit=data.get("limit", Target().limit),
    )


def _retry(data: Mapping[str, Any]) -> Retry | None:
    if not data["times"]:
        return None
    said = {**data, "delay": durations.parse(data["delay"])} if "delay" in data else dict(data)
    return Retry(**{**said, "on_exit": tuple(data["on_exit"])} if "on_exit" in data else said)


def keep_from(data: Mapping[str, Any]) -> Keep:
    """Return what `keep` says of how much of the past is kept."""
    return Keep(**{**data, "bytes": sizes.parse_size(data["bytes"])} if "bytes" in data else data)


def profile_model_from(document: Mapping[str, Any]) -> ProfileModel:
    """Return the model that *document*, a sound profile.yaml, declares; an empty one for a workspace without one."""
    return ProfileModel(
        properties={
            name: Property(
                name=name,
                type=PropertyType(one.get("type", "text")),
                many=one.get("many", False),
                identifier=one.get("identifier", False),
                personal=one.get("personal", True),
            )
            for name, one in document.get("properties", {}).items()
        },
        objectives={
            name: Objective(name=name, title=one.get("title", ""), legislation=one.get("legislation", "opt-in"))
            for name, one in document.get("objectives", {}).items()
        },
    )


def fingerprint(document: Mapping[str, Any]) -> str:
    """Return 16 hex digits that differ for documents that mean different things."""
    if "export" in document:  # the order of its columns is the only order of keys that means something
        columns = list(document["export"]["fields"].items())
        document = {**document, "export": {**document["export"], "fields": columns}}
    return hashlib.sha256(_CANONICAL.encode(document).encode()).hexdigest()[:16]


def _work(document: Mapping[str, Any]) -> Work:
    if "import" in document:
        return _import(document["import"], document.get("undo"))
    if "export" in document:
        return _export(document["export"])
    return _command(document["command"])


def _import(data: Mapping[str, Any], undo: Mapping[str, Any] | None) -> Import:
    return Import(
        source=data["from"],
        format=_format(data.get("format", {})),
        match=tuple((entry,) if isinstance(entry, str) else tuple(entry) for entry in data["match"]),
        fields=tuple(_field(name, one) for name, one in data["fields"].items()),
        create=data.get("create", True),
        objectives=tuple(data.get("objectives", ())),
        consent=data.get("consent", {}),
        expect=_expect(data),
        **({"undo_keep": _undo_keep(undo)} if undo else {}),
    )


def _undo_keep(undo: Mapping[str, Any]) -> int | None:
    return None if undo["keep"] == "off" else durations.parse(undo["keep"])


def _expect(data: Mapping[str, Any]) -> Expect:
    said = data.get("expect", {})
    return Expect(**{**said, "columns": tuple(said.get("columns", ()))})


def _field(name: str, one: str | Mapping[str, Any]) -> Field:
    if isinstance(one, str):
        return Field(property=name, column=one)
    return Field(
        property=name,
        column=one["from"],
        write=Write(one.get("write", "set")),
        only=one.get("only", "all"),
        empty=one.get("empty", "keep"),
        separator=one.get("separator", ";"),
        timezone=one.get("timezone", ""),
    )


def _export(data: Mapping[str, Any]) -> Export:
    return Export(
        destination=data["to"],
        format=_format(data.get("format", {})),
        fields=data["fields"],
        where=data.get("where"),
        rows=data.get("rows", "changed"),
        objectives=tuple(data.get("objectives", ())),
        deleted=data.get("deleted", "skip"),
        when_empty=data.get("when_empty", "write"),
        expect=_expect(data),
    )


def _format(data: Mapping[str, Any]) -> Format:
    said = {key: value for key, value in data.items() if key != "for"}
    if said.get("type") == "tsv":
        said |= {"type": "csv", "delimiter": "\t"}
    return Format(
        **{**said, "columns": tuple(data.get("columns", ())), "spreadsheet": data.get("for") == "spreadsheet"}
    )


def _command(data: Mapping[str, Any]) -> Command:
    run = data["run"]
    return Command(
        run=(run,) if isinstance(run, str) else tuple(run),
        env=data.get("env", {}),
        folder=data.get("folder", "."),
        shell=data.get("shell", False),
    )
