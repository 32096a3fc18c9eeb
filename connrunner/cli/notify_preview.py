"""`connrunner notify preview`: what people would get, before they get it."""

from __future__ import annotations

import time
import webbrowser
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from connrunner.cli.home import Home, leave, with_home
from connrunner.cli.text import clean
from connrunner.config.versions.author import author
from connrunner.core import instant
from connrunner.core.model import Run, Target
from connrunner.errors import ArgumentError
from connrunner.messenger.mailer import digest
from connrunner.notify import facts, failure_streak, samples
from connrunner.notify.channel import is_channel
from connrunner.notify.facts import Background
from connrunner.notify.render import EVENTS, RUN_EVENTS, RenderedMessage, render
from connrunner.state import run_files

SECONDS = 30.0
LOOKED_AT = 1000  # runs
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("preview")
@click.argument("name")
@click.argument("run", type=click.IntRange(min=1), required=False)
@click.option("--event", type=click.Choice(EVENTS), help="What is told; without it, how the run ended.")
@click.option("--target", default="", help="For a file in notifications/: its templates.")
@click.option("--output", "folder", type=FOLDER, help="Where the HTML and the text go.")
@click.option("--open", "show", is_flag=True, help="Show the HTML in a browser.")
@with_home(reads=True, now=True)
def preview_command(
    home: Home, name: str, run: int | None, event: str | None, target: str, folder: Path | None, show: bool
) -> None:
    """Show the mail about connection NAME's newest run, or about run number RUN; send nothing.

    Without a run that fits, the mail is about a made-up one. The HTML goes into a file. Exit code 1 when a template is
    broken: then the mail is the plain one that people would get.
    """
    home.require(name)
    runs = run_files.read_recent(home.state, name, LOOKED_AT)
    told, event = chosen(name, runs, run, event)
    if target and target not in home.workspace.targets:
        known = ", ".join(sorted(home.workspace.targets)) or "none"
        raise ArgumentError(f"there is no target {target!r}", hint=f"there are {known} in notifications/")
    context = seen(home, name, runs, told, event, target)
    (mail,) = render(home.folder, [context], deadline=time.monotonic() + SECONDS)
    made_up = told is None and event != "digest"
    page = save(folder or home.state.root / "preview", f"{name}-{event}", mail)
    if home.json:
        home.echo_json({"event": event, "made_up": made_up, "html": str(page) if page else None, **_as_dict(mail)})
    else:
        if made_up:
            why = "" if event not in RUN_EVENTS else f": {name} has no run that it could be about"
            click.echo(f"what this mail tells is made up{why}", err=True)
        click.echo(clean(f"Subject: {mail.subject}\n\n{mail.text}"))
        if any(map(is_channel, home.workspace.targets.get(target, Target()).recipients)):
            click.echo(clean(f"In channels: {mail.subject}\n\n{mail.chat}\n"))
        click.echo(f"HTML: {page}" if page else "no HTML: a template is broken", err=page is None)
    if show and page:
        webbrowser.open(page.resolve().as_uri())
    leave(0 if page else 1)


def _as_dict(mail: RenderedMessage) -> dict[str, str]:
    return {"subject": mail.subject, "text": mail.text, "chat": mail.chat}


def chosen(name: str, runs: list[Run], number: int | None, event: str | None) -> tuple[Run | None, str]:
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


def seen(home: Home, name: str, runs: list[Run], told: Run | None, event: str, target: str) -> dict[str, Any]:
    """Return what the templates see, as much of it real as there is."""
    connection = home.workspace.connections.get(name)
    title = connection.title if connection else name
    lone = event in samples.LONE
    run = told or samples.sample_run(
        event, connection=name, title=title, kind=connection.kind if connection else "import"
    )
    before = [one for one in runs if told is None or one.run <= told.run]
    promise = home.journal_state.promises.get(name)
    to = home.workspace.targets.get(target, Target())
    return facts.build_context(
        run,
        Background(
            connection="" if lone else name,
            title=title,
            description=connection.description if connection else "",
            owner=connection.owner if connection else "",
            next_run=promise.next_due if promise else None,
            rejects=home.state.rejects(name, told.run) if told else None,
            recent=() if lone else before if told or not run else samples.sample_recent(run),
            commit=author(home.folder, told.intent.commit) if told else None,
            target=target,
            timezone=to.timezone or home.zone() if lone else home.zone(name),
            language=to.language,
            workspace=home.folder.resolve().name,
        ),
        event=event,
        facts=_facts(home, event, target, before if told else [])
        or samples.sample_facts(event, connection=name, title=title),
    )


def _facts(home: Home, event: str, target: str, runs: list[Run]) -> dict[str, Any]:
    """Return what is known of *event* beyond its run; nothing when it has to be made up."""
    if event != "digest":
        return failure_streak.describe_streak(runs, event) if runs else {}
    end = home.clock()
    start = end - timedelta(days=1)
    told = digest(target, home.workspace, home.journal_state, home.state, start=start, end=end)
    return {"from": instant.text(start), "to": instant.text(end), **told}


def save(folder: Path, stem: str, mail: RenderedMessage) -> Path | None:
    """Write the mail into *folder*; return where its HTML is, None when it has none."""
    page = folder / f"{stem}.html"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (page, folder / f"{stem}.txt"):
            path.touch(mode=0o600)  # rows of people may be quoted in it
        (folder / f"{stem}.txt").write_text(f"{mail.subject}\n\n{mail.text}", encoding="utf-8")
        if mail.html is None:
            page.unlink()
            return None
        page.write_text(mail.html, encoding="utf-8")
    except OSError as error:
        reason = f"{error.filename or folder} cannot be written: {error.strerror}"
        raise ArgumentError(reason, hint="name another folder with --output") from error
    return page
