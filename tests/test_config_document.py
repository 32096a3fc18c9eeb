"""The YAML loader: what a file says, where each part stands, and what is refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connrunner.config.documents import document
from connrunner.config.documents.document import Document, parse
from tests.effort import examples

VALUES = [
    # plain text in the file        what it means: YAML 1.2, and never less than what is written
    ("", None),
    ("~", None),
    ("null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ("true", True),
    ("False", False),
    ("tRue", "tRue"),
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("Off", "Off"),
    ("y", "y"),
    ("0", 0),
    ("-0", 0),
    ("+7", 7),
    ("-12", -12),
    ("08", "08"),
    ("007", "007"),
    ("0o17", 15),
    ("0o8", "0o8"),
    ("017", "017"),
    ("0x1F", 31),
    ("0xfg", "0xfg"),
    ("0b11", "0b11"),
    ("1_000", "1_000"),
    ("1,000", "1,000"),
    ("9223372036854775807", 9223372036854775807),
    ("-9223372036854775808", -9223372036854775808),
    ("1.5", 1.5),
    ("1.", 1.0),
    (".5", 0.5),
    ("-1.5e-3", -0.0015),
    ("1e3", 1000.0),
    ("1.10.2", "1.10.2"),
    ("00.5", "00.5"),
    (".", "."),
    ("-", None),  # a list of one empty item; see below
    ("1:30", "1:30"),
    ("01:30", "01:30"),
    ("15:43", "15:43"),
    ("12:30:45", "12:30:45"),
    ("190:20:30.15", "190:20:30.15"),
    ("2026-11-22", "2026-11-22"),
    ("2026-11-22T09:15:00Z", "2026-11-22T09:15:00Z"),
    ("1.2.3.4", "1.2.3.4"),
    ("=", "="),
    ("<<", "<<"),
    ("=x", "=x"),
    ("+", "+"),
    ("é", "é"),
    ("'08'", "08"),
    ('"1"', "1"),
    ("'true'", "true"),
    ('""', ""),
    ("'~'", "~"),
    ('"\\u00e9\\t\\x41"', "é\tA"),
]


@pytest.mark.parametrize(("written", "meant"), [case for case in VALUES if case[0] != "-"])
def test_a_plain_scalar_means(written: str, meant: Any) -> None:
    read = parse(f"a: {written}\n".encode(), "x.yaml")
    assert read.problems == ()
    assert read.data == {"a": meant}
    assert type(read.data["a"]) is type(meant)


def test_every_minute_of_a_day_stays_text() -> None:
    times = [f"{hour}:{minute:02}" for hour in range(24) for minute in range(60)]
    times += [f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(60)]
    assert parse(f"[{', '.join(times)}]".encode(), "x").data == times


def test_a_whole_document() -> None:
    text = (
        b"\xef\xbb\xbf# comment\n%s"
        % b'a:\n  - b: 1\n    "c d": [x, {y: z}]\n  - |\n    two\n    lines\ne: >-\n  folded\n  text\n'
    )
    assert parse(text, "x").data == {"a": [{"b": 1, "c d": ["x", {"y": "z"}]}, "two\nlines\n"], "e": "folded text"}


def test_line_ends_of_windows() -> None:
    read = parse(b"a: 1\r\nb: {c: 2}\r\nb: 3\r\n", "x")
    assert read.data == {"a": 1, "b": {"c": 2}}
    assert [(problem.line, problem.source) for problem in read.problems] == [(3, "b: 3")]


PLACES = [
    # path                        key         value
    ((), (2, 1), (2, 1)),
    (("a",), (2, 1), (2, 4)),
    (("list",), (3, 1), (4, 3)),
    (("list", 0), (4, 5), (4, 5)),
    (("list", 1), (5, 5), (5, 5)),
    (("list", 1, "é"), (5, 6), (5, 9)),
    (("list", 1, "b"), (5, 12), (5, 17)),
    (("none",), (6, 1), (6, 6)),
    (("list", 1, "missing"), (5, 5), (5, 5)),
    (("list", 9), (4, 3), (4, 3)),
    (("missing", "deeper", 3), (2, 1), (2, 1)),
    (("a", "deeper"), (2, 4), (2, 4)),
]


@pytest.mark.parametrize(("path", "key", "value"), PLACES)
def test_the_place_of(path: tuple[str | int, ...], key: tuple[int, int], value: tuple[int, int]) -> None:
    read = parse('# é\na: 1\nlist:\n  - x\n  - {é: ü, "b": [y]}\nnone:\n'.encode(), "x")
    assert read.place(path, at_key=True) == key
    assert read.place(path) == value


# What the case folder cannot hold as text.
BYTES = [
    (b"a: \xff\n", (1, 4), "bad-encoding"),
    (b"a: 1\nb: \xc3\xa9\xc3\n", (2, 5), "bad-encoding"),
    (b"a: \xed\xa0\x80\n", (1, 4), "bad-encoding"),
    ("a: 1\n".encode("utf-16"), (1, 1), "bad-encoding"),
    ("a: 1\n".encode("utf-32"), (1, 1), "bad-encoding"),
    (b"\x00\x00\xfe\xffa", (1, 1), "bad-encoding"),
    (b"a: 1\nb: x\x00y\n", (2, 5), "control-character"),
    (b"a: \x1b[31m\n", (1, 4), "control-character"),
    ("a: x\x85b\n".encode(), (1, 5), "control-character"),
    ("a: 1\n\ufeffb: 2\n".encode(), (2, 1), "control-character"),
    ("a: \u2066b\n".encode(), (1, 4), "control-character"),
    ("a: \uffff\n".encode(), (1, 4), "control-character"),
    (b"", (1, 1), "empty-file"),
    (b"\n\n", (1, 1), "empty-file"),
    (b"a: " + b"x" * document.MAX_BYTES, (1, 1), "too-large"),
]


@pytest.mark.parametrize(("content", "place", "code"), BYTES)
def test_what_is_no_text_is_refused(content: bytes, place: tuple[int, int], code: str) -> None:
    (problem,) = parse(content, "x").problems
    assert ((problem.line, problem.column), problem.code) == (place, code)


def test_a_file_of_the_largest_size_is_read() -> None:
    read = parse(b"a: " + b"x" * (document.MAX_BYTES - 3), "x")
    assert read.problems == ()


# Each must end by a bound of the loader; without it, it would take minutes or gigabytes.
BOMBS = {
    "aliases": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [*%c,*%c,*%c,*%c]\n" % (n + 1, n + 1, n, n, n, n) for n in range(97, 120)),
    "alias to itself": b"a: &a [*a]\n",
    "merges": b"a: &a {x: 1}\n" + b"".join(b"b%d: {<<: *a}\n" % n for n in range(5000)),
    "flow lists": b"[" * 100_000,
    "closed flow lists": b"[" * 50_000 + b"]" * 50_000,
    "flow mappings": b"{a: " * 50_000,
    "mixed": b"[{a: " * 50_000,
    "block lists": b"- " * 100_000,
    "block mappings": "".join(f"{' ' * n}a:\n" for n in range(600)).encode(),
    "complex keys": b"? " * 100_000,
    "parts": b"[" + b"a," * 100_000 + b"]",
    "empty parts": b"[" + b"'','" * 50_000 + b"']",
    "keys": b"".join(b"k%d: v\n" % n for n in range(20_000)),
    "same key": b"a: b\n" * 50_000,
    "anchors": b"[" + b"&a b," * 40_000 + b"]",
    "tags": b"[" + b"!t b," * 40_000 + b"]",
    "a number of many digits": b"a: " + b"9" * 250_000,
    "a fraction of many digits": b"a: 0." + b"9" * 250_000,
    "an exponent": b"a: 1e" + b"9" * 1000,
    "quotes": b"'" * 250_001,
    "a long key": b"k" * 250_000 + b": v",
    "documents": b"---\na\n" * 40_000,
    "comments": b"#\n" * 120_000,
    "colons": b": " * 120_000,
    "percent": b"%TAG ! tag:x,2000:\n" * 12_000,
    "base64": b"a: !!binary " + base64.b64encode(b"x" * 100_000),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS.keys())
@pytest.mark.thorough
def test_a_hostile_file_costs_little(content: bytes) -> None:
    read = parse(content, "x")
    assert 1 <= len(read.problems) <= document.MAX_PROBLEMS + 1
    assert _parts(read.data) <= document.MAX_NODES


def _parts(data: Any) -> int:
    if isinstance(data, dict):
        return 1 + sum(1 + _parts(value) for value in data.values())
    return 1 + sum(map(_parts, data)) if isinstance(data, list) else 1


@pytest.mark.parametrize("depth", [document.MAX_DEPTH, document.MAX_DEPTH + 1])
def test_depth_is_counted_exactly(depth: int) -> None:
    read = parse(b"[" * depth + b"]" * depth, "x")
    assert [problem.code for problem in read.problems] == ["too-deep"] * (depth > document.MAX_DEPTH)


@pytest.mark.parametrize("items", [document.MAX_NODES - 1, document.MAX_NODES])
def test_parts_are_counted_exactly(items: int) -> None:
    read = parse(b"[" + b"a," * items + b"]", "x")
    assert [problem.code for problem in read.problems] == ["too-many-nodes"] * (items == document.MAX_NODES)


YAML_ISH = st.text(st.sampled_from("ab01 \t\n:-?[]{}#&*!|>'\"%@`,<.~\\é\u2028\ufeff\x00=yn"), max_size=60)


@settings(max_examples=examples(50, long=7500), deadline=None)
@given(
    st.one_of(
        YAML_ISH.map(str.encode),
        st.binary(max_size=60),
        st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace")),
    )
)
@example(b"? *a\n: b")
@example(b"a: !<")
@example(b"[&x *x: 1]")
@example(b"? [a, {b: c}]\n: d\ne: *f")
@example(b"!x ? !y z\n: &w")
def test_no_content_raises(content: bytes) -> None:
    read = parse(content, "x")
    assert read.problems or read.data is not None
    lines = len(content.decode("utf-8", "replace").splitlines()) + 1
    for problem in read.problems:
        assert problem.line <= lines
        assert problem.column >= 1
        assert problem.message
        assert problem.code != "invalid"


@settings(max_examples=examples(30, long=5000), deadline=None)
@given(YAML_ISH)
def test_both_parsers_agree(text: str) -> None:
    """The parser in Python stands in where PyYAML has no libyaml: what it accepts must mean the same."""
    with pytest.MonkeyPatch.context() as patch:
        first = parse(text.encode(), "x")
        patch.setattr(document, "_parser", document._pure_parser)
        second = parse(text.encode(), "x")
    # The two differ in what they call broken, and libyaml gives an empty plain scalar where the other gives up.
    if not first.problems and not second.problems:
        assert first.data == second.data


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(
        st.characters(
            codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\u2028\u2029\ufffe\uffff"
        ),
        max_size=20,
    )
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcXY 01:-", max_size=6), inner, max_size=4),
    max_leaves=20,
)


class Quoting(yaml.SafeDumper):
    """Quotes every text: PyYAML, which writes YAML 1.1, leaves out quotes that 1.2 needs, around 0E0 for one."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@settings(max_examples=examples(25, long=4000), deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), TREES, min_size=1, max_size=4), st.booleans())
