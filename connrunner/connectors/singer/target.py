"""What a Singer target is sent, and by what it shows that everything arrived."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from connrunner.connectors import RunContext, Settings
from connrunner.connectors.bridge import Dialogue, Program, programs
from connrunner.errors import RunError
from connrunner.text.nesting import parse_json
from connrunner.text.words import plural

METRIC = re.compile(rb"METRIC: (\{.*\})")
# Numbers stay as they are written: a text says 10.50 where a number would say 10.5.
_VALUES = json.JSONDecoder(parse_float=str, parse_int=str)


def messages(local: Path, path: Path, stream: str, *, keys: Sequence[str], receipt: Any) -> int:
    """Write what the target is to read into the new file *path*; return the number of rows. Nothing for no rows."""
    columns = list(dict.fromkeys(column for row in _rows(local) for column in row))
    if not columns:
        return 0
    for column in keys:
        if column not in columns:
            raise RunError(
                f"`keys` names the column {column!r}, and the rows have none",
                hint=f"name one of {', '.join(columns)}, or add it to `fields`",
                code="unknown-column",
            )
    schema = {"type": "object", "properties": {column: {"type": ["null", "string"]} for column in columns}}
    about = {"type": "SCHEMA", "stream": stream, "schema": schema, "key_properties": list(keys)}
    head = f'{{"type":"RECORD","stream":{json.dumps(stream)},"record":'
    count = 0
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(about) + "\n")
            for row in _rows(local):
                record = {column: _text(row.get(column)) for column in columns}
                file.write(f"{head}{json.dumps(record)}}}\n")
                count += 1
            file.write(json.dumps({"type": "STATE", "value": receipt}) + "\n")
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror}", hint="make room there", code="unwritable", waiting_helps=True
        ) from error
    return count


def send(
    program: Program, path: Path, context: RunContext, settings: Settings, *, config: str, rows: int, receipt: Any
) -> None:
    """Let the target read *path*; RunError unless it gave the receipt, and counted *rows* if it counted at all."""
    stream = settings["stream"]
    received = False
    counted: list[float] = []

    def take(line: bytes) -> bytes | None:
        nonlocal received
        if programs.message(line) != receipt:
            return line
        received = True
        return None

    def hear(line: bytes) -> None:
        found = METRIC.search(line)
        if found is not None and (number := _records(found[1], stream)) is not None:
            counted.append(number)

    size = path.stat().st_size
    with path.open("rb", buffering=0) as stdin:
        ended = programs.run_for_context(
            program,
            ["--config", config],
            context,
            settings,
            Dialogue(
                take=take,
                hear=hear,
                stdin=stdin,
                meanwhile=lambda: context.report.progress("sent", rows * stdin.tell() // size, rows),
            ),
        )
    if ended.failure is not None:
        raise ended.failure
    if not received:
        raise RunError(
            f"{program.name} ended without a word that {plural(rows, 'row')} arrived: it did not give back the STATE",
            hint="see its log; some may have arrived, and all are sent again",
            code="no-receipt",
        )
    # A target that drops rows by a map of its own counts fewer.
    if counted and sum(counted) != rows and "stream_maps" not in settings.get("config", {}):
        raise RunError(
            f"{program.name} counted {plural(round(sum(counted)), 'row')} of {rows:,} that it was sent",
            hint="see its log; all are sent again",
            code="lost-rows",
        )


def _rows(local: Path) -> Iterator[dict[str, Any]]:
    with local.open(encoding="utf-8") as lines:
        for line in lines:
            row = _VALUES.decode(line)
            if any(isinstance(value, list | dict) for value in row.values()):
                row |= {name: value for name, value in json.loads(line).items() if isinstance(value, list | dict)}
            yield row


def _text(value: Any) -> str | None:
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _records(point: bytes, stream: str) -> float | None:
    """Return how many records of *stream* a measurement of the Singer SDK tells of; None for any other."""
    try:
        said = parse_json(point)
    except ValueError:
        return None
    if not isinstance(said, Mapping) or said.get("metric") != "record_count" or said.get("type") != "counter":
        return None
    tags, value = said.get("tags"), said.get("value")
    if not isinstance(tags, Mapping) or tags.get("stream") != stream or not isinstance(value, int | float):
        return None
    return value
