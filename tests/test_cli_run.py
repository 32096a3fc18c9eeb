"""`connrunner run` of one, of many, and of what is switched off."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from connrunner.answers.connection_filter import ConnectionFilter
from connrunner.answers.run_choice import choose_runs
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.errors import ArgumentError, ConnrunnerError
from connrunner.scheduler.tick import Tick
from connrunner.state.journal_state import JournalState, apply_record, as_snapshot
from tests.conftest import Place
from tests.test_cli import typed

NORTH = "owner: north\nlabels: {team: crm}\n"
OFF = "enabled: false\n"


pytestmark = pytest.mark.slow


@pytest.fixture
def team(place: Place) -> Place:
    """Connections of two owners, two that are off, one that is broken."""
    place.command("crm-a", "pass", more=NORTH)
    place.command("crm-b", "raise SystemExit(3)", more="labels: {team: crm}\n")
    place.command("crm-off", "pass", more=NORTH + OFF)
    place.command("web", "pass", more="owner: south\nlabels: {team: web}\n")
    place.command("web-off", "pass", more=OFF)
    place.write("connections/crm-broken.yaml", "schedule: nonsense\n")
    return place


IS_OFF, IS_BROKEN = "it is switched off", "its file has problems"
CRM: tuple[tuple[str, str | None], ...] = (("team", "crm"),)

CHOICES: list[tuple[dict[str, Any], bool, str | tuple[str, dict[str, str]]]] = [
    # what is named                             forced  the names and what is left out; or the error
    ({"names": ("crm-a",)},                     False, ("crm-a", {})),
    ({"names": ("web", "crm-a", "web", "w*b")}, False, ("crm-a web", {})),
    ({"names": ("crm-*",)},                     False, ("crm-a crm-b", {"crm-off": IS_OFF, "crm-broken": IS_BROKEN})),
    ({"names": ("crm-*",)},                     True,  ("crm-a crm-b crm-off", {"crm-broken": IS_BROKEN})),
    ({"names": ("*b",), "labels": CRM},         False, ("crm-b", {})),
    ({"labels": CRM},                           False, ("crm-a crm-b", {"crm-off": IS_OFF})),
    ({"labels": (("team", None),)},             False, ("crm-a crm-b web", {"crm-off": IS_OFF})),
    ({"labels": CRM, "owner": "north"},         False, ("crm-a", {"crm-off": IS_OFF})),
    ({"owner": "north"},                        True,  ("crm-a crm-off", {})),
    ({"names": ("crm-off",)},                   True,  ("crm-off", {})),
    ({"names": ("crm-off",)},                   False, "crm-off: it is switched off; set `enabled: true` in its file, or run it once"),
    ({"names": ("crm-off", "crm-*")},           False, "crm-off: it is switched off"),
    ({"names": ("web-*",)},                     False, "none can run: web-off: it is switched off; set `enabled: true`"),
    ({"names": ("web",), "owner": "north"},     False, "no connection fits all that was asked for"),
    ({"names": ("x*", "web")},                  False, "no connection fits 'x*'; there are"),
    ({"names": ("web", "wbe")},                 False, "there is no connection 'wbe'; did you mean 'web'?"),
    ({"names": ("crm-broken", "web")},          False, "crm-broken cannot be used until its file is fixed"),
    ({},                                        False, "nothing is named; name connections"),
    ({},                                        True,  "nothing is named; name connections"),
]  # fmt: skip


@pytest.mark.parametrize(("named", "force", "found"), CHOICES)
def test_which_connections_run(
    team: Place, named: dict[str, Any], force: bool, found: str | tuple[str, dict[str, str]]
) -> None:
    view, choice = WorkspaceView(team.folder, team.state), ConnectionFilter(**named)
    if isinstance(found, str):
        with pytest.raises(ConnrunnerError, match=re.escape(found)) as caught:
            choose_runs(view, choice, force=force)
        assert caught.value.exit_code == 2
        return
    chosen = choose_runs(view, choice, force=force)
    assert (" ".join(one.name for one in chosen.connections), chosen.left_out) == found


def test_a_dry_run_leaves_out_what_only_runs_programs(team: Place) -> None:
    view = WorkspaceView(team.folder, team.state)
    fields = "match: [id]\n  fields: {id: id}"
    team.write(
        "connections/crm-i.yaml", f"schedule: {{type: manual}}\nimport:\n  from: {{type: files, path: x}}\n  {fields}\n"
    )

    chosen = choose_runs(view, ConnectionFilter(names=("crm-*",)), dry_run=True)

    assert [one.name for one in chosen.connections] == ["crm-i"]
    assert set(chosen.left_out) == {"crm-a", "crm-b", "crm-off", "crm-broken"}
    with pytest.raises(ArgumentError, match="only the program knows"):
        choose_runs(view, ConnectionFilter(names=("crm-a",)), dry_run=True)


def test_nothing_is_queued_when_one_of_many_cannot_be(team: Place) -> None:
    for names in (["crm-a", "nope"], ["crm-a", "x*"], ["crm-a", "crm-off"], ["crm-a", "crm-broken"], []):
        code, out, _ = typed(team, "run", *names, "--detach")
        assert (code, out) == (2, "")
    assert not team.state.root.exists()


def test_many_are_one_record_and_a_line_each(team: Place) -> None:
    code, out, err = typed(team, "run", "web", "crm-*", "crm-a")

    lines = [line.split() for line in out.splitlines() if line[:8].strip()]
    assert code == 1
    assert sorted(line[0] for line in lines) == ["CONNECTION", "crm-a", "crm-b", "web"]
    assert {line[0]: line[7] for line in lines[1:]} == {"crm-a": "succeeded", "crm-b": "failed", "web": "succeeded"}
    assert "crm-off is left out: it is switched off" in err
    planned = [record["slots"] for record in team.journal() if record["type"] == "planned" and record["slots"]]
    assert [[slot["connection"] for slot in slots] for slots in planned] == [["crm-a", "crm-b", "web"]]
    assert [len(team.runs(name)) for name in ("crm-a", "crm-b", "web", "crm-off")] == [1, 1, 1, 0]


def test_what_many_say_to_programs(team: Place) -> None:
    code, out, _ = typed(team, "run", "crm-a", "web", "--format", "json")
    assert (code, {run["connection"] for run in json.loads(out)}) == (0, {"crm-a", "web"})
    assert [run["connection"] for run in json.loads(typed(team, "run", "web*", "--format", "json")[1])] == ["web"]
    assert json.loads(typed(team, "run", "web", "--format", "json")[1])["run"] == 3


def test_many_are_left_for_the_next_tick(team: Place) -> None:
    code, out, _ = typed(team, "run", "crm-a", "web", "--detach")
    assert (code, out) == (0, "crm-a and web are asked for; the next tick runs them\n")

    typed(team, "tick")
    typed(team, "tick")

    assert [team.runs(name)[0]["run"] for name in ("crm-a", "web")] == [1, 1]
    assert list(team.state.requests.iterdir()) == []


def test_what_is_broken_makes_a_pattern_fail(team: Place) -> None:
    (team.folder / "connections/crm-b.yaml").unlink()
    code, _, err = typed(team, "run", "crm-*")
    assert (code, "crm-broken is left out: its file has problems" in err) == (1, True)
    assert team.runs("crm-a")[0]["outcome"] == "succeeded"


# --- what is switched off ----------------------------------------------------------------------------------------


def test_one_that_is_off_runs_once_by_force(team: Place) -> None:
    assert typed(team, "run", "crm-off", "--force")[0] == 0
    (run,) = team.runs("crm-off")
    assert (run["outcome"], run["trigger"], "force" in run) == ("succeeded", "manual", False)
    assert typed(team, "run", "crm-off")[0] == 2


def test_a_forced_run_waits_through_ticks_that_see_it_off(team: Place) -> None:
    typed(team, "run", "crm-off", "--force", "--detach")
    for _ in range(2):
        Tick(team.folder, team.state, say=lambda _: None).take_in()
    assert list(Tick(team.folder, team.state, say=lambda _: None).journal.read().waiting) == ["crm-off"]

    typed(team, "tick")

    assert [run["outcome"] for run in team.runs("crm-off")] == ["succeeded"]


def test_a_run_that_was_not_forced_does_not_start_once_it_is_switched_off(team: Place) -> None:
    typed(team, "run", "web", "--detach")
    tick = Tick(team.folder, team.state, say=lambda _: None)
    tick.take_in()
    team.command("web", "pass", more=OFF)

    typed(team, "tick")

    assert [run["started_at"] for run in team.runs("web") if run["started_at"]] == []


def test_force_survives_the_rotation_of_the_journal(team: Place) -> None:
    typed(team, "run", "crm-off", "--force", "--detach")
    tick = Tick(team.folder, team.state, say=lambda _: None)
    tick.take_in()
    known, again = tick.journal.read(), JournalState()

    apply_record(again, {"type": "snapshot", **json.loads(json.dumps(as_snapshot(known)))})

    assert again.waiting["crm-off"].force
    assert again.waiting == known.waiting
