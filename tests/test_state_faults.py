"""A disk that is full, read-only or broken, and a kernel without locks: nothing starts that cannot be recorded."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Place

pytestmark = [pytest.mark.slow, pytest.mark.long]

DAILY = '{type: days_of_week, days: [saturday], time: "06:00", timezone: UTC}'
BEFORE, DUE, LATER = "2026-11-21T05:00:00Z", "2026-11-21T06:00:00Z", "2026-11-21T06:10:00Z"
STRACE = shutil.which("strace")
TICK = [sys.executable, "-P", "-m", "connrunner", "tick", "--now", DUE]

needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not there")
needs_mounts = pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode != 0
    if shutil.which("unshare")
    else True,
    reason="this system makes no mount namespaces",
)


@pytest.fixture
def due(place: Place) -> Place:
    """A workspace whose connection `job` is due at `DUE`; it notes each start."""
    place.command("job", f"open({str(place.folder / 'starts')!r}, 'a').write('x')", schedule=DAILY)
    place.run("tick", "--now", BEFORE)
    return place


def starts(place: Place) -> int:
    path = place.folder / "starts"
    return len(path.read_text()) if path.exists() else 0


def check_told(done: subprocess.CompletedProcess[str]) -> None:
    """One line, with the file and the reason, and no traceback."""
    assert done.returncode in (0, 74, 75), (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    assert "bug" not in done.stderr, done.stderr
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, done.stderr


def check_books(place: Place) -> None:
    """Every slot once, every run ended once, and nothing ran that is not recorded."""
    records = place.journal()
    slots = [
        (slot["connection"], slot["due_at"], slot["result"]) for record in records for slot in record.get("slots", ())
    ]
    assert max(Counter((name, at) for name, at, _ in slots).values()) == 1, slots
    began = [record["run"] for record in records if record["type"] == "started"]
    ended = Counter(record["run"]["run"] for record in records if record["type"] == "ended")
    assert set(began) <= set(ended), records
    assert set(ended.values()) <= {1}
    assert starts(place) <= len(began)
    runs = place.runs("job")
    assert len({run["run"] for run in runs}) == len(runs) == len(ended)
    assert len(runs) == 1, runs  # the one slot that was due


# --- every call that changes the state, failed once --------------------------------------------------------------

ERRORS = [
    # the call, what it says
    ("write", "ENOSPC"),
    ("write", "EIO"),
    ("fdatasync", "EIO"),
    ("fsync", "EIO"),
    ("openat", "EROFS"),
    ("openat", "ENOSPC"),
    ("mkdir", "ENOSPC"),
    ("flock", "ENOSYS"),
    ("flock", "EIO"),
    ("unlink", "EIO"),
]
MOST = 100


@needs_strace
@pytest.mark.parametrize(("call", "error"), ERRORS)
def test_each_call_that_fails_once_is_told_and_loses_nothing(
    place: Place, tmp_path: Path, call: str, error: str
) -> None:
    template = Place(tmp_path / "template")
    template.write("connrunner.yaml", "version: 1\n")
    template.command("job", "open('starts', 'a').write('x')", schedule=DAILY)
    template.run("tick", "--now", BEFORE)
    tried = 0
    for number in range(1, MOST):
        here = Place(shutil.copytree(template.folder, tmp_path / str(number)))
        state = here.state
        paths = [state.root, state.journal, state.locks / "state", state.locks / "lane-main", state.connection("job")]
        paths += [state.history("job"), state.run("job", 1), state.run("job", 1) / "worker.txt"]
        log = tmp_path / "strace"
        done = subprocess.run(
            [str(STRACE), "-qq", "-o", str(log), "-e", f"trace={call}"]
            + ["-e", f"inject={call}:error={error}:when={number}"]
            + [part for path in paths for part in ("-P", str(path))]
            + TICK,
            cwd=here.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        hit = "(INJECTED)" in log.read_text()
        check_told(done)
        here.run("tick", "--now", LATER)
        check_books(here)
        if not hit:
            break
        tried += 1
        shutil.rmtree(here.folder)
    assert 0 < tried < MOST - 1, f"tick calls {call} {tried} times"


# --- disks ---------------------------------------------------------------------------------------------------------


def on_a_disk(place: Place, options: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run *script*, a text of the shell, with the state on a disk of its own; `$tick` does a tick."""
    (place.folder / "disk").mkdir(mode=0o700)
    tick = f"{sys.executable} -P -m connrunner tick --state {place.folder}/disk --now"
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs -o mode=700,{options} none disk\ntick='{tick}'\n{script}"],
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def disk(place: Place) -> Place:
    place.command("job", f"open({str(place.folder / 'starts')!r}, 'a').write('x')", schedule=DAILY)
    return place


