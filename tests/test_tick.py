"""Ticks from outside: real processes, in a workspace of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connrunner.state import locks
from tests.conftest import Place

pytestmark = pytest.mark.slow

DAILY = '{type: days_of_week, days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], time: "06:00", timezone: UTC}'
HELLO = "print('hello')"
# Says that it runs, and goes on until it is told to end; marks how many of its kind there are.
WAIT = """
import pathlib, time
here = pathlib.Path("{mark}")
with here.open("a") as file: file.write("began\\n")
for _ in range(600):
    if pathlib.Path("{go}").exists(): break
    time.sleep(0.05)
with here.open("a") as file: file.write("ended\\n")
"""


def eventually(is_so: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


class Waiter:
    """A connection that runs until `go`."""

    def __init__(
        self, place: Place, name: str, schedule: str = "{type: times_per_day, times: 1}", more: str = ""
    ) -> None:
        self.mark, self.gate = place.folder / f"{name}.mark", place.folder / f"{name}.go"
        place.command(name, WAIT.format(mark=self.mark, go=self.gate), schedule=schedule, more=more)

    def runs(self) -> bool:
        return self.mark.exists() and self.mark.read_text().count("began") > self.mark.read_text().count("ended")

    def go(self) -> None:
        self.gate.touch()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is old enough for a tick to believe its time stamp, however young it is."""
    from connrunner.scheduler import idle

    monkeypatch.setattr(idle, "RACY", float("-inf"))


def not_today() -> str:
    """Return a daily schedule that no real clock reaches while a test lasts, on whatever day at whatever time."""
    return DAILY.replace("06:00", f"{datetime.now(UTC) + timedelta(hours=12):%H:%M}")


def test_a_run_that_is_due_is_run_once_logged_and_told(place: Place) -> None:
    place.command(
        "hello", HELLO, schedule="{type: times_per_day, times: 4}", more="notify: [{to: a@example.com, when: always}]\n"
    )

    first = place.run("tick", "--now", "2026-11-22T10:00:00Z")
    second = place.run("tick", "--now", "2026-11-22T10:01:00Z")

    assert first.out.splitlines()[1:] == [
        "hello #1: started",
        first.out.splitlines()[2],
        "hello #1: told a@example.com",
    ]
    assert first.out.splitlines()[2].startswith("hello #1: succeeded after ")
    assert (second.out, second.err) == ("", "")
    (run,) = place.runs("hello")
    assert (run["run"], run["outcome"], run["trigger"], run["exit_status"]) == (1, "succeeded", "schedule", 0)
    assert "info     hello" in place.run("log", "hello").out
    (mail,) = (place.state.mail).glob("*.eml")
    assert b"Subject: hello: run 1 succeeded" in mail.read_bytes()


def test_a_daily_run_fires_at_its_time_and_not_before(place: Place) -> None:
    place.command("hello", HELLO, schedule=DAILY)

    place.run("tick", "--now", "2026-11-22T05:58:00Z")
    assert place.run("tick", "--now", "2026-11-22T05:59:59Z").out == ""
    assert "hello #1: started" in place.run("tick", "--now", "2026-11-22T06:00:03Z").out
    assert place.run("tick", "--now", "2026-11-22T06:00:59Z").out == ""

    (run,) = place.runs("hello")
    assert (run["due_at"], run["missed"]) == ("2026-11-22T06:00:00Z", 0)


def test_missed_days_give_one_run_and_are_counted(place: Place) -> None:
    """[R5] The machine was off for three days."""
    place.command("hello", HELLO, schedule=DAILY)
    place.run("tick", "--now", "2026-11-18T12:00:00Z")

    said = place.run("tick", "--now", "2026-11-22T07:30:00Z").out

    assert "hello: queued for 2026-11-19T06:00:00Z, with 3 later slots missed" in said
    (run,) = place.runs("hello")
    assert (run["due_at"], run["missed"]) == ("2026-11-19T06:00:00Z", 3)
    slots = [slot for record in place.journal() for slot in record.get("slots", ())]
    assert [(slot["result"], slot["missed_until"]) for slot in slots] == [("queued", "2026-11-22T06:00:00Z")]


