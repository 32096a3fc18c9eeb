"""What a Singer tap says: its records become rows, its last STATE is where the next run goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from connrunner.connectors import RunContext, Settings, bridge
from connrunner.connectors.bridge import Dialogue, Program, programs
from connrunner.connectors.bridge.programs import broken, message
from connrunner.connectors.bridge.rows import RecordForm, RowSpool
from connrunner.connectors.singer.catalog import unknown_stream
from connrunner.core.model import Format
from connrunner.errors import RunError
from connrunner.text.nesting import parse_json
from connrunner.text.words import plural

RECORD = RecordForm(
    head=re.compile(rb'\{"type": ?"RECORD", ?"stream": ?("(?:[^"\\]|\\.)*"), ?"record": ?'),
    tail=re.compile(r'(?:, ?"(?:time_extracted|version)": ?(?:"[^"\\]*"|\d+|null))*\}\s*'),
    deleted="_sdc_deleted_at",
)
# A line with this in it that is not a message: rows were lost in it, as when two threads of the tap print at once.
LOST = re.compile(rb'"type"\s*:\s*"(?:RECORD|BATCH)"')
BATCHES = {
    ("jsonl", "none"): Format(type="jsonl", compression="none"),
    ("jsonl", "gzip"): Format(type="jsonl", compression="gzip"),
    ("jsonl", "zstd"): Format(type="jsonl", compression="zstd"),
    ("parquet", "none"): Format(type="parquet", compression="none"),
    ("parquet", "gzip"): Format(type="parquet", compression="none"),  # it is compressed inside
}


class Tap:
    """Takes the messages of the tap *name* and puts the records of *stream* into *rows*."""

    def __init__(self, name: str, stream: str, rows: RowSpool, context: RunContext) -> None:
        self.state: Any = None  # the last one; all records that it speaks of stood before it
        self._name = name
        self._stream = stream
        self._quoted = {json.dumps(stream).encode(), json.dumps(stream, ensure_ascii=False).encode()}
        self._rows = rows
        self._context = context
        self._others: dict[str, int] = {}  # streams that are not wanted, and their records
        self._lines = 0
        self._batches = 0
        self._spoke = False
        self._described = False

    def take(self, line: bytes) -> bytes | None:
        """Take one line of its output, and return it when it is not a message."""
        self._lines += 1
        found = RECORD.stream(line)
        if found is not None and found[0] in self._quoted:
            row = RECORD.row(line, found[1])
            if row is not None:
                self._rows.write(row)
                self._spoke = True
                return None
        said = message(line)
        if said is None:
            if LOST.search(line):
                raise broken(self._name, self._lines)
            return line
        match said.get("type"):
            case "RECORD":
                self._record(said, line)
            case "STATE":
                self.state = said.get("value")
            case "SCHEMA":
                self._schema(said)
            case "BATCH":
                self._batch(said)
            case "ACTIVATE_VERSION":
                pass  # tells a target to remove what the tap has not sent; an import removes nothing
            case _:
                return line
        self._spoke = True
        return None

    def finish(self, *, stream_is_known: bool) -> None:
        """Say what came and what was left out; RunError when that cannot be all there is."""
        report = self._context.report
        if not self._spoke and not stream_is_known:
            raise RunError(
                f"{self._name} ended without one Singer message",
                hint="see in the log what it said; is it a tap?",
                code="bad-output",
            )
        if self._others and not self._described and not self._rows.files and not stream_is_known:
            raise unknown_stream(self._stream, self._others)
        batches = f" and {plural(self._batches, 'file')}" if self._batches else ""
        report.message(f"{self._name} sent {plural(self._rows.rows, 'record')}{batches} of the stream {self._stream!r}")
        self._rows.tell_deleted()
        for stream, records in self._others.items():
            if records:
                report.message(f"left out: {plural(records, 'record')} of the stream {stream!r}", level="warning")

    def _record(self, said: Mapping[str, Any], line: bytes) -> None:
        stream, record = said.get("stream"), said.get("record")
        if not isinstance(record, dict) or not isinstance(stream, str):
            raise broken(self._name, self._lines)
        if stream == self._stream:
            self._rows.write(RECORD.rebuild_row(line, "record"))
        else:
            self._others[stream] = self._others.get(stream, 0) + 1

    def _schema(self, said: Mapping[str, Any]) -> None:
        stream, schema = said.get("stream"), said.get("schema")
        if stream != self._stream:
            self._others.setdefault(str(stream), 0)
        elif not self._described:
            self._described = True
            columns = schema.get("properties") if isinstance(schema, dict) else None
            if isinstance(columns, dict):
                self._context.report.message(f"the stream {stream!r} has the columns {', '.join(columns)}")

    def _batch(self, said: Mapping[str, Any]) -> None:
        encoding, manifest = said.get("encoding"), said.get("manifest")
        if not isinstance(encoding, dict) or not isinstance(manifest, list):
            raise broken(self._name, self._lines)
        if said.get("stream") != self._stream:
            self._others.setdefault(str(said.get("stream")), 0)
            return
        encoded = str(encoding.get("format")), str(encoding.get("compression") or "none")
        form = BATCHES.get(encoded)
        if form is None:
            raise self._bad_batch(f"its files are {encoded[0]} with {encoded[1]} compression", "jsonl and gzip")
        for url in manifest:
            scheme, found, place = str(url).rpartition("://")
            if found and scheme != "file":
                raise self._bad_batch(f"its files are at {url}", "a folder of this machine, as file:///...")
            path = self._context.workspace / place
            if not path.is_file():
                raise self._bad_batch(f"there is no file {path}", "a folder that stays until the run has ended")
            self._rows.adopt(path, form)
            self._batches += 1

    def _bad_batch(self, found: str, remedy: str) -> RunError:
        return RunError(
            f"{self._name} sent a BATCH that cannot be read: {found}",
            hint=f"set `batch_config` to {remedy}, or leave it out",
            code="bad-batch",
        )


class _NoCatalogError(Exception):
    """The tap does not know what it was asked, and began to read."""


def discover(program: Program, config: str, context: RunContext, settings: Settings) -> Any:
    """Ask the tap for its catalog and return it; None when it has none. RunError when it fails over something else."""
    said: list[bytes] = []
    size = 0

    def take(line: bytes) -> None:
        nonlocal size
        if (message(line) or {}).get("type") in ("SCHEMA", "RECORD", "STATE"):
            raise _NoCatalogError
        said.append(line)
        size += len(line)
        if size > bridge.LONGEST:
            raise RunError(
                f"{program.name} printed a catalog of more than {bridge.LONGEST // 1_000_000} MB",
                hint="set `catalog` to a file with the stream alone",
                code="line-too-long",
            )

    try:
        ended = programs.run_for_context(
            program, ["--config", config, "--discover"], context, settings, Dialogue(take=take)
        )
    except _NoCatalogError:
        found = None
    else:
        if ended.failure is not None and "--discover" not in ended.complaint:
            raise ended.failure
        found = _catalog(said)
    if found is None:
        context.report.message(f"{program.name} has no catalog: it reads all its streams, and the others are left out")
    return found


def _catalog(said: list[bytes]) -> Any:
    """Return the JSON object that *said* ends with; some taps say something else before it."""
    for number, line in enumerate(said):
        if line.startswith(b"{"):
            try:
                return parse_json(b"\n".join(said[number:]))
            except ValueError:
                continue
    return None
