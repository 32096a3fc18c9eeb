"""`connrunner explain`: why a connection runs when it does, what a YAML key takes, what a code means."""

from __future__ import annotations

import click

from connrunner.answers.active_runs import describe_progress
from connrunner.answers.explain import (
    ConnectionExplanation,
    DeclaredConnection,
    InstantExplanation,
    as_dict,
    describe_schedule,
    describe_tight,
    describe_usual,
    explain_connection,
    explain_instant,
    find_yaml_in_force,
    parse_instant,
)
from connrunner.answers.predecessors import describe_predecessors
from connrunner.answers.run_summary import describe_result
from connrunner.answers.status import describe_held_run
from connrunner.answers.yaml_history import YamlInForce
from connrunner.cli import text
from connrunner.cli.options import CommandContext, with_context
from connrunner.core import instant
from connrunner.errors import WorkspaceError
from connrunner.text.words import plural

MOST = 60  # lines of YAML that are written out


@click.command()
@click.argument("topic")
@click.option(
    "--at", "wanted", metavar="INSTANT", help="Why did it run, or not, then: RFC 3339, a local time, or HH:MM."
)
@click.option("--count", type=click.IntRange(min=1), default=5, show_default=True, help="How many coming slots.")
@with_context(reads=True, now=True)
def explain_command(context: CommandContext, topic: str, wanted: str | None, count: int) -> None:
    """Explain TOPIC: a connection, a YAML key such as import.match, or the code of a problem or a failure.

    Of a connection: its schedule, its coming slots, and what was decided about it; with --at why it ran, or did not,
    at an instant, what it waited for, and which lines of YAML were in force.
    """
    try:
        names = context.view.known_names()
    except WorkspaceError:  # a key or a code is asked for all the more when connrunner.yaml is broken
        names = []
    if topic in names:
        _explain_connection(context, topic, wanted, count)
    else:
        _explain_docs(context, topic, names)


def _explain_connection(context: CommandContext, name: str, wanted: str | None, count: int) -> None:
    view = context.view
    at = explain_instant(view, name, parse_instant(view, name, wanted)) if wanted else None
    if context.json:
        context.echo_json(as_dict(explain_connection(view, name, count=count), at))
    elif at is not None:
        lines = [*_instant_lines(at), *_yaml_lines(find_yaml_in_force(view, at))]
        click.echo(text.clean("\n".join(lines)))
    else:
        click.echo(text.clean("\n".join(_connection_lines(explain_connection(view, name, count=count)))))


def _explain_docs(context: CommandContext, topic: str, names: list[str]) -> None:
    from connrunner.answers import explain_docs as docs  # reads every schema
    from connrunner.cli import explain_docs

    found = docs.find_documentation(topic, names)
    if context.json:
        context.echo_json(docs.as_dict(found))
    else:
        click.echo(explain_docs.as_text(found))


# --- a connection ------------------------------------------------------------------------------------------------


def _connection_lines(found: ConnectionExplanation) -> list[str]:
    if found.declared is None:
        lines = [f"{found.name}: {found.next.words}", *(str(problem) for problem in found.problems)]
    else:
        lines = [*_facts(found, found.declared), "", *_coming(found.declared, found.zone)]
    if found.lately:
        rows = [[instant.local_minute(at, found.zone), words] for at, words in found.lately]
        lines += ["", text.table(("Lately", "What was decided"), rows)]
        lines.append(f"`connrunner explain {found.name} --at HH:MM` says why it ran, or did not, at a time")
    return lines


def _facts(found: ConnectionExplanation, declared: DeclaredConnection) -> list[str]:
    connection, zone = declared.connection, found.zone
    what = [connection.kind, f"lane {connection.lane}", *([f"owner {connection.owner}"] if connection.owner else [])]
    version = f"; {declared.version}" if declared.version else ""
    behind, now = describe_predecessors(found.after, zone)
    rows = [
        ("What", "; ".join(what)),
        ("When", describe_schedule(declared, zone)),
        *([("", declared.blackouts)] if declared.blackouts else []),
        *([("After", behind), ("", now)] if behind else []),
        ("File", f"{declared.path}, the schedule at line {declared.line}{version}"),
        ("Takes", describe_usual(found.usual)),
        *([("", describe_tight(found.tight))] if found.tight else []),
    ]
    if (active := found.active) is not None:
        since, progress = instant.local(active.started_at, zone), describe_progress(active, zone)
        rows.append(("Now", f"run {active.run} Running since {since}; {progress}".rstrip("; ")))
    elif found.next.state == "waiting":
        rows.append(("Now", found.next.words))
    if (last := found.last) is not None:
        result = describe_result(last)
        ended = instant.local_minute(last.ended_at, zone)
        rows.append(("Last", f"run {last.run} {last.outcome}, {ended}" + (f": {result}" if result else "")))
    if (held := found.held) is not None:
        until = instant.local_minute(held.expires_at, zone)
        rows.append(("Held", f"run {held.run}, until {until}: {describe_held_run(held)}"))
        rows.append(("", f"`connrunner approve {found.name} {held.run} --reason TEXT`, or `decline`"))
    title = f"{found.name}: {connection.title}" if connection.title != found.name else found.name
    description = [connection.description.strip()] if connection.description.strip() else []
    return [title, *description, "", *(f"{head:<6} {words}" for head, words in rows)]


def _coming(declared: DeclaredConnection, zone: str) -> list[str]:
    if not declared.connection.enabled:
        return ["no slots: `enabled: false` in its file"]
    if not declared.slots:
        name = declared.connection.name
        return [f"no slots: it runs {declared.schedule}; `connrunner run {name}` asks for it"]
    rows = [[instant.local_minute(slot.due_at, zone), instant.text(slot.due_at), slot.note] for slot in declared.slots]
    lines = [text.table(("Next", "UTC", "Note"), rows)]
    lines += [f"left out: {instant.local_minute(slot.due_at, zone)}; {slot.reason}" for slot in declared.left_out]
    if declared.months_without:
        months = ", ".join(f"{month:%B %Y}" for month in declared.months_without)
        lines.append(f"no slot in {months}: the date is not there, and nothing is moved instead")
    return lines


# --- an instant --------------------------------------------------------------------------------------------------


def _instant_lines(found: InstantExplanation) -> list[str]:
    when = f"{instant.local_minute(found.at, found.zone)} ({instant.text(found.at)})"
    return [f"{found.name} at {when}", "", *found.sentences]


def _yaml_lines(found: YamlInForce | None) -> list[str]:
    """Return the lines in force, and what changed in them since the run before."""
    if found is None:
        return []
    if found.file is None:
        return ["", f"Which lines of YAML were in force is not known: {found.unknown}."]
    file, commit = found.file, found.file.commit
    words = f"{commit.at[:10]}, {commit.author}: {commit.subject}"
    lines = ["", f"In force: {file.path} at commit {commit.hash[:12]} ({words})"]
    if not found.is_as_committed:
        lines.append("It ran with something else than this: files were edited and not committed, then.")
    lines += [f"{number:>4}  {line}" for number, line in enumerate(file.lines[:MOST], 1)]
    if len(file.lines) > MOST:
        lines.append(f"      and {plural(len(file.lines) - MOST, 'more line')}")
    if found.run_before is None:
        return lines
    if not found.difference:
        return [*lines, "", f"Its file was the same for the run before, #{found.run_before}."]
    return [*lines, "", f"What changed since the run before, #{found.run_before}:", *found.difference]