@pytest.mark.thorough
def test_a_failing_program_fails_its_run_and_not_the_tick(place: Place) -> None:
    place.command(
        "bad", "import sys; print('no disk', file=sys.stderr); sys.exit(3)", schedule="{type: times_per_day, times: 1}"
    )
    place.command("good", HELLO, schedule="{type: times_per_day, times: 1}")

    place.run("tick")

    assert [(run["outcome"], run["code"], run["exit_status"]) for run in place.runs("bad")] == [
        ("failed", "exit-status", 3)
    ]
    assert "no disk" in place.runs("bad")[0]["message"]
    assert [run["outcome"] for run in place.runs("good")] == ["succeeded"]


@pytest.mark.thorough
def test_a_program_that_does_not_exist_has_a_run_and_a_remedy(place: Place) -> None:
    place.write("connections/gone.yaml", 'schedule: {type: manual}\ncommand: {run: ["no-such-program"]}\n')

    place.run("run", "gone", check=1)

    (run,) = place.runs("gone")
    assert run["outcome"] == "failed"
    assert "no-such-program" in run["message"]


def test_counters_that_do_not_add_up_fail_the_run(place: Place) -> None:
    line = '{"counts": {"read": 5, "checked": 4, "created": 4}}'
    place.command("sum", f"print('{line}')")

    place.run("run", "sum", check=1)

    (run,) = place.runs("sum")
    assert (run["outcome"], run["code"]) == ("failed", "unbalanced")


def test_a_tick_that_finds_the_lane_busy_says_so_and_leaves(place: Place) -> None:
    """[P8] And what is due meanwhile waits, in order."""
    waiter = Waiter(place, "long")
    tick = place.start("tick")
    eventually(waiter.runs)
    place.command("other", HELLO, schedule="{type: times_per_day, times: 1}")

    said = place.run("tick")
    status = json.loads(place.run("status", "--format", "json").out)

    assert "lane main is busy: long #1" in said.out
    assert "1 wait: other" in said.out
    assert [(run["connection"], run["run"], run["lives"]) for run in status["running"]] == [("long", 1, True)]
    assert [entry["connection"] for entry in status["waiting"]] == ["other"]
    waiter.go()
    tick.communicate(timeout=120)
    assert [run["outcome"] for run in place.runs("other")] == ["succeeded"]


def test_lanes_run_side_by_side(place: Place) -> None:
    one, two = Waiter(place, "one"), Waiter(place, "two", more="lane: express\n")

    tick = place.start("tick")
    eventually(lambda: one.runs() and two.runs())
    one.go()
    two.go()
    tick.communicate(timeout=120)

    assert tick.returncode == 0
    assert [run["outcome"] for name in ("one", "two") for run in place.runs(name)] == ["succeeded"] * 2


@pytest.mark.thorough
def test_two_ticks_at_once_start_a_run_once(place: Place) -> None:
    """[P1] [P3] Eight ticks race for the same slot."""
    place.command("hello", "import time; print('hello'); time.sleep(0.3)", schedule="{type: times_per_day, times: 1}")

    ticks = [place.start("tick") for _ in range(8)]
    codes = [tick.wait(timeout=60) for tick in ticks]
    for tick in ticks:
        tick.communicate()

    assert set(codes) <= {0, 75}
    assert [run["run"] for run in place.runs("hello")] == [1]
    assert [record["type"] for record in place.journal()].count("started") == 1


def test_after_kill_9_of_the_tick_the_run_goes_on_alone_and_is_adopted(place: Place) -> None:
    """[P3] [P11] The lane stays locked while the worker lives; how the run ended is not lost."""
    waiter = Waiter(place, "long", schedule="{type: times_per_day, times: 1440}")
    tick = place.start("tick")
    eventually(waiter.runs)
    tick.kill()
    tick.communicate()

    next_tick = place.start("tick")
    adopted = next_tick.stdout and next_tick.stdout.readline()
    assert adopted == "long #1: the connrunner that started it is gone; it goes on, and this one looks after it\n"
    assert "is busy: long #1" in place.run("tick").out
    assert waiter.runs()
    waiter.go()
    next_tick.communicate(timeout=120)

    ended = [run for run in place.runs("long") if run["run"] == 1]
    assert [run["outcome"] for run in ended] == ["succeeded"]
    assert waiter.mark.read_text().splitlines()[:2] == ["began", "ended"]


