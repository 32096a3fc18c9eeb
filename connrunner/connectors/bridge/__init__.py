"""Third-party programs that speak in lines: start one, read its messages, keep its log, end it when it stalls."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from connrunner.core.model import Command
from connrunner.core.report import Report
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, field
from connrunner.processes.output import Output
from connrunner.processes.pipes import DRAIN_TIME, Pipes, end_leftovers, reap_ended, terminate
from connrunner.processes.spawn import start
from connrunner.processes.tree import ProcessTree

IDLE = 600.0  # seconds without a sign of life before a program is ended, unless the settings say otherwise
LONGEST = 100_000_000  # bytes of one message
OFTEN = 1.0  # seconds between two words about how far a program is
PAUSE = 0.002  # seconds: many programs write one record at a time, and to wake up for each costs more than to read it
LITTLE = 32_768  # bytes; a program that writes more at a time is not kept waiting
WORDS = 300  # characters of what a program said last that are worth a place in the history

# How taps and targets write a line of their log that tells an error: those of the SDK, and those of singer-python.
ERROR = re.compile(rb"(?:\S+ \S+ \| )?(?:ERROR|CRITICAL) *(?:\| \S+ +\| )?(.+)")

# Beside what every program gets: how to reach the network from here. Other programs' settings are not its business.
NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


Take = Callable[[bytes], bytes | None]
"""Takes a line of a program's standard output and returns what of it belongs into the log, None for a message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A program that is there, ready to be started."""

    name: str  # for people
    arguments: tuple[str, ...]  # how it is called, its own first arguments included
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramExit:
    """How a program ended, its output read to the last byte."""

    name: str
    status: int  # below 0 when a signal ended it
    complaint: str  # the errors that its log ends with, else its last line on standard error

    @property
    def failure(self) -> RunError | None:
        """What to raise, unless all went well."""
        said = f": {self.complaint[:WORDS]}" if self.complaint else ""
        if self.status < 0:
            return RunError(f"a signal ended {self.name}: {_signal_name(-self.status)}{said}", code="signal")
        if self.status:
            hint = "" if said else "it did not say why"
            return RunError(f"{self.name} ended with exit status {self.status}{said}", hint=hint, code="exit-status")
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialogue:
    """What is done with a program's output while it works, what it is given to read, and how long it may be silent."""

    take: Take  # gets each line of its standard output
    hear: Callable[[bytes], None] | None = None  # gets each line of its standard error, which the log has anyway
    stdin: BinaryIO | None = None  # a file
    idle: float | None = None  # seconds in which it may print nothing and read nothing of *stdin*; `IDLE` when left out
    meanwhile: Callable[[], None] | None = None  # called now and then

    @property
    def patience(self) -> float:
        return IDLE if self.idle is None else self.idle


def run_program(
    program: Program,
    arguments: Sequence[str],
    dialogue: Dialogue,
    *,
    workspace: Path,
    report: Report,
    tree: ProcessTree,
) -> ProgramExit:
    """Run *program* in *workspace* to its end and return how it ended; RunError when it cannot start or stalls.

    A program that is idle for too long is ended, with all of its *tree*; so is every program when an exception leaves
    this function.
    """
    output = Output(mask=str, report=report)
    listener = _Listener(program.name, output, dialogue)
    network = {name: os.environ[name] for each in NETWORK for name in (each, each.lower()) if name in os.environ}
    network |= {name: os.environ[name] for name in CERTIFICATES if name in os.environ}
    with Pipes(listener) as pipes:
        process = start(
            Command(run=(*program.arguments, *arguments)),
            workspace=workspace,
            environment={**network, **program.environment},
            tree=tree,
            stdin=subprocess.DEVNULL if dialogue.stdin is None else dialogue.stdin,
        )
        try:
            pipes.watch(process)
            _follow(process, pipes, listener, dialogue, tree)
            if not pipes.drain(DRAIN_TIME):
                raise RunError(
                    f"{program.name} ended, and a program that it started still holds its output",
                    hint="it must wait for what it starts, or nobody knows whether all rows came",
                    code="left-behind",
                )
        except BaseException:
            listener.is_deaf = True
            if process.returncode is None:
                terminate(process, pipes, tree)
            else:
                end_leftovers(pipes, tree)
            output.finish()
            raise
        listener.finish()
    output.finish()
    complaint = "; ".join(listener.errors) or output.last_complaint
    return ProgramExit(name=program.name, status=process.returncode, complaint=complaint)


