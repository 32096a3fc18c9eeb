"""What a question about the past costs, however long the past is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks import workspaces
from benchmarks.laboratory import Figure, Laboratory, Measured, Row

SUBJECT = "The past"
LONG, SHORT = 1_000_000, 20


def compare(arguments: Sequence[str], laboratory: Laboratory) -> Measured:
    """A command about a connection that ran a million times, and the same about one that ran twenty times."""
    long, short = past(laboratory, LONG), past(laboratory, SHORT)
    pairs = []
    for _ in range(laboratory.rounds):
        one = laboratory.measure([laboratory.connrunner, *arguments], long)
        other = laboratory.measure([laboratory.connrunner, *arguments], short)
        pairs.append((one, other))
    base = laboratory.ratios([laboratory.connrunner, *arguments], long)
    return Measured(ours=[Figure("of twenty runs", tuple(one.cpu / other.cpu for one, other in pairs)), *base])


def past(laboratory: Laboratory, runs: int) -> Path:
    """Return a workspace with one connection that ran *runs* times: really once, and copies of that run's line."""
    folder = laboratory.folder / f"past-{runs}"
    if folder.exists():
        return folder
    workspaces.write_night(folder, 1)
    for at in workspaces.NIGHT:
        laboratory.measure([laboratory.connrunner, "tick", "--now", at], folder)
    home = folder / ".connrunner" / "runs" / "c00000"
    line = json.loads((home / "history.jsonl").read_text().splitlines()[0])
    assert line["run"] == 1
    before, behind = json.dumps(line, separators=(",", ":")).split('"run":1,', 1)
    with (home / "history.jsonl").open("w") as file:
        file.writelines(f'{before}"run":{number},{behind}\n' for number in range(1, runs + 1))
    for number in (runs // 2, runs):
        (home / str(number)).mkdir(exist_ok=True)
        (home / str(number) / "log.jsonl").write_bytes((home / "1" / "log.jsonl").read_bytes())
    return folder


ROWS: Sequence[Row] = (
    Row(
        subject=SUBJECT,
        what="last 20 of 1,000,000 runs",
        goal="<= 1.1 of the last 20 of 20",
        measure=partial(compare, ["runs", "c00000"]),
        long=True,
    ),
    Row(
        subject=SUBJECT,
        what="`log` of one of 1,000,000 runs",
        goal="<= 1.1 of one of 20",
        measure=partial(compare, ["log", "c00000"]),
        long=True,
    ),
    Row(
        subject=SUBJECT,
        what="`rejects` of one of 1,000,000 runs",
        goal="<= 1.1 of one of 20",
        measure=partial(compare, ["rejects", "c00000"]),
        long=True,
    ),
)