def test_after_kill_9_of_everything_the_run_is_interrupted_and_told(place: Place) -> None:
    """[P2] Nobody knows how it ended, it is not started again, and somebody is told."""
    waiter = Waiter(place, "long", more="notify: [{to: a@example.com, when: failure}]\n")
    tick = place.start("tick")
    eventually(waiter.runs)
    worker = json.loads(place.state.log("long", 1).read_text().splitlines()[0])["pid"]
    tick.kill()
    tick.communicate()
    for process in (worker, *_children_of(worker)):
        os.kill(process, signal.SIGKILL)

    eventually(lambda: "busy" not in place.run("tick").out)

    (run,) = place.runs("long")
    assert (run["run"], run["outcome"], run["code"]) == (1, "interrupted", "interrupted")
    assert waiter.mark.read_text() == "began\n"
    (mail,) = place.state.mail.glob("*.eml")
    assert b"Subject: long: run 1 interrupted\r\n" in mail.read_bytes()


def test_a_slot_that_is_due_after_a_crash_of_the_host_is_not_merged_into_the_run_that_died(place: Place) -> None:
    """[P1] [R9] What is merged waits or works; a run of which nothing is alive does neither."""
    daily = '{type: cron, expression: "0 10 * * *", timezone: UTC}'
    place.command("nightly", "import time; time.sleep(600)", schedule=daily)
    tick = place.start("tick", "--now", "2026-12-01T10:00:00Z")
    log = place.state.log("nightly", 1)
    eventually(lambda: log.exists() and "\n" in log.read_text())
    worker = json.loads(log.read_text().splitlines()[0])["pid"]
    tick.kill()
    tick.communicate()
    eventually(lambda: bool(_children_of(worker)))
    for process in (worker, *_children_of(worker)):
        os.kill(process, signal.SIGKILL)
    eventually(lambda: not locks.is_lane_busy(place.state, "main"))
    place.command("nightly", "pass", schedule=daily)

    said = place.run("tick", "--now", "2026-12-02T12:00:00Z").out

    ends = [(run["due_at"], run["outcome"], run["merged"]) for run in reversed(place.runs("nightly"))]
    assert ends == [("2026-12-01T10:00:00Z", "interrupted", 0), ("2026-12-02T10:00:00Z", "succeeded", 0)]
    assert said.index("#1: interrupted") < said.index("queued for 2026-12-02T10:00:00Z")


def _children_of(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False).stdout
    return [int(line) for line in found.split()]


@pytest.mark.thorough
def test_a_worker_that_is_killed_fails_its_run(place: Place) -> None:
    waiter = Waiter(place, "long")
    tick = place.start("tick")
    eventually(waiter.runs)
    worker = json.loads(place.state.log("long", 1).read_text().splitlines()[0])["pid"]
    os.kill(worker, signal.SIGKILL)
    waiter.go()
    tick.communicate(timeout=120)

    (run,) = place.runs("long")
    assert (run["outcome"], run["code"]) == ("failed", "crashed")
    assert "signal 9" in run["message"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGINT, 130)])
def test_a_tick_that_is_told_to_end_ends_its_runs_first(place: Place, number: int, code: int) -> None:
    waiter = Waiter(place, "long")
    tick = place.start("tick")
    eventually(waiter.runs)

    tick.send_signal(number)
    _, said = tick.communicate(timeout=120)

    assert tick.returncode == code, said
    (run,) = place.runs("long")
    assert (run["outcome"], run["code"]) == ("interrupted", "shutdown")


def test_a_run_that_takes_too_long_is_ended(place: Place) -> None:
    place.command("long", "import time; time.sleep(60)", more="timeout: 1s\n")

    place.run("run", "long", check=1)

    (run,) = place.runs("long")
    assert (run["outcome"], run["code"]) == ("failed", "timeout")