@needs_mounts
def test_a_small_disk_starts_nothing(disk: Place) -> None:
    done = on_a_disk(disk, "size=4m", f"$tick {BEFORE}; $tick {DUE}; echo code $?")
    assert "code 74" in done.stdout
    assert "KiB are free on the file system" in done.stderr
    assert "Traceback" not in done.stderr
    assert starts(disk) == 0


@needs_mounts
def test_a_disk_that_fills_up_is_told_and_the_next_tick_goes_on(disk: Place) -> None:
    script = f"""
$tick {BEFORE}
dd if=/dev/zero of=disk/filler bs=1k 2>/dev/null
$tick {DUE}; echo code $?
rm disk/filler
$tick {DUE}; echo code $?
cp -r disk copy
"""
    done = on_a_disk(disk, "size=40m", script)
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 74", "code 0"], done
    full = r"error: the state cannot be written: \S+: No space left on device \(ENOSPC\)"
    assert re.search(rf"{full}|error: only 0 KiB are free on the file system", done.stderr), done
    assert "Traceback" not in done.stderr
    assert starts(disk) == 1


@needs_mounts
def test_a_run_that_fills_the_disk_has_one_end(disk: Place) -> None:
    fill = f"""
open({str(disk.folder / "starts")!r}, "a").write("x")
with open({str(disk.folder / "disk/filler")!r}, "wb", buffering=0) as file:
    try:
        while True: file.write(bytes(4096))
    except OSError: pass
print("full")
"""
    disk.command("job", fill, schedule=DAILY)
    script = f"""
$tick {BEFORE}
$tick {DUE}; echo code $?
rm disk/filler
$tick {LATER}; echo code $?
cat disk/journal.jsonl
"""
    done = on_a_disk(disk, "size=40m", script)
    assert "Traceback" not in done.stderr
    codes = [line for line in done.stdout.splitlines() if line.startswith("code")]
    assert codes in (["code 74", "code 0"], ["code 0", "code 0"]), done
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert Counter(record["type"] for record in records)["ended"] == 1, records
    assert starts(disk) == 1


@needs_mounts
@pytest.mark.parametrize(("status", "outcome"), [(0, "succeeded"), (3, "failed")])
def test_a_run_ends_as_its_program_does_whatever_room_there_is(disk: Place, status: int, outcome: str) -> None:
    """The program fills the disk to the last byte, and then the tick has gone, as when a machine restarts."""
    fill = f"""
import os, sys
disk = os.open({str(disk.folder / "disk/filler")!r}, os.O_WRONLY | os.O_CREAT)
def fill():
    try:
        while True: os.write(disk, bytes(4096))
    except OSError: pass
fill()
for line in range(2000): print("line", line, "x" * 100)
print(flush=True)
fill()
sys.exit({status})
"""
    disk.command("job", fill, schedule=DAILY)
    script = f"""
$tick {BEFORE}
$tick {DUE}; echo code $?
rm disk/filler
$tick {LATER}; echo code $?
ls disk/spool
cat disk/runs/job/1/log.jsonl disk/runs/job/history.jsonl
"""
    done = on_a_disk(disk, "size=40m", script)
    assert "Traceback" not in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    history = lines[-1]
    assert (history["outcome"], history["exit_status"]) == (outcome, status), history
    assert lines[-2]["outcome"] == outcome, "the log ends with the end"
    assert any("events could not be written: No space left" in event.get("message", "") for event in lines[:-2])
    assert ".end" not in done.stdout, "no room is kept any more"


