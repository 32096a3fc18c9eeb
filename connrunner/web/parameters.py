"""What stands in a query or a body, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connrunner.answers.connection_filter import ConnectionFilter, parse_label
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.core.workspace_files import is_name
from connrunner.errors import ArgumentError
from connrunner.web.problem import RefusedError

LARGEST = 10**15  # of a number, with room to spare


def read_integer(query: Mapping[str, str], key: str, default: int, *, least: int = 0, most: int = LARGEST) -> int:
    """Return the whole number at *key*, *default* without one; RefusedError for anything else."""
    text = query.get(key)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 17 and least <= int(text) <= most):
        raise RefusedError(
            400, f"`{key}` is not a whole number from {least} to {most}", f"leave `{key}` out, or correct it"
        )
    return int(text)


def read_flag(query: Mapping[str, str], key: str) -> bool:
    """Return whether *key* is `true` or `1`; RefusedError when it is neither that nor the opposite."""
    text = query.get(key, "").lower()
    if text not in ("", "0", "1", "false", "true"):
        raise RefusedError(400, f"`{key}` is neither true nor false", f"leave `{key}` out, or write {key}=true")
    return text in ("1", "true")


def read_filter(query: Mapping[str, str]) -> ConnectionFilter:
    """Return which connections `owner` and `label` (KEY or KEY=VALUE) mean."""
    try:
        labels = (parse_label(query["label"]),) if query.get("label") else ()
    except ArgumentError:
        raise RefusedError(400, "`label` is neither KEY nor KEY=VALUE", "correct it") from None
    return ConnectionFilter(owner=query.get("owner", ""), labels=labels)


def read_run_number(text: str) -> int:
    """Return the number of a run in a path; RefusedError for what is none."""
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 16 and int(text) > 0):
        raise RefusedError(404, "there is no such run", "the number of a run is 1, 2, 3, ...")
    return int(text)


def read_optional(body: Mapping[str, Any], key: str, kind: type[Any], default: Any) -> Any:
    """Return what stands at *key* of a body, of *kind*; RefusedError for another kind."""
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        words = {int: "a whole number", str: "a text", bool: "true or false"}[kind]
        raise RefusedError(400, f"`{key}` is not {words}", "correct it")
    return value


def refuse_unknown(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse a body with other keys than those *known*: a misspelt one must not be passed over."""
    if any(key not in known for key in body):
        raise RefusedError(400, "the body has a key that means nothing here", f"known are {', '.join(known)}")


def require_connection(view: WorkspaceView, name: str) -> str:
    """Return *name* when it is a connection, declared or remembered; RefusedError with the nearest one else."""
    declared = name in view.workspace.connections or name in view.workspace.broken
    if declared or (is_name(name) and view.state.connection(name).is_dir()):
        return name
    try:
        return view.require(name)
    except ArgumentError as error:
        raise RefusedError(404, error.message, error.hint) from None
