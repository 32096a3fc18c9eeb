"""What a tick costs: with nothing to do, after an edit, for the first time, and with runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from benchmarks import workspaces
from benchmarks.laboratory import Figure, Laboratory, Measured, Row

SUBJECT = "Ticks"
YACRON, APSCHEDULER = "yacron==0.19.0", "APScheduler==3.11.3"
# What the peers do before they can say that nothing is due: yacron reads its file, APScheduler is given its jobs.
YACRON_JOB = '  - name: c{number:05}\n    command: /bin/true\n    schedule: "{minute} {hour} * * 1,5"\n'
GIVE_JOBS = """
import sys
from apscheduler.schedulers.background import BackgroundScheduler
scheduler = BackgroundScheduler(timezone="Europe/Amsterdam")
for number in range(int(sys.argv[1])):
    scheduler.add_job(print, "cron", day_of_week="mon,fri", hour=number % 24, minute=number % 60, id=str(number))
scheduler.start()
scheduler.shutdown()
"""
# Where a goal is not reached: what takes it, and what would go further.
OF_AN_EDIT = (
    "of it, in x: 6 what a tick imports, 7 the journal with 10,000 promises, which is read whole, 7 two looks at each file"
    " (before the reading and after it, so that no checkout is taken half), 8 reading and writing the cache, 4 comparing"
    " each schedule with its promise, 2 the look of a quiet tick; an index of the promises beside the journal would go"
    " further"
)
OF_A_COMMIT = "as for one file edited, but git says what changed, and a hundred files are parsed"
OF_A_RUN = "two processes, the tick and the worker, each of which imports 5x before it does anything"
OF_MANY_RUNS = (
    "each run is a process that imports what a worker needs, starts `true`, and makes its intent, its log and its end"
    " durable"
)
FLOOR = "import os, sys\nos.chdir(sys.argv[1])\nfor name in open(sys.argv[2]).read().split():\n    os.stat(name)"


def quiet(count: int, laboratory: Laboratory, *, source: str = "folder") -> Measured:
    """A tick that finds nothing to do, beside a Python that looks at the same files and does nothing else."""
    folder = prepared(laboratory, count, source=source)
    ours = laboratory.ratios([laboratory.connrunner, "tick"], folder)
    if source == "git":
        return Measured(ours=ours)
    names = laboratory.folder / f"names-{count}"
    names.write_text("\n".join(sorted(path.name for path in (folder / "connections").iterdir())))
    floor = [laboratory.python, "-I", "-S", "-c", FLOOR, str(folder / "connections"), str(names)]
    peers = of_peers(count, laboratory) if count == 1000 else {}
    return Measured(
        ours=ours,
        peers=peers,
        limits={"Python that looks at each file once": laboratory.ratios(floor, folder, rounds=9)},
    )


def of_peers(count: int, laboratory: Laboratory) -> dict[str, list[Figure]]:
    """What peers take until they know that none of *count* jobs is due."""
    python = laboratory.peer(YACRON, APSCHEDULER)
    table = laboratory.folder / "yacron.yaml"
    jobs = (YACRON_JOB.format(number=number, minute=number % 60, hour=number % 24) for number in range(count))
    table.write_text("jobs:\n" + "".join(jobs))
    yacron = [str(Path(python).with_name("yacron")), "-v", "-c", str(table)]
    return {
        YACRON.replace("==", " "): laboratory.ratios(yacron, rounds=3),
        APSCHEDULER.replace("==", " "): laboratory.ratios([python, "-c", GIVE_JOBS, str(count)], rounds=9),
    }


def edited(count: int, laboratory: Laboratory) -> Measured:
    """A tick that finds one file changed, which says another time now."""
    folder = prepared(laboratory, count)
    numbers = iter(range(10**6))
    workspaces.settle()
    figures = laboratory.ratios(
        [laboratory.connrunner, "tick"],
        folder,
        before=lambda: workspaces.edit(folder, next(numbers) % count),
        rounds=min(laboratory.rounds, 15),
    )
    return Measured(ours=figures, note=OF_AN_EDIT if count > 1000 else "")


def committed(laboratory: Laboratory) -> Measured:
    """A tick that finds a new commit, in which 100 files of 10,000 differ."""
    folder = prepared(laboratory, 10_000, source="git")
    starts = iter(range(0, 10_000, 100))

    def commit_hundred() -> None:
        start = next(starts)
        for number in range(start, start + 100):
            workspaces.edit(folder, number)
        workspaces.commit(folder)

    figures = laboratory.ratios([laboratory.connrunner, "tick"], folder, before=commit_hundred, rounds=7)
    return Measured(ours=figures, note=OF_A_COMMIT)


def first(count: int, laboratory: Laboratory) -> Measured:
    """The first tick of a workspace: every file is read and checked, every promise is made."""
    folder = workspace(laboratory, count)
    found = []
    for _ in range(3 if count <= 10_000 else 1):
        shutil.rmtree(folder / ".connrunner", ignore_errors=True)
        found.append(laboratory.measure([laboratory.connrunner, "tick"], folder))
    return Measured(
        ours=[
            Figure("s", tuple(cost.cpu for cost in found)),
            Figure("MiB", (max(cost.mib for cost in found),)),
        ]
    )


def one_run(laboratory: Laboratory) -> Measured:
    """One connection that is due: the tick that records it, runs `true`, and records its end."""
    folder = laboratory.folder / "one-run"
    (folder / "connections").mkdir(parents=True)
    (folder / "connrunner.yaml").write_text(workspaces.SETTINGS)
    every_minute = workspaces.connection(0, "{type: times_per_day, times: 1440}")
    (folder / "connections" / "c00000.yaml").write_text(every_minute)
    workspaces.settle()
    ago = datetime.now(UTC) - timedelta(minutes=3)
    laboratory.measure([laboratory.connrunner, "tick", "--now", f"{ago:%Y-%m-%dT%H:%M:%SZ}"], folder)
    shutil.copytree(folder / ".connrunner", folder / "kept")
    figures = laboratory.ratios([laboratory.connrunner, "tick"], folder, before=partial(restore, folder))
    assert len((folder / ".connrunner" / "runs" / "c00000" / "history.jsonl").read_text().splitlines()) == 2
    return Measured(ours=figures, note=OF_A_RUN)


def hundred(laboratory: Laboratory) -> Measured:
    """100 connections of one lane that are due at once, beside 100 times the start of a worker."""
    folder, at = night(laboratory, 100)
    command = [laboratory.connrunner, "tick", "--now", at]
    ours = laboratory.ratios(command, folder, before=partial(restore, folder), rounds=3)
    worker = laboratory.ratios([laboratory.python, "-P", "-c", "import connrunner.worker.process"], folder, rounds=9)
    starts = Figure("x", tuple(100 * value for value in worker[0].values))
    return Measured(ours=ours, limits={"100 imports of what a worker needs": [starts]}, note=OF_MANY_RUNS)


def wave(laboratory: Laboratory) -> Measured:
    """500 connections over 8 lanes that are due at 01:30, `true` each."""
    folder, at = night(laboratory, 500, lanes=8)
    restore(folder)
    cost = laboratory.measure([laboratory.connrunner, "tick", "--now", at], folder)
    ran = sum(1 for _ in (folder / ".connrunner" / "runs").glob("*/history.jsonl"))
    assert ran == 500, f"{ran} ran"
    starts = Figure("runs a second", (500 / cost.wall,))
    return Measured(ours=[Figure("s wall", (cost.wall,)), Figure("s", (cost.cpu,)), Figure("MiB", (cost.mib,)), starts])


def workspace(laboratory: Laboratory, count: int, *, source: str = "folder") -> Path:
    """Return the workspace of *count* connections, made once."""
    folder = laboratory.folder / f"{source}-{count}"
    return folder if folder.exists() else workspaces.write_mixed(folder, count, source=source)


def prepared(laboratory: Laboratory, count: int, *, source: str = "folder") -> Path:
    """Return the workspace of *count* connections, in which a tick finds nothing to do."""
    folder = workspace(laboratory, count, source=source)
    laboratory.measure([laboratory.connrunner, "tick"], folder)
    workspaces.settle()
    laboratory.measure([laboratory.connrunner, "tick"], folder)
    return folder


def night(laboratory: Laboratory, count: int, *, lanes: int = 1) -> tuple[Path, str]:
    """Return a workspace whose *count* connections were seen a minute before they are due, and when they are."""
    folder = laboratory.folder / f"night-{count}-{lanes}"
    before, at = workspaces.NIGHT
    if not folder.exists():
        workspaces.write_night(folder, count, lanes=lanes)
        workspaces.settle()
        laboratory.measure([laboratory.connrunner, "tick", "--now", before], folder)
        shutil.copytree(folder / ".connrunner", folder / "kept")
    return folder, at


def restore(folder: Path) -> None:
    """Let the state of *folder* be what it was before anything was due."""
    state = folder / ".connrunner"
    for path in (state / "runs", state / "journal.jsonl", state / "decisions"):
        shutil.rmtree(path, ignore_errors=True)
    for path in (folder / "kept").iterdir():
        if path.name in ("runs", "journal.jsonl", "last-tick"):
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, state / path.name)


ROWS: Sequence[Row] = (
    Row(subject=SUBJECT, what="quiet tick of 100 connections", goal="<= 1.15x, 12 MiB", measure=partial(quiet, 100)),
    Row(subject=SUBJECT, what="quiet tick of 1,000", goal="<= 1.3x, 12 MiB", measure=partial(quiet, 1_000)),
    Row(subject=SUBJECT, what="quiet tick of 10,000", goal="<= 2.8x, 12 MiB", measure=partial(quiet, 10_000)),
    Row(
        subject=SUBJECT,
        what="quiet tick of 100, `source: git`",
        goal="<= 1.15x",
        measure=partial(quiet, 100, source="git"),
    ),
    Row(
        subject=SUBJECT,
        what="quiet tick of 10,000, `source: git`",
        goal="<= 1.15x",
        measure=partial(quiet, 10_000, source="git"),
    ),
    Row(
        subject=SUBJECT,
        what="quiet tick of 100,000, `source: git`",
        goal="<= 1.15x",
        measure=partial(quiet, 100_000, source="git"),
        long=True,
    ),
    Row(subject=SUBJECT, what="one file edited of 100", goal="<= 10x", measure=partial(edited, 100)),
    Row(subject=SUBJECT, what="one file edited of 10,000", goal="<= 10x", measure=partial(edited, 10_000)),
    Row(subject=SUBJECT, what="a commit that touches 100 of 10,000", goal="<= 15x", measure=committed),
    Row(subject=SUBJECT, what="first tick of 10,000", goal="<= 1.5 s, 60 MiB", measure=partial(first, 10_000)),
    Row(
        subject=SUBJECT,
        what="first tick of 100,000",
        goal="<= 16 s, 250 MiB",
        measure=partial(first, 100_000),
        long=True,
    ),
    Row(subject=SUBJECT, what="a run of `true`, from due to its durable end", goal="<= 12x", measure=one_run),
    Row(
        subject=SUBJECT,
        what="100 due at once in one lane",
        goal="<= 3 quiet ticks and 100 starts of a worker",
        measure=hundred,
    ),
    Row(subject=SUBJECT, what="500 due at 01:30 over 8 lanes", goal="limited by processors", measure=wave, long=True),
)