@needs_mounts
def test_a_full_disk_is_told_by_mail_and_once(disk: Place) -> None:
    disk.write("connrunner.yaml", 'version: 1\nmail: {server: "file:post"}\n')
    fill = f"""
with open({str(disk.folder / "disk/filler")!r}, "wb", buffering=0) as file:
    try:
        while True: file.write(bytes(4096))
    except OSError: sys.exit("full")
"""
    more = "notify: [{to: [a@example.com, b@example.com], when: failure}]\n"
    disk.command("job", f"import sys{fill}", schedule=DAILY, more=more)
    script = f"""
$tick {BEFORE}
$tick {DUE}; $tick {LATER}; $tick {LATER}
df --output=avail disk; cat disk/journal.jsonl; ls disk/spool
"""
    done = on_a_disk(disk, "size=40m", script)
    assert "Traceback" not in done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert Counter(record["type"] for record in records)["ended"] == 1
    sent = [record["recipient"] for record in records if record["type"] == "delivered"]
    assert sorted(sent) == ["a@example.com", "b@example.com"]
    assert len(list((disk.folder / "post").glob("*.eml"))) == 2
    assert done.stdout.endswith("}\n"), "no room is kept any more"


@needs_mounts
def test_a_disk_without_inodes_is_told(disk: Place) -> None:
    script = f"""
$tick {BEFORE}
i=0; while true > disk/requests/filler$i; do i=$((i+1)); done 2>/dev/null
$tick {DUE}; echo code $?
rm disk/requests/filler*
$tick {DUE}; echo code $?
"""
    done = on_a_disk(disk, "size=64m,nr_inodes=40", script)
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 74", "code 0"], done
    assert "Traceback" not in done.stderr
    assert starts(disk) == 1


@needs_mounts
def test_a_disk_that_became_read_only_is_told(disk: Place) -> None:
    script = f"""
$tick {BEFORE}
mount -o remount,ro disk
$tick {DUE}; echo code $?
mount -o remount,rw disk
$tick {DUE}; echo code $?
"""
    done = on_a_disk(disk, "size=64m", script)
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 74", "code 0"], done
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr
    assert starts(disk) == 1


# --- limits of the process -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("prlimit"), reason="prlimit is not there")
@pytest.mark.parametrize(
    "limit", ["--fsize=0", "--fsize=100", "--fsize=2000", "--nofile=8", "--nofile=12", "--nofile=16"]
)
def test_a_limit_of_the_process_is_told_and_the_next_tick_goes_on(due: Place, limit: str) -> None:
    done = subprocess.run(
        ["prlimit", limit, *TICK], cwd=due.folder, capture_output=True, text=True, check=False, timeout=60
    )
    check_told(done)
    due.run("tick", "--now", LATER)
    due.run("tick", "--now", LATER)
    check_books(due)


def test_the_state_is_private_after_a_run(due: Place) -> None:
    due.run("tick", "--now", DUE)
    for path in [due.state.root, *due.state.root.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert json.loads(due.run("status", "--format", "json", "--now", DUE).out)["running"] == []


@pytest.mark.skipif(not shutil.which("prlimit"), reason="prlimit is not there")
@pytest.mark.parametrize(("status", "outcome"), [(0, "succeeded"), (3, "failed")])
def test_a_limit_of_the_size_of_files_is_as_a_full_disk(place: Place, status: int, outcome: str) -> None:
    program = f"import sys\nfor number in range(20000): print(number)\nsys.exit({status})"
    place.command("job", program, schedule=DAILY)
    place.run("tick", "--now", BEFORE)
    done = subprocess.run(
        ["prlimit", "--fsize=65536", *TICK], cwd=place.folder, capture_output=True, text=True, check=False, timeout=60
    )
    check_told(done)
    (run,) = place.runs("job")
    assert (run["outcome"], run["exit_status"]) == (outcome, status), run
    *_, warning, end = [json.loads(line) for line in place.state.log("job", 1).read_bytes().splitlines()]
    assert re.fullmatch(r"1\d,\d{3} events could not be written: File too large", warning["message"])
    assert (end["type"], end["outcome"]) == ("ended", outcome)


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT", "EFBIG"])
def test_a_log_that_takes_no_byte_costs_no_result(due: Place, error: str) -> None:
    log = due.state.log("job", 1)
    command = [str(STRACE), "-f", "-qq", "-o", "/dev/null", "-e", "trace=write", "-P", str(log)]
    done = subprocess.run(
        [*command, "-e", f"inject=write:error={error}", *TICK],
        cwd=due.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    check_told(done)
    due.run("tick", "--now", LATER)
    (run,) = due.runs("job")
    assert (run["outcome"], run["exit_status"], starts(due)) == ("succeeded", 0, 1), run
    assert list(due.state.spool.iterdir()) == []
