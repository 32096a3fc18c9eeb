"""The mail about a run before it is sent: the answer of `connrunner notify preview`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from connrunner.answers.workspace_view import WorkspaceView
from connrunner.config.versions.author import author
from connrunner.core import instant
from connrunner.core.held_runs import held_facts
from connrunner.core.model import Run, Target
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass
from connrunner.notify import facts, failure_streak, samples
from connrunner.notify.channel import is_channel
from connrunner.notify.digest_facts import digest_facts
from connrunner.notify.facts import Background
from connrunner.notify.render import RUN_EVENTS, RenderedMessage, render
from connrunner.state import run_files

SECONDS = 30.0  # for the templates
LOOKED_AT = 1000  # runs
DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class MailPreview:
    """A mail as a recipient would get it."""

    event: str
    mail: RenderedMessage
    made_up: str  # why it is about a made-up run or event; empty when it is about a real one
    goes_to_channels: bool


def preview_mail(
    view: WorkspaceView, name: str, number: int | None = None, *, event: str | None = None, target: str = ""
) -> MailPreview:
    """Return the mail about the newest run of *name*, or about run *number*, in the templates of *target*.

    ArgumentError for a run that there is not, that *event* cannot be about, or for an unknown target.
    """
    view.require(name)
    runs = run_files.read_recent(view.state, name, LOOKED_AT)
    run, event = choose_previewed_run(name, runs, number, event)
    targets = view.workspace.targets
    if target and target not in targets:
        known = ", ".join(sorted(targets)) or "none"
        raise ArgumentError(f"there is no target {target!r}", hint=f"there are {known} in notifications/")
    variables = build_variables(view, name, runs, run, event, target)
    (mail,) = render(view.folder, [variables], deadline=time.monotonic() + SECONDS)
    made_up = ""
    if run is None and event != "digest":
        why = f": {name} has no run that it could be about" if event in RUN_EVENTS else ""
        made_up = f"what this mail tells is made up{why}"
    recipients = targets.get(target, Target()).recipients
    return MailPreview(event=event, mail=mail, made_up=made_up, goes_to_channels=any(map(is_channel, recipients)))


def choose_preview_folder(view: WorkspaceView) -> Path:
    """Return where a preview is saved: in the state, else in a new temporary folder.

    Who only looks writes into no folder that connrunner.yaml names and that is no state, and through no link: a branch
    could have both lead anywhere.
    """
    folder = view.state.root / "preview"
    if view.holds_state() and not folder.is_symlink():
        return folder
    return Path(tempfile.mkdtemp(prefix="connrunner-preview-"))


def choose_previewed_run(
    name: str, runs: Sequence[Run], number: int | None, event: str | None
) -> tuple[Run | None, str]:
    """Return the run that the mail is about, None for a made-up one, and the event that it tells."""
    if number is None:
        if event is None:
            return (runs[0], runs[0].outcome.value) if runs else (None, "failed")
        return next((run for run in runs if failure_streak.fits_event(run, event)), None), event
    run = next((run for run in runs if run.run == number), None)
    if run is None:
        raise ArgumentError(f"{name} has no ended run {number}", hint=f"see `connrunner runs {name}`")
    if event is not None and event not in RUN_EVENTS:
        raise ArgumentError(f"a mail `{event}` is about no single run", hint="leave out the number")
    if event is not None and not failure_streak.fits_event(run, event):
        raise ArgumentError(f"run {number} {run.outcome}, which is no {event!r}", hint="leave out the number")
    return run, event or run.outcome.value


def build_variables(
    view: WorkspaceView, name: str, runs: Sequence[Run], run: Run | None, event: str, target: str
) -> dict[str, Any]:
    """Return the variables of the templates, as much of them real as there is."""
    connection = view.workspace.connections.get(name)
    title = connection.title if connection else name
    is_lone = event in samples.LONE
    kind = connection.kind if connection else "import"
    about = run or samples.sample_run(event, connection=name, title=title, kind=kind)
    before = [one for one in runs if run is None or one.run <= run.run]
    promise = view.journal_state.promises.get(name)
    to = view.workspace.targets.get(target, Target())
    known = _event_facts(view, event, target, before if run else [])
    background = Background(
        connection="" if is_lone else name,
        title=title,
        description=connection.description if connection else "",
        owner=connection.owner if connection else "",
        use="on" if is_lone or not runs else view.workspace.find_use(name),
        next_run=promise.next_due if promise else None,
        rejects=view.state.rejects(name, run.run) if run else None,
        recent=_recent(about, before, is_lone=is_lone, is_real=run is not None),
        commit=author(view.folder, run.intent.commit) if run else None,
        target=target,
        timezone=to.timezone or view.zone() if is_lone else view.zone(name),
        language=to.language,
        workspace=view.folder.resolve().name,
    )
    made_up = samples.sample_facts(event, connection=name, title=title)
    return facts.build_context(about, background, event=event, facts=known or made_up)


def _recent(about: Run | None, before: Sequence[Run], *, is_lone: bool, is_real: bool) -> Sequence[Run]:
    if is_lone:
        return ()
    return before if is_real or about is None else samples.sample_recent(about)


def _event_facts(view: WorkspaceView, event: str, target: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Return what is known of *event* beyond its run; nothing when it has to be made up."""
    if event == "held" and runs and "held" in runs[0].result.detail:
        return held_facts(runs[0])
    if event != "digest":
        return failure_streak.describe_streak(runs, event) if runs else {}
    end = view.clock()
    start = end - DAY
    history = partial(run_files.read_any_history, view.state)
    connections, promises = view.workspace.connections, view.journal_state.promises
    found = digest_facts(target, connections, promises, history, start=start, end=end)
    return {"from": instant.text(start), "to": instant.text(end), **found, "broken": sorted(view.workspace.broken)}


def as_dict(preview: MailPreview, html: str | None) -> dict[str, Any]:
    """Return *preview* as `notify preview --format json` shows it; *html* is the file with the HTML part."""
    mail = preview.mail
    return {
        "event": preview.event,
        "made_up": bool(preview.made_up),
        "html": html,
        "subject": mail.subject,
        "text": mail.text,
        "chat": mail.chat,
    }
