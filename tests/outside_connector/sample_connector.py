"""A connector of another package: the letters of the alphabet as rows, and rows into a file beside the workspace.

import:
  from: {type: alphabet, letters: 3}
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connrunner.connectors import FetchResult, Known, RunContext, SendResult
from connrunner.core.model import Format, LocalFile

_TYPE = {"description": "`alphabet`", "const": "alphabet"}
SCHEMA = {
    "$defs": {
        "from": {
            "title": "alphabet connector",
            "description": "Letters.",
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "letters"],
            "properties": {
                "type": _TYPE,
                "letters": {"title": "number", "description": "How many.", "type": "integer", "minimum": 1},
            },
        },
        "to": {
            "title": "alphabet connector",
            "description": "A file.",
            "type": "object",
            "additionalProperties": False,
            "required": ["type"],
            "properties": {"type": _TYPE},
        },
    }
}


def fetch(settings: Mapping[str, Any], context: RunContext, *, known: Known, mark: Any) -> FetchResult:
    path = context.spool / "letters.jsonl"
    first = mark or 0
    rows = [{"id": chr(97 + place), "name": str(place)} for place in range(first, first + settings["letters"])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = LocalFile(
        path=str(path), name=path.name, size=path.stat().st_size, modified="", format=Format(type="jsonl"), once=True
    )
    return FetchResult(files=(file,), mark=first + len(rows))


def settle(settings: Mapping[str, Any], context: RunContext, fetched: FetchResult) -> None:
    context.report.message(f"settled {len(fetched.files)} file")


def form(settings: Mapping[str, Any], wanted: Format) -> Format:
    return Format(type="jsonl")


def target(settings: Mapping[str, Any], context: RunContext) -> str:
    return "letters-out.jsonl"


def deliver(settings: Mapping[str, Any], context: RunContext, local: Path) -> SendResult:
    shutil.copyfile(local, context.workspace / "letters-out.jsonl")
    return SendResult(where="letters-out.jsonl")
