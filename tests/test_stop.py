"""Stopping runs that work or wait: real processes, in a workspace of their own."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from connrunner.processes.tree import ProcessTree
from connrunner.worker import signal_orders
from tests.conftest import Place
from tests.test_tick import HELLO, Waiter, eventually

pytestmark = pytest.mark.slow

COUNTING = """
import time
print('{"counts": {"created": 3, "updated": 4}}', flush=True)
open("began", "w").close()
time.sleep(60)
"""


def me() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


def stop(place: Place, *arguments: str, check: int = 0) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(place.run("stop", *arguments, "--format", "json", check=check).out)
    return said


def mark_of(place: Place, name: str) -> str:
    (mark,) = (one["mark"] for one in place.journal() if one["type"] == "started" and one["connection"] == name)
    return str(mark)


def nothing_left(place: Place, name: str) -> bool:
    return ProcessTree(mark=mark_of(place, name)).members() == []


def test_a_running_program_is_stopped_with_its_counters_who_and_why(place: Place) -> None:
    place.command(
        "count",
        COUNTING,
        schedule="{type: times_per_day, times: 1}",
        more="notify: [{to: a@example.com, when: always}]\n",
    )
    tick = place.start("tick")
    eventually((place.folder / "began").exists)

    run = stop(place, "count", "--reason", "wrong list")
    said, _ = tick.communicate(timeout=120)

    assert (run["run"], run["outcome"], run["code"]) == (1, "stopped", "stopped")
    assert run["message"] == f"stopped by {me()}: wrong list"
    assert (run["detail"]["stopped_by"], run["detail"]["reason"]) == (me(), "wrong list")
    assert (run["counts"]["created"], run["counts"]["updated"], run["counts"]["read"]) == (3, 4, 7)
    assert place.runs("count") == [run]
    assert f"count #1: told to end; stopped by {me()}: wrong list" in said
    assert f"warning  stopped by {me()}: wrong list" in place.run("log", "count").out
    (mail,) = place.state.mail.glob("*.eml")
    assert b"wrong list" in mail.read_bytes()
    assert nothing_left(place, "count")
    assert list(place.state.requests.iterdir()) == []


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("began", "w").close()
time.sleep(600)
"""
CLEANS_UP = """
import signal, sys, time
def clean_up(*_):
    time.sleep(11)
    open("cleaned", "w").close()
    sys.exit(7)
signal.signal(signal.SIGTERM, clean_up)
open("began", "w").close()
time.sleep(600)
"""


def test_one_that_never_ends_is_killed_when_its_grace_is_over(place: Place) -> None:
    place.command("stubborn", STUBBORN, schedule="{type: times_per_day, times: 1}", more="stop: {grace: 0s}\n")
    tick = place.start("tick")
    eventually((place.folder / "began").exists)

    run = stop(place, "stubborn")
    tick.communicate(timeout=120)

    assert (run["outcome"], nothing_left(place, "stubborn")) == ("stopped", True)
    assert [record["grace"] for record in place.journal() if record["type"] == "started"] == [0]


