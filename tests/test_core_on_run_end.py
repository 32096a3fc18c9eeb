"""Who is told about an ended run: rules, streaks of failures, storms."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connrunner.core import instant
from connrunner.core.alerts import alert_state, on_run_end, rate_limit
from connrunner.core.alerts.alert_state import AlertState
from connrunner.core.alerts.notice import Notice
from connrunner.core.counts import Counts
from connrunner.core.model import Notify, Outcome, Run, Target
from tests.made import changed_run, ended_run

START = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
RUN = ended_run(
    connection="crm-contacts",
    run=12,
    outcome=Outcome.FAILED,
    trigger="schedule",
    due_at=START,
    queued_at=START,
    started_at=START,
    ended_at=START,
    seconds=0,
    counts=Counts(),
)
OUTCOMES = {
    "S": Outcome.SUCCEEDED,
    "P": Outcome.PARTIAL,
    "F": Outcome.FAILED,
    "X": Outcome.STOPPED,
    "I": Outcome.INTERRUPTED,
    "K": Outcome.SKIPPED,
    "N": Outcome.SUCCEEDED,  # of an import, without a row to check
}
ONE_ROW = Counts(read=1, checked=1, created=1)


def rule(*to: str, when: str = "change", **more: Any) -> Notify:
    return Notify(to=(Target(to=to),), when=when, **more)  # type: ignore[arg-type]


def always(*to: str) -> Notify:
    return rule(*to, when="always")


def failure(*to: str) -> Notify:
    return rule(*to, when="failure")


@dataclass
class Desk:
    """What a journal would remember, and the notices that were owed."""

    rules: Sequence[Notify]
    alerts: AlertState = field(default_factory=AlertState)
    at: datetime = START
    run: int = 0
    owed: list[Notice] = field(default_factory=list)

    def end(self, outcome: str, *, connection: str = "crm", after: timedelta = timedelta(hours=6)) -> list[Notice]:
        """Let a run end so, and return what is owed."""
        self.at += after
        self.run += 1
        run = changed_run(
            RUN, connection=connection, run=self.run, outcome=OUTCOMES[outcome], ended_at=self.at, message="why",
            kind="import", counts=Counts(read=3, skipped=3) if outcome == "N" else ONE_ROW,
        )  # fmt: skip
        notices = on_run_end.decide_notices(self.rules, run, self.alerts, token=f"t{self.run}")
        limits = {target.name: target.limit for rule in self.rules for target in rule.to}
        owing = rate_limit.split_notices(notices, self.alerts, limits=limits, at=self.at, message=run.result.message)
        self.note(owing)
        alert_state.record_run(self.alerts, run)
        # what a journal's snapshot keeps must be all there is
        self.alerts = alert_state.from_mapping(json.loads(json.dumps(self.alerts.as_dict())))
        return list(owing.owes)

    def note(self, owing: rate_limit.NoticeSplit) -> None:
        for notice in owing.owes:
            alert_state.record_notice(self.alerts, notice, instant.text(self.at))
        for notice, message in owing.folds:
            alert_state.record_notice(self.alerts, notice, instant.text(self.at), folded=True, message=message)
        self.owed += owing.owes


# --- one run -----------------------------------------------------------------------------------------------------

OWED = [
    # rules                                                   outcome         who is told
    ((), "F", ()),
    ((always("a@x"),), "S", ("a@x",)),
    ((always("a@x"),), "X", ("a@x",)),
    ((failure("a@x"),), "S", ()),
    ((failure("a@x"),), "X", ()),
    ((failure("a@x"),), "P", ("a@x",)),
    ((failure("a@x"),), "F", ("a@x",)),
    ((failure("a@x"),), "I", ("a@x",)),
    ((failure("a@x"),), "K", ("a@x",)),
    ((rule("a@x", when="failure", partial=False),), "P", ()),
    ((rule("a@x", when="failure", stopped=True),), "X", ("a@x",)),
    ((rule("a@x", when="late", late_after=60),), "F", ()),
    ((always("a@x", "b@x"), failure("c@x")), "S", ("a@x", "b@x")),
    ((always("a@x", "b@x"), failure("c@x")), "F", ("a@x", "b@x", "c@x")),
    ((always("Ann@X.example"), failure("ann@x.example", "b@x")), "F", ("Ann@X.example", "b@x")),
    ((always("Ann <ann@x>"), failure("ann@x")), "F", ("Ann <ann@x>",)),
    # one domain in two spellings is one mailbox
    ((always("Z <a@Bücher.example>", "a@xn--bcher-kva.example"),), "F", ("Z <a@Bücher.example>",)),
    (
        (always("A@XN--Bcher-KVA.example"), failure("a@bücher。example", "a@bu\u0308cher.example")),
        "F",
        ("A@XN--Bcher-KVA.example",),
    ),
    ((always("a@straße.example", "a@strasse.example"),), "F", ("a@straße.example", "a@strasse.example")),
    (
        (always("a@xn--99999999.example", "a@xn--.example", "xn--a@x"),),
        "F",
        ("a@xn--99999999.example", "a@xn--.example", "xn--a@x"),
    ),
    ((always("a@x", "A@X", "a@x"),), "F", ("a@x",)),
    ((always(),), "F", ()),
]


@pytest.mark.parametrize(("rules", "outcome", "told"), OWED)
def test_each_address_is_told_at_most_once_when_a_rule_says_so(
    rules: tuple[Notify, ...], outcome: str, told: tuple[str, ...]
) -> None:
    notices = Desk(rules).end(outcome)
    assert tuple(recipient for notice in notices for recipient in notice.recipients) == told
    assert len(notices) == (1 if told else 0)
    assert all((notice.event, notice.facts) == (OUTCOMES[outcome], {}) for notice in notices)


def test_the_id_is_stable_and_differs_by_connection_run_outcome_and_token() -> None:
    def ids(run: Run, token: str = "t1") -> list[str]:
        return [notice.id for notice in on_run_end.decide_notices((always("a@x"),), run, AlertState(), token=token)]

    first = ids(RUN)
    assert ids(RUN) == first
    others = [
        *ids(changed_run(RUN, run=13)),
        *ids(changed_run(RUN, connection="crm")),
        *ids(changed_run(RUN, outcome=Outcome.SUCCEEDED)),
        *ids(RUN, "t2"),
    ]
    assert len({*first, *others}) == 5


def test_the_id_can_stand_in_a_header_whatever_the_names_are() -> None:
    run = changed_run(RUN, connection="a b\r\nBcc: <x@y>..é")
    (notice,) = on_run_end.decide_notices((always("a@x"),), run, AlertState(), token="<>")
    assert re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", notice.id)


NAMES = [
    # connection, token    the id of a notice
    ("crm", "t1", "crm.12.failed.t1"),
    ("a b_c-D.9é", "t", "a-b_c-D-9-.12.failed.t"),
    ("crm", "", "crm.12.failed.-"),
]


@pytest.mark.parametrize(("name", "token", "expected"), NAMES)
def test_what_an_id_is_made_of(name: str, token: str, expected: str) -> None:
    run = changed_run(RUN, connection=name)
    (notice,) = on_run_end.decide_notices((always("a@x"),), run, AlertState(), token=token)
    assert notice.id == expected


def test_a_target_is_a_notice_of_its_own_and_ids_differ() -> None:
    team = Target(name="team", to=("a@x", "b@x"), cc=("c@x", "a@x"))
    notices = Desk((Notify(to=(team, Target(to=("d@x", "b@x"))), when="always"),)).end("F")
    assert [(notice.target, notice.recipients, notice.cc) for notice in notices] == [
        ("team", ("a@x", "b@x", "c@x"), ("c@x",)),
        ("", ("d@x",), ()),
    ]
    assert len({notice.id for notice in notices}) == 2


# --- sequences ---------------------------------------------------------------------------------------------------

CHANGE = rule("a@x")
SEQUENCES = [
    # outcomes       rule                                    what is told, run by run
    ("FFFSSFS", CHANGE, "failing . . recovered . failing recovered"),
    ("FFFSSFS", always("a@x"), "failed failed failed succeeded succeeded failed succeeded"),
    ("FFFSSFS", failure("a@x"), "failed failed failed . . failed ."),
    ("FFFSSFS", rule("a@x", after=3), ". . failing recovered . . ."),
    ("FFFSSFS", rule("a@x", after=4), ". . . . . . ."),
    ("FFFSSFS", rule("a@x", when="failure", after=2), ". failed failed . . . ."),
    ("SSS", CHANGE, ". . ."),
    ("FIKFFS", CHANGE, "failing . . . . recovered"),
    ("FPS", rule("a@x", partial=False), "failing recovered ."),
    ("PPS", rule("a@x", partial=False), ". . ."),
    # rows refused, and failed: from one to the other is a change
    ("PPFFPPS", CHANGE, "failing . failing . failing . recovered"),
    ("FIKPFS", CHANGE, "failing . . failing failing recovered"),
    ("PXFXPS", CHANGE, "failing . failing . failing recovered"),
    ("PPPFFFS", rule("a@x", after=2), ". failing . . failing . recovered"),
    ("PPFPFPS", rule("a@x", after=2), ". failing . . . . recovered"),  # that does not last
    ("PFPS", rule("a@x", after=2), ". failing . recovered"),
    ("PXS", rule("a@x", stopped=True), "failing failing recovered"),
    # a stopped run says nothing about the connection
    ("FXFS", CHANGE, "failing . . recovered"),
    ("FXS", CHANGE, "failing . recovered"),
    ("XXS", CHANGE, ". . ."),
    ("XFS", rule("a@x", stopped=True), "failing . recovered"),
    ("FXFF", rule("a@x", after=3), ". . . failing"),
    ("FXF", rule("a@x", after=3, stopped=True), ". . failing"),
]


@pytest.mark.parametrize(("outcomes", "rule", "told"), SEQUENCES)
def test_what_is_told_of_a_sequence_of_outcomes(outcomes: str, rule: Notify, told: str) -> None:
    desk = Desk((rule,))
    said = []
    for outcome in outcomes:
        notices = desk.end(outcome)
        assert len(notices) <= 1
        said.append(notices[0].event if notices else ".")
    assert " ".join(said) == told


def test_a_recovery_counts_what_lay_between_and_follows_the_failure() -> None:
    desk = Desk((CHANGE,))
    (failing,) = desk.end("F")
    since = instant.text(desk.at)
    told = {"since": since, "failures": 1, "first_run": 1, "between": {"failed": 1}}
    assert failing.facts == {**told, "severity": "failed", "before": "", "row_since": since}
    for outcome in "FXK":
        assert desk.end(outcome) == []
    (recovered,) = desk.end("S")
    between = {"failed": 2, "stopped": 1, "skipped": 1}
    assert recovered.facts == {"since": since, "failures": 3, "first_run": 1, "between": between}
    assert (recovered.run, recovered.replies_to) == (5, failing.id)


def test_a_step_between_refused_rows_and_failure_says_since_when_and_follows_the_first_mail() -> None:
    desk = Desk((CHANGE,))
    (first,) = desk.end("P")
    row_since = instant.text(desk.at)
    desk.end("P")
    (up,) = desk.end("F")
    since = instant.text(desk.at)
    told = {"since": since, "failures": 1, "first_run": 3, "between": {"failed": 1}}
    assert up.facts == {**told, "severity": "failed", "before": "partial", "row_since": row_since}
    assert (up.run, up.replies_to) == (3, first.id)
    assert [desk.end(outcome) for outcome in "FXI"] == [[], [], []]
    (down,) = desk.end("P")
    told = {"since": instant.text(desk.at), "failures": 1, "first_run": 7, "between": {"partial": 1}}
    assert down.facts == {**told, "severity": "partial", "before": "failed", "row_since": row_since}
    assert down.replies_to == first.id
    (recovered,) = desk.end("S")
    assert (recovered.replies_to, recovered.facts["since"], recovered.facts["failures"]) == (first.id, row_since, 6)


def test_an_alarm_that_an_older_release_knew_by_another_spelling_of_its_domain_ends() -> None:
    desk = Desk((rule("a@xn--bcher-kva.example"),))
    desk.end("F")
    kept = desk.alerts.as_dict()
    (alarm,) = kept["alarms"]["crm"].values()
    kept["alarms"]["crm"] = {"a@xn--bcher-kva.example": alarm}
    desk.alerts = alert_state.from_mapping(kept)
    assert [notice.event for notice in (*desk.end("F"), *desk.end("S"))] == ["recovered"]
    assert desk.alerts.alarms == {}


OLDER = [
    # outcomes that an older release saw, of which it told the first   what is told of those after it
    ("P", "PFS", ". failing recovered"),
    ("PP", "FFS", "failing . recovered"),
    ("PF", "FPS", ". failing recovered"),  # what it kept to itself is not told late
    ("F", "FPS", ". failing recovered"),
]


@pytest.mark.parametrize(("older", "outcomes", "told"), OLDER)
def test_what_an_older_release_has_told_is_no_change(older: str, outcomes: str, told: str) -> None:
    desk = Desk((CHANGE,))
    for outcome in older:
        desk.end(outcome)
    kept = desk.alerts.as_dict()
    for streak in kept["streaks"]["crm"].values():
        del streak["phase"]
    for alarm in kept["alarms"]["crm"].values():
        del alarm["severity"]
    desk.alerts = alert_state.from_mapping(kept)
    said = [notices[0].event if (notices := desk.end(outcome)) else "." for outcome in outcomes]
    assert " ".join(said) == told


def test_who_is_told_of_the_change_is_not_told_of_the_run_as_well() -> None:
    desk = Desk((always("a@x", "b@x"), rule("b@x", "c@x")))
    said = [[(notice.event, notice.recipients) for notice in desk.end(outcome)] for outcome in "FFS"]
    assert said == [
        [("failed", ("a@x",)), ("failing", ("b@x", "c@x"))],
        [("failed", ("a@x", "b@x"))],
        [("succeeded", ("a@x",)), ("recovered", ("b@x", "c@x"))],
    ]


FIRST = [
    # rules                                                    outcomes   what is told in the end, to whom, as part of which target
    ((always("a@x"), failure("a@x")), "F", ["failed a@x "]),
    ((always("a@x"), rule("A@x")), "F", ["failing A@x "]),  # of the change rather than of the run
    ((rule("a@x"), always("A@x")), "F", ["failing a@x "]),
    ((rule("a@x"), rule("A@x")), "F", ["failing a@x "]),  # the first of two that tell of the change
    ((rule("a@x"), rule("A@x", after=2)), "FF", []),  # it was told already
    ((rule("a@x"), always("a@x")), "FS", ["recovered a@x "]),
    ((always("a@x"), rule("a@x")), "FF", ["failed a@x "]),
    ((rule("a@x"), rule("a@x", partial=False)), "FP", ["failing a@x "]),  # not well by one of its rules: no recovery
    ((rule("a@x", partial=False), rule("a@x")), "FP", ["failing a@x "]),
    ((rule("a@x", partial=False), rule("a@x")), "FPP", []),
    ((always("a@x"), rule("a@x", partial=False), rule("a@x")), "FPP", ["partial a@x "]),
    ((rule("a@x", partial=False), rule("a@x")), "FPPS", ["recovered a@x "]),
    ((rule("a@x", partial=False), failure("a@x")), "P", ["partial a@x "]),
]


@pytest.mark.parametrize(("rules", "outcomes", "told"), FIRST)
def test_what_an_address_is_told_that_many_rules_name(
    rules: tuple[Notify, ...], outcomes: str, told: list[str]
) -> None:
    desk = Desk(rules)
    notices = [desk.end(outcome) for outcome in outcomes][-1]
    assert [f"{n.event} {','.join(n.recipients)} {n.target}" for n in notices] == told


def test_who_is_told_by_no_rule_any_more_recovers_when_partial_or_better_than_that_is_over() -> None:
    desk = Desk((rule("a@x"), rule("b@x")))
    desk.end("F")
    desk.rules = (always("a@x"),)
    assert [notice.event for notice in desk.end("P")] == [
        "partial"
    ]  # a failure, as rules have it when they say nothing
    assert [(n.event, n.recipients) for n in desk.end("X")] == [("stopped", ("a@x",))]
    assert [(n.event, n.recipients) for n in desk.end("S")] == [("recovered", ("a@x", "b@x"))]


def test_two_rules_count_each_what_it_takes_for_a_failure() -> None:
    desk = Desk((rule("a@x", partial=False), rule("b@x")))
    desk.end("P")
    said = {notice.recipients: notice.facts for notice in desk.end("F")}
    assert {who: (facts["failures"], facts["between"], facts["before"]) for who, facts in said.items()} == {
        ("a@x",): (1, {"failed": 1}, ""),
        ("b@x",): (1, {"failed": 1}, "partial"),
    }
    said = {notice.recipients: notice.facts for notice in desk.end("S")}
    assert {who: (facts["failures"], facts["between"], facts["first_run"]) for who, facts in said.items()} == {
        ("a@x",): (1, {"failed": 1}, 2),
        ("b@x",): (2, {"partial": 1, "failed": 1}, 1),
    }


def test_who_is_told_other_facts_gets_another_notice() -> None:
    desk = Desk((rule("a@x", partial=False), rule("b@x", after=2), rule("c@x", partial=False)))
    desk.end("P")
    said = [(notice.recipients, notice.facts["failures"]) for notice in desk.end("F")]
    assert said == [(("a@x", "c@x"), 1), (("b@x",), 2)]


def test_who_joins_in_the_middle_is_told_once_and_who_left_hears_of_the_end() -> None:
    desk = Desk((rule("a@x"),))
    desk.end("F")
    desk.rules = (rule("b@x"),)
    assert [(notice.event, notice.recipients) for notice in desk.end("F")] == [("failing", ("b@x",))]
    assert {(notice.event, notice.recipients) for notice in desk.end("S")} == {
        ("recovered", ("b@x",)),
        ("recovered", ("a@x",)),
    }
    assert desk.end("S") == []
    assert desk.alerts.alarms == {}


# What one run says of somebody's alarm says nothing of another's, when their rules take different runs for failures.
PARTIAL_IS_GOOD, PARTIAL_IS_BAD = rule("a@x", partial=False), rule("b@x")
TOGETHER = [
    # outcomes   what is told, run by run
    ("FPS", "failing:a,b recovered:a failing:b recovered:b"),
    ("FPPS", "failing:a,b recovered:a failing:b . recovered:b"),
    ("FPFS", "failing:a,b recovered:a failing:b failing:a failing:b recovered:a recovered:b"),
    ("PFPS", "failing:b failing:a failing:b recovered:a failing:b recovered:b"),
    ("PSFS", "failing:b recovered:b failing:a,b recovered:a,b"),
]


@pytest.mark.parametrize(("outcomes", "told"), TOGETHER)
def test_when_the_alarm_of_one_ends_those_of_others_stay(outcomes: str, told: str) -> None:
    desk = Desk((PARTIAL_IS_GOOD, PARTIAL_IS_BAD))
    said = []
    for outcome in outcomes:
        notices = desk.end(outcome)
        said += [f"{n.event}:{','.join(one.removesuffix('@x') for one in n.recipients)}" for n in notices] or ["."]
    assert " ".join(said) == told
    assert desk.alerts.alarms == {}


NOTHING_TO_DO = [
    # outcomes   what is told, run by run: an import without a row says nothing of rows that were refused
    ("PNS", "failing . recovered"),
    ("PNNPS", "failing . . . recovered"),
    ("FN", "failing recovered"),
    ("PFN", "failing failing recovered"),
    ("FPNS", "failing failing . recovered"),
    ("PNF", "failing . failing"),
    ("NN", ". ."),
]


@pytest.mark.parametrize(("outcomes", "told"), NOTHING_TO_DO)
def test_who_was_told_of_refused_rows_is_not_told_of_a_recovery_by_a_run_without_rows(outcomes: str, told: str) -> None:
    desk = Desk((rule("a@x"),))
    assert " ".join(",".join(n.event for n in desk.end(outcome)) or "." for outcome in outcomes) == told


def test_a_reminder_after_a_run_without_rows_is_about_the_last_one_with_refused_rows() -> None:
    desk = Desk((rule("a@x"),))
    for outcome in "PN":
        desk.end(outcome)
    streak = alert_state.current_streak(desk.alerts, "crm", alert_state.USUAL)
    assert streak is not None
    assert (streak["last_run"], streak["failures"], streak["between"]) == (1, 1, {"partial": 1, "succeeded": 1})
    desk.rules = ()
    assert desk.end("N") == [], "nor is it by its alarm alone"


def test_a_recovery_goes_to_the_target_of_the_failure_and_copies_stay_copies() -> None:
    team = Target(name="team", to=("a@x",), cc=("b@x",))
    desk = Desk((Notify(to=(team,), when="change"),))
    (failing,) = desk.end("F")
    desk.rules = ()
    (recovered,) = desk.end("S")
    for notice in (failing, recovered):
        assert (notice.target, notice.recipients, notice.cc) == ("team", ("a@x", "b@x"), ("b@x",))


WORDS = [
    # outcomes   the senses of failure that a state folder has a streak in, as it spells them
    ("F", {"any": {"failed": 1}}),
    ("FFI", {"any": {"failed": 2, "interrupted": 1}}),
    ("P", {"failed+partial": {"partial": 1}, "failed+partial+stopped": {"partial": 1}}),
    ("X", {"failed+stopped": {"stopped": 1}, "failed+partial+stopped": {"stopped": 1}}),
    ("FP", {"failed+partial": {"failed": 1, "partial": 1}, "failed+partial+stopped": {"failed": 1, "partial": 1}}),
    (
        "PF",
        {
            "failed": {"failed": 1},
            "failed+stopped": {"failed": 1},
            "failed+partial": {"partial": 1, "failed": 1},
            "failed+partial+stopped": {"partial": 1, "failed": 1},
        },
    ),
    ("FS", None),
]


@pytest.mark.parametrize(("outcomes", "streaks"), WORDS)
def test_a_state_folder_keeps_a_streak_for_each_sense_or_one_when_all_agree(
    outcomes: str, streaks: dict[str, dict[str, int]] | None
) -> None:
    desk = Desk(())
    for outcome in outcomes:
        desk.end(outcome)
    kept = desk.alerts.as_dict()["streaks"].get("crm")
    assert (kept and {word: streak["between"] for word, streak in kept.items()}) == streaks


def test_connections_fail_each_for_themselves() -> None:
    desk = Desk((CHANGE,))
    said = [desk.end(outcome, connection=name) for name, outcome in (("a", "F"), ("b", "F"), ("a", "S"), ("b", "F"))]
    assert [[notice.event for notice in notices] for notices in said] == [["failing"], ["failing"], ["recovered"], []]


# --- storms ------------------------------------------------------------------------------------------------------

MINUTE = timedelta(minutes=1)
PLAIN = Notice(id="n", connection="crm", run=1, event="failed", recipients=("a@x",), target="team")
TEAM = Notify(to=(Target(name="team", to=("a@x", "b@x"), cc=("c@x",), limit=3),), when="always")


def test_more_than_the_limit_within_an_hour_is_folded_into_one() -> None:
    desk = Desk((TEAM,))
    each = [desk.end("F", connection=f"c{number}", after=MINUTE) for number in range(7)]
    assert [len(notices) for notices in each] == [1, 1, 1, 0, 0, 0, 0]
    first = START + MINUTE
    assert list(rate_limit.make_folded_notices(desk.alerts, now=first + timedelta(minutes=59), token="t")) == []
    (notice,) = rate_limit.make_folded_notices(desk.alerts, now=first + timedelta(hours=1), token="t")
    assert (notice.event, notice.connection, notice.run, notice.target) == ("folded", "", 0, "team")
    assert (notice.recipients, notice.cc) == (("a@x", "b@x", "c@x"), ("c@x",))
    assert notice.facts["notices"][0] == {
        "connection": "c3",
        "run": 4,
        "event": "failed",
        "at": "2026-11-22T09:19:00Z",
        "message": "why",
    }
    assert [line["connection"] for line in notice.facts["notices"]] == ["c3", "c4", "c5", "c6"]
    assert (notice.facts["from"], notice.facts["to"]) == ("2026-11-22T09:19:00Z", "2026-11-22T09:22:00Z")

    desk.at = first + timedelta(hours=1)
    desk.note(rate_limit.split_notices([notice], desk.alerts, limits={"team": 3}, at=desk.at))
    assert list(rate_limit.make_folded_notices(desk.alerts, now=desk.at, token="t")) == []
    assert len(desk.end("F", after=MINUTE)) == 1  # a new hour begins


def test_as_many_as_the_limit_are_no_storm() -> None:
    desk = Desk((TEAM,))
    assert sum(len(desk.end("F", after=MINUTE)) for _ in range(3)) == 3
    assert list(rate_limit.make_folded_notices(desk.alerts, now=START + timedelta(days=1), token="t")) == []
    assert len(desk.end("F", after=timedelta(hours=1))) == 1


HOURS = [
    # mails to a target whose limit is 1 come at these minutes   which are folded
    ((0, 59), "01"),
    ((0, 60), "00"),  # a new hour begins
    ((0, 60, 61), "001"),
    ((0, -1), "00"),  # the clock went back: an hour that begins in the future counts nothing
    ((0, 1, 75), "011"),  # nobody looked: the hour goes on until what it holds back has left
]


@pytest.mark.parametrize(("minutes", "folded"), HOURS)
def test_an_hour_begins_with_its_first_mail(minutes: tuple[int, ...], folded: str) -> None:
    desk = Desk((Notify(to=(Target(name="team", to=("a@x",), limit=1),), when="always"),))
    owed = []
    for minute in minutes:
        desk.at = START + minute * MINUTE
        owed.append(desk.end("F", after=timedelta(0)))
    assert "".join("0" if one else "1" for one in owed) == folded


def test_what_comes_before_a_late_tick_has_ended_the_storm_joins_it() -> None:
    desk = Desk((TEAM,))
    for _ in range(4):
        desk.end("F", after=MINUTE)
    assert desk.end("F", after=timedelta(hours=3)) == []
    (notice,) = rate_limit.make_folded_notices(desk.alerts, now=desk.at, token="t")
    assert len(notice.facts["notices"]) == 2


def test_each_target_has_its_own_count_and_addresses_count_together() -> None:
    desk = Desk((TEAM, always("d@x", "e@x")))
    for _ in range(12):
        desk.end("F", after=MINUTE)
    told = [notice.target or notice.recipients for notice in desk.owed]
    assert told.count("team") == 3
    assert told.count(("d@x", "e@x")) == rate_limit.LIMIT
    assert {
        notice.target: len(notice.facts["notices"])
        for notice in rate_limit.make_folded_notices(desk.alerts, now=desk.at + timedelta(hours=1), token="t")
    } == {"": 2, "team": 9}


def test_addresses_without_a_target_are_known_by_their_mailboxes() -> None:
    desk = Desk((always("Eve <E@x>", "d@x"),))
    desk.end("F")
    desk.rules = (always("c@x"),)
    desk.end("F", after=MINUTE)
    assert {name: window["mails"] for name, window in desk.alerts.windows.items()} == {"d@x e@x": 1, "c@x": 1}


@pytest.mark.parametrize("event", ["digest", "outage", "folded"])
def test_what_is_one_mail_for_many_is_owed_however_many_there_were(event: Any) -> None:
    alerts = AlertState()
    alert_state.record_notice(alerts, PLAIN, instant.text(START))
    notice = replace(PLAIN, event=event, facts={"to": "t"})
    split = rate_limit.split_notices([PLAIN, notice], alerts, limits={"team": 1}, at=START)
    assert split == rate_limit.NoticeSplit(owes=(notice,), folds=((PLAIN, ""),))


def test_what_was_folded_is_told_although_its_hour_is_forgotten() -> None:
    alerts = AlertState()
    alert_state.record_notice(alerts, replace(PLAIN, event="folded"), instant.text(START))
    assert alerts == AlertState()


@pytest.mark.parametrize("event", ["digest", "outage"])
def test_what_is_one_mail_for_many_counts_for_no_limit(event: Any) -> None:
    notice = Notice(id="n", connection="", run=0, event=event, recipients=("a@x",), target="team", facts={"to": "t"})
    alerts = AlertState()
    for _ in range(3):
        assert rate_limit.split_notices([notice], alerts, limits={"team": 1}, at=START).owes == (notice,)
        alert_state.record_notice(alerts, notice, instant.text(START))
    assert alerts.windows == {}


def test_what_a_journal_records_of_it() -> None:
    split = rate_limit.split_notices([PLAIN, PLAIN], AlertState(), limits={"team": 1}, at=START, message="m" * 300)
    assert split.as_record() == {
        "owes": [PLAIN.as_dict()],
        "folds": [{**PLAIN.as_dict(), "message": "m" * rate_limit.SUMMARY}],
    }
    assert rate_limit.NoticeSplit(owes=(PLAIN,)).as_record() == {"owes": [PLAIN.as_dict()]}
    assert rate_limit.NoticeSplit().as_record() == {"owes": []}


def test_what_splits_notices_changes_nothing_that_was_known() -> None:
    alerts = AlertState()
    rate_limit.split_notices([PLAIN], alerts, limits={}, at=START)
    assert alerts == AlertState()


WHEN = [
    # minutes after the first mail   what was folded comes
    (0, False),
    (59, False),
    (60, True),
    (-1, True),  # the clock went back
]


@pytest.mark.parametrize(("minutes", "over"), WHEN)
def test_what_was_folded_comes_an_hour_after_the_first_mail(minutes: int, over: bool) -> None:
    alerts, at = AlertState(), instant.text(START)
    for target in ("one", "two"):
        for folded in (False, True, True):
            notice = replace(PLAIN, target=target, recipients=("b@x", "a@x"), cc=("a@x",))
            alert_state.record_notice(alerts, notice, at, folded=folded, message=f"why {target}")
    found = list(rate_limit.make_folded_notices(alerts, now=START + minutes * MINUTE, token="t"))
    line = {"connection": "crm", "run": 1, "event": "failed", "at": at}
    assert found == [
        Notice(
            id=f"folded.{token}", connection="", run=0, event="folded", recipients=("b@x", "a@x"), target=target, cc=("a@x",),
            facts={"notices": [{**line, "message": f"why {target}"}] * 2, "from": at, "to": at},
        )
        for target, token in (("one", "t"), ("two", "t-1"))
        if over
    ]  # fmt: skip


def test_hours_that_are_over_are_forgotten_when_another_begins() -> None:
    alerts = AlertState()
    for target, minutes, folded in (
        ("old", 0, False),
        ("held back", 0, False),
        ("held back", 1, True),
        ("new", 30, False),
    ):
        at = instant.text(START + minutes * MINUTE)
        alert_state.record_notice(alerts, replace(PLAIN, target=target), at, folded=folded)
    alert_state.record_notice(alerts, replace(PLAIN, target="next"), instant.text(START + 61 * MINUTE))
    assert sorted(alerts.windows) == ["held back", "new", "next"]
    assert [line["message"] for line in alerts.windows["held back"]["folded"]] == [""]


def test_a_recovery_in_a_storm_follows_nothing_that_was_not_sent() -> None:
    desk = Desk((Notify(to=(Target(name="team", to=("a@x",), limit=1),), when="change"),))
    desk.end("F", connection="other", after=MINUTE)
    assert desk.end("F", after=MINUTE) == []
    desk.at += timedelta(hours=2)
    desk.note(
        rate_limit.split_notices(
            rate_limit.make_folded_notices(desk.alerts, now=desk.at, token="t"), desk.alerts, limits={}, at=desk.at
        )
    )
    (recovered,) = desk.end("S")
    assert (recovered.event, recovered.replies_to) == ("recovered", "")
