"""Break the rules of alerts and planning one line at a time, and see whether a test notices.

    python -m tests.mutants                 all of them, in ten minutes at most
    python -m tests.mutants --minutes 30    on a busy machine

mutmut makes the mutants as `[tool.mutmut]` in pyproject.toml says: of `connrunner/core/alerts/` and
`connrunner/core/planning/`, with the tests that start no process. mypy takes out those that the types forbid. A mutant that
no test notices is printed with its place, and fails the check, unless `mutants.toml` says why nobody could see it. Those
that the time did not reach, the slowest to test, are counted.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORK = ROOT / "mutants"  # mutmut knows no other place
UNNOTICED = ("survived", "no tests", "suspicious", "segfault")
TOO_LATE = ("not checked", "check was interrupted by user")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """A change of a line or two that no test noticed."""

    file: str
    function: str
    removed: str  # without the space around the lines
    added: str
    at: int  # about which line of the function, from 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Equivalent:
    """Mutants of one place that do what the code does, and why."""

    file: str
    function: str
    removed: str
    added: tuple[str, ...]
    why: str

    def covers(self, mutant: Mutant) -> bool:
        same = (self.file, self.function, self.removed) == (mutant.file, mutant.function, mutant.removed)
        return same and mutant.added in self.added


def parse_mutant(name: str, diff: str) -> Mutant:
    """Return the mutant that mutmut calls *name* and shows as *diff*."""
    module, _, mangled = name.partition("__mutmut_")[0].rpartition(".")
    lines = diff.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("@@"))
    body = lines[start + 1 :]
    before = next(number for number, line in enumerate(body) if line[:1] in ("-", "+"))
    removed, added = (" ".join(line[1:].strip() for line in body if line[:1] == sign) for sign in "-+")
    return Mutant(
        file=module.replace(".", "/") + ".py",
        function=mangled[2:].replace("ǁ", "."),  # x_function, xǁClassǁmethod
        removed=removed,
        added=added,
        at=int(re.findall(r"\d+", lines[start])[0]) + before,
    )


def find_line(source: str, mutant: Mutant) -> int:
    """Return the line of *source* that *mutant* changes: the one with its text that is nearest to where it should be."""
    nodes: Sequence[ast.stmt] = ast.parse(source).body
    node: ast.stmt | None = None
    for name in mutant.function.split("."):
        node = next(one for one in nodes if isinstance(one, ast.ClassDef | ast.FunctionDef) and one.name == name)
        nodes = node.body
    assert node is not None
    assert node.end_lineno is not None
    lines = source.splitlines()
    inside = range(node.lineno, node.end_lineno + 1)
    guess = node.lineno + mutant.at - 1
    same = [
        number
        for number in inside
        if lines[number - 1].strip() and mutant.removed.startswith(lines[number - 1].strip())
    ]
    return min(same, key=lambda number: abs(number - guess), default=guess)


def read_equivalents(text: str) -> tuple[Equivalent, ...]:
    """Return the mutants that nobody could see, as `mutants.toml` names them."""
    return tuple(
        Equivalent(**{**entry, "added": tuple(entry["added"])}) for entry in tomllib.loads(text).get("equivalent", ())
    )


def judge(
    survivors: Sequence[Mutant], known: Sequence[Equivalent], *, complete: bool
) -> tuple[list[Mutant], list[Equivalent]]:
    """Return the survivors that nothing explains, and the entries that are about none of them, when all were tried."""
    unexplained = [one for one in survivors if not any(each.covers(one) for each in known)]
    stale = [each for each in known if not any(each.covers(one) for one in survivors)] if complete else []
    return unexplained, stale


def make_and_test(seconds: float) -> float:
    """Let mutmut work for as long, and return how many seconds of processor that took."""
    shutil.rmtree(WORK, ignore_errors=True)  # it would believe what it found out about other tests
    with subprocess.Popen([sys.executable, "-m", "mutmut", "run"], cwd=ROOT, start_new_session=True) as running:
        try:
            if code := running.wait(seconds):
                sys.exit(f"mutmut ended with {code}")
        except subprocess.TimeoutExpired:
            stop_between_writes(running.pid)
            write("")  # mutmut stood in the middle of a line
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stop_between_writes(pid: int) -> None:
    """Let mutmut stand still while all that it has found out is whole: it writes its files in place."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        try:
            for file in WORK.rglob("*.meta"):
                json.loads(file.read_bytes())
        except json.JSONDecodeError:
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)
        else:
            return


def mutmut(*arguments: str) -> str:
    """Return what mutmut says to a question, without a process for each."""
    from mutmut.__main__ import cli

    with contextlib.chdir(ROOT), contextlib.redirect_stdout(io.StringIO()) as said:
        cli.main(arguments, standalone_mode=False)
    return said.getvalue()


def write(text: str) -> None:
    sys.stdout.write(text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the mutants, test them, and return 1 when one lives without a reason."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--minutes", type=float, default=10, help="at most, but for what it takes to tell of them (10)")
    options = parser.parse_args(arguments)

    seconds = make_and_test(options.minutes * 60)
    results = dict(line.strip().split(": ", 1) for line in mutmut("results", "--all", "true").splitlines())
    survivors = [parse_mutant(name, mutmut("show", name)) for name, result in results.items() if result in UNNOTICED]
    known = read_equivalents((ROOT / "tests" / "mutants.toml").read_text())
    count = Counter(results.values())
    late = sum(count[result] for result in TOO_LATE)
    unexplained, stale = judge(survivors, known, complete=not late)

    for one in unexplained:
        line = find_line((ROOT / one.file).read_text(), one)
        write(f"{one.file}:{line}: {one.function}\n  - {one.removed}\n  + {one.added}")
    for each in stale:
        write(f"tests/mutants.toml: no mutant like this survives; take it out: {each.function}: {each.removed}")
    write(
        f"{len(results)} mutants: {count['caught by type check']} refused by mypy, {count['killed']} killed, "
        f"{len(unexplained)} survived, {len(survivors) - len(unexplained)} survived and change nothing, "
        f"{count['timeout']} took too long, {late} not tried; {seconds:.0f} seconds of processor"
    )
    if not count["killed"]:
        write("not one was killed: mutmut did not come to test them; give it more --minutes")
    return 1 if unexplained or stale or not count["killed"] else 0


if __name__ == "__main__":
    sys.exit(main())
