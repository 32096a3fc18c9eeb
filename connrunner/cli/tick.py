"""`connrunner tick`: one line for each thing done, nothing when nothing was due."""

from __future__ import annotations

from typing import Any

import click

from connrunner.cli import text
from connrunner.cli.home import Home, with_home
from connrunner.core import instant, run_records
from connrunner.core.model import Outcome
from connrunner.scheduler import tick
from connrunner.text import durations

OUTCOMES = {str(outcome) for outcome in Outcome}


@click.command()
@with_home(reads=True, now=True)
def tick_command(home: Home) -> None:
    """Run everything that is due; for cron, every minute.

    Records what is due, runs the queue, sees that mail is sent. Quiet when nothing is due. When another tick is at
    work, says so and ends at once. Exit codes: 0 done, also when a run failed (that is told by mail and history);
    2 the workspace cannot be used; 74 the state cannot be written; 75 busy.
    """
    tick.tick(home.folder, home.state, now=home.now, say=say_json if home.json else say_text)


def say_json(event: dict[str, Any]) -> None:
    """Print one event as a line of JSON."""
    click.echo(text.as_json(event))


def say_text(event: dict[str, Any]) -> None:
    """Print one event as a line for people."""
    click.echo(text.clean(sentence(event)), err=event["event"] == "problem")


def sentence(event: dict[str, Any]) -> str:
    """Return what *event* says in words."""
    name = event.get("connection")
    run = f"{name} #{event['run']}" if event.get("run") else str(name or event.get("about"))
    match event["event"]:
        case "queued":
            missed = event["missed"]
            late = f", with {missed:,} later slot{'s' if missed > 1 else ''} missed" if missed else ""
            return f"{name}: queued for {event['due_at']}{late}"
        case "left_out":
            more = f", and {event['missed']:,} after it" if event["missed"] else ""
            return f"{name}: not due at {event['due_at']}{more}: {event['reason']}"
        case "merged" | "skipped" | "dropped" | "missed":
            return f"{name}: the slot of {event['due_at']} was {event['event']}: {event['reason']}"
        case "started":
            return f"{run}: started"
        case "ended" | "recovered":
            parts = [
                f"{event['outcome']} after {durations.in_words(event['seconds'])}",
                text.told(run_records.from_mapping(event)),
            ]
            told = "; ".join(part for part in parts if part)
            return f"{run}: {told}" + (" (found by this tick)" if event["event"] == "recovered" else "")
        case "busy":
            waits = f"; {len(event['waiting'])} wait: {', '.join(event['waiting'][:5])}" if event["waiting"] else ""
            if not name:
                return f"lane {event['lane']} is held by another connrunner{waits}"
            since = instant.local(instant.parse(event["since"]), "UTC")
            return f"lane {event['lane']} is busy: {run} has been running since {since}{waits}"
        case "adopted" if event["lives"]:
            return f"{run}: the connrunner that started it is gone; it goes on, and this one looks after it"
        case "adopted":
            return f"{run}: its process and the connrunner that started it are gone; what it left behind is ended"
        case "stopping":
            return f"{run}: told to end; {event['reason']}"
        case "left-over":
            who = ", ".join(event["processes"][:5]) or "processes that cannot be seen from here"
            return f"lane {event['lane']} is held by what a run left behind: {who}; end it to set the lane free"
        case "hole":
            missed = sum(event["missed"].values())
            slots = f"{missed:,} slot{'s' if missed > 1 else ''} of {', '.join(sorted(event['missed'])[:5])}"
            since, until = (instant.local(instant.parse(event[key]), "UTC") for key in ("from", "to"))
            return f"no tick came from {since} to {until}; {slots} passed meanwhile"
        case "mailed":
            about = "" if not name or event["about"] in OUTCOMES else f" ({event['about']})"
            return f"{run}: told {event['recipient']}{about}"
        case "mail-waits":
            return f"{run}: its mail waits: {event['reason']}"
        case "mail-dead":
            return f"{run}: {event['recipient']} could not be told: {event['reason']}"
        case "heartbeat-failed":
            return f"the heartbeat of {event['about']} was not taken: {event['reason']}"
        case _:
            return str(event["message"])
