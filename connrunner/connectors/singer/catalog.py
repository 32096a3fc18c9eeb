"""A tap's catalog: does it have the stream, and how is that one stream selected?"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from connrunner.errors import RunError
from connrunner.text.words import nearest


def select(catalog: Any, stream: str, *, cursor: str = "") -> dict[str, Any]:
    """Return *catalog* with *stream* selected, every field of it that the tap can read, and no other stream.

    Taps look in three places for what is selected: a stream's own `selected`, that of its schema, and its metadata; all
    of them are filled. *cursor* names the field by which only what is new is read. RunError when there is no such
    stream, or what is given is not a catalog.
    """
    streams = catalog.get("streams") if isinstance(catalog, Mapping) else None
    if not isinstance(streams, list) or not all(isinstance(each, Mapping) for each in streams):
        raise RunError("the catalog has no list `streams`", hint="make it with `--discover`", code="bad-catalog")
    chosen = [each for each in streams if stream in (each.get("stream"), each.get("tap_stream_id"))]
    if not chosen:
        raise unknown_stream(stream, [str(each.get("stream") or each.get("tap_stream_id")) for each in streams])
    return {
        **copy.deepcopy(dict(catalog)),
        "streams": [_marked(each, each in chosen, cursor if each in chosen else "") for each in streams],
    }


def reads_all(catalog: Mapping[str, Any] | None, stream: str) -> bool:
    """True when the catalog says that *stream* is read whole each time, whatever STATE the tap sends with it."""
    for each in catalog["streams"] if catalog else ():
        if stream in (each.get("stream"), each.get("tap_stream_id")):
            facts: Mapping[str, Any] = next(
                (entry["metadata"] for entry in each["metadata"] if not entry.get("breadcrumb")), {}
            )
            chosen = each.get("replication_method") or facts.get("replication-method")
            return "FULL_TABLE" in (chosen, facts.get("forced-replication-method"))
    return False


def unknown_stream(stream: str, known: Iterable[str]) -> RunError:
    """Return the error for a stream that is not among the *known* ones."""
    names = sorted(set(known))
    near = nearest(stream, names)
    advice = f"did you mean {near!r}?" if near else f"there is {', '.join(names[:8])}" if names else "it has none"
    return RunError(f"there is no stream {stream!r}", hint=advice, code="no-stream")


def _marked(stream: Mapping[str, Any], selected: bool, cursor: str) -> dict[str, Any]:
    marked = {**copy.deepcopy(dict(stream)), "selected": selected}
    if isinstance(marked.get("schema"), dict):
        marked["schema"]["selected"] = selected
    entries = [each for each in marked.get("metadata") or [] if isinstance(each, dict)]
    if not any(not each.get("breadcrumb") for each in entries):
        entries.insert(0, {"breadcrumb": [], "metadata": {}})
    for entry in entries:
        facts = entry.setdefault("metadata", {})
        if not entry.get("breadcrumb"):
            facts["selected"] = selected
            if cursor:
                facts |= {"replication-method": "INCREMENTAL", "replication-key": cursor}
        elif selected and facts.get("inclusion") not in ("automatic", "unsupported"):
            facts["selected"] = True
    marked["metadata"] = entries
    if cursor:
        marked |= {"replication_method": "INCREMENTAL", "replication_key": cursor}
    return marked
