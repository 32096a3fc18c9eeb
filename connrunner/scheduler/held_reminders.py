"""Held runs about which nobody decides: people are reminded of them, and then they are declined by themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from connrunner.core import instant, run_records
from connrunner.core.alerts import on_run_end, rate_limit
from connrunner.core.model import QueuedRun, Workspace
from connrunner.scheduler.recorder import RunRecorder, make_token
from connrunner.text import durations


def look_after_held(
    recorder: RunRecorder,
    workspace: Workspace,
    *,
    withheld: Collection[str],
    limits: Mapping[str, int],
    say: Callable[[dict[str, Any]], None],
) -> None:
    """Remind people of the held runs whose time has come, and decline the expired ones. Hold the state lock."""
    now = recorder.clock()
    for name, held in list(recorder.journal.state.held.items()):
        started = recorder.journal.state.started.get(name)
        if held.wakes_at > now or name in withheld or (started is not None and started.entry.held == held.run):
            continue
        if held.expires_at <= now:
            waited = durations.exactly(round((held.expires_at - held.since).total_seconds()))
            entry = QueuedRun(
                connection=name,
                due_at=held.expires_at,
                queued_at=now,
                trigger="decline",
                held=held.run,
                reason=f"nobody decided within {waited}",
            )
            say({"event": "ended", **run_records.as_dict(recorder.decline(entry, workspace))})
            continue
        known = workspace.connections.get(name)
        rules = known.notify if known else workspace.default_notify
        notices = on_run_end.decide_reminders(rules, held, token=make_token())
        message = f"run {held.run} is held"
        owing = rate_limit.split_notices(notices, recorder.journal.state.alerts, limits=limits, at=now, message=message)
        reminded = {"reminded": {name: held.run}}
        recorder.journal.append({"type": "noticed", "at": instant.text(now), **reminded, **owing.as_record()})
