"""What a YAML parser's complaint means to the person who wrote the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connrunner.lazy_dataclasses import dataclass

if TYPE_CHECKING:
    from yaml.error import Mark, MarkedYAMLError


@dataclass(frozen=True, slots=True)
class SyntaxFinding:
    line: int  # from 0
    column: int  # from 0
    message: str
    hint: str


# (a piece of the parser's context, a piece of its problem, the place that helps, message, hint). First match wins.
# libyaml and the parser in Python word the same complaint differently; both are here.
_MEANINGS = (
    (
        "quoted scalar",
        "end of stream",
        "context",
        "this quote is never closed",
        "close it, or write a quote inside twice",
    ),
    (
        "quoted scalar",
        "document separator",
        "context",
        "this quote is never closed",
        "close it, or write a quote inside twice",
    ),
    (
        "quoted scalar",
        "invalid Unicode character",
        "problem",
        "an escape for a character that no text can have",
        "leave it out; for a backslash itself, write it twice",
    ),
    (
        "quoted scalar",
        "hexdecimal",
        "problem",
        "an escape that lacks digits: \\x needs two, \\u four, \\U eight",
        "write them all; for a backslash itself, write it twice",
    ),
    (
        "quoted scalar",
        "",
        "problem",
        "a backslash in double quotes begins an escape, and this is none",
        "use single quotes, or write the backslash twice",
    ),
    ("", "tab character", "problem", "a tab where YAML needs spaces", "indent with spaces"),
    (
        "",
        "mapping values are not allowed",
        "problem",
        "a `:` where no key can stand",
        "quote a text that contains `: `, or check the indentation",
    ),
    (
        "",
        "sequence entries are not allowed",
        "problem",
        "a list item where none can stand",
        "begin the list on a line of its own, or quote a text that begins with `- `",
    ),
    (
        "simple key",
        "could not find expected ':'",
        "context",
        "this is neither `key: value` nor a list item",
        "add the `:`, or indent it as a part of the text above",
    ),
    ("flow sequence", "", "context", "this list is not closed, or lacks a comma", "check its `,` and `]`"),
    ("flow mapping", "", "context", "this mapping is not closed, or lacks a comma", "check its `,` and `}`"),
    ("alias", "", "context", "a text cannot begin with `*` unless it is quoted", 'write it as "*..."'),
    ("anchor", "", "context", "a text cannot begin with `&` unless it is quoted", 'write it as "&..."'),
    ("tag", "", "context", "a text cannot begin with `!` unless it is quoted", 'write it as "!..."'),
    ("", "tag handle", "problem", "tags are not used here", "leave out what begins with `!`, or quote it"),
    (
        "block scalar",
        "",
        "context",
        "this long text does not begin as YAML wants",
        "write nothing after `|` or `>`, and indent each line of the text with spaces",
    ),
    ("directive", "", "problem", "directives are not used here", "leave out the line that begins with `%`"),
    ("", "incompatible YAML", "problem", "directives are not used here", "leave out the line that begins with `%`"),
    ("", "node content", "problem", "a value is missing here", "write it, or quote a text that begins with a sign"),
    (
        "",
        "document start",
        "problem",
        "something follows the end of the document",
        "leave it out; a text that begins with `%` needs quotes",
    ),
    (
        "block",
        "",
        "problem",
        "this does not fit the lines above it",
        "check the indentation, and that nothing follows a closing quote",
    ),
)


def explain_syntax(error: MarkedYAMLError, text: str) -> SyntaxFinding:
    """Return where in *text* the mistake is that made the parser give up, and what to do about it."""
    context, problem = error.context or "", error.problem or ""
    if "cannot start any token" in problem and error.problem_mark is not None:
        return _wrong_start(error.problem_mark, text)
    for in_context, in_problem, place, message, hint in _MEANINGS:
        if in_context in context and in_problem in problem:
            mark = error.context_mark if place == "context" else error.problem_mark
            return _complaint(mark or error.problem_mark or error.context_mark, message, hint)
    return _complaint(error.problem_mark or error.context_mark, "this is not YAML", problem)


def _wrong_start(mark: Mark, text: str) -> SyntaxFinding:
    char = text[mark.index : mark.index + 1]
    if char == "\t":
        return _complaint(mark, "a tab where YAML needs spaces", "indent with spaces")
    return _complaint(mark, f"a text cannot begin with `{char}` unless it is quoted", f'write it as "{char}..."')


def _complaint(mark: Mark | None, message: str, hint: str) -> SyntaxFinding:
    if mark is None:
        return SyntaxFinding(0, 0, message, hint)
    return SyntaxFinding(mark.line, mark.column, message, hint)
