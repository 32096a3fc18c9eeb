"""The interface as OpenAPI 3.1 describes it; its shapes are those of the commands' JSON, in docs/json."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from connrunner import __version__
from connrunner.answers.connection_list import ConnectionEntry

ROOT = "/api/v1"
RUN = f"{ROOT}/connections/{{name}}/runs/{{number}}"
SHAPES = ("common", "status", "runs", "explain", "log", "rejects", "next", "letters")
ANY_INSTANT = {"$ref": "#/components/schemas/common/$defs/instant"}
NUMBER = {"type": "integer", "minimum": 1, "maximum": 10**15 - 1}
LIMIT = ("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "How many at most.")
CHOICE = (
    ("owner", {"type": "string"}, "Only connections of this owner."),
    ("label", {"type": "string", "pattern": "^[^=]"}, "Only connections with this label: KEY or KEY=VALUE."),
)
AFTER = ("after", {"type": "integer", "minimum": 0, "maximum": 10**15}, "Only what stands behind this one.")
Parameter = tuple[str, dict[str, Any], str]


@cache
def folder_of_shapes() -> Path:
    """Return where the shapes are: inside an installed package, or in a checkout."""
    installed = Path(__file__).parents[1] / "shapes"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "docs" / "json"


def describe_interface(root: str = "") -> dict[str, Any]:
    """Return the description of the interface below *root*."""
    return {**_describe(), "servers": [{"url": root or "/"}]}


@cache
def _describe() -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "connrunner",
            "version": __version__,
            "description": "What the commands print with --format json, and run, stop, remove and retry.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {**_readings(), **_actions()},
        "components": {
            "schemas": _shapes(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _readings() -> dict[str, Any]:
    listed = {"type": "array", "items": {"$ref": "#/components/schemas/connection"}}
    failing: Parameter = ("failing", {"type": "boolean"}, "Only what fails or is broken.")
    words: Parameter = ("q", {"type": "string"}, "Only those with these words in name or title.")
    behind: Parameter = ("after", {"type": "string"}, "Only those whose names come behind this one.")
    count: Parameter = ("count", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5}, "How many slots.")
    at: Parameter = ("at", {"type": "string"}, "Why did it run, or not, at this instant?")
    before: Parameter = ("before", NUMBER, "Only runs with a smaller number.")
    code: Parameter = ("code", {"type": "string"}, "Only those with this code.")
    of_one: Parameter = ("connection", {"type": "string"}, "The next slots of this one.")
    dead: Parameter = ("dead", {"type": "boolean"}, "Only what was given up.")
    lines: Parameter = (
        "limit",
        {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 1000},
        "How many lines.",
    )
    one_run = {"oneOf": [_shape("common/$defs/run"), _shape("status/properties/running/items")]}
    return {
        f"{ROOT}/status": _get("How all stands.", _shape("status"), *CHOICE),
        f"{ROOT}/connections": _get("Connections by name.", listed, *CHOICE, failing, words, LIMIT, behind),
        f"{ROOT}/connections/{{name}}": _get(
            "Its schedule, slots and decisions.", _shape("explain"), count, at, name=True
        ),
        f"{ROOT}/connections/{{name}}/runs": _get(
            "Ended runs, newest first.", _shape("runs"), LIMIT, before, name=True
        ),
        RUN: _get("One run, ended or at work.", one_run, name=True, number=True),
        f"{RUN}/log": _log(_get("Its log.", _shape("log"), AFTER, lines, name=True, number=True)),
        f"{RUN}/rejects": _get("Rows that it refused.", _shape("rejects"), LIMIT, AFTER, code, name=True, number=True),
        f"{ROOT}/queue": _get("What works and what waits.", _shape("queue"), *CHOICE),
        f"{ROOT}/next": _get("Slots to come, soonest first.", _shape("next"), of_one, LIMIT),
        f"{ROOT}/notifications": _get("Mail that waits or was given up.", _shape("letters"), dead),
    }


def _actions() -> dict[str, Any]:
    reason = {"type": ["string", "null"], "maxLength": 300, "description": "Why, for the record and the mail."}
    force = {"type": ["boolean", "null"], "description": "Also when it is switched off."}
    run = {**NUMBER, "type": ["integer", "null"], "description": "Only this run."}
    to = {"type": ["string", "null"], "description": "Only what goes to this address."}
    one = f"{ROOT}/connections/{{name}}"
    return {
        f"{one}/run": _post("Run it now, through the queue.", {"force": force}),
        f"{one}/stop": _post("Stop the run that works, or else the one that waits.", {"run": run, "reason": reason}),
        f"{one}/approve": _post("Do what its held run showed.", {"run": run, "reason": reason}),
        f"{one}/decline": _post("Decline what its held run showed.", {"run": run, "reason": reason}),
        f"{one}/remove": _post("Take the waiting run out of the queue.", {"reason": reason}),
        f"{ROOT}/notifications/{{id}}/retry": _post("Send a mail again.", {"recipient": to}, parameter="id"),
    }


def _get(
    summary: str, schema: dict[str, Any], *query: Parameter, name: bool = False, number: bool = False
) -> dict[str, Any]:
    parameters = [_path("name", {"type": "string"})] if name else []
    parameters += [_path("number", NUMBER)] if number else []
    parameters += [{"name": key, "in": "query", "schema": schema, "description": words} for key, schema, words in query]
    answers = {"200": {"description": summary, "content": {"application/json": {"schema": schema}}}}
    if name or any(key == "connection" for key, _, _ in query):
        answers["404"] = _problem("There is none.")
    return {"get": {"summary": summary, "parameters": parameters, "responses": {**answers, **_refusals()}}}


def _log(operation: dict[str, Any]) -> dict[str, Any]:
    """Describe an answer that is no one document: JSON lines, or events."""
    event = operation["get"]["responses"]["200"]["content"].pop("application/json")
    words = f"Each line, and the data of each event, is one event: {event['schema']['$ref']}."
    described = {"schema": {"type": "string", "description": words}}
    operation["get"]["responses"]["200"]["content"] = {"application/jsonl": described, "text/event-stream": described}
    return operation


def _post(summary: str, properties: dict[str, Any], *, parameter: str = "name") -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    done = {"description": "It was asked for.", "content": {"application/json": {"schema": _shape("asked")}}}
    answers = {"202": done, "404": _problem("There is none."), "409": _problem("It cannot be, as things are.")}
    answers |= {str(status): _problem(words) for status, words in ((413, "Too large."), (415, "Not JSON."))}
    return {
        "post": {
            "summary": summary,
            "parameters": [_path(parameter, {"type": "string"})],
            "requestBody": {"required": False, "content": {"application/json": {"schema": schema}}},
            "responses": {**answers, **_refusals()},
        }
    }


def _refusals() -> dict[str, Any]:
    words = {
        "400": "The request cannot be understood.",
        "401": "It does not say who asks.",
        "403": "Whoever asks may not, or asks from another site.",
        "414": "The address is too long.",
        "421": "It does not go by a name of this page.",
        "503": "The state cannot be read now.",
    }
    return {status: _problem(text) for status, text in words.items()}


def _problem(words: str) -> dict[str, Any]:
    return {"description": words, "content": {"application/problem+json": {"schema": _shape("problem")}}}


def _path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _shape(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _shapes() -> dict[str, Any]:
    read = {name: json.loads((folder_of_shapes() / f"{name}.json").read_bytes()) for name in SHAPES}
    found = {name: _within(name, shape) for name, shape in read.items()}
    status = "status/properties"
    found["queue"] = {
        "type": "object",
        "required": ["at", "running", "waiting"],
        "properties": {key: _shape(f"{status}/{key}") for key in ("at", "running", "waiting")},
    }
    found["connection"] = _listed()
    found["problem"] = {
        "description": "A problem document (RFC 9457).",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            **{key: {"type": "string"} for key in ("type", "title", "detail", "remedy")},
            "status": {"type": "integer"},
        },
    }
    found["asked"] = {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"description": "Of the request that the next tick, or the run, takes up.", "type": "string"},
            "connection": {"type": "string"},
            "run": {"type": ["integer", "null"]},
            "recipients": {"type": "array", "items": {"type": "string"}},
        },
    }
    return found


def _listed() -> dict[str, Any]:
    text, flag = {"type": ["string", "null"]}, {"type": "boolean"}
    last = {
        "type": ["object", "null"],
        "required": ["run", "outcome", "started_at", "ended_at", "seconds"],
        "properties": {
            "run": {"type": "integer"},
            "outcome": _shape("common/$defs/outcome"),
            "started_at": {"oneOf": [ANY_INSTANT, {"type": "null"}]},
            "ended_at": ANY_INSTANT,
            "seconds": {"type": "number"},
        },
    }
    properties = {
        "connection": {"type": "string"},
        **dict.fromkeys(("title", "owner", "kind", "lane", "schedule"), text),
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "enabled": {"description": "null for one that is broken.", "type": ["boolean", "null"]},
        **dict.fromkeys(("broken", "failing", "waiting"), flag),
        "next_due": {"oneOf": [ANY_INSTANT, {"type": "null"}]},
        "running": {"description": "The number of the run that works.", "type": ["integer", "null"]},
        "last": {"description": "The newest ended run.", **last},
    }
    return {
        "description": (ConnectionEntry.__doc__ or "").strip(),
        "type": "object",
        "required": sorted(properties),
        "properties": properties,
    }


def _within(name: str, part: Any) -> Any:
    """Return *part* of the shape *name* with its references as they are within the description."""
    if isinstance(part, list):
        return [_within(name, item) for item in part]
    if not isinstance(part, dict):
        return part
    found = {key: _within(name, item) for key, item in part.items() if key not in ("$schema", "$id")}
    if isinstance(reference := found.get("$ref"), str):
        file, _, pointer = reference.partition("#")
        found["$ref"] = f"#/components/schemas/{file.removesuffix('.json') or name}{pointer}"
    return found
