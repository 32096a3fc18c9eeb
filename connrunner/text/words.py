"""Words in messages."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

LONGEST = 60  # characters of a misspelt word that are compared

_TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # the reading direction


# --- what strangers wrote, in messages ---------------------------------------------------------------------------


def one_line(
    text: str, limit: int | None = None, *, more: str = "...", is_safe: Callable[[str], bool] = str.isprintable
) -> str:
    """Return *text* as one line, of which at most *limit* characters stay, with *more* for the others.

    What is not safe becomes a space, and spaces stand alone. So nobody's words can move a terminal's cursor, turn the
    reading direction, or look like a second line of a log.
    """
    line = " ".join(replace_unsafe(text, " ", is_safe=is_safe).split())
    return line if limit is None or len(line) <= limit else line[:limit] + more


def replace_unsafe(
    text: str, by: str = "\ufffd", *, keep: str = "", is_safe: Callable[[str], bool] = str.isprintable
) -> str:
    """Return *text* with *by* for each character that is neither safe nor in *keep*."""
    if text.isprintable():
        return text
    return "".join(char if char in keep or is_safe(char) else by for char in text)


def escape(text: str) -> str:
    """Return *text* with everything that is not printable as an escape, such as `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def is_safe_in_terminal(char: str) -> bool:
    """Return whether *char* is neither a control, format or separating character nor a lone surrogate."""
    return unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def clean_for_terminal(text: str) -> str:
    """Return *text* without anything that moves a terminal's cursor or changes its colours."""
    return replace_unsafe(text, keep="\n\t", is_safe=is_safe_in_terminal)


def is_safe_in_mail(char: str) -> bool:
    """Return whether *char* may be in a mail: as in a terminal, and what joins letters in many languages too."""
    is_joining = unicodedata.category(char) == "Cf" and char not in _TURNING and char != "\ufeff"
    return is_joining or is_safe_in_terminal(char)


# --- sentences ---------------------------------------------------------------------------------------------------


def listed(names: Iterable[str], conjunction: str = "and") -> str:
    """Return `a`, `a and b`, `a, b and c`; an empty text for no names."""
    *others, last = list(names) or [""]
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def plural(count: int, noun: str) -> str:
    """Return how many there are of what *noun* is one: `1 file`, `2,000 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def agree(count: int, noun: str, one: str, several: str) -> str:
    """Return how many there are, with the verb that goes with it: `1 row was`, `2 rows were`."""
    return f"{plural(count, noun)} {one if count == 1 else several}"


def ordinal(number: int) -> str:
    """Return the place of *number* in a row: `1st`, `22nd`, `31st`."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


# --- did you mean ------------------------------------------------------------------------------------------------


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the one of *known* that a person who wrote *word* most likely meant.

    That is the same but for capitals, hyphens and spaces; or the only one that begins with it; or the most similar one,
    by a ratio of at least *cutoff*.
    """
    folded = {_fold(name): name for name in known}
    wanted = _fold(word)
    if wanted in folded:
        return folded[wanted]
    if len(wanted) >= 3:
        longer = [name for key, name in folded.items() if key.startswith(wanted)]
        if len(longer) == 1:
            return longer[0]
    close = similar(wanted, folded, cutoff=cutoff)
    return folded[close[0]] if close else None


def similar(word: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return at most *most* of *known* that look like *word*, the most similar one first."""
    from difflib import get_close_matches  # expensive, and needed after a mistake only

    return get_close_matches(word[:LONGEST], list(known), n=most, cutoff=cutoff)


def find_common_runs(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return what two sequences have in common: where each run begins in both, and its length; in order.

    The time grows with the square of their lengths.
    """
    from difflib import SequenceMatcher  # expensive, and needed where somebody compares

    found = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return [(block.a, block.b, block.size) for block in found if block.size]


def hint(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` when one of *known* is near to *word*, else an empty text."""
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near is not None else ""


def _fold(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_")
