"""No pattern of a schema takes time that grows faster than the text: a text of 40 kB would hold up every connection."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from itertools import product
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from connrunner.config import schema, secret_words
from connrunner.config.acceptance import compile_pattern
from connrunner.connectors.sql import database_url

LONG, SHORT = 20_000, 2_000  # characters
NOTICED = 0.02  # seconds of this thread: all that is linear takes a tenth of it
LINEAR = LONG / SHORT


def patterns(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "pattern" and isinstance(value, str):
                yield value
            yield from patterns(value)
    elif isinstance(part, list):
        for value in part:
            yield from patterns(value)


ALL = sorted({found for file in schema.folder().glob("*.json") for found in patterns(json.loads(file.read_bytes()))})
ALL += [secret_words.IN_ADDRESS.pattern, database_url._SECRET.pattern]  # what else looks at texts of any length


def pieces(parsed: Any) -> Iterator[str]:
    """Yield texts that the parts of a *parsed* pattern take: each literal, and each run of literals."""
    run = ""
    for code, value in parsed:
        if code is codes.LITERAL:
            run += chr(value)
            yield chr(value)
            continue
        if run:
            yield run
        run = ""
        match code:
            case codes.IN:
                yield from members(value)
            case codes.NOT_LITERAL:
                yield "a" if value != ord("a") else "b"
            case codes.ANY:
                yield "a"
            case codes.BRANCH:
                for branch in value[1]:
                    yield from pieces(branch)
            case codes.SUBPATTERN:
                yield from pieces(value[3])
            case codes.MAX_REPEAT | codes.MIN_REPEAT:
                yield from pieces(value[2])
            case codes.ASSERT | codes.ASSERT_NOT:
                yield from pieces(value[1])
            case codes.AT:
                pass
            case _:
                raise AssertionError(f"what does {code} take?")
    if run:
        yield run


def members(group: Any) -> Iterator[str]:
    """Yield the literals of a group such as [a-f.], or what a negated one takes."""
    if group[0][0] is codes.NEGATE:
        yield from (char for char in "a :@?" if not re.match(r"[\w]", char) or char == "a")
    for code, value in group:
        if code is codes.LITERAL:
            yield chr(value)
        elif code is codes.RANGE:
            yield chr(value[0])


def alphabet(pattern: str) -> list[str]:
    """Return the literals of *pattern*, of those that differ only in their case one."""
    return list({piece.lower(): piece for piece in pieces(parser.parse(pattern))}.values())


def seconds(pattern: str, text: str, *, times: int = 1) -> float:
    """Return the processor time of this thread that a look takes: the least of some *times*."""
    compiled = compile_pattern(pattern)
    found = []
    for _ in range(times):
        start = time.thread_time()
        compiled.search(text)
        found.append(time.thread_time() - start)
    return min(found)


def is_linear(pattern: str, unit: str, start: str = "") -> bool:
    """Return whether a text that is ten times as long takes no more than thirty times as long: by the square, it is 100.

    A look that is over in no time is linear, whatever the clock says of it.
    """
    long, short = (start + (unit * (size // len(unit) + 1))[:size] + "\n" for size in (LONG, SHORT))
    if seconds(pattern, long) <= NOTICED:
        return True
    return seconds(pattern, long, times=3) <= LINEAR * 3 * seconds(pattern, short, times=3)


@pytest.mark.parametrize("pattern", ALL, ids=range(len(ALL)))
def test_each_pattern_is_linear(pattern: str) -> None:
    units = alphabet(pattern)
    starts = ["", *(unit for unit in units if len(unit) > 1)]
    assert [(start, unit) for start, unit in product(starts, units) if not is_linear(pattern, unit, start)] == []


@pytest.mark.thorough
@pytest.mark.parametrize("pattern", ALL, ids=range(len(ALL)))
def test_each_pattern_is_linear_for_pairs(pattern: str) -> None:
    pairs = list(product(alphabet(pattern), repeat=2))
    assert [pair for pair in pairs if not is_linear(pattern, "".join(pair))] == []
    assert [(start, unit) for start, unit in pairs if not is_linear(pattern, unit, start)] == []


def test_one_that_is_not_is_found() -> None:
    assert not is_linear("ab[^y]*z", "ab")
    assert not is_linear("://[^@]*:[^@]*@", ":", "://")
    assert len(ALL) > 20


SECRET = [
    *(
        "postgresql://u:p@h/d",
        "mysql+pymysql://u:p/q@h/d",
        " postgresql://u:p@h",
        "a:b://x:y@z",
        "x://h/?a=1?b=c&pwd=x",
    ),
    *("x://h/?Password=1", "x://h/?a=1;db_token=2", "a?b://u:p@h", "x://h/a://u:p@h", "x://h/?odbc=a?secret=b"),
]
NONE = ["postgresql://u@h:5432/d", "x://h:1/d?user=a@b", "x://h/?passw", "x://h/passwd=1", "x:/u:p@h", "x://h?p=a:b@c"]


@pytest.mark.parametrize("url", [*SECRET, *NONE])
def test_a_url_with_a_password_is_known(url: str) -> None:
    found = schema.load_schema("connector-sql")["$defs"]["url"]["if"]["pattern"]
    before = (
        "://[^?]*:[^?]*@|[?&;][^=&;]*([Pp][Aa][Ss][Ss][Ww]|[Pp][Ww][Dd]|[Ss][Ee][Cc][Rr][Ee][Tt]|"
        "[Tt][Oo][Kk][Ee][Nn])[^=&;]*="
    )
    assert bool(re.search(found, url)) is (url in SECRET) is bool(re.search(before, url))
