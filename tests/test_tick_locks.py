"""Lock files that somebody deletes or replaces while they are held: never two runs of a lane, and one end for each."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable

import pytest

from tests.conftest import Place
from tests.test_tick import Waiter, eventually

pytestmark = pytest.mark.slow


def delete(place: Place) -> None:
    for path in place.state.locks.iterdir():
        path.unlink()


def replace(place: Place) -> None:
    delete(place)
    for name in ("state", "lane-main", "supervisor-main", "worker-main"):
        (place.state.locks / name).touch(0o600)


def delete_folder(place: Place) -> None:
    shutil.rmtree(place.state.locks)


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "take_away", [delete, pytest.param(replace, marks=LONG), pytest.param(delete_folder, marks=LONG)]
)
@pytest.mark.parametrize("killed", [False, True], ids=["both live", "its tick was killed"])
@pytest.mark.thorough
def test_locks_that_are_taken_away_let_no_second_run_start(
    place: Place, take_away: Callable[[Place], None], killed: bool
) -> None:
    first, second = Waiter(place, "a"), Waiter(place, "b")
    tick = place.start("tick")
    eventually(first.runs)
    if killed:
        tick.send_signal(signal.SIGKILL)
        tick.communicate(timeout=120)
    take_away(place)

    other = place.start("tick", "--format", "json")
    assert other.stdout is not None
    for line in other.stdout:  # until it knows what it may do
        if json.loads(line)["event"] in ("adopted", "busy", "left-over", "started"):
            break
    assert first.runs()
    assert not second.runs(), "two runs of one lane at once"
    first.go()
    eventually(second.runs, 60)
    second.go()
    for process in (tick, other):
        if process.returncode is None:
            process.communicate(timeout=60)
    place.run("tick")

    assert [(run["run"], run["outcome"]) for run in place.runs("a")] == [(1, "succeeded")]
    assert [(run["run"], run["outcome"]) for run in place.runs("b")] == [(1, "succeeded")]
    ended = [
        (record["run"]["connection"], record["run"]["run"]) for record in place.journal() if record["type"] == "ended"
    ]
    assert sorted(ended) == [("a", 1), ("b", 1)]
