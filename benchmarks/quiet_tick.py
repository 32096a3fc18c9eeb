"""How much does a tick cost that finds nothing to do, beside starting Python, and one that finds a file edited?

    python benchmarks/quiet_tick.py [CONNECTIONS ...]      (default: 100 1000 10000)

CPU seconds of whole processes, medians of runs that take turns; ratios to `python -c pass` are what to compare.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROUNDS = 9
KINDS = (
    '{{type: days_of_week, days: [monday, friday], time: "{hour:02}:{minute:02}"}}',
    '{{type: day_of_month, day: {day}, time: "{hour:02}:{minute:02}"}}',
    '{{type: weekday_of_month, week: second, weekday: tuesday, time: "{hour:02}:{minute:02}", timezone: America/New_York}}',
    "{{type: manual}}",
)


def make(folder: Path, count: int) -> None:
    """Write a workspace of *count* connections, none of them due soon."""
    (folder / "connections").mkdir(parents=True)
    (folder / "connrunner.yaml").write_text("version: 1\ntimezone: Europe/Amsterdam\n")
    for number in range(count):
        schedule = KINDS[number % len(KINDS)].format(hour=number % 24, minute=number % 60, day=number % 28 + 1)
        text = f'title: Connection {number}\nowner: data-team\nschedule: {schedule}\ncommand: {{run: ["true"]}}\n'
        (folder / "connections" / f"c{number:05}.yaml").write_text(text)


def measure(command: Sequence[str], folder: Path) -> tuple[float, float, float]:
    """Return the CPU and wall seconds and the peak MiB of one process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    counts = [int(argument) for argument in sys.argv[1:]] or [100, 1000, 10000]
    python = [sys.executable, "-c", "pass"]
    tick = [str(Path(sys.executable).with_name("connrunner")), "tick"]
    print(f"{'':34}{'cpu s':>9}{'x python':>10}{'wall s':>9}{'MiB':>7}")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "workspace"
            make(folder, count)
            first = measure(tick, folder)
            time.sleep(2.1)  # files younger than two seconds are not believed
            measure(tick, folder)
            pairs = [(measure(python, folder), measure(tick, folder)) for _ in range(ROUNDS)]
            base = statistics.median(pair[0][0] for pair in pairs)
            edits = []
            for number in range(3):
                with (folder / "connections" / f"c{number:05}.yaml").open("a") as file:
                    file.write("# an edit\n")
                edits.append(measure(tick, folder))
        show(f"{count:,} connections, first tick", [first], base)
        show(f"{count:,} connections, nothing to do", [pair[1] for pair in pairs], base)
        show(f"{count:,} connections, one edited", edits, base)
    show("python -c pass", [pair[0] for pair in pairs], base)


def show(what: str, figures: list[tuple[float, float, float]], base: float) -> None:
    """Print the medians of *figures*, and their CPU as a ratio to *base*."""
    cpu, wall, peak = (statistics.median(column) for column in zip(*figures, strict=True))
    print(f"{what:34}{cpu:9.3f}{cpu / base:10.2f}{wall:9.3f}{peak:7.1f}")


if __name__ == "__main__":
    main()