@pytest.mark.long
@pytest.mark.thorough
def test_one_that_needs_longer_than_usual_to_clean_up_has_its_grace(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\ndefaults: {stop: {grace: 5m}}\n")
    place.command("slow", CLEANS_UP, schedule="{type: times_per_day, times: 1}")
    tick = place.start("tick")
    eventually((place.folder / "began").exists)

    asked = place.start("stop", "slow", "--format", "json")
    eventually(lambda: "is asked to end, killed in 4 min" in " ".join(place.run("status").out.split()))
    said, _ = asked.communicate(timeout=120)
    tick.communicate(timeout=120)

    assert (json.loads(said)["outcome"], (place.folder / "cleaned").exists()) == ("stopped", True)


@pytest.mark.thorough
def test_a_waiting_run_is_taken_out_of_the_queue_and_recorded(place: Place) -> None:
    waiter = Waiter(place, "long")
    place.command("other", HELLO, schedule="{type: times_per_day, times: 1}")
    tick = place.start("tick")
    eventually(waiter.runs)

    run = stop(place, "other", "--reason", "not today")
    waiting = json.loads(place.run("status", "--format", "json").out)["waiting"]
    waiter.go()
    tick.communicate(timeout=120)

    assert (run["run"], run["outcome"], run["started_at"]) == (1, "stopped", None)
    assert run["message"] == f"stopped by {me()}: not today; it had not started"
    assert waiting == []
    assert place.runs("other") == [run]


def test_a_run_whose_connrunner_was_killed_is_stopped_by_stop_itself(place: Place) -> None:
    place.command("count", COUNTING, schedule="{type: times_per_day, times: 1}")
    tick = place.start("tick")
    eventually((place.folder / "began").exists)
    tick.kill()
    tick.communicate()

    run = stop(place, "count")

    assert (run["outcome"], run["message"], run["counts"]["created"]) == ("stopped", f"stopped by {me()}", 3)
    assert nothing_left(place, "count")


@pytest.mark.long
def test_what_there_is_nothing_to_stop_of(place: Place) -> None:
    place.command("hello", HELLO)
    place.run("run", "hello")

    never = place.run("stop", "hello", check=2).err
    gone = place.run("stop", "hello", "--run", "1", check=2).err
    typo = place.run("stop", "helo", check=2).err

    assert "no run of hello works or waits; its last run, #1, ended succeeded at " in never
    assert "hello #1 has ended already: succeeded at " in gone
    assert "did you mean 'hello'?" in typo


@pytest.mark.long
def test_a_run_that_ends_by_itself_meanwhile_is_told_so(place: Place) -> None:
    waiter = Waiter(place, "long")
    tick = place.start("tick")
    eventually(waiter.runs)
    os.kill(tick.pid, signal.SIGSTOP)  # it does not see the request before the run has ended
    asked = place.start("stop", "long", "--format", "json")
    eventually(lambda: any(place.state.requests.glob("stop-*.json")))
    waiter.go()
    eventually(lambda: '"type":"ended"' in place.state.log("long", 1).read_text())
    os.kill(tick.pid, signal.SIGCONT)
    out, _ = asked.communicate(timeout=120)
    tick.communicate(timeout=120)

    assert (asked.returncode, json.loads(out)["outcome"]) == (1, "succeeded")
    place.run("tick")
    assert list(place.state.requests.iterdir()) == []


@pytest.mark.long
def test_a_detached_wish_is_fulfilled_later(place: Place) -> None:
    waiter = Waiter(place, "long")
    tick = place.start("tick")
    eventually(waiter.runs)

    said = place.run("stop", "long", "--detach")
    tick.communicate(timeout=120)

    assert said.out == "long: its #1 is asked to stop\n"
    assert [run["outcome"] for run in place.runs("long")] == ["stopped"]


@pytest.mark.thorough
def test_ctrl_c_stops_the_run_that_one_watches(place: Place) -> None:
    place.command("count", COUNTING)
    run = place.start("run", "count")
    eventually((place.folder / "began").exists)

    run.send_signal(signal.SIGINT)
    run.communicate(timeout=120)

    assert run.returncode == 130
    (ended,) = place.runs("count")
    assert (ended["outcome"], ended["detail"]["reason"]) == ("stopped", "Ctrl-C in `connrunner run`")
    assert ended["counts"]["created"] == 3


@pytest.mark.thorough
def test_a_wish_that_is_no_wish_is_set_aside(place: Place) -> None:
    place.command("hello", HELLO, schedule="{type: times_per_day, times: 1}")
    place.state.prepare()
    for name, text in [("stop-1", "{"), ("stop-2", '{"wish": "stop"}'), ("run-3", "[1]"), ("stop-4", "null")]:
        (place.state.requests / f"{name}.json").write_text(text)

    place.run("tick")

    assert {path.suffix for path in place.state.requests.iterdir()} == {".unreadable"}
    assert [run["outcome"] for run in place.runs("hello")] == ["succeeded"]


@pytest.mark.long
def test_a_stopped_import_leaves_the_store_as_before(place: Place, tmp_path: Path) -> None:
    """While it reads a file that is large enough to take its time."""
    rows = tmp_path / "rows.csv"
    with rows.open("w") as file:
        file.write("id,email\n")
        file.writelines(f"{number},p{number}@example.com\n" for number in range(2_000_000))
    (place.folder / "in").mkdir()
    rows.rename(place.folder / "in/rows.csv")
    place.write(
        "connections/people.yaml",
        "schedule: {type: manual}\nimport:\n  from: {type: files, path: in/rows.csv}\n"
        "  match: [id]\n  fields: {id: id, email: email}\n",
    )
    place.run("run", "people", "--detach")
    tick = place.start("tick")
    log = place.state.log("people", 1)
    eventually(lambda: log.exists() and re.search(r'"done":[1-9]', log.read_text()) is not None, 60)

    run = stop(place, "people")
    tick.communicate(timeout=60)

    counts = run["counts"]
    assert (run["outcome"], run["message"]) == ("stopped", f"stopped by {me()}; nothing of it was imported")
    assert counts["read"] == counts["not_attempted"] > 0
    assert json.loads(place.run("profiles", "--format", "json").out)["profiles"] == 0
    assert not list(place.state.spool.iterdir())


@pytest.mark.parametrize("order", [signal_orders.Terminated, signal_orders.TimeIsOver])
def test_no_event_loop_swallows_an_order(order: type[BaseException]) -> None:
    """Whatever a signal's handler raises in a callback of asyncio is logged and forgotten, but for two kinds."""

    def handler(*_: object) -> None:
        raise order

    async def work() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(5)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(order):
            asyncio.run(work())
    finally:
        signal.signal(signal.SIGUSR1, before)
