"""
Hiding secrets in texts, however the program that wrote a text has spelled them.

Found are: the secret and its parts (`secret_parts`) with each character in any spelling of its own (`spellings`), so
in what JSON, URLs, markup, shells and interpreters make of it, and in those within each other; in base64, standard or
for URLs, wherever it stands in what is encoded, also of its forms in JSON and in URLs; in hexadecimal. What base64 or
hexadecimal has broken into lines is found line by line.

The time is linear in the text: a plain form is looked for by `str.find`; for the others each place is looked at where
a character of a secret is written with an escape, and from there all spellings are followed at once, without a way
back.
"""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from urllib.parse import quote, quote_plus

from connrunner.text.secret_parts import SHORTEST, split_secret
from connrunner.text.spellings import (
    BACKSLASHES,
    DEEPEST,
    PERCENT,
    QUOTES,
    encode_loosely,
    spell,
    spell_last_quotes,
    spell_quotes,
)

MASK = "***"
SCREEN_MEMORY = 64 << 20  # bytes for the automaton; it takes a few hundred kB for some tokens
EDGE = 4  # characters of broken base64 at the end or the beginning of a line that are hidden
EDGE_HEX = 8  # digits of broken hexadecimal
LARGEST_BROKEN = 200_000  # characters of all that may be broken into lines; more makes each line slow

_LINE_FEED = re.compile("\n")
_BREAK = re.compile(r"\n|\\(?:r\\+)?n")  # also one in JSON
_ALONE = re.compile(r"\n[ \t\r\"'\\,;|>]*+[A-Za-z0-9+/_=-]++[ \t\r\"'\\,;|>]*+(?=\n|\Z)")  # a line of base64 only
_AROUND = " \t\r\n\"'\\,;|>="

Span = tuple[int, int]


