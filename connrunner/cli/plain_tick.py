"""`connrunner tick` as a clock calls it, without click: to import that takes as long as the tick itself."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from connrunner.answers.workspace_view import find_folder, open_view
from connrunner.scheduler import tick
from connrunner.text.words import clean_for_terminal


def run_tick(workspace: str | None, state: str | None) -> int:
    """Do a tick and return its exit code; *workspace* and *state* are what its options name."""
    try:
        view = open_view(find_folder(Path(workspace) if workspace else None), Path(state) if state else None)
        tick.tick(view.folder, view.state, say=say_plainly)
        sys.stdout.flush()
    except BaseException as error:  # every ending has its words
        from connrunner.cli.command_line import end_with

        return end_with(partial(_raise, error))
    return 0


def say_plainly(event: dict[str, Any]) -> None:
    """Print one event as a line for people."""
    from connrunner.answers import tick_events  # most ticks have nothing to say

    stream = sys.stderr if event["event"] == "problem" else sys.stdout
    stream.write(clean_for_terminal(tick_events.describe(event)) + "\n")
    stream.flush()


def _raise(error: BaseException) -> NoReturn:
    raise error