@pytest.mark.thorough
def test_a_broken_file_stops_only_its_own_connection(place: Place) -> None:
    """[R8] [P7] It keeps its promise, its slots are recorded as skipped, and somebody is told once for each content."""
    place.write("connrunner.yaml", "version: 1\ndefaults: {notify: [{to: ops@example.com, when: failure}]}\n")
    place.command("good", HELLO, schedule=DAILY)
    place.command("broken", HELLO, schedule=DAILY)
    place.run("tick", "--now", "2026-11-19T12:00:00Z")
    sound = (place.folder / "connections/broken.yaml").read_text()
    place.write("connections/broken.yaml", "schedul: nightly\n")

    first = place.run("tick", "--now", "2026-11-20T06:00:00Z")
    second = place.run("tick", "--now", "2026-11-21T06:00:00Z")

    assert "connections/broken.yaml:1:1" in first.err
    assert "broken.yaml" not in second.err
    assert [run["outcome"] for run in place.runs("good")] == ["succeeded", "succeeded"]
    assert [(run["outcome"], run["code"]) for run in place.runs("broken")] == [("skipped", "config-error")] * 2
    assert "connections/broken.yaml:1:1" in place.runs("broken")[0]["message"]
    told = [path.read_bytes() for path in place.state.mail.glob("*.eml")]
    assert [b"connections/broken.yaml:1:1" in mail for mail in told] == [True]

    place.write("connections/broken.yaml", sound)
    place.run("tick", "--now", "2026-11-22T06:00:00Z")
    assert place.runs("broken")[0]["outcome"] == "succeeded"
    assert place.runs("broken")[0]["run"] == 3


@pytest.mark.thorough
def test_switched_off_while_it_waits(place: Place) -> None:
    waiter = Waiter(place, "long")
    place.command("other", HELLO, schedule="{type: times_per_day, times: 1}")
    tick = place.start("tick")
    eventually(waiter.runs)
    place.command("other", HELLO, schedule="{type: times_per_day, times: 1}", more="enabled: false\n")

    said = place.run("tick")
    waiter.go()
    tick.communicate(timeout=120)

    assert "other: the slot of" in said.out
    assert "was dropped: switched off while it waited" in said.out
    assert place.runs("other") == []


def test_an_emptied_workspace_is_refused(place: Place) -> None:
    place.command("hello", HELLO, schedule=not_today())
    place.run("tick")
    (place.folder / "connections/hello.yaml").unlink()

    said = place.run("tick", check=2)

    assert "no connections any more" in said.err
    promises = [record["promises"] for record in place.journal() if record["type"] == "planned"]
    assert "hello" in promises[-1]


def test_a_state_that_cannot_be_written_starts_nothing(place: Place) -> None:
    place.command("hello", HELLO, schedule="{type: times_per_day, times: 1}")
    (place.folder / ".connrunner").write_text("a file where the folder should be")

    said = place.run("tick", check=74)

    assert ".connrunner" in said.err
    assert "Not a directory" in said.err or "File exists" in said.err


def test_a_slow_mail_server_is_no_reason_to_wait(place: Place) -> None:
    place.write("connrunner.yaml", 'version: 1\nmail: {server: "smtp+plain://127.0.0.1:1", from: c@example.com}\n')
    place.command("hello", HELLO, schedule=DAILY, more="notify: [{to: a@example.com, when: always}]\n")
    place.run("tick", "--now", "2026-11-21T05:00:00Z")

    said = place.run("tick", "--now", "2026-11-21T06:00:00Z")

    assert "hello #1: its mail waits: " in said.out
    assert "127.0.0.1" in said.out
    assert [run["outcome"] for run in place.runs("hello")] == ["succeeded"]
    status = place.run("status", "--format", "json", "--now", "2026-11-21T06:01:00Z").out
    assert json.loads(status)["mail"] == {"owed": 1, "dead": 0}