class Masker:
    """Hides the given secrets in any text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        parts = list(dict.fromkeys(part for secret in secrets for part in split_secret(secret)))
        encoded = list(dict.fromkeys(form for part in parts if len(part) >= SHORTEST for form in _encoded(part)))
        self._needles = _Needles([*parts, *encoded])
        self._spelled = _SpelledSecrets(parts, [form for form in encoded if "+" in form or "/" in form])
        self._broken = _BrokenForms(encoded)
        self._screen = _Screen([*parts, *encoded], self._spelled.signs)
        self._last = ""

    def mask(self, text: str) -> str:
        """Return *text* with each form of each secret as `***`."""
        if text == self._last:  # what was masked where it arose is masked once more where it leaves
            return text
        spans = self._broken.spans(text)
        if self._screen.holds(text):
            spans += self._needles.spans(text) + self._spelled.spans(text)
        self._last = _replace(text, sorted(spans)) if spans else text
        return self._last


def _replace(text: str, spans: list[Span]) -> str:
    """Return *text* with a mask for all of the sorted *spans*; those that overlap are one."""
    pieces, end = [], 0
    first, last = spans[0]
    for start, stop in [*spans[1:], (len(text), len(text))]:
        if start < last:
            last = max(last, stop)
            continue
        pieces += [text[end:first], MASK]
        end = last
        first, last = start, stop
    return "".join([*pieces, text[end:]])


# --- at first sight --------------------------------------------------------------------------------------------


class _Screen:
    """Tells of most texts that nothing in them needs a closer look: in one pass, for all secrets at once.

    It may be wrong in one direction only: what it lets pass holds no form in one piece. RE2 builds an automaton, so the
    time does not depend on how many secrets there are (https://github.com/google/re2/wiki/WhyRE2).
    """

    def __init__(self, needles: list[str], signs: list[_Sign]) -> None:
        self._needles = needles
        self._signs = signs

    def holds(self, text: str) -> bool:
        """Return whether there may be something in *text*."""
        if not self._needles or not text:
            return False
        if self._search is None:
            return True
        try:
            data = text.encode()
        except UnicodeEncodeError:  # half characters, for which there are two ways to write them
            return True
        return self._search(data) is not None

    @cached_property
    def _search(self) -> Callable[[bytes], object] | None:
        import re2  # here, for most runs have no secrets

        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1  # it sees bytes
        options.never_capture = True
        options.log_errors = False
        options.max_mem = SCREEN_MEMORY
        plain = ("".join(f"\\x{byte:02x}" for byte in encode_loosely(needle)) for needle in self._needles)
        pattern = "|".join([*plain, *(_coarse(sign) for sign in self._signs)])
        try:
            search: Callable[[bytes], object] = re2.compile(pattern.encode(), options).search
        except re2.error:  # too much for the memory: each text gets the closer look
            return None
        return search


def _coarse(sign: _Sign) -> str:
    """Return a pattern of RE2 that finds all that the one of *sign* finds: no looking around, no bounds."""
    ahead = re.sub(r"\(\?[=!][^()]*\)", "", sign.pattern.pattern)
    return re.sub(r"\{1,\d+\}\+?", "+", re.sub(r"\{0,\d+\}\+?", "*", ahead))


# --- plain forms -------------------------------------------------------------------------------------------------


class _Needles:
    """Texts that are found as they are."""

    def __init__(self, needles: list[str]) -> None:
        self._needles = needles

    def spans(self, text: str) -> list[Span]:
        return [span for needle in self._needles if needle in text for span in _find_all(text, needle)]


def _find_all(text: str, needle: str) -> Iterator[Span]:
    at = text.find(needle)
    while at >= 0:
        yield at, at + len(needle)
        at = text.find(needle, at + len(needle))


def _encoded(secret: str) -> Iterator[str]:
    """Yield what every text in base64 or hexadecimal with *secret* inside what is encoded contains."""
    plain = encode_loosely(secret)
    yield plain.hex()
    yield plain.hex().upper()
    spelled = json.dumps(secret)[1:-1]
    unescaped = json.dumps(secret, ensure_ascii=False)[1:-1]
    go = re.sub("[&<>\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", unescaped)
    php = spelled.replace("/", "\\/")
    for form in dict.fromkeys((secret, spelled, unescaped, go, php, *_in_url(secret))):
        yield from _in_base64(encode_loosely(form))


def _in_url(secret: str) -> tuple[str, ...]:
    plain = encode_loosely(secret)
    return quote(plain, safe=""), quote_plus(plain)


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yield what every base64 text with *secret* inside it contains, for each of the three ways it can be aligned."""
    for before in range(3):
        first = -(-before * 8 // 6)
        last = (before + len(secret)) * 8 // 6
        padded = b"\0" * before + secret + b"\0" * 3
        yield base64.b64encode(padded).decode()[first:last]
        yield base64.urlsafe_b64encode(padded).decode()[first:last]


# --- characters in spellings of their own ------------------------------------------------------------------------


class _Element:
    """One character of a secret, or a run of quotes, at any place of a text."""

    def __init__(self, plain: str, spellings: Iterable[str]) -> None:
        self.plain = plain
        self._patterns = [re.compile(spelling, re.DOTALL) for spelling in spellings]

    def ends(self, text: str, start: int) -> Iterator[int]:
        """Yield where this ends when it begins at *start*, for each way in which it may be written."""
        if text.startswith(self.plain, start):
            yield start + len(self.plain)
        for pattern in self._patterns:
            if found := pattern.match(text, start):
                yield found.end()


class _LineEnd:
    """A line feed of a secret; programs may put a carriage return before it, and spell each of both in its own way."""

    def ends(self, text: str, start: int) -> Iterator[int]:
        """Yield where this ends when it begins at *start*, for each way in which it may be written."""
        for place in (start, *_character("\r").ends(text, start)):
            yield from _character("\n").ends(text, place)


@lru_cache(4096)
def _character(char: str) -> _Element:
    return _Element(char, spell(char).all())


@lru_cache(4096)
def _after_quotes(char: str) -> _Element:
    """What stands behind quotes or backslashes: those took the backslash that its escape begins with."""
    known = spell(char)
    return _Element(char, [*known.all(), *known.backslash])


def _elements(secret: str) -> list[_Element | _LineEnd]:
    found: list[_Element | _LineEnd] = []
    pieces = re.findall(rf"[{re.escape(QUOTES)}]+|\r\n|.", secret, re.DOTALL)
    for index, piece in enumerate(pieces):
        if piece[0] in QUOTES:
            # One of them after the other would try each way to share what is there.
            last = index == len(pieces) - 1
            found.append(_Element(piece, [spell_last_quotes(piece) if last else spell_quotes(len(piece))]))
        elif piece in ("\n", "\r\n"):
            found.append(_LineEnd())
        elif index and pieces[index - 1][0] in QUOTES:
            found.append(_after_quotes(piece))
        else:
            found.append(_character(piece))
    return found


class _SpelledSecrets:
    """Secrets of which at least one character is written with an escape.

    Each is looked for from the first such character: what stands before it is the plain beginning of the secret.
    """

    def __init__(self, secrets: list[str], in_base64: list[str]) -> None:
        self._secrets = [*secrets, *in_base64]
        self._elements: dict[int, list[_Element | _LineEnd]] = {}
        self._places: defaultdict[str, list[Span]] = defaultdict(list)
        for number, secret in enumerate(self._secrets):
            of_interest = "+/" if number >= len(secrets) else None
            for index, char in enumerate(secret):
                if of_interest is None or char in of_interest:
                    self._places[char].append((number, index))
                if char == "\n" and not secret.startswith("\r", index - 1):
                    self._places["\r"].append((number, index))
        self.signs = _signs(list(self._places))

    def spans(self, text: str) -> list[Span]:
        signs = [sign for sign in self.signs if sign.begin in text]
        starts = {start for sign in signs for start in self._starts(sign, text)}
        if not starts:
            return []
        ends = ((start, self._end(number, text, start)) for number, start in starts)
        return [(start, end) for start, end in ends if end >= 0]

    def _starts(self, sign: _Sign, text: str) -> Iterator[Span]:
        """Yield the secrets that may stand in *text* with *sign* for their first escape, and where they begin."""
        for found in sign.pattern.finditer(text):
            at, group = found.start(), found.lastindex
            for char in {*sign.meta, *_meant(sign.chars[group - 1])} if group else sign.meta:
                for number, index in self._places.get(char, ()):
                    if at >= index and text.startswith(self._secrets[number][:index], at - index):
                        yield number, at - index

    def _end(self, number: int, text: str, start: int) -> int:
        """Return the last place at which the secret that begins at *start* can end; -1 when none does."""
        elements = self._elements.get(number)
        if elements is None:
            elements = self._elements[number] = _elements(self._secrets[number])
        ends = {start}
        for element in elements:
            ends = {end for place in ends for end in element.ends(text, place)}
            if not ends:
                return -1
        return max(ends)


@lru_cache(4096)
def _meant(char: str) -> tuple[str, ...]:
    """Return what a text may mean where a spelling of *char* stands: its first bytes may be a character alone."""
    first = chr(encode_loosely(char)[0])
    octal = chr(ord(char) >> 3) if ord(char) < 0x100 else char
    return tuple({char, first, octal})


class _Sign:
    """What begins an escape."""

    def __init__(self, begin: str, rest: str, chars: list[str], meta: str = "") -> None:
        self.begin = begin  # plain, so that a text without it costs nothing
        self.chars = chars  # that it may spell, each in a group of its own, in this order
        self.meta = meta  # what the sign itself may stand for
        self._rest = rest

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.begin) + self._rest, re.DOTALL)


