"""Any program as the work of a connection; docs/commands.md is its manual."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from connrunner.core.counts import Counts
from connrunner.core.model import Command
from connrunner.lazy_dataclasses import dataclass
from connrunner.processes.output import Output
from connrunner.processes.pipes import POLL_INTERVAL, Pipes, end_leftovers, terminate, wait_for_exit
from connrunner.processes.spawn import find_executable, start
from connrunner.processes.tree import ProcessTree, find_grace

SHOWN = 5  # processes that a message names
WORDS = 300  # characters of what a program said last that are worth a place in the history


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandResult:
    """How a program ended."""

    exit_status: int | None  # None when a signal ended it
    signal: int | None  # the number of that signal
    counts: Counts  # what the program reported last; their balance is not checked
    message: str  # its own last words: its last complaint when it failed, else the last message that it sent
    timed_out: bool = False

    @property
    def succeeded(self) -> bool:
        return self.exit_status == 0 and not self.timed_out


def run_declared_program(
    work: Command,
    output: Output,
    *,
    workspace: Path,
    environment: Mapping[str, str],
    timeout: int | None,
    tree: ProcessTree,
) -> CommandResult:
    """Run the program of *work* to its end, *output* taking what it prints; RunError if it cannot start.

    It gets *environment*, the mark of the *tree* and a few ordinary variables of ours, and nothing on standard input.
    After *timeout* seconds, and when an exception leaves this function, it and all that it started are asked to end
    (SIGTERM), and killed after the grace of the *tree*. What outlives it by more than a moment is ended as well.
    """
    report = output.report
    with Pipes(output) as pipes:
        process = start(work, workspace=workspace, environment=environment, tree=tree)
        try:
            pipes.watch(process)
            timed_out = not wait_for_exit(process, pipes, tree, within=timeout)
            if timed_out:
                report.message(f"not done after {timeout} s: asked to end", level="warning")
                if not terminate(process, pipes, tree):
                    report.message(f"still there {find_grace(tree):g} s later: killed", level="warning")
                pipes.drain(POLL_INTERVAL)
            elif left := end_leftovers(pipes, tree):
                names = ", ".join(left[:SHOWN]) + (f" and {len(left) - SHOWN} more" if len(left) > SHOWN else "")
                report.message(f"the program left processes behind, and they were ended: {names}", level="warning")
        except BaseException:
            # A signal's handler or the report raised. Nothing stays behind, and its last words count.
            if process.returncode is None:
                terminate(process, pipes, tree)
            else:
                end_leftovers(pipes, tree)
            pipes.drain(POLL_INTERVAL)
            output.finish()
            raise
    output.finish()
    return _result(process.returncode, output, timed_out=timed_out)


def probe(work: Command, *, workspace: Path) -> str:
    """Return where the program of *work* is; RunError when it is not there or may not be executed."""
    folder = workspace / work.folder
    program = "/bin/sh" if work.shell else work.run[0]
    return f"the program {find_executable(program, folder, os.environ.get('PATH', os.defpath))}"


def _result(status: int, output: Output, *, timed_out: bool) -> CommandResult:
    words = output.last_complaint if status or timed_out else output.last_message
    return CommandResult(
        exit_status=status if status >= 0 else None,
        signal=-status if status < 0 else None,
        counts=output.counts,
        message=words[:WORDS],
        timed_out=timed_out,
    )
