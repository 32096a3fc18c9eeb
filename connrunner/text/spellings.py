"""
How programs write a character: as it is, escaped for JSON, a URL, markup, a shell or a programming language.

A spelling is a regular expression that matches one way to write the character and has one possible end at each place.
Escapes within escapes (JSON in JSON, a URL within a URL) count as well, some levels deep.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html.entities import html5

from connrunner.lazy_dataclasses import dataclass

LEVELS = 3  # escapes of an escape's own sign that are looked through: %252526 is & in a URL in a URL in a URL

DEEPEST = 64  # backslashes in front of one sign: JSON in JSON doubles them, six times
MOST_QUOTES = 8  # at the end of a secret, each of which is looked at by itself
PERCENT = f"%(?:25){{0,{LEVELS}}}"
_AMP = rf"(?:&|\\{{0,{DEEPEST}}}u0026|{PERCENT}26)"  # what begins an entity, which may be in JSON or in a URL
_SEMICOLON = f"(?:;|{PERCENT}3[bB])"
_ESCAPES = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\v": "v", "\a": "a", "\x1b": "[eE]"}
QUOTES = "\\'\""  # shells write one of them with several, so they stand for each other

BACKSLASHES = rf"(?:\\|{PERCENT}5[cC]){{1,{DEEPEST}}}+"

_NAMES: dict[str, list[str]] = {}
for _name, _char in html5.items():
    if _name.endswith(";"):
        _NAMES.setdefault(_char, []).append(_name[:-1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Spellings:
    """The ways to write one character, each introduced by another sign, which no plain text needs."""

    backslash: tuple[str, ...] = ()  # what may follow one or more backslashes
    percent: tuple[str, ...] = ()
    entity: tuple[str, ...] = ()
    other: tuple[str, ...] = ()  # what has a sign of its own

    def all(self) -> Iterator[str]:
        yield from (BACKSLASHES + body for body in self.backslash)
        yield from (*self.percent, *self.entity, *self.other)


def encode_loosely(text: str) -> bytes:
    """Return *text* in UTF-8, with the bytes that stand in it as half characters (PEP 383) as they are."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


@cache
def spell(char: str) -> Spellings:
    """Return the ways to write *char* but for the plain one."""
    code, encoded = ord(char), encode_loosely(char)
    raw = code if code < 0x100 and encoded != bytes([code]) else None  # the byte that Latin-1 has for it
    return Spellings(
        backslash=tuple(_after_backslash(char, code, encoded, raw)),
        percent=tuple(_percent(code, encoded, raw)),
        entity=tuple(_entities(char, code)),
        other=tuple(_other(char, encoded)),
    )


def _after_backslash(char: str, code: int, encoded: bytes, raw: int | None) -> Iterator[str]:
    yield BACKSLASHES.join(f"u{_hex(unit, 4)}" for unit in _utf_16(code))
    yield rf"u\{{0*{_hex(code)}\}}"
    yield f"U{_hex(code, 8)}"
    yield rf"x\{{0*{_hex(code)}\}}"
    for single in (encoded, *([bytes([raw])] if raw is not None else [])):
        yield BACKSLASHES.join(f"x{_hex(byte, 2)}" for byte in single)
        yield BACKSLASHES.join(f"0{byte:03o}" for byte in single)
        yield BACKSLASHES.join(f"{byte:03o}" for byte in single)
    if code < 0o100:
        yield f"{code:o}(?![0-7])"
    if char in _ESCAPES:
        yield _ESCAPES[char]
    if not char.isalnum() and char not in QUOTES and char.isascii():
        yield re.escape(char)


def _percent(code: int, encoded: bytes, raw: int | None) -> Iterator[str]:
    levels = [f"%(?:25){{{level}}}" for level in range(LEVELS + 1)] if encoded == b"%" else [PERCENT]
    for percent in levels:
        yield "".join(percent + _hex(byte, 2) for byte in encoded)
        yield "".join(f"{percent}u{_hex(unit, 4)}" for unit in _utf_16(code))  # JavaScript's escape()
    if raw is not None:
        yield PERCENT + _hex(raw, 2)


def _entities(char: str, code: int) -> Iterator[str]:
    names = "|".join(map(re.escape, _NAMES.get(char, ())))
    numbers = f"#0*{code}|#[xX]0*{_hex(code)}"
    if char != "&":
        yield f"{_AMP}(?:amp{_SEMICOLON}){{0,{LEVELS}}}(?:{numbers}{'|' + names if names else ''}){_SEMICOLON}"
        return
    for level in range(LEVELS + 1):
        yield f"{_AMP}(?:amp{_SEMICOLON}){{{level}}}(?:{numbers}|{names}){_SEMICOLON}"


def _other(char: str, encoded: bytes) -> Iterator[str]:
    if char == " ":
        yield r"\+"
    if char == "\n":
        yield r"\r\n"
        yield f"{BACKSLASHES}r{BACKSLASHES}n"
        yield f"{PERCENT}0[dD]{PERCENT}0[aA]"
    if char == "=" or not (char.isascii() and char.isprintable()):
        yield "".join(f"={_hex(byte, 2)}" for byte in encoded)  # quoted-printable


@cache
def spell_quotes(count: int) -> str:
    """Return what matches the QUOTES that stand for *count* of them, all that are there, without a choice of ends."""
    single = [spelling for char in QUOTES for spelling in (*spell(char).percent, *spell(char).entity)]
    bodies = [body for char in QUOTES for body in spell(char).backslash]
    unit = f"{BACKSLASHES}(?:{'|'.join(bodies)})?|{'|'.join(single)}|['\"]"
    return f"(?:{unit}){{1,{DEEPEST + 8 * count}}}+"


def spell_last_quotes(text: str) -> str:
    """Return what matches the QUOTES of *text* where nothing follows that would tell where they end."""
    quote = {
        "'": rf"""'{BACKSLASHES}''|'"'"'|{BACKSLASHES}'|''""",
        '"': rf"""'{BACKSLASHES}"'|{BACKSLASHES}"|""" + '""',
    }
    runs = re.findall(r"\\+|.", text)
    if len(runs) > MOST_QUOTES:
        return spell_quotes(len(text))
    pieces = []
    for place, run in enumerate(runs):
        char = run[0]
        known = "|".join(spell(char).all())
        if char == "\\":
            pieces.append(f"(?:{known}|{BACKSLASHES}){{1,{DEEPEST}}}+")
        else:
            # Backslashes before it are taken already.
            rest = "|".join(spell(char).backslash) if place else "(?!)"
            pieces.append(f"(?:{known}|{quote[char]}|{rest}|{re.escape(char)})")
    return "".join(pieces)


def _utf_16(code: int) -> tuple[int, ...]:
    if code <= 0xFFFF:
        return (code,)
    return 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF)


def _hex(number: int, digits: int = 0) -> str:
    """Return *number* in hexadecimal of either case."""
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{number:0{digits}x}")