def _signs(places: Iterable[str]) -> list[_Sign]:
    """Return the signs by which the characters of *places* can be spelled."""
    # Longer spellings first: the two bytes of an é before the one of an Ã.
    chars = sorted(places, key=lambda char: -len(encode_loosely(char)))
    if not chars:
        return []
    quotes = "".join(char for char in QUOTES if char in chars)
    escapes = _groups([spell(char).backslash for char in chars])
    if quotes:
        escapes += "?"  # backslashes in front of a quote, or that are meant themselves
    entities = _groups([[_behind_sign(entity) for entity in spell(char).entity] for char in chars])
    others = [char for char in chars if char != "%"]
    percents = _groups([[one.removeprefix(PERCENT) for one in spell(char).percent] for char in others])
    again = PERCENT.removeprefix("%")
    found = [
        _Sign("\\", rf"\\{{0,{DEEPEST}}}(?=\W|[uUx0-7nrtbfvaeE])(?:u0026{entities}|{escapes})", chars * 2, quotes),
        _Sign("%", f"(?=[0-9a-fA-Fu]){again}{percents}", others),
        _Sign("%", f"(?=[25]){again}(?:26{entities}|5[cC](?:{BACKSLASHES})?{escapes})", chars * 2, quotes),
        _Sign("&", f"(?=#|[a-zA-Z0-9]+[;%]){entities}", chars, "&"),
    ]
    if quotes.replace("\\", ""):
        found += [_Sign("'", r"""(?:'|\\+''|"'"')""", [], quotes), _Sign('""', "", [], quotes)]
    for begin, rest, char in (("%25", "", "%"), ("+", "", " "), ("\r\n", "", "\n"), ("=3", "[dD]", "=")):
        if char in chars:
            found.append(_Sign(begin, rest, [], char))
    printable = {char: [one[1:] for one in spell(char).other if one.startswith("=")] for char in chars}
    if rewritten := [char for char in chars if printable[char]]:
        found.append(_Sign("=", _groups(printable[char] for char in rewritten), rewritten))
    return found


