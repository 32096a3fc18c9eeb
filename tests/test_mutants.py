"""What `make mutants` reads of a mutant, and when it is red."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants import ROOT, Equivalent, Mutant, find_line, judge, parse_mutant, read_equivalents

FUNCTION = """\
# connrunner.core.alerts.notice.x__again__mutmut_3: survived
--- connrunner/core/alerts/notice.py
+++ connrunner/core/alerts/notice.py
@@ -1,6 +1,5 @@
 def _again(
     tries: list[int],
 ) -> None:
-    if not tries:
-        return None
+    return None
     last()
"""
AGAIN = Mutant(
    file="connrunner/core/alerts/notice.py", function="_again", removed="if not tries: return None", added="return None", at=4
)  # fmt: skip
METHOD = FUNCTION.replace("x__again", "xǁLedgerǁsettled").replace("-1,6", "-11,6")

SOURCE = """\
class Ledger:
    def settled(self):
        return 1

def other(tries):
    if not tries:
        pass

def _again(
    tries,
):
    if not tries:
        return None
    if not tries:
        last()
"""


def test_a_mutant_is_read_from_what_mutmut_shows() -> None:
    assert parse_mutant("connrunner.core.alerts.notice.x__again__mutmut_3", FUNCTION) == AGAIN
    method = parse_mutant("connrunner.core.alerts.notice.xǁLedgerǁsettled__mutmut_3", METHOD)
    assert (method.function, method.at) == ("Ledger.settled", 14)


LINES = [
    # the mutant                                                        its line
    (AGAIN, 12),
    (replace(AGAIN, at=5), 12),  # a comment before the function was counted
    (replace(AGAIN, at=6), 14),
    (replace(AGAIN, removed="last()"), 15),
    (replace(AGAIN, function="Ledger.settled", removed="return 1", at=2), 3),
    (replace(AGAIN, function="Ledger.settled", removed="what mutmut writes in its own way", at=2), 3),
]


@pytest.mark.parametrize(("mutant", "line"), LINES)
def test_a_survivor_is_shown_with_its_line(mutant: Mutant, line: int) -> None:
    assert find_line(SOURCE, mutant) == line


ENTRY = Equivalent(
    file=AGAIN.file, function="_again", removed=AGAIN.removed, added=("pass", "return None"), why="nothing calls it"
)


@pytest.mark.parametrize(
    "other",
    [
        replace(ENTRY, file="a.py"),
        replace(ENTRY, function="_other"),
        replace(ENTRY, removed="if tries: return None"),
        replace(ENTRY, added=("pass",)),
    ],
)
def test_a_survivor_needs_a_reason_of_its_own_and_a_reason_a_survivor(other: Equivalent) -> None:
    assert judge([AGAIN], [ENTRY], complete=True) == ([], [])
    assert judge([AGAIN], [other], complete=True) == ([AGAIN], [other])
    assert judge([AGAIN], [other], complete=False) == ([AGAIN], [])
    assert judge([], [], complete=True) == ([], [])


def test_each_reason_is_about_a_function_that_is_there() -> None:
    for entry in read_equivalents((ROOT / "tests" / "mutants.toml").read_text()):
        tree = ast.parse(Path(ROOT / entry.file).read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert entry.function.rpartition(".")[2] in names, entry
        assert entry.why
