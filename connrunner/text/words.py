"""Words in messages."""

from __future__ import annotations

from collections.abc import Collection

LONGEST = 60  # characters of a misspelt word that are compared


def nearest(word: str, known: Collection[str]) -> str | None:
    """Return the one of *known* that a person who wrote *word* most likely meant."""
    folded = {_fold(name): name for name in known}
    wanted = _fold(word)
    if wanted in folded:
        return folded[wanted]
    if len(wanted) >= 3:
        longer = [name for key, name in folded.items() if key.startswith(wanted)]
        if len(longer) == 1:
            return longer[0]

    from difflib import get_close_matches

    close = get_close_matches(wanted[:LONGEST], list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def hint(word: str, known: Collection[str]) -> str:
    """Return `; did you mean 'x'?` when one of *known* is near to *word*, else an empty text."""
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near is not None else ""


def _fold(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_")
