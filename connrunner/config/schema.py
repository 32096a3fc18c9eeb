"""Does a file's data have the shape that its JSON Schema asks for?"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path as Folder
from typing import TYPE_CHECKING, Any

from connrunner.config.acceptance import Accepts, accept_by, compile_pattern
from connrunner.config.finding import Finding, Path

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

KINDS = ("workspace", "profile", "connection", "schedule", "notification")
MAX_ERRORS = 200
OUTSIDE = "connrunner.connectors"  # the group of entry points by which other packages bring connectors


@cache
def folder() -> Folder:
    """Return where the schemas are: inside an installed package, or at the top of a checkout."""
    installed = Folder(__file__).parents[1] / "schemas"
    return installed if installed.is_dir() else Folder(__file__).parents[2] / "schemas"


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Return the schema in the file *name*.json."""
    schema: dict[str, Any] = json.loads((folder() / f"{name}.json").read_bytes())
    if name == "connection":
        _add_outside_connectors(schema["$defs"])
    return schema


def _add_outside_connectors(parts: dict[str, Any]) -> None:
    """Let connections use the connectors of other installed packages; ours win over theirs of the same type.

    Such a module has a `SCHEMA` like those of schemas/connector-*.json, without references to other files.
    """
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=OUTSIDE), key=lambda point: point.name):
        try:
            schema = getattr(point.load(), "SCHEMA", {})
        except Exception:  # noqa: S112 - whatever it does at its import; a run that uses it says so
            continue
        for kind, direction in (("import", "from"), ("export", "to")):
            if direction in schema.get("$defs", {}):
                parts[kind]["properties"][direction]["oneOf"].append(schema["$defs"][direction])


def check_schema(kind: str, data: Any, refused: Collection[Path] = ()) -> list[Finding]:
    """Return what keeps *data* from being a sound *kind* (one of `KINDS`).

    Nothing is said about the parts at *refused*: their values are unknown.
    """
    if _accepts(kind)(data):
        return []
    from connrunner.config import schema_errors

    errors = islice(_validator(kind).iter_errors(data), MAX_ERRORS)
    found = [finding for error in errors for finding in schema_errors.explain_error(error, load_schema(kind))]
    return _without_echoes([finding for finding in found if not _about(finding, refused)])


@cache
def _accepts(kind: str) -> Accepts:
    # Without the connectors of other packages, which take long to find.
    return accept_by(_read_schema, kind)


@cache
def _read_schema(name: str) -> dict[str, Any]:
    return dict(json.loads((folder() / f"{name}.json").read_bytes()))


def _about(finding: Finding, refused: Collection[Path]) -> bool:
    if finding.code in ("unknown-key", "missing-key"):
        return False
    return any(finding.path[: len(path)] == path or finding.path == path[: len(finding.path)] for path in refused)


def _without_echoes(found: list[Finding]) -> list[Finding]:
    """Return *found* without what follows from another finding: a misspelt key is not missing as well."""
    wrong_kind = {finding.path for finding in found if finding.code in ("wrong-type", "missing-value")}
    misspelt = {finding.path[:-1]: "" for finding in found if finding.code == "unknown-key"}
    for finding in found:
        if finding.code == "unknown-key":
            misspelt[finding.path[:-1]] += finding.hint
    kept: dict[tuple[Path, str, str], Finding] = {}
    for finding in found:
        of_the_value = not finding.at_key or finding.code == "missing-key"
        if finding.path in wrong_kind and of_the_value and finding.code != "wrong-type":
            continue
        if finding.code == "missing-key" and _names(misspelt.get(finding.path, "")) & _names(finding.message):
            continue
        kept.setdefault((finding.path, finding.code, finding.message), finding)
    return list(kept.values())


def _names(text: str) -> set[str]:
    return set(re.findall("[`']([^`']+)[`']", text))


# --- jsonschema, with three keywords made exact and safe ---------------------------------------------------------


@cache
def _validator(kind: str) -> Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    exact: type[Validator] = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        {"pattern": _pattern, "uniqueItems": _unique_items},
        # To JSON Schema 4.0 is an integer; to people who write `times: 4.0`, and to our code, it is not.
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
    )
    return exact(_written_out(load_schema(kind), kind))


_FILE_KEYWORDS = ("$ref", "$defs", "$id", "$schema")


def _written_out(schema: Any, file: str) -> Any:
    """Return *schema*, a part of *file*, with the target of each `$ref` in its place.

    Looking a reference up takes jsonschema longer than most checks, and a connection has about forty.
    """
    if isinstance(schema, list):
        return [_written_out(item, file) for item in schema]
    if not isinstance(schema, dict):
        return schema
    own = {key: _written_out(value, file) for key, value in schema.items() if key not in _FILE_KEYWORDS}
    if "$ref" not in schema:
        return own
    target, _, pointer = schema["$ref"].partition("#")
    target = target.removesuffix(".json") or file
    part = load_schema(target)
    for step in pointer.strip("/").split("/") if pointer else ():
        part = part[step]
    return {**_written_out(part, target), **own}


def _pattern(_: Validator, pattern: str, instance: Any, __: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not compile_pattern(pattern).search(instance):
        yield ValidationError("does not match")


def _unique_items(_: Validator, unique: bool, instance: Any, __: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema import ValidationError

    from connrunner.config.schema_errors import first_repeated

    # jsonschema compares each with each when the items cannot be sorted: minutes for a hostile file.
    if unique and isinstance(instance, list) and first_repeated(instance) is not None:
        yield ValidationError("has repeated items")
