"""Measure the rows of the table, print them, and write docs/performance.md.

    python -m benchmarks [WORD ...] [--long] [--rounds N] [--print]

Of the rows, those whose subject or name has one of the WORDs; all without any. What is not measured now stays in the
page as it was measured last, with its date. --long measures those that take long, too; --print writes nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.laboratory import ROOT, ROUNDS, Figure, Laboratory, Measured, Row

# Each has ROWS: add a module here, or a row there.
MODULES = ("ticks", "commands", "histories", "rows")
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
HEAD = """# Performance

Written by `make bench`, which measures all of this on your machine; do not edit. What is measured is whole processes, from
their start to their end. **x** is the CPU (user and system) of one of them as a multiple of that of `python -c pass` of
the same interpreter; the two take turns, and the median of the ratios counts, with the least and the greatest in
brackets. So the figures say more about the program than about the machine. A *peer* does the same work in the same
run; a *limit* is what no program can beat: the system calls or the read alone.

**x DuckDB** is the CPU of one of our processes as a multiple of that of DuckDB by itself, which reads the same file into
a table of texts and checks nothing, or copies the same profiles to a file; each process has its own start in it. Of the
people in a file of 1,000,000 (12 columns, 113 to 124 MB), 70 % change nothing, 20 % one value, 8 % are new and 2 % have a
flaw; in a daily file 5 % of those that are stored have one value changed. A machine with other work makes seconds of
these rows longer, and ratios less so.
"""


def rows() -> list[Row]:
    return [row for module in MODULES for row in importlib.import_module(f"benchmarks.{module}").ROWS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--print", action="store_true", dest="only_print")
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with Laboratory(rounds=arguments.rounds) as laboratory:
        for row in chosen(arguments.words, long=arguments.long):
            began = time.monotonic()
            result = as_result(row.measure(laboratory))
            print(
                f"{row.subject}: {row.what} (goal {row.goal}): {cells(result)} [{time.monotonic() - began:.0f} s]",
                flush=True,
            )
            results[row.what] = result
            if not arguments.only_print:
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    if not arguments.only_print:
        PAGE.write_text(page(results))


def chosen(words: Iterable[str], *, long: bool) -> list[Row]:
    """Return the rows that one of *words* names; long ones only with *long*, or when named whole."""
    wanted = list(words)
    return [
        row
        for row in rows()
        if (long or not row.long or row.what in wanted)
        and (not wanted or any(word in f"{row.subject}: {row.what}" for word in wanted))
    ]


def as_result(measured: Measured) -> dict[str, Any]:
    """Return *measured* with when and where, as the results keep it."""
    return {**asdict(measured), "at": f"{datetime.now(UTC):%Y-%m-%d}", "with": surroundings()}


def surroundings() -> str:
    """Return what the figures depend on, in one line."""
    from connrunner import __version__

    names = [line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    version = f"connrunner {__version__}" + (f" ({git.stdout.strip()})" if git.returncode == 0 else "")
    machine = f"{len(names)} x {names[0]}" if names else platform.machine()
    kernel = platform.release().partition("-")[0]
    return f"{version}, Python {platform.python_version()}, Linux {kernel}, {machine}, {memory >> 20} GiB"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def cells(result: dict[str, Any]) -> str:
    """Return ours, the peers and the limits of *result*, divided by bars."""
    named = [
        "; ".join(f"{name}: {_figures(found)}" for name, found in result[kind].items()) for kind in ("peers", "limits")
    ]
    return " | ".join([_figures(result["ours"]), *(words or "-" for words in named)])


def _figures(found: Iterable[dict[str, Any]]) -> str:
    return ", ".join(Figure(one["unit"], tuple(one["values"])).text() for one in found)


def page(results: dict[str, Any]) -> str:
    """Return the page of all rows that were measured ever."""
    parts = [HEAD]
    known = rows()
    settings = list(
        dict.fromkeys((results[row.what]["at"], results[row.what]["with"]) for row in known if row.what in results)
    )
    for subject in dict.fromkeys(row.subject for row in known):
        lines = [
            f"## {subject}",
            "",
            "| what | goal | connrunner | peers | limits | measured |",
            "|---|---|---|---|---|---|",
        ]
        notes = []
        for row in known:
            if row.subject == subject and (result := results.get(row.what)):
                number = settings.index((result["at"], result["with"])) + 1
                lines.append(f"| {row.what} | {row.goal} | {cells(result)} | {number} |")
                notes += [f"- {row.what}: {text}" for text in (result["note"], row.why) if text]
        parts.append("\n".join([*lines, *([""] if notes else []), *notes]) + "\n")
    where = [f"{number}. {at}: {surrounding}" for number, (at, surrounding) in enumerate(settings, 1)]
    parts.append("## When and where\n\nThe last column says which of these.\n\n" + "\n".join(where) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
