"""Each small rule stands in one place: what it would look like elsewhere is searched for in the syntax trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import connrunner

PACKAGE = Path(connrunner.__file__).parent


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.AST]:
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_bytes()) for path in sorted(PACKAGE.rglob("*.py"))}


def similar_words(tree: ast.AST) -> Iterator[str]:
    """Yield each import of difflib but for a diff."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(name.name == "difflib" for name in node.names):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module == "difflib":
            yield from (name.name for name in node.names if name.name != "unified_diff")


def unit_tables(tree: ast.AST) -> Iterator[str]:
    """Yield each mapping or sequence of pairs that says how many seconds minutes, hours or days are."""
    for node in ast.walk(tree):
        values = node.values if isinstance(node, ast.Dict) else node.elts if isinstance(node, ast.Tuple) else []
        numbers = {inner.value for value in values for inner in ast.walk(value) if isinstance(inner, ast.Constant)}
        if {3600, 86_400} <= numbers:
            yield ast.unparse(node)


def unprintable_characters(tree: ast.AST) -> Iterator[str]:
    """Yield what decides character by character whether it can be printed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.GeneratorExp | ast.ListComp) and "isprintable" in ast.unparse(node):
            yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\u202a" in node.value:
            yield ascii(node.value)


def loopbacks(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("is_loopback", "is_link_local"):
            yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and node.value in ("127.", "127.0.0.1", "::1", "[::1]"):
            yield repr(node.value)


def weekdays(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.Tuple | ast.List):
            text = ast.unparse(node)
            if re.search(r"(?i)\bmon(day)?\W+tue|\bmo\W+tu\b", text):
                yield text


def listings(tree: ast.AST) -> Iterator[str]:
    """Yield each text that ends a list with a word: `{', '.join(others)} and {last}`."""
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, ast.JoinedStr) else ""
        if re.search(r"', '\.join\(.*?\)\} (and|or|\{\w+\}) \{(?!len)", text):
            yield text


def renames(tree: ast.AST) -> Iterator[str]:
    """Yield each call that gives a file another name: `.replace` and `.rename` with one argument, and those of os."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.keywords:
            of_os = isinstance(node.func.value, ast.Name) and node.func.value.id == "os"
            one = len(node.args) == 1 and not isinstance(node.args[0], ast.Starred)
            if node.func.attr in ("replace", "rename", "renames") and (of_os or one):
                yield ast.unparse(node)


def unfinished_files(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value == ".filepart":
            yield repr(node.value)


RULES = [
    # what shows the rule       where it stands
    (similar_words,          {"text/words.py"}),
    (unit_tables,            {"text/durations.py"}),
    (unprintable_characters, {"text/words.py"}),
    (loopbacks,              {"text/hosts.py"}),
    (weekdays,               {"core/schedules/fields.py"}),
    (listings,               {"text/words.py"}),
    (unfinished_files,       {"connectors/matching.py"}),
    # A quiet tick imports nothing of the package; a damaged request is only set aside.
    (renames,                {"text/files.py", "scheduler/idle.py"}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "places"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_each_rule_stands_in_one_place(
    rule: Callable[[ast.AST], Iterator[str]], places: set[str], modules: dict[str, ast.AST]
) -> None:
    found = {place: said for place, tree in modules.items() if (said := list(rule(tree)))}
    assert {place: said for place, said in found.items() if place not in places} == {}
    assert found.keys() == places
