"""What no run says is told to somebody, once: damage of the state, a workspace that ticks refuse, an ended schedule."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

import pytest

from connrunner.core import instant
from connrunner.core.alerts.on_attention import FINDINGS, AttentionFinding, decide_attention_notices
from connrunner.core.model import Notify, Target
from connrunner.errors import WorkspaceError
from connrunner.scheduler.tick import tick
from connrunner.state import history_check, locks, record_check
from connrunner.state.journal import Journal
from connrunner.state.untold import UntoldDamage, note_untold, read_untold
from tests.conftest import Place
from tests.test_cli import typed
from tests.test_history_unusable import text_of

TOLD = "version: 1\ndefaults: {notify: [{to: [ops@example.com], when: failure}]}\n"
EACH_MINUTE = '{type: cron, expression: "* * * * *"}'


def mails(place: Place, minute: int, *, refused: bool = False) -> list[EmailMessage]:
    """Return the mails of the tick at this minute, which refuses the workspace or not."""
    box = place.state.mail
    before = {*box.glob("*.eml")}
    with pytest.raises(WorkspaceError) if refused else nullcontext():
        tick(place.folder, place.state, now=instant.parse(f"2026-11-20T09:{minute:02}:00Z"), say=lambda _: None)
    new = sorted({*box.glob("*.eml")} - before)
    return [message_from_bytes(path.read_bytes(), policy=default) for path in new]


def subjects(place: Place, minute: int, *, refused: bool = False) -> list[str]:
    return [str(mail["Subject"]) for mail in mails(place, minute, refused=refused)]


@pytest.fixture
def ticking(place: Place) -> Place:
    place.write("connrunner.yaml", TOLD)
    place.command("a", "pass", schedule=EACH_MINUTE)
    assert subjects(place, 0) == subjects(place, 1) == []
    return place


@pytest.mark.real_clock  # the kernel stamps the files that are looked at
def test_damage_of_logs_and_histories_is_told_once_and_status_and_doctor_have_it(ticking: Place) -> None:
    state = ticking.state
    log = state.log("a", 1)
    log.write_bytes(b"garbage\n" + log.read_bytes() * 2)
    history = state.history("a")
    history.write_bytes(b"\0" * 30 + b"\n" + history.read_bytes())
    (mail,) = mails(ticking, 2)
    assert mail["Subject"] == "workspace: damage in the state folder: the history of a, runs/a/1/log.jsonl"
    assert f"{log} has 1 line without a record, the first at byte 0" in text_of(mail)
    assert subjects(ticking, 3) == []
    _, out, _ = typed(ticking, "status")
    assert out.count("damaged: ") == 2
    assert str(log) in out
    _, out, _ = typed(ticking, "doctor")
    assert out.count("warning  records: ") == 1
    assert str(log) in out
    log.unlink()
    state.history("a").with_name("history.damaged").unlink()
    assert "damaged: " not in typed(ticking, "status")[1]


def test_a_journal_that_is_gone_is_told(ticking: Place) -> None:
    ticking.state.journal.unlink()
    assert subjects(ticking, 2) == ["workspace: damage in the state folder: journal.jsonl"]
    assert subjects(ticking, 3) == []
    assert "damaged: journal.jsonl: it was gone or empty" in typed(ticking, "status")[1]


@pytest.mark.real_clock  # the kernel stamps the files that are looked at
def test_what_another_process_found_before_it_died_is_told(ticking: Place) -> None:
    state = ticking.state
    with state.journal.open("ab") as file:
        file.write(b'{"v":1,"type":"pla')
    with locks.hold_state_lock(state):  # the process that sends mail, say
        Journal(state).open()
    state.history("a").write_bytes(b"\0" * 30 + b"\n" + state.history("a").read_bytes())
    assert list(history_check.check_histories(state, ["a"], {}))
    log = state.log("a", 1)
    log.write_bytes(b"garbage\n" + log.read_bytes() * 2)
    assert record_check.check_records(state, {})
    (mail,) = mails(ticking, 2)
    for found in (
        "had 18 bytes at byte",
        "has 1 line without a record (31 bytes",
        f"{log} has 1 line without a record",
    ):
        assert found in text_of(mail)
    assert subjects(ticking, 3) == []


def test_a_tick_that_dies_before_it_forgets_what_it_told_tells_it_again_by_the_same_id(
    ticking: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DeathError(BaseException):
        pass

    def die(_: object) -> None:
        raise DeathError

    with ticking.state.journal.open("ab") as file:
        file.write(b"garbage\n")
    with monkeypatch.context() as patch, suppress(DeathError):
        patch.setattr("connrunner.scheduler.tick.forget_untold", die)
        mails(ticking, 2)
    (owed,) = Journal(ticking.state).read().owed.values()
    (mail,) = mails(ticking, 3)
    assert owed.notice.id in mail["Message-ID"]
    assert subjects(ticking, 4) == []


def test_what_is_to_be_told_is_read_whatever_is_in_its_file(ticking: Place) -> None:
    state = ticking.state
    damage = UntoldDamage(
        finding=AttentionFinding(about="x", found="is \udcff broken", remedy="mend it"), connection="a"
    )
    with locks.hold_state_lock(state):
        note_untold(state, [damage])
        path = state.root / "damage.untold"
        path.write_bytes(path.read_bytes() + b'[1]\n{"about": "y"}\n{"about": "torn')
        note_untold(state, [damage])
    (found,) = read_untold(state)
    assert (found.finding.about, found.finding.found, found.connection) == ("x", "is \udcff broken", "a")
    assert subjects(ticking, 2) == ["workspace: damage in the state folder: x"]
    path.mkdir()
    ticking.command("b", "pass", schedule=EACH_MINUTE)
    assert read_untold(state) == []
    assert subjects(ticking, 3) == []
    assert not path.exists()


@pytest.mark.parametrize("how", ["settings", pytest.param("no connections", marks=pytest.mark.thorough)])
def test_a_workspace_that_ticks_refuse_is_told_once_for_each_reason_and_that_it_is_not_any_more(
    ticking: Place, how: str
) -> None:
    def spoil(reason: str) -> None:
        if how == "settings":
            ticking.write("connrunner.yaml", f"{TOLD}{reason}: 1\n")
        else:
            (ticking.folder / "connections").rename(ticking.folder / "away")
            (ticking.folder / "connections").mkdir()

    spoil("colour")
    (mail,) = mails(ticking, 2, refused=True)
    assert mail["Subject"] == "workspace: nothing runs, ticks refuse the workspace: connrunner.yaml"
    assert ("unknown key 'colour'" if how == "settings" else "no connections any more") in text_of(mail)
    assert subjects(ticking, 3, refused=True) == []
    if how == "settings":
        spoil("shape")
        assert subjects(ticking, 4, refused=True) == [
            "workspace: nothing runs, ticks refuse the workspace: connrunner.yaml"
        ]
        ticking.write("connrunner.yaml", TOLD)
    else:
        (ticking.folder / "connections").rmdir()
        (ticking.folder / "away").rename(ticking.folder / "connections")
    assert subjects(ticking, 5) == ["workspace: recovered, 1 file can be used again: connrunner.yaml"]
    assert subjects(ticking, 6) == []


def test_a_workspace_that_was_never_good_is_refused_and_nobody_can_be_told(place: Place) -> None:
    place.write("connrunner.yaml", f"{TOLD}colour: red\n")
    place.command("a", "pass", schedule=EACH_MINUTE)
    assert subjects(place, 0, refused=True) == []


ENDS = '{type: rrule, rule: "FREQ=DAILY;COUNT=1", time: "09:02", start: "%s"}'


def test_a_schedule_that_has_ended_is_told_to_the_people_of_its_connection_once(ticking: Place) -> None:
    to_ann = "notify: [{to: [ann@example.com], when: change}]\n"
    ticking.command("e", "pass", schedule=ENDS % "2026-11-20", more=to_ann)
    ticking.command("off", "pass", schedule=ENDS % "2026-11-19", more=to_ann + "enabled: false\n")
    ticking.command("by-hand", "pass", schedule="{type: manual}")
    (mail,) = mails(ticking, 2)
    assert (mail["To"], mail["Subject"]) == ("ann@example.com", "workspace: the schedule of e has ended")
    assert "its last slot was Fri 2026-11-20 09:02 +00:00: every day at 09:02" in text_of(mail)
    assert subjects(ticking, 3) == []
    ticking.command("e", "pass", schedule=ENDS % "2026-11-21", more=to_ann)
    assert subjects(ticking, 4) == []
    ticking.command("e", "pass", schedule=ENDS % "2026-11-18", more=to_ann)
    assert subjects(ticking, 5) == ["workspace: the schedule of e has ended"]  # anew


def test_a_notice_names_each_mailbox_once_and_a_bounded_number_of_findings() -> None:
    target = Target(name="team", to=("ann@example.com", "bob@example.com"))
    rules = (
        Notify(to=(target,), when="change"),
        Notify(to=(Target(to=("ANN@EXAMPLE.com", "eve@example.com")),), when="failure"),
        Notify(to=(Target(to=("late@example.com",)),), when="late"),
    )
    findings = [AttentionFinding(about=str(number), found="x" * 5000) for number in range(FINDINGS + 7)]
    notices = decide_attention_notices(rules, "damage", findings, token="t")
    told = [recipient for notice in notices for recipient in notice.recipients]
    assert told == ["ann@example.com", "bob@example.com", "eve@example.com"]
    facts = notices[0].facts
    assert (facts["count"], len(facts["findings"]), len(facts["findings"][0]["found"])) == (107, 100, 1000)
    assert decide_attention_notices(rules, "damage", [], token="t") == ()


def test_a_failed_connection_that_is_switched_off_fails_no_more(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\n")
    place.command("a", "raise SystemExit(3)", schedule=EACH_MINUTE)
    assert mails(place, 0) == []
    assert "FAILING" in typed(place, "status")[1]
    place.command("a", "raise SystemExit(3)", schedule=EACH_MINUTE, more="enabled: false\n")
    out = typed(place, "status")[1]
    assert "FAILING" not in out
    assert "OFF" in out