def _groups(spellings: Iterable[Iterable[str]]) -> str:
    groups = (f"({'|'.join(each)})" for each in spellings)
    return f"(?:{'|'.join(groups)})"


def _behind_sign(entity: str) -> str:
    """Return the pattern of an *entity* without the sign that begins it."""
    return entity.partition("26)")[2]


# --- forms that are broken into lines ----------------------------------------------------------------------------


class _BrokenForms:
    """Forms in base64 and hexadecimal of which one line holds the beginning, others the middle and the end."""

    def __init__(self, forms: list[str]) -> None:
        if sum(map(len, forms)) > LARGEST_BROKEN:
            forms = []
        self._forms = {form: EDGE_HEX if _is_hex(form) else EDGE for form in forms}  # with the least that is hidden
        self._pieces = frozenset(form[at : at + EDGE] for form in forms for at in range(len(form) - EDGE + 1))

    def spans(self, text: str) -> list[Span]:
        if not self._forms:
            return []
        known = self._pieces
        pattern = _BREAK if "\\n" in text else _LINE_FEED
        if pattern is _LINE_FEED and not _ALONE.search(text):
            line = text.strip(_AROUND)
            if line[:EDGE] not in known and line[-EDGE:] not in known:
                return []
            return list(self._line(text, (0, 0), _trim(text, 0, len(text))))
        lines = [line.strip(_AROUND) for line in (pattern.split(text) if pattern is _BREAK else text.split("\n"))]
        opened = [at for at, line in enumerate(lines) if line[:EDGE] in known or line[-EDGE:] in known]
        if not opened:
            return []
        breaks = [(0, 0), *(found.span() for found in pattern.finditer(text)), (len(text), len(text))]

        def bounds(at: int) -> Span:
            return _trim(text, breaks[at][1], breaks[at + 1][0])

        found: list[Span] = []
        for at in sorted({*opened, *(at + 1 for at in opened if at + 1 < len(lines))}):
            found += self._line(text, bounds(at - 1) if at else (0, 0), bounds(at))
        return found

    def _line(self, text: str, before: Span, line: Span) -> Iterator[Span]:
        """Yield what of a *line* is the end of a form, its middle, or its beginning; *before* is the line before it."""
        start, stop = line
        if text[start : start + EDGE] in self._pieces:
            yield from self._end_of_form(text, before, line)
        if text[max(start, stop - EDGE) : stop] in self._pieces:
            yield from self._beginning_of_form(text, line)
        if text[max(before[0], before[1] - EDGE) : before[1]] in self._pieces:
            yield from self._short_end(text, before, line)

    def _end_of_form(self, text: str, before: Span, line: Span) -> Iterator[Span]:
        start, stop = line
        for form, at in self._places(text[start : start + EDGE]):
            rest = form[at:]
            if len(rest) >= self._forms[form] and text.startswith(rest, start, stop):
                yield start, start + len(rest)
                if text.endswith(form[:at], *before):  # fewer than would be hidden alone
                    yield before[1] - at, before[1]
            elif stop - start >= SHORTEST and rest.startswith(text[start:stop]):
                yield start, stop

    def _beginning_of_form(self, text: str, line: Span) -> Iterator[Span]:
        start, stop = line
        for form, at in self._places(text[stop - EDGE : stop]):
            length = at + EDGE
            if length >= self._forms[form] and text.endswith(form[:length], start, stop):
                yield stop - length, stop

    def _short_end(self, text: str, before: Span, line: Span) -> Iterator[Span]:
        start, stop = line
        for form, at in self._places(text[before[1] - EDGE : before[1]]):
            length = at + EDGE
            if text.endswith(form[:length], *before) and text.startswith(form[length:], start, stop):
                yield start, start + len(form) - length

    def _places(self, piece: str) -> Iterator[tuple[str, int]]:
        for form in self._forms:
            at = form.find(piece)
            while at >= 0:
                yield form, at
                at = form.find(piece, at + 1)


def _trim(text: str, start: int, stop: int) -> Span:
    while stop > start and text[stop - 1] in _AROUND:
        stop -= 1
    while start < stop and text[start] in _AROUND:
        start += 1
    return start, stop


def _is_hex(form: str) -> bool:
    return re.fullmatch("[0-9a-f]+|[0-9A-F]+", form) is not None