def test_what_another_program_writes_is_read_back(tree: dict[str, Any], flow: bool) -> None:
    text = yaml.dump(tree, Dumper=Quoting, default_flow_style=flow, allow_unicode=False, width=1000)
    read = parse(text.encode(), "x")
    if not any(problem.code == "too-deep" for problem in read.problems):
        assert read.problems == (), text
        assert read.data == tree


def test_secrets_are_blanked_in_every_shown_line() -> None:
    text = b"""\
a: {password: hunter2, "api_key": "hun,ter2", x: *y}
secrets: [hunter2, {deep: hunter2}, *z]
tokens: |
  hunter2
  hunter2
url: &u https://me:hunter2@host
ref: {token: "env:TOKEN", passwrod: hunter2, a: *b}
"""
    read = parse(text, "x")
    assert len(read.problems) == 4
    assert not [problem.source for problem in read.problems if "hunter" in problem.source or "ter2" in problem.source]
    assert [problem.source[problem.column - 1] for problem in read.problems] == ["*", "*", "&", "*"]
    assert "env:TOKEN" in read.problems[-1].source


BROKEN_WITH_SECRETS = [
    b"password: hunter2: x\n",
    b'{password: "hunter2, x": , , }\n',
    b"  api_token : 'hunter2'' x\n",
    b"a: b: {secret-key: hunter2}\n",
    b"https://me:hunter2@host: a: b\n",
]


@pytest.mark.parametrize("content", BROKEN_WITH_SECRETS)
def test_secrets_are_blanked_in_broken_lines(content: bytes) -> None:
    (problem,) = parse(content, "x").problems
    assert problem.code == "syntax"
    assert "hunter2" not in problem.source
    assert len(problem.source) == len(content.decode().rstrip("\n"))


ESCAPES = [
    (rb'a: "\ud800"', "an escape for a character that no text can have"),
    (rb'a: "\U00110000"', "an escape for a character that no text can have"),
    (rb'a: "\x1"', "an escape that lacks digits"),
    (rb'a: "\u12"', "an escape that lacks digits"),
    (rb'a: "\q"', "a backslash in double quotes begins an escape, and this is none"),
]


@pytest.mark.parametrize(("content", "said"), ESCAPES)
def test_an_escape_is_said_to_be_what_it_is(content: bytes, said: str) -> None:
    (problem,) = parse(content, "x").problems
    assert problem.message.startswith(said)


def test_problems_end_at_a_bound() -> None:
    read: Document = parse(b"a: b\n" * 1000, "x")
    assert len(read.problems) == document.MAX_PROBLEMS + 1
    assert read.problems[-1].code == "too-many-problems"