def _follow(
    process: subprocess.Popen[bytes], pipes: Pipes, listener: _Listener, dialogue: Dialogue, tree: ProcessTree
) -> None:
    """Read until the program has ended; RunError when it is idle for too long."""
    taken = 0
    told = time.monotonic()
    while process.poll() is None:
        before = listener.bytes
        pipes.read(min(OFTEN, dialogue.patience))
        reap_ended(process, tree)
        if 0 < listener.bytes - before < LITTLE:
            time.sleep(PAUSE)
        if dialogue.meanwhile is not None and time.monotonic() - told >= OFTEN:
            told = time.monotonic()
            dialogue.meanwhile()
        if dialogue.stdin is not None:
            # The position is the program's own: the open file is one for both of us.
            position = os.lseek(dialogue.stdin.fileno(), 0, os.SEEK_CUR)
            if position != taken:
                taken, listener.heard = position, time.monotonic()
        if time.monotonic() - listener.heard > dialogue.patience:
            raise RunError(
                f"{listener.name} stalled: nothing was heard from it for {dialogue.patience:g} s",
                hint="raise `idle` if it needs more time",
                code="stalled",
                waiting_helps=True,
            )


class _Listener:
    """Takes what a program prints, line by line."""

    def __init__(self, name: str, output: Output, dialogue: Dialogue) -> None:
        self.name = name
        self.heard = time.monotonic()
        self.bytes = 0  # that came so far
        self.is_deaf = False  # a run that failed reads on only so that the program can end
        self.errors: deque[str] = deque(maxlen=3)  # those after which the log says nothing else
        self._output = output
        self._dialogue = dialogue
        self._messages = _Lines(name)
        self._log = _Lines(name)

    def feed(self, stream: str, data: bytes) -> None:
        self.heard = time.monotonic()
        self.bytes += len(data)
        if stream == "stderr":
            self._output.feed(stream, data)
        if self.is_deaf:
            return
        if stream == "stdout":
            for line in self._messages.of(data):
                shown = self._dialogue.take(line)
                if shown is not None:
                    self._output.feed(stream, shown + b"\n")
        else:
            for line in self._log.of(data):
                self._note(line)

    def _note(self, line: bytes) -> None:
        if self._dialogue.hear is not None:
            self._dialogue.hear(line)
        found = ERROR.match(line)
        if found is None:
            self.errors.clear()
        else:
            self.errors.append(found[1].decode("utf-8", "backslashreplace"))

    def finish(self) -> None:
        """Take what stands behind the last line feed."""
        for stream in ("stdout", "stderr"):
            if (self._messages if stream == "stdout" else self._log).unended:
                self.feed(stream, b"\n")


class _Lines:
    """Splits what arrives in pieces, of which a line may have many."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def unended(self) -> bool:
        return bool(self._pieces)

    def of(self, data: bytes) -> Iterator[bytes]:
        first, *others = data.split(b"\n")
        self._add(first)
        if others:
            yield b"".join(self._pieces)
            *whole, rest = others
            yield from whole
            self._pieces.clear()
            self._size = 0
            self._add(rest)

    def _add(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._size += len(piece)
        if self._size > LONGEST:
            raise RunError(
                f"{self._name} printed a line of more than {LONGEST // 1_000_000} MB",
                hint="leave out the column that is so large",
                code="line-too-long",
            )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
