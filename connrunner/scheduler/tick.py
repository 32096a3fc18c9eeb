"""One tick: load the workspace, record what is due, run the queue, see that mail is sent."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from connrunner.config import load, place, stamps, zones
from connrunner.config.versions.commit import repository
from connrunner.core import instant, run_records, schedules
from connrunner.core.alerts import on_time, rate_limit
from connrunner.core.alerts.notice import Notice
from connrunner.core.alerts.on_attention import AttentionFinding, decide_attention_notices
from connrunner.core.alerts.on_broken_files import BrokenFile, decide_file_notices
from connrunner.core.alerts.on_time import PromisedSlot
from connrunner.core.connection_index import MANUAL, OFF, find_with
from connrunner.core.model import Run, Workspace
from connrunner.core.planning.due import RunRequest, TickFacts, TickPlan, explain_refusal, plan_tick
from connrunner.errors import BusyError, Problem, StateError, WorkspaceError
from connrunner.notify import pings
from connrunner.notify.pings import PingSender
from connrunner.processes.clock import make_clock
from connrunner.scheduler import idle, leftovers
from connrunner.scheduler.lanes import Lanes, Say
from connrunner.scheduler.past import keep_the_past_short, limits_the_past
from connrunner.scheduler.recorder import RunRecorder, hash_problems, make_token
from connrunner.scheduler.refusal import WHOLE, start_mailer, tell_refused
from connrunner.state import history_check, locks, misplaced, owner, record_check, requests, retention, run_files
from connrunner.state.folder import StateFolder, recording
from connrunner.state.journal import Journal
from connrunner.state.journal_state import JournalState, OwedNotice, next_attempt, plan_as_record
from connrunner.state.untold import forget_untold, read_untold
from connrunner.text.words import listed

AGAIN = 50.0  # seconds after which a version that could not be read is tried again while runs work
MAIL = 40.0  # seconds that a tick waits for the mail, which ends itself after 30
Value = TypeVar("Value")
IDLE = timedelta(days=1)  # how long a quiet note may hold when nothing is promised


def tick(folder: Path, state: StateFolder, *, now: datetime | None = None, say: Say, moved: bool = False) -> None:
    """Do one tick: record, run and notify all that is due, unless another tick is doing it.

    *now* is taken for the clock, for tests and what-if. *moved* says that a state folder of another workspace is that
    of this one.
    """
    try:
        this = Tick(folder, state, now=now, say=say, moved=moved)
    except WorkspaceError as error:
        _tell_refused(folder, state, error, now)
        raise
    try:
        this.withhold()
        this.lanes.record_dead()
        this.take_in()
        try:
            this.drain()
        finally:
            with suppress(StateError, BusyError):
                this.settle()
    except WorkspaceError as error:
        this.fail("the workspace cannot be used")
        _tell_refused(folder, state, error, now)
        raise
    except StateError:
        this.fail("the state folder cannot be used")
        raise
    finally:
        this.rest()


def _tell_refused(folder: Path, state: StateFolder, error: WorkspaceError, now: datetime | None) -> None:
    """See that people are told why this tick refuses the workspace."""
    with suppress(OSError, subprocess.TimeoutExpired):
        mailer = tell_refused(folder, state, error, clock=make_clock(now), what_if=now is not None)
        if mailer is not None:
            mailer.wait(MAIL)


class Tick:
    """The workspace, the state beside it, and what is under way."""

    def __init__(
        self, folder: Path, state: StateFolder, *, now: datetime | None = None, say: Say, moved: bool = False
    ) -> None:
        if not moved:
            owner.refuse_other(state, folder)
        state.prepare()
        if words := owner.claim(state, folder):
            say({"event": "problem", "message": words})
        self.folder, self.state, self.say = folder, state, say
        self.clock = make_clock(now)
        self.what_if = now is not None  # quiet ticks must not believe a clock that is not the real one
        self.journal = Journal(state)
        recorder = RunRecorder(state=state, journal=self.journal, clock=self.clock)
        self._stamps: dict[str, int] = {}
        # With which the stamps are taken; what the commit says decides.
        self._repository = repository(folder) if place.declares_git(str(folder)) else None
        self._loaded = 0.0  # monotonic seconds
        self._planned: dict[str, int] | None = None  # the stamps of the version whose due slots were recorded
        self._newest = self._load()
        self.pings = PingSender(folder)
        self.lanes = Lanes(folder, self._refresh, recorder, say, self.pings, self._newest)
        self._mail: subprocess.Popen[bytes] | None = None

    @property
    def workspace(self) -> Workspace:
        """The version in use: what is decided together is decided by one version [P9]."""
        return self.lanes.workspace

    def _refresh(self) -> Workspace:
        """Return the workspace as it is now, or as it was when it could last be used."""
        again = self._newest.trouble and time.monotonic() - self._loaded > AGAIN
        if again or self._stamps != stamps.stamps(str(self.folder), self._repository):
            try:
                self._newest = self._load()
            except WorkspaceError as error:
                self.say({"event": "problem", "message": str(error)})
        return self._newest

    def _load(self) -> Workspace:
        while True:
            # Taken before the files are read: an edit in between shows as a change to the next tick.
            seen = None if self._repository else stamps.scan(str(self.folder))
            self._stamps = stamps.stamps(str(self.folder), self._repository, seen)
            workspace = load.load(self.folder, cache=self.state.compiled, seen=seen)
            self._loaded = time.monotonic()
            if workspace.repository == self._repository:
                return workspace
            self._repository = workspace.repository

    def withhold(self) -> None:
        """See whose history cannot be used: nothing of these connections is decided, started or recorded until it can.

        The others go on, and what is due meanwhile is due then.
        """
        known = self.journal.read()
        names = {*self.workspace.connections, *known.promises, *known.waiting, *known.started}
        names |= {
            entry.connection for entry in (*known.skipped.values(), *(one.entry for one in known.missed.values()))
        }
        self.lanes.withheld = run_files.find_unusable(self.state, sorted(names))

    # --- what is due -------------------------------------------------------------------------------------------

    def take_in(self, *, due: bool = True) -> None:
        """Record what is due and what people asked for, with the new promises, in one durable append.

        Without *due* only the requests are taken in: `run` starts what it was asked for and nothing else.
        """
        with locks.hold_state_lock(self.state):
            journal_state = self.journal.open()
            self._tell_damage()
            self.withhold()
            self._record_skipped(journal_state)  # of a tick that was killed
            self._adopt_ends(journal_state)
            run_requests = [
                one for one in requests.read_run_requests(self.state) if one.connection not in self.lanes.withheld
            ]
            unanswered = [request for request in run_requests if request.id not in journal_state.answered]
            unknown = self._read_unknown(journal_state) if due else {}
            decided = self._plan(journal_state, unanswered, unknown, due=due)
            files = self._broken_files()
            broken = {name: one.content for name, one in files.items()}
            owed = self._overdue(journal_state, decided, files) if due else {}
            off = self._newly_off(journal_state) if due else []
            if due:
                self._tell_gone(journal_state)
            if decided.promises or decided.slots or broken != journal_state.broken_seen or owed or off or unknown:
                self._tell_broken(journal_state.broken_seen, broken)
                clock_was = self._tell_set_back(journal_state, decided) if due else None
                record = plan_as_record(
                    decided, at=instant.text(self.clock()), before=self._last_look(), clock_was=clock_was
                )
                fixed = sorted({*journal_state.broken_seen} - {*broken})
                histories = self._tell_unknown(journal_state, unknown)
                self.journal.append(
                    {
                        **record,
                        "broken": broken,
                        "mended": fixed,
                        "commit": self.workspace.commit,
                        **({"off": off} if off else {}),
                        **owed,
                        **histories,
                    },
                )
            for request in run_requests:
                requests.remove_request(self.state, request)
            self._record_skipped(self.journal.state)
            if due and journal_state.held:
                from connrunner.scheduler.held_reminders import look_after_held  # mostly none is held

                withheld, limits = self.lanes.withheld, self._limits()
                look_after_held(self.lanes.recorder, self.workspace, withheld=withheld, limits=limits, say=self.say)
            self._planned = self._stamps if due else None
        if due:
            idle.note_look(str(self.state.root), self.clock().timestamp())
            self._ping()
        for slot in decided.slots:
            self.say(
                {
                    "event": slot.result,
                    "connection": slot.connection,
                    "due_at": instant.text(slot.entry.due_at),
                    "missed": slot.entry.missed,
                    "reason": slot.reason,
                    **({"asked_by": slot.entry.asked_by} if slot.entry.asked_by else {}),
                }
            )

    def _broken_files(self) -> dict[str, BrokenFile]:
        """Return what cannot be used, by the names of connections; the workspace as a whole is among them."""
        promises = self.journal.state.promises
        found = {
            name: BrokenFile(
                content=hash_problems(problems),
                problems=tuple(map(str, problems)),
                never_worked=name not in promises and name not in self.journal.state.former,
            )
            for name, problems in self.workspace.broken.items()
        }
        for name, error in self.lanes.withheld.items():
            content = sha256(str(error).encode()).hexdigest()[:16]
            found[name] = BrokenFile(content=content, problems=(str(error),), is_of_state=True)
        if trouble := self.workspace.trouble:
            found[WHOLE] = BrokenFile(content=sha256(trouble.encode()).hexdigest()[:16], problems=(trouble,))
        return found

    def _record_skipped(self, journal_state: JournalState) -> None:
        """Give every slot that was recorded as skipped or missed its run, which tells people. Hold the state lock."""
        withheld = self.lanes.withheld
        for entry in list(journal_state.skipped.values()):
            if entry.connection not in withheld:
                self.lanes.recorder.skip(entry, self.workspace, dequeued=False)
        for entry, reason in list(journal_state.missed.values()):
            if entry.connection not in withheld:
                self.lanes.recorder.miss(entry, reason, self.workspace, dequeued=False)

    def _adopt_ends(self, journal_state: JournalState) -> None:
        """Record the ends that history has of decisions, and of what waits and is about to be dropped.

        A tick was killed between history and journal; the lane sees to what can still start. Hold the state lock.
        """
        decisions = requests.read_decisions(self.state)
        entries = [one.as_entry() for one in decisions if one.id not in journal_state.answered]
        known, broken = self.workspace.connections, self.workspace.broken
        off = find_with(known, OFF)
        entries += [
            entry
            for name, entry in journal_state.waiting.items()
            if name not in broken and (name not in known or name in off)
        ]
        for entry in entries:
            if entry.connection not in self.lanes.withheld:
                adopted = self.lanes.recorder.adopt(entry, self.workspace)
                if adopted is not None:
                    self.say({"event": "ended", **run_records.as_dict(adopted)})

    def _newly_off(self, journal_state: JournalState) -> list[str]:
        """Return the connections that no tick has seen switched off before."""
        return sorted(set(find_with(self.workspace.connections, OFF)) - journal_state.off.keys())

    def _last_look(self) -> datetime | None:
        """Return when a tick last looked before this one: no tick has seen the slots since then."""
        looked = idle.find_last_look(str(self.state.root))
        return None if looked is None else datetime.fromtimestamp(int(looked), UTC)

    def _read_unknown(self, journal_state: JournalState) -> dict[str, tuple[Run, ...]]:
        """Return the runs that history has and the journal lacks, of the connections whose slots are due now.

        There are none unless the journal was lost, or restored from a backup that is older than the histories. What a
        crash left between both is known by its slot.
        """
        now = self.clock()
        known = self.workspace.connections
        names = known.keys() - journal_state.promises.keys() - set(find_with(known, OFF))
        names |= {name for name, one in journal_state.promises.items() if one.next_due and one.next_due <= now}
        found = {}
        for name in sorted((names | {*journal_state.waiting}) - self.lanes.withheld.keys()):
            runs = run_files.read_runs_after(self.state, name, journal_state.numbers.get(name, 0))
            if runs := tuple(run for run in runs if not journal_state.awaits_end_of(run)):
                found[name] = runs
        return found

    def _plan(
        self,
        journal_state: JournalState,
        run_requests: list[RunRequest],
        unknown: dict[str, tuple[Run, ...]],
        *,
        due: bool,
    ) -> TickPlan:
        workspace = self.workspace
        if refusal := explain_refusal(journal_state.promises, workspace.connections, workspace.broken):
            hint = "bring them back, or set `enabled: false` in each to switch them off"
            raise WorkspaceError(f"{self.folder} {refusal}", hint=hint)
        withheld = self.lanes.withheld
        facts = TickFacts(
            promises=_without(journal_state.promises, withheld),
            waiting=_without(journal_state.waiting, withheld),
            # No slot is merged into an undo or an approved run: it does not do what is due.
            running={name for name, one in journal_state.started.items() if not one.entry.is_decision},
            connections=_without(workspace.connections, withheld),
            broken=_without(workspace.broken, withheld),
            at=self.clock(),
            zones=zones.version(),
            former=journal_state.former,
            unknown=unknown,
            seen=journal_state.seen,
        )
        return plan_tick(facts, run_requests, due=due)

    def _overdue(
        self, journal_state: JournalState, decided: TickPlan, files: Mapping[str, BrokenFile]
    ) -> dict[str, Any]:
        """Return what the record of this tick says of notices that no run owes; nothing when there are none."""
        now, since = self.clock(), self._last_look()
        if since is not None and journal_state.alerts.outage_until:  # a tick that told of it may have died right after
            since = max(since, min(now, instant.parse(journal_state.alerts.outage_until)))
        passed = on_time.find_passed_slots(decided.slots, since=since, now=now)
        if passed and since is not None:
            numbers = {name: one.passed for name, one in passed.items()}
            self.say({"event": "hole", "from": instant.text(since), "to": instant.text(now), "missed": numbers})
        dropped = {slot.connection for slot in decided.slots if slot.result == "dropped"}
        notices, digests = on_time.decide_timed_notices(
            now,
            workspace=self.workspace,
            alerts=journal_state.alerts,
            promised=[
                *(PromisedSlot(entry=started.entry, run=started.run) for started in journal_state.started.values()),
                *(PromisedSlot(entry=entry) for name, entry in journal_state.waiting.items() if name not in dropped),
                *(PromisedSlot(entry=slot.entry) for slot in decided.slots if slot.result == "queued"),
            ],
            slots=decided.slots,
            since=since,
            token=make_token(),
        )
        known = journal_state.broken_mailed
        there = {*self.workspace.connections, *self.workspace.broken, WHOLE}
        of_files = decide_file_notices(self.workspace.default_notify, files, known, there=there, token=make_token())
        ended, of_ended = self._newly_ended(journal_state, decided)
        if not notices and not digests and of_files.known == known and ended == journal_state.ended_told:
            return {}
        owing = rate_limit.split_notices(
            (*of_files.notices, *of_ended, *notices), journal_state.alerts, limits=self._limits(), at=now
        )
        told = {"broken_told": dict(of_files.known), "ended_told": ended}
        return {**owing.as_record(), "digests": digests, **told}

    def _newly_ended(self, journal_state: JournalState, decided: TickPlan) -> tuple[list[str], list[Notice]]:
        """Return the connections whose schedule has ended, and what their people are told of those that none knows."""
        promises = {**journal_state.promises, **decided.promises}
        known = set(journal_state.ended_told)
        names: list[str] = []
        notices: list[Notice] = []
        connections = self.workspace.connections
        others = {*find_with(connections, OFF), *find_with(connections, MANUAL)}
        without = (name for name, one in promises.items() if one is not None and one.next_due is None)
        for name in sorted(name for name in without if name in connections and name not in others):
            if name in known:
                names.append(name)
                continue
            from connrunner.core.planning.ended import find_ended_schedules  # for most ticks there is none

            one, promise = connections[name], promises[name]
            assert promise is not None, "it is one without a next slot"
            for found in find_ended_schedules([one], {name: promise}, now=self.clock(), zones=zones.version()):
                names.append(name)
                last = instant.local_minute(found.last, schedules.zone_of(one.schedule) or self.workspace.timezone)
                finding = AttentionFinding(
                    about=name,
                    found=f"its last slot was {last}: {schedules.describe(one.schedule)}",
                    remedy="give it a later end, or write `enabled: false`",
                )
                notices += decide_attention_notices(one.notify, "ended", [finding], token=make_token())
        return sorted(names), notices

    # --- the queue ---------------------------------------------------------------------------------------------

    def drain(
        self,
        *,
        until: Callable[[], bool] = lambda: False,
        meanwhile: Callable[[], None] = lambda: None,
        start: bool = True,
    ) -> None:
        """Run what waits until nothing does, or no more than *until* allows; see `Lanes.drain`."""
        self.lanes.drain(until=until, every_minute=self._look_again, meanwhile=meanwhile, start=start)

    def _look_again(self) -> None:
        """Record newly due slots while runs work. Trouble with the workspace must not end the runs that work."""
        self.lanes.workspace = self._refresh()
        try:
            self.take_in()
        except (WorkspaceError, BusyError) as error:
            self.say({"event": "problem", "message": str(error)})
        self._start_mail()

    # --- mail, and the quiet ticks to come ---------------------------------------------------------------------

    def settle(self) -> None:
        """Send what mail is owed, keep the journal short, and note when the next tick has something to do."""
        leftovers.remove_leftovers(self.state, self.journal)
        self._check_the_past()
        owed = dict(self.journal.read().owed)
        self._start_mail()
        if self._mail is not None:
            try:
                self._mail.wait(MAIL)
            except subprocess.TimeoutExpired:  # it keeps its own time, unless the disk under it hangs
                self._mail.kill()
        self._say_mail(owed)
        self._keep_the_past_short()
        with locks.hold_state_lock(self.state):
            self.journal.rotate(instant.text(self.clock()))
            journal_state = self.journal.open()
            unsettled = journal_state.waiting or journal_state.started or self._newest.trouble
            if unsettled or self.what_if or self._planned is None:
                idle.remove_note(str(self.state.root))
                return
            wakes = [at for each in journal_state.promises.values() for at in (each.next_due, each.left_out) if at]
            wakes += on_time.find_wake_times(
                self.workspace.connections, self.workspace.default_notify, (), journal_state.alerts
            )
            wakes += [held.wakes_at for held in journal_state.held.values()]
            wakes += [at for owed in journal_state.owed.values() if (at := next_attempt(owed, self.clock()))]
            if self.workspace.heartbeat is not None:
                wakes.append(pings.next_ping(self.state.heartbeat, self.workspace.heartbeat, self.clock()))
            if limits_the_past(self.workspace):
                wakes.append(retention.find_next_pass(self.state) or self.clock())
            wake = min(wakes, default=self.clock() + IDLE)
            idle.write_note(
                str(self.folder),
                str(self.state.root),
                self._planned,
                self._repository,
                zones.files(),
                wake.timestamp(),
            )

    def _check_the_past(self) -> None:
        """Say what is damaged or gone of the histories that another hand has changed: a part of it, if it is much."""
        journal_state = self.journal.read()
        ended = {name: run for name, run in journal_state.numbers.items() if name not in journal_state.started}
        there = {*retention.list_connections(self.state), *ended.keys() & self.workspace.connections.keys()}
        names = sorted(there - self.lanes.withheld.keys())
        working = {name: started.run for name, started in journal_state.started.items()}
        try:
            for _ in history_check.check_histories(self.state, names, ended):
                pass
            record_check.check_records(self.state, working)
        except BusyError:
            pass
        except StateError as error:
            self.say({"event": "problem", "message": f"not all histories could be read: {error}"})
        if read_untold(self.state):
            with locks.hold_state_lock(self.state):
                self._tell_untold()

    def _keep_the_past_short(self) -> None:
        """Do a part of what `keep` asks for. Never by a made-up clock: what goes is gone."""
        if self.what_if or not limits_the_past(self.workspace):
            return
        started = {name: started.run for name, started in self.journal.read().started.items()}
        keep_the_past_short(self.workspace, self.state, started, now=self.clock(), say=self.say)

    def _start_mail(self) -> None:
        """Have owed mail sent by a process of its own: a slow server delays no run."""
        if self._mail is not None and self._mail.poll() is None:
            return
        try:
            mailer = start_mailer(self.folder, self.state, self.journal.read(), now=self.clock(), what_if=self.what_if)
            self._mail = mailer or self._mail
        except OSError as error:  # a limit of processes or files; runs that work must not end by it
            self.say({"event": "problem", "message": f"mail waits: no process can be started: {error.strerror}"})

    def _say_mail(self, before: dict[str, OwedNotice]) -> None:
        journal_state = self.journal.read()
        dead = {
            (dead_letter.get("notice", {}).get("id"), dead_letter["recipient"]): dead_letter["reason"]
            for dead_letter in journal_state.dead
        }
        for identity, owed in before.items():
            notice = owed.notice
            is_better = (
                notice.event == "failing" and notice.facts.get("before") and notice.facts["severity"] == "partial"
            )
            word = "partly recovered" if is_better else notice.event
            about = {"connection": notice.connection, "run": notice.run, "about": word}
            now = journal_state.owed.get(identity)
            if now is not None:
                reasons = [delivery["reason"] for delivery in now.deliveries if delivery["reason"]]
                self.say({"event": "mail-waits", **about, "reason": reasons[-1] if reasons else "not tried yet"})
                continue
            for recipient in owed.notice.recipients:
                reason = dead.get((identity, recipient))
                event = "mailed" if reason is None else "mail-dead"
                self.say({"event": event, **about, "recipient": recipient, "reason": reason or ""})

    # --- signs of life -----------------------------------------------------------------------------------------

    def _ping(self) -> None:
        """Send a ping that this tick looked and recorded what it saw, unless it is too soon."""
        known, now = self.workspace.heartbeat, self.clock()
        if known is None or pings.next_ping(self.state.heartbeat, known, now) > now:
            return
        with suppress(OSError):
            self.state.heartbeat.touch(mode=0o600)
            at = instant.minute(now).timestamp()  # a tick comes a moment earlier or later in its minute
            os.utime(self.state.heartbeat, (at, at))
        journal_state = self.journal.state
        known_ones = len(self.workspace.connections)
        running, waiting = len(journal_state.started), len(journal_state.waiting)
        body = f"connections: {known_ones}, running: {running}, waiting: {waiting}"
        self.pings.send(known.url, "success", about="the workspace", body=body)

    def fail(self, reason: str) -> None:
        """Send a ping that this tick could not do its work."""
        if self.workspace.heartbeat is not None:
            self.pings.send(self.workspace.heartbeat.url, "fail", about="the workspace", body=reason)

    def rest(self) -> None:
        """Wait a little for the last pings, and say which of them were not taken."""
        for trouble in self.pings.rest():
            self.say({"event": "heartbeat-failed", **trouble})

    # --- what else people are told -----------------------------------------------------------------------------

    def _tell_damage(self) -> None:
        """Say what is damaged of the state and what stands where our files belong, once; hold the state lock."""
        self._tell_untold()
        with recording(self.state.root):
            moved = misplaced.set_aside_misplaced(self.state)
        for path, aside in moved:
            message = f"{path} is none of connrunner's files; it is renamed to {aside.name}"
            self.say({"event": "problem", "message": message})

    def _tell_untold(self) -> None:
        """Say what was found damaged, and record that the workspace's people are told; hold the state lock."""
        damages = read_untold(self.state)
        for one in damages:
            about = {"connection": one.connection} if one.connection else {}
            self.say({"event": "problem", **about, "message": one.finding.found})
        findings = [one.finding for one in damages]
        # A crash before these are forgotten owes the same once more: by the same token it has the same Message-ID.
        said = "\n".join(f"{one.at} {one.finding.found}" for one in damages).encode("utf-8", "backslashreplace")
        token = sha256(said).hexdigest()[:16]
        notices = decide_attention_notices(self.workspace.default_notify, "damage", findings, token=token)
        if notices:
            owing = rate_limit.split_notices(
                notices, self.journal.state.alerts, limits=self._limits(), at=self.clock(), message=findings[0].found
            )
            self.journal.append({"type": "noticed", "at": instant.text(self.clock()), **owing.as_record()})
        if damages:
            forget_untold(self.state)

    def _limits(self) -> dict[str, int]:
        return {name: target.limit for name, target in self.workspace.targets.items()}

    def _tell_set_back(self, journal_state: JournalState, decided: TickPlan) -> datetime | None:
        """Return what the clock had shown before it went back, and say it when promises were made by that."""
        now, seen = instant.minute(self.clock()), journal_state.seen and instant.minute(journal_state.seen)
        if seen is None or seen <= now:
            return None
        if decided.made_anew:
            names = ", ".join(decided.made_anew[:5]) + (", ..." if len(decided.made_anew) > 5 else "")
            what = f"a tick looked at {instant.text(seen)}, and now it is {instant.text(now)}"
            message = f"the clock went back: {what}; the next slots go by the clock as it is: {names}"
            self.say({"event": "problem", "message": message})
        return seen

    def _tell_unknown(
        self, journal_state: JournalState, unknown: dict[str, tuple[Run, ...]]
    ) -> dict[str, dict[str, int]]:
        """Say that history is ahead of the journal, once; return what the record of this tick says of it."""
        if not unknown:
            return {}
        newest = {name: max(run.run for run in runs) for name, runs in unknown.items()}
        known = journal_state.numbers
        shown = [
            f"{name} (#{number}; the journal {f'ends with #{last}' if (last := known.get(name)) else 'knows no run'})"
            for name, number in newest.items()
        ]
        what = f"history is ahead of {self.journal.path}: {listed(shown[:5])}{', ...' if len(shown) > 5 else ''}"
        message = f"{what}; what ran is not run again; was the journal lost, or an older one restored?"
        self.say({"event": "problem", "message": message})
        return {"histories": newest}

    def _tell_gone(self, journal_state: JournalState) -> None:
        """Say that most connections went at once: that is obeyed, and is more often an accident than intended."""
        workspace = self.workspace
        gone = sorted(set(journal_state.promises) - set(workspace.connections) - set(workspace.broken))
        if len(gone) > 1 and 2 * len(gone) > len(journal_state.promises):
            names = ", ".join(gone[:5]) + (", ..." if len(gone) > 5 else "")
            what = f"{len(gone):,} of {len(journal_state.promises):,} connections are gone from the workspace"
            self.say({"event": "problem", "message": f"{what} and are switched off: {names}"})

    def _tell_broken(self, seen: dict[str, str], broken: dict[str, str]) -> None:
        told: set[Problem] = set()
        for name, word in broken.items():
            if seen.get(name) == word:
                continue
            if name == WHOLE:
                message = f"the last good version of the workspace goes on for a day: {self.workspace.trouble}"
                self.say({"event": "problem", "message": message})
                continue
            if name in self.lanes.withheld:
                message = f"{name} does not run: {self.lanes.withheld[name]}"
                self.say({"event": "problem", "connection": name, "message": message})
                continue
            for problem in self.workspace.broken[name]:
                if problem not in told:  # one of the settings breaks many
                    told.add(problem)
                    self.say({"event": "problem", "connection": name, "message": str(problem)})


def _without(known: Mapping[str, Value], names: Collection[str]) -> Mapping[str, Value]:
    return known if not names else {name: value for name, value in known.items() if name not in names}
