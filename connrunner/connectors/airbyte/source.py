"""What an Airbyte source says: records become rows, states are where the next run goes on, an error ends the run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from connrunner.connectors import RunContext, bridge
from connrunner.connectors.bridge.programs import broken, message
from connrunner.connectors.bridge.rows import RecordForm, RowSpool
from connrunner.core.report import Level
from connrunner.errors import RunError
from connrunner.text.words import plural

RECORD = RecordForm(
    head=re.compile(
        rb'\{"type": ?"RECORD", ?"record": ?\{(?:"namespace": ?(?:null|"[^"\\]*"), ?)?'
        rb'"stream": ?("(?:[^"\\]|\\.)*"), ?"data": ?'
    ),
    tail=re.compile(r'(?:, ?"emitted_at": ?\d+)?(?:, ?"namespace": ?(?:null|"[^"\\]*"))?\}\}\s*'),
    deleted="_ab_cdc_deleted_at",
)
LOST = re.compile(rb'"type"\s*:\s*"RECORD"')
LEVELS: Mapping[str, Level] = {
    "FATAL": "error",
    "ERROR": "error",
    "WARN": "warning",
    "WARNING": "warning",
    "DEBUG": "debug",
    "TRACE": "debug",
}
SHOWN = 2000  # characters of a source's own words in one line of the log


class AirbyteSource:
    """Takes the messages of the source *name*; records of *stream* go into *rows* when it reads."""

    def __init__(self, name: str, context: RunContext, *, stream: str = "", rows: RowSpool | None = None) -> None:
        self.error: RunError | None = None
        self.found: dict[str, Any] = {}  # the last message of each other type: CONNECTION_STATUS, CATALOG
        self._name = name
        self._context = context
        self._stream = stream
        self._quoted = {json.dumps(stream).encode(), json.dumps(stream, ensure_ascii=False).encode()}
        self.rows = rows
        self.wants_config = False  # it said that its configuration is another one now: a token that was renewed, mostly
        self._states: dict[str, Any] = {}
        self._status = ""
        self._others = 0
        self._lines = 0

    @property
    def state(self) -> Any:
        """What it is to be given the next time, None when it said nothing of the kind."""
        if not self._states:
            return None
        if "LEGACY" in self._states and len(self._states) == 1:
            return self._states["LEGACY"]["data"]
        return [state for kind, state in self._states.items() if kind != "LEGACY"]

    def take(self, line: bytes) -> bytes | None:
        """Take one line of its output, and return what of it belongs into the log."""
        self._lines += 1
        if self.rows is not None:
            found = RECORD.stream(line)
            if found is not None and found[0] in self._quoted:
                row = RECORD.row(line, found[1])
                if row is not None:
                    self.rows.write(row)
                    return None
        said = message(line)
        if said is None:
            if LOST.search(line):
                raise broken(self._name, self._lines)
            return line
        match said:
            case {"type": "RECORD", "record": {"stream": str() as stream, "data": dict()}}:
                self._record(stream, line)
            case {"type": "RECORD"}:
                raise broken(self._name, self._lines)
            case {"type": "STATE", "state": dict() as state}:
                self._keep(state)
            case {"type": "TRACE", "trace": dict() as trace}:
                return self._trace(trace)
            case {"type": "LOG", "log": dict() as log}:
                return _shown(log.get("message"), LEVELS.get(str(log.get("level")), "info"))
            case {"type": "CONTROL"}:
                self.wants_config = True
                advice = "it wants its config changed, a renewed token perhaps; what the file says stays"
                return _shown(advice, "warning")
            case {"type": "CONNECTION_STATUS" | "CATALOG" | "SPEC" as kind}:
                self.found[kind] = said
            case _:
                return line
        return None

    def finish(self) -> None:
        """Say what came; RunError when the stream did not come to its end."""
        if self._status == "INCOMPLETE":
            raise RunError(
                f"{self._name} could not read all of the stream {self._stream!r}",
                hint="see in the log what it said",
                code="incomplete",
                waiting_helps=True,
            )
        rows = self.rows.rows if self.rows else 0
        self._context.report.message(f"{self._name} sent {plural(rows, 'record')} of the stream {self._stream!r}")
        if self.rows:
            self.rows.tell_deleted()
        if self._others:
            self._context.report.message(
                f"left out: {plural(self._others, 'record')} of other streams", level="warning"
            )

    def _record(self, stream: str, line: bytes) -> None:
        if self.rows is not None and stream == self._stream:
            self.rows.write(RECORD.rebuild_row(line, "record", "data"))
        else:
            self._others += 1

    def _keep(self, state: Mapping[str, Any]) -> None:
        """Keep the newest state of each kind: for the stream, for the source as a whole, or as they once were."""
        match state:
            case {"type": "STREAM", "stream": dict() as stream}:
                self._states["STREAM"] = {"type": "STREAM", "stream": stream}
            case {"type": "GLOBAL", "global": dict() as whole}:
                self._states["GLOBAL"] = {"type": "GLOBAL", "global": whole}
            case {"data": data}:
                self._states["LEGACY"] = {"type": "LEGACY", "data": data}

    def _trace(self, trace: Mapping[str, Any]) -> bytes | None:
        match trace:
            case {"type": "ERROR", "error": dict() as error}:
                return self._failed(error)
            case {"type": "STREAM_STATUS", "stream_status": {"stream_descriptor": {"name": name}, "status": status}}:
                if name == self._stream:
                    self._status = status
        return None

    def _failed(self, error: Mapping[str, Any]) -> bytes:
        said = str(error.get("message") or error.get("internal_message") or "it did not say what went wrong")
        if self.error is None:  # what follows are mostly consequences
            kind = error.get("failure_type")
            self.error = RunError(
                f"{self._name}: {said[: bridge.WORDS]}",
                hint="correct `config`" if kind == "config_error" else "see its log",
                code="source-error",
                waiting_helps=kind == "transient_error",
            )
        return _shown(error.get("internal_message") or said, "error")


def _shown(text: object, level: Level) -> bytes:
    """Return what makes the log say *text*, see docs/commands.md."""
    return json.dumps({"message": str(text)[:SHOWN], "level": level}).encode()