@pytest.mark.usefixtures("settled")
def test_a_quiet_tick_imports_nothing(place: Place) -> None:
    place.command("hello", HELLO, schedule=not_today())
    place.run("tick")
    program = """
import sys
sys.argv = ["connrunner", "tick"]
from connrunner.__main__ import main
code = main()
unwanted = {"click", "yaml", "jsonschema", "jinja2", "dateutil", "duckdb", "filelock", "json", "re", "datetime", "dataclasses",
            "typing", "subprocess", "logging", "connrunner.scheduler.tick", "connrunner.core"}
print(code, sorted(unwanted & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=place.folder, capture_output=True, text=True, check=True
    )

    assert done.stdout == "0 []\n", done.stderr


def _renamed_over(path: Path) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(path.read_bytes())
    beside.rename(path)


def _swapped(folder: Path) -> None:
    shutil.copytree(folder, folder.with_suffix(".new"), symlinks=True)
    folder.rename(folder.with_suffix(".old"))
    folder.with_suffix(".new").rename(folder)


NOISES: list[tuple[str, Callable[[Place], object]]] = [
    ("a new file", lambda place: place.command("more", HELLO)),
    ("an edit in place", lambda place: _append(place.folder / "profile.yaml")),
    ("an edit that keeps size and time", lambda place: _same_size_and_time(place.folder / "profile.yaml")),
    ("a new folder", lambda place: (place.folder / "connections" / "more").mkdir()),
    ("a file renamed over another", lambda place: _renamed_over(place.folder / "profile.yaml")),
    ("an edit behind a link", lambda place: _append(place.folder / "elsewhere.yaml")),
    ("a folder of the same names", lambda place: _swapped(place.folder / "connections")),
    ("a deleted file", lambda place: (place.folder / "profile.yaml").unlink()),
    ("a request", lambda place: place.run("run", "hello", "--detach")),
    ("a journal that grew", lambda place: _append(place.state.journal)),
    ("a damaged note", lambda place: (place.state.compiled / "quiet").write_bytes(b"\xe9garbage")),
    ("an empty note", lambda place: (place.state.compiled / "quiet").write_bytes(b"")),
]


def _append(path: Path) -> None:
    with path.open("a") as file:
        file.write("\n")


def _same_size_and_time(path: Path) -> None:
    before = path.stat()
    path.write_text(path.read_text().replace("age", "AGE").replace("AGE", "eag"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.usefixtures("settled")
def test_a_tick_is_quiet_only_while_nothing_changed(make_place: Callable[[str], Place]) -> None:
    from connrunner.scheduler import idle

    places = {name: make_place(name) for name, _ in NOISES}
    for place in places.values():
        place.command("hello", HELLO, schedule=not_today())
        (place.folder / "connections" / "nowhere.yaml").symlink_to("nothing")
        (place.folder / "elsewhere.yaml").write_bytes((place.folder / "connections" / "hello.yaml").read_bytes())
        (place.folder / "connections" / "linked\nand odd.yaml").symlink_to("../elsewhere.yaml")
    heard = {}
    for name, noise in NOISES:
        place = places[name]
        place.run("tick")
        arguments = ["--workspace", str(place.folder)]
        assert idle.nothing_to_do(arguments)
        noise(place)
        heard[name] = not idle.nothing_to_do(arguments)

    assert heard == dict.fromkeys(heard, True)


def test_a_tick_is_not_quiet_while_a_file_is_young(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may change again without a new time stamp."""
    from connrunner.config import stamps
    from connrunner.scheduler import idle

    place.command("hello", HELLO, schedule=not_today())
    changed = max(stamps.stamps(place.folder).values()) / 1e9
    for age, is_quiet in ((1.9, False), (2.1, True)):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda age=age: changed + age)
            place.run("tick")
            assert idle.nothing_to_do(["--workspace", str(place.folder)]) is is_quiet


