"""`connrunner explain`: why a connection runs when it does, what a YAML key takes, what a code means."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import click

from connrunner.answers import reasons, yaml_history
from connrunner.cli import text
from connrunner.cli.documented import documented
from connrunner.cli.home import Home, with_home
from connrunner.cli.runs import next_row, running_row
from connrunner.config import zones
from connrunner.config.documents import places
from connrunner.core import instant, run_records, schedules
from connrunner.core.model import Connection, TimesPerDay
from connrunner.core.planning import decisions as deciding
from connrunner.core.planning import forecast, outlook
from connrunner.core.planning.decisions import Decision, Explanation
from connrunner.errors import ArgumentError, WorkspaceError
from connrunner.scheduler import idle
from connrunner.state import journal_segments, run_files
from connrunner.text import durations

LATEST = 10  # lines about decisions that are written out
ENOUGH = 10  # decisions that one such line may stand for


@click.command()
@click.argument("topic")
@click.option(
    "--at", "wanted", metavar="INSTANT", help="Why did it run, or not, then: RFC 3339, a local time, or HH:MM."
)
@click.option("--count", type=click.IntRange(min=1), default=5, show_default=True, help="How many coming slots.")
@with_home(reads=True, now=True)
def explain_command(home: Home, topic: str, wanted: str | None, count: int) -> None:
    """Explain TOPIC: a connection, a YAML key such as import.match, or the code of a problem or a failure.

    Of a connection: its schedule, its coming slots, and what was decided about it; with --at why it ran, or did not,
    at an instant, what it waited for, and which lines of YAML were in force.
    """
    try:
        names = home.known_names()
    except WorkspaceError:  # a key or a code is asked for all the more when connrunner.yaml is broken
        names = []
    if topic in names:
        ConnectionFacts(home, topic).show(wanted, count)
    else:
        documented(home, topic, names)


class ConnectionFacts:
    """Everything that is known of one connection."""

    def __init__(self, home: Home, name: str) -> None:
        self.home, self.name, self.zone = home, name, home.zone(name)
        self.connection = home.workspace.connections.get(name)
        self.decided = deciding.read_decisions(journal_segments.read_records(home.state, name), name)

    def show(self, wanted: str | None, count: int) -> None:
        at = self._instant(wanted) if wanted else None
        if self.home.json:
            self.home.echo_json(self._plain(at, count))
        elif at is not None:
            click.echo(text.clean("\n".join(self._why(at))))
        else:
            click.echo(text.clean("\n".join(self._what(count))))

    # --- what it is ----------------------------------------------------------------------------------------------

    def _what(self, count: int) -> list[str]:
        lines = []
        if self.connection is None:
            row = next_row(self.home, self.name, self.zone)
            lines.append(f"{self.name}: {row[4] if row else ''}")
            lines += [str(problem) for problem in self.home.workspace.broken.get(self.name, ())]
        else:
            lines += self._facts(self.connection)
            lines += ["", *self._coming(self.connection, count)]
        if self.decided:
            recent = reasons.lately(self.decided[-LATEST * ENOUGH :], self.zone)[-LATEST:]
            rows = [[instant.local_minute(at, self.zone), words] for at, words in recent]
            lines += ["", text.table(("Lately", "What was decided"), rows)]
            lines.append(f"`connrunner explain {self.name} --at HH:MM` says why it ran, or did not, at a time")
        return lines

    def _facts(self, connection: Connection) -> list[str]:
        head = f"{self.name}: {connection.title}" if connection.title != self.name else self.name
        what = [
            connection.kind,
            f"lane {connection.lane}",
            *([f"owner {connection.owner}"] if connection.owner else []),
        ]
        path, line = places.place_of(str(self.home.folder), self.name, ("schedule",))
        rows = [
            ("What", "; ".join(what)),
            ("When", self._when(connection) + ("" if connection.enabled else "; switched off")),
            ("File", f"{path}, the schedule at line {line}{self._commit()}"),
            ("Takes", self._takes()),
        ]
        running, coming = running_row(self.home, self.name, self.zone), next_row(self.home, self.name, self.zone)
        if running:
            rows.append(("Now", f"run {running[0]} since {running[1]}; {running[4]}".rstrip("; ")))
        elif coming and coming[0] == "Waiting":
            rows.append(("Now", str(coming[4])))
        last = run_files.read_last_run(self.home.state, self.name)
        if last is not None:
            ended = instant.local_minute(last.ended_at, self.zone)
            rows.append(
                (
                    "Last",
                    f"run {last.run} {last.outcome}, {ended}" + (f": {text.told(last)}" if text.told(last) else ""),
                )
            )
        description = [connection.description.strip()] if connection.description.strip() else []
        return [head, *description, "", *(f"{title:<6} {words}" for title, words in rows)]

    def _when(self, connection: Connection) -> str:
        words = schedules.describe(connection.schedule)
        promise = self.home.journal_state.promises.get(self.name)
        if isinstance(connection.schedule, TimesPerDay) and promise is not None:
            words += f", counted from {instant.local_minute(promise.on_since, self.zone)}, when it was switched on [R4]"
        return words

    def _commit(self) -> str:
        found = yaml_history.then(self.home.folder, self.name, self.home.workspace.commit)
        if found is None:
            return ""
        edited = found.lines != yaml_history.now(self.home.folder, self.name)
        words = "edited after" if edited else "as in"
        return f"; {words} commit {found.commit.hash[:12]} by {found.commit.author}: {found.commit.subject}"

    def _takes(self) -> str:
        usual = forecast.summarize_durations(run_files.read_durations(self.home.state, self.name))
        if not usual.runs:
            return "nobody knows yet: no run has come to its end"
        most = f"at most {durations.in_words(usual.p95)} in 19 of 20"
        return f"usually {durations.in_words(usual.median)}, {most} ({usual.runs} run{'s' if usual.runs > 1 else ''})"

    def _slots(self, connection: Connection, count: int) -> list[datetime]:
        promise = self.home.journal_state.promises.get(self.name)
        slots = outlook.iter_upcoming_slots(connection, promise, now=self.home.clock(), zones=zones.version())
        return list(islice(slots, count))

    def _coming(self, connection: Connection, count: int) -> list[str]:
        if not connection.enabled:
            return ["no slots: `enabled: false` in its file"]
        slots = self._slots(connection, count)
        if not slots:
            return [
                f"no slots: it runs {schedules.describe(connection.schedule)}; `connrunner run {self.name}` asks for it"
            ]
        rows = [
            [
                instant.local_minute(slot, self.zone),
                instant.text(slot),
                outlook.explain_clock_change(connection.schedule, slot, timezone=self.zone),
            ]
            for slot in slots
        ]
        lines = [text.table(("Next", "UTC", "Note"), rows), *self._left_out(connection, slots[-1])]
        lacking = outlook.find_lacking_months(connection.schedule, self.home.clock(), slots[-1])
        if lacking:
            months = ", ".join(f"{month:%B %Y}" for month in lacking)
            lines.append(f"no slot in {months}: the date is not there, and nothing is moved instead [R3]")
        return lines

    def _left_out(self, connection: Connection, until: datetime) -> list[str]:
        """Return what blackouts leave out before *until*."""
        promise = self.home.journal_state.promises.get(self.name)
        since = promise.on_since if promise else self.home.clock()
        found = schedules.left_out_between(connection.schedule, self.home.clock(), until, on_since=since)
        return [
            f"left out: {instant.local_minute(slot, self.zone)}; "
            + schedules.explain_left_out(connection.schedule, slot)
            for slot in islice(found, LATEST)
        ]

    # --- why -----------------------------------------------------------------------------------------------------

    def _instant(self, wanted: str) -> datetime:
        """Return the instant that a person means: RFC 3339, a local time, or the newest such time of day."""
        zone = ZoneInfo(self.zone)
        now = self.home.clock()
        try:
            if re.fullmatch("[0-2][0-9]:[0-5][0-9]", wanted):
                found = datetime.combine(
                    now.astimezone(zone).date(), datetime.fromisoformat(f"2000-01-01 {wanted}").time(), zone
                )
                return (found if found <= now else found - timedelta(days=1)).astimezone(UTC)
            found = datetime.fromisoformat(wanted)
        except ValueError:
            hint = 'write it as 2026-11-22T09:15:00Z, as "2026-11-22 09:15" (local), or as 09:15 (the newest one)'
            raise ArgumentError(f"{wanted!r} is no instant", hint=hint) from None
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)

    def _answer(self, at: datetime) -> Explanation:
        return deciding.explain_instant(self.decided, at, now=self.home.clock())

    def _sentences(self, answer: Explanation) -> list[str]:
        ticked = idle.find_last_look(str(self.home.state.root))
        return reasons.told(
            answer,
            self.zone,
            last_tick=None if ticked is None else datetime.fromtimestamp(ticked, UTC),
            since=journal_segments.find_oldest_instant(self.home.state),
            holders=self._holders(answer),
        )

    def _holders(self, answer: Explanation) -> tuple[deciding.LaneHolder, ...]:
        decision, started = answer.decision, answer.started
        if decision is None or started is None or decision.kind != "queued" or started.at <= decision.at:
            return ()
        records = journal_segments.read_records(self.home.state)
        found = deciding.find_lane_holders(records, started.lane, start=decision.at, end=started.at)
        return tuple(one for one in found if (one.connection, one.run) != (self.name, started.run))

    def _why(self, at: datetime) -> list[str]:
        answer = self._answer(at)
        lines = [
            f"{self.name} at {instant.local_minute(at, self.zone)} ({instant.text(at)})",
            "",
            *self._sentences(answer),
        ]
        return [*lines, *self._yaml(answer)]

    def _yaml(self, answer: Explanation) -> list[str]:
        """Return the lines in force, and what changed in them since the run before."""
        decision = answer.started or answer.ended or answer.decision
        if decision is None or answer.verdict == "ahead":
            return []
        then = yaml_history.then(self.home.folder, self.name, decision.commit)
        if then is None:
            why = (
                "the workspace was in no git repository"
                if decision.commit is None
                else f"commit {decision.commit[:12]} is not here"
            )
            return ["", f"Which lines of YAML were in force is not known: {why}."]
        commit = then.commit
        lines = [
            "",
            f"In force: {then.path} at commit {commit.hash[:12]} ({commit.at[:10]}, {commit.author}: {commit.subject})",
        ]
        if answer.verdict in ("no-slot", "off"):
            return lines
        config = decision.config
        if config and not yaml_history.is_as_committed(self.home.folder, self.name, commit.hash, config):
            lines.append("It ran with something else than this: files were edited and not committed, then.")
        lines += then.numbered()
        before = self._run_before(decision)
        earlier = yaml_history.then(self.home.folder, self.name, before.commit if before else None)
        if before is None or earlier is None:
            return lines
        difference = yaml_history.changed(earlier, then)
        if not difference:
            return [*lines, "", f"Its file was the same for the run before, #{before.run}."]
        return [*lines, "", f"What changed since the run before, #{before.run}:", *difference]

    def _run_before(self, decision: Decision) -> Any:
        """Return the newest ended run that began before *decision*."""
        earlier = (
            run
            for run in run_files.read_history(self.home.state, self.name)
            if (run.run < decision.run if decision.run is not None else run.ended_at <= decision.at)
        )
        return next(earlier, None)

    # --- JSON ----------------------------------------------------------------------------------------------------

    def _plain(self, at: datetime | None, count: int) -> dict[str, Any]:
        connection, usual = (
            self.connection,
            forecast.summarize_durations(run_files.read_durations(self.home.state, self.name)),
        )
        last = run_files.read_last_run(self.home.state, self.name)
        data: dict[str, Any] = {
            "topic": "connection",
            "connection": self.name,
            "schedule": schedules.describe(connection.schedule) if connection else None,
            "enabled": connection.enabled if connection else None,
            "usual": {"runs": usual.runs, "median": usual.median, "p95": usual.p95} if usual.runs else None,
            "last": run_records.as_dict(last) if last else None,
            "next": [
                {
                    "due_at": instant.text(slot),
                    "note": outlook.explain_clock_change(connection.schedule, slot, timezone=self.zone),
                }
                for slot in self._slots(connection, count)
            ]
            if connection
            else [],
            "decisions": [_as_dict(one) for one in self.decided],
        }
        if at is not None:
            answer = self._answer(at)
            data["answer"] = {
                "at": instant.text(at),
                "verdict": answer.verdict,
                "words": self._sentences(answer),
                "decision": answer.decision and _as_dict(answer.decision),
                "started": answer.started and _as_dict(answer.started),
                "ended": answer.ended and _as_dict(answer.ended),
                "earlier": instant.text(answer.earlier) if answer.earlier else None,
                "later": instant.text(answer.later) if answer.later else None,
            }
        return data


def _as_dict(decision: Decision) -> dict[str, Any]:
    return {
        key: instant.text(value) if isinstance(value, datetime) else value for key, value in asdict(decision).items()
    }
