"""Slots that must not run twice, and none that may be passed over: connections that go and come back, wrong clocks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from connrunner.scheduler.tick import Tick
from tests.conftest import Place

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

EVERY_MINUTE = '{type: cron, expression: "* * * * *", timezone: UTC}'
HELLO = "print('hello')"


def tick(place: Place, at: str, day: str = "2026-12-01") -> list[str]:
    """Tick at a time of *day*; return what was said as trouble."""
    return place.run("tick", "--now", f"{day}T{at}Z").err.splitlines()


def slots(place: Place, name: str = "a") -> list[str]:
    """Return the slots that have a run, oldest run first."""
    return [run["due_at"] for run in reversed(place.runs(name))]


def switch_off(place: Place) -> Callable[[], Any]:
    place.command("a", HELLO, schedule=EVERY_MINUTE, more="enabled: false\n")
    return lambda: place.command("a", HELLO, schedule=EVERY_MINUTE)


def take_away(place: Place) -> Callable[[], Any]:
    away = place.folder / "a.yaml"
    shutil.move(place.folder / "connections/a.yaml", away)
    return lambda: shutil.move(away, place.folder / "connections/a.yaml")


def rename(place: Place) -> Callable[[], Any]:
    path = place.folder / "connections/a.yaml"
    path.rename(path.with_name("c.yaml"))
    return lambda: path.with_name("c.yaml").rename(path)


def break_file(place: Place) -> Callable[[], Any]:
    place.write("connections/a.yaml", "schedule: nonsense\n")
    return lambda: place.command("a", HELLO, schedule=EVERY_MINUTE)


@pytest.mark.parametrize("go", [switch_off, take_away, rename, break_file])
def test_a_connection_that_goes_and_comes_back_within_the_minute_runs_its_slot_once(
    place: Place, go: Callable[[Place], Callable[[], Any]]
) -> None:
    place.command("a", HELLO, schedule=EVERY_MINUTE)
    place.command("b", HELLO)
    tick(place, "10:00:05")
    come_back = go(place)
    tick(place, "10:00:15")
    come_back()
    tick(place, "10:00:35")
    tick(place, "10:01:05")

    assert slots(place) == ["2026-12-01T10:00:00Z", "2026-12-01T10:01:00Z"]


def test_a_clock_that_was_ahead_is_told_once_and_silences_nothing(place: Place) -> None:
    place.command("a", HELLO, schedule=EVERY_MINUTE)
    tick(place, "10:00:00")
    tick(place, "07:36:00", day="2026-12-02")
    tick(place, "07:37:00", day="2026-12-02")
    next_one = place.run("next", "a", "--now", "2026-12-01T10:01:30Z", "--format", "json").out
    said = [tick(place, at) for at in ("10:02:00", "10:03:00")]
    tick(place, "07:37:30", day="2026-12-02")

    assert '"due_at": "2026-12-01T10:02:00Z"' in next_one
    (line,) = said[0]
    assert "the clock went back: a tick looked at 2026-12-02T07:37:00Z, and now it is 2026-12-01T10:02:00Z" in line
    assert said[1] == []
    found = slots(place)
    assert found[2:] == [
        "2026-12-02T07:37:00Z",
        "2026-12-01T10:02:00Z",
        "2026-12-01T10:03:00Z",
        "2026-12-01T10:04:00Z",  # late: of the ticks in between there were none
    ]
    assert len(set(found)) == len(found)


def test_slots_that_history_knows_do_not_run_again_when_an_older_journal_is_restored(place: Place) -> None:
    place.command("a", HELLO, schedule=EVERY_MINUTE)
    tick(place, "10:00:00")
    older = place.state.journal.read_bytes()
    tick(place, "10:01:00")
    tick(place, "10:02:00")
    place.state.journal.write_bytes(older)

    first = tick(place, "10:02:30")
    second = tick(place, "10:03:00")

    assert "history is ahead of" in first[0]
    assert "a (#3; the journal ends with #1)" in first[0]
    assert second == []
    assert slots(place) == [f"2026-12-01T10:0{minute}:00Z" for minute in range(4)]
    assert [run["missed"] for run in place.runs("a")] == [0, 0, 0, 0]
    assert [run["run"] for run in place.runs("a")] == [4, 3, 2, 1]


def test_slots_that_history_knows_do_not_run_again_when_the_journal_is_gone(place: Place) -> None:
    place.command("a", HELLO, schedule=EVERY_MINUTE)
    tick(place, "10:00:00")
    place.state.journal.unlink()

    said = tick(place, "10:00:30")
    tick(place, "10:01:00")

    assert any("history is ahead of" in line for line in said)
    assert slots(place) == ["2026-12-01T10:00:00Z", "2026-12-01T10:01:00Z"]


def test_a_run_that_waited_when_the_journal_was_copied_is_not_started_once_more(place: Place) -> None:
    place.command("a", HELLO)
    place.run("run", "a", "--detach")

    Tick(place.folder, place.state, now=None, say=lambda _: None).take_in()
    older = place.state.journal.read_bytes()
    place.run("tick")
    assert len(place.runs("a")) == 1
    place.state.journal.write_bytes(older)

    out = place.run("tick").out

    assert "history has it, as #1" in out
    assert len(place.runs("a")) == 1


def switched_off(place: Place) -> None:
    place.command("a", HELLO, more="enabled: false\n" + TOLD)


def removed(place: Place) -> None:
    (place.folder / "connections/a.yaml").unlink()


def broken(place: Place) -> None:
    place.write("connections/a.yaml", "schedule: nonsense\n")


TOLD = "notify: [{to: [team@example.com], when: failure}]\n"


@pytest.mark.parametrize("is_queued", [False, True], ids=["asked for", "in the queue"])
@pytest.mark.parametrize("change", [switched_off, removed, broken])
def test_what_was_asked_for_and_cannot_run_any_more_is_a_run_that_people_are_told_of(
    place: Place, change: Callable[[Place], None], is_queued: bool
) -> None:
    place.command("a", HELLO, more=TOLD)
    place.command("b", HELLO)
    place.run("run", "a", "--detach")
    if is_queued:
        Tick(place.folder, place.state, now=None, say=lambda _: None).take_in()
    change(place)

    place.run("tick")
    place.run("tick")

    history = [json.loads(line) for line in place.state.history("a").read_text().splitlines()]
    assert [(run["run"], run["outcome"], run["trigger"]) for run in history] == [(1, "skipped", "manual")]
    (mail,) = (path.read_text() for path in place.state.mail.glob("*.eml"))
    assert "To: team@example.com" in mail
    assert not list(place.state.requests.glob("*.json"))


AT_ONE = '{type: cron, expression: "0 1 * * *", timezone: UTC}'


def night(place: Place) -> None:
    """`audience` exports what `crm` imports, at the same time of each night."""
    place.write("in/people.csv", "id,email\n1,ann@example.com\n")
    place.write(
        "connections/crm.yaml",
        f"schedule: {AT_ONE}\nimport:\n  from: {{type: files, path: 'in/*.csv'}}\n"
        "  match: [id]\n  fields: {id: id, email: email}\n",
    )
    place.write(
        "connections/audience.yaml",
        f"schedule: {AT_ONE}\nexport:\n  to: {{type: files, path: 'out/{{run}}.csv'}}\n  fields: {{Email: email}}\n",
    )


def test_the_export_of_a_night_holds_the_rows_of_the_import_of_that_night(place: Place) -> None:
    night(place)
    place.command("zebra", HELLO, schedule=AT_ONE)
    tick(place, "00:00:00")

    coming = place.run("next", "--now", "2026-12-01T00:30:00Z").out
    out = place.run("tick", "--now", "2026-12-01T01:00:00Z").out

    found = [min(out.index(f"{name} #1"), len(out)) for name in ("crm", "zebra", "audience")]
    assert found == sorted(found)
    places = [coming.index(name) for name in ("crm", "zebra", "audience")]
    assert places == sorted(places)
    assert place.folder.joinpath("out/1.csv").read_text() == "Email\nann@example.com\n"


def test_what_stands_in_after_goes_first_whatever_kinds_and_slots_say(place: Place) -> None:
    night(place)
    path = place.folder / "connections/crm.yaml"
    path.write_text(path.read_text() + "after: [audience, zebra]\n")
    place.command("zebra", HELLO)
    tick(place, "00:00:00")
    place.run("run", "zebra", "--detach")

    out = place.run("tick", "--now", "2026-12-01T01:00:00Z").out

    assert out.index("crm #1") > max(out.index("audience #1"), out.index("zebra #1"))


def test_a_circle_breaks_its_own_connections_and_no_other(place: Place) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        place.command(name, HELLO, schedule=EVERY_MINUTE, more=f"after: {other}\n")
    place.command("c", HELLO, schedule=EVERY_MINUTE, more="after: a\n")
    place.command("d", HELLO, schedule=EVERY_MINUTE)

    said = place.run("validate", check=2)
    out = place.run("tick", "--now", "2026-12-01T01:00:00Z").out

    assert "connections/a.yaml:3:8: a cycle: each goes after the next: a -> b -> a" in said.out + said.err
    assert "connections/b.yaml:3:8: a cycle: each goes after the next: b -> a -> b" in said.out + said.err
    assert "c #1" in out
    assert "d #1" in out
    assert "a #1" not in out
    place.command("b", HELLO, schedule=EVERY_MINUTE)
    place.run("validate")
    assert "a #1" in place.run("tick", "--now", "2026-12-01T01:01:00Z").out