@pytest.mark.usefixtures("settled")
def test_every_tick_that_looked_leaves_its_time(place: Place) -> None:
    from connrunner.scheduler import idle
    from connrunner.scheduler.tick import Tick

    place.command("hello", HELLO, schedule=not_today())
    root, at = str(place.state.root), datetime.now(UTC) - timedelta(hours=1)
    tick = Tick(place.folder, place.state, now=at, say=lambda _: None)
    tick.take_in(due=False)  # `run` looks after one connection only
    assert idle.find_last_look(root) is None
    tick.take_in()
    looked = idle.find_last_look(root)
    assert looked is not None
    assert at.timestamp() <= looked < at.timestamp() + 3600

    tick = Tick(place.folder, place.state, say=lambda _: None)  # one by a made-up clock is never quiet
    tick.take_in()
    tick.settle()
    idle.note_look(root, 1)
    clock = place.write("clock", "")  # of the file system
    clock.touch()
    before = clock.stat().st_mtime
    assert idle.nothing_to_do(["--workspace", str(place.folder)])
    clock.touch()
    looked = idle.find_last_look(root)
    assert looked is not None
    assert before <= looked <= clock.stat().st_mtime


@pytest.mark.usefixtures("settled")
def test_a_quiet_tick_wakes_when_something_is_due(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.command("hello", HELLO, schedule=not_today())
    place.run("tick")
    from connrunner.scheduler import idle

    arguments = [f"--workspace={place.folder}"]
    promise = next(iter(place.journal()[-1]["promises"].values()))["next_due"]
    due = time.mktime(time.strptime(promise, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    monkeypatch.setattr(time, "time", lambda: due - 0.1)
    assert idle.nothing_to_do(arguments)
    monkeypatch.setattr(time, "time", lambda: due)
    assert not idle.nothing_to_do(arguments)
    monkeypatch.setattr(time, "time", lambda: 1.0)  # the clock went back to before the note
    assert not idle.nothing_to_do(arguments)


def test_run_now_moves_no_slot_and_watches_its_run(place: Place) -> None:
    place.command("hello", HELLO, schedule=not_today())
    place.run("tick")

    def promised() -> list[tuple[str, str]]:
        coming = json.loads(place.run("status", "--format", "json").out)["next"]
        return [(one["connection"], one["due_at"]) for one in coming]

    before = promised()

    said = place.run("run", "hello")

    assert "hello #1: started" in said.err
    assert "succeeded" in said.out
    assert place.runs("hello")[0]["trigger"] == "manual"
    assert promised() == before


@pytest.mark.usefixtures("settled")
def test_a_run_now_does_not_make_ticks_blind_to_new_files(place: Place) -> None:
    place.command("hello", HELLO)
    place.command("new", HELLO, schedule="{type: times_per_day, times: 1}")

    place.run("run", "hello")
    place.run("tick")

    assert [run["run"] for run in place.runs("new")] == [1]


@pytest.mark.usefixtures("settled")
@pytest.mark.thorough
def test_a_file_that_appears_while_a_run_works_is_planned_by_the_next_tick(place: Place) -> None:
    waiter = Waiter(place, "long")

    def meanwhile() -> None:
        eventually(waiter.runs)
        place.command("new", HELLO, schedule="{type: times_per_day, times: 1}")
        waiter.go()

    with ThreadPoolExecutor() as threads:
        done = threads.submit(meanwhile)
        place.run("tick")
        done.result()

    place.run("tick")

    assert [run["run"] for run in place.runs("new")] == [1]


@pytest.mark.thorough
def test_run_now_waits_behind_what_runs(place: Place) -> None:
    waiter = Waiter(place, "long")
    place.command("hello", HELLO)
    tick = place.start("tick")
    eventually(waiter.runs)

    run = place.start("run", "hello", "--format", "json")
    eventually(lambda: json.loads(place.run("status", "--format", "json").out)["waiting"] != [])
    waiter.go()
    out, err = run.communicate(timeout=120)
    tick.communicate(timeout=120)

    assert (run.returncode, json.loads(out)["outcome"]) == (0, "succeeded")
    assert "lane main is busy: long #1" in err


def test_run_starts_nothing_but_what_was_asked_for(place: Place) -> None:
    place.command("hello", HELLO)
    place.command("due", HELLO, schedule="{type: times_per_day, times: 1}")

    place.run("run", "hello")

    assert place.runs("due") == []


def test_a_detached_run_is_started_by_the_next_tick(place: Place) -> None:
    place.command("hello", HELLO)

    place.run("run", "hello", "--detach")
    place.run("run", "hello", "--detach")
    place.run("tick")

    assert [(run["run"], run["merged"]) for run in place.runs("hello")] == [(1, 1)]


def test_secrets_of_a_program_reach_no_output(place: Place) -> None:
    """[P10] In plain text and in base64, in its output and in its failure."""
    program = "import os, base64, sys; s = os.environ['API_KEY']; print(s); print(base64.b64encode(s.encode()).decode()); sys.exit(s)"
    run = json.dumps([sys.executable, "-c", program])
    place.write(
        "connections/leak.yaml",
        f'schedule: {{type: manual}}\ncommand: {{run: {run}, env: {{API_KEY: "env:LEAK_KEY"}}}}\n',
    )

    said = place.run("run", "leak", check=1, env={"LEAK_KEY": "correct-horse-battery"})

    everything = said.out + said.err + place.run("log", "leak").out
    everything += "".join(path.read_text() for path in place.state.root.rglob("*.jsonl"))
    assert "***" in everything
    assert "correct-horse" not in everything
    assert "Y29ycmVjdC1ob3JzZS" not in everything


def test_tick_tells_a_program_in_json(place: Place) -> None:
    place.command("hello", HELLO, schedule="{type: times_per_day, times: 1}")

    events = [json.loads(line) for line in place.run("tick", "--format", "json").out.splitlines()]

    assert [event["event"] for event in events] == ["queued", "started", "ended"]
    assert events[-1]["outcome"] == "succeeded"


def git(place: Place, *arguments: str) -> str:
    settings = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    done = subprocess.run(["git", *settings, *arguments], cwd=place.folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.usefixtures("settled")
def test_ticks_obey_the_commit_are_quiet_and_see_a_new_one(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\nsource: git\n")
    place.write(".gitignore", ".connrunner/\n")
    place.command("hello", HELLO, schedule="{type: times_per_day, times: 1}")
    git(place, "init", "-q")
    git(place, "add", "--all")
    git(place, "commit", "-q", "--message", "first")
    place.command("new", HELLO, schedule="{type: times_per_day, times: 1}")
    place.run("tick")
    assert [run["commit"] for run in place.runs("hello")] == [git(place, "rev-parse", "HEAD")]
    assert place.run("runs", "new", check=2)
    from connrunner.scheduler import idle

    arguments = ["--workspace", str(place.folder)]
    place.run("tick")
    assert idle.nothing_to_do(arguments)
    assert "1 file differs from commit" in place.run("status").out
    assert json.loads(place.run("status", "--format", "json").out)["uncommitted"] == ["connections/new.yaml"]
    assert "1 file differs from commit" in place.run("validate").err

    git(place, "add", "--all")
    git(place, "commit", "-q", "--message", "second")

    assert not idle.nothing_to_do(arguments)
    place.run("tick")
    assert [run["commit"] for run in place.runs("new")] == [git(place, "rev-parse", "HEAD")]


def test_a_broken_repository_is_told_once_and_stops_nothing(place: Place) -> None:
    place.write("connrunner.yaml", "version: 1\nsource: git\n")
    place.command("hello", HELLO, schedule=DAILY)
    git(place, "init", "-q")
    git(place, "add", "--all")
    git(place, "commit", "-q", "--message", "first")
    place.run("tick", "--now", "2026-11-21T05:00:00Z")
    (place.folder / ".git/HEAD").write_text("")

    said = place.run("tick", "--now", "2026-11-21T05:01:00Z")
    again = place.run("tick", "--now", "2026-11-21T06:00:00Z")

    assert said.err.count("\n") == 1
    assert "the last good version of the workspace goes on for a day: " in said.err
    assert again.err == ""
    assert [run["outcome"] for run in place.runs("hello")] == ["succeeded"]
    status = place.run("status", "--now", "2026-11-21T06:01:00Z").out
    assert "the last good version of the workspace is in use" in status
