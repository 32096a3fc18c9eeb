"""The encodings of text files, by the names that people give them."""

from __future__ import annotations

import codecs

from connrunner.errors import RunError
from connrunner.text.words import nearest


def find_codec(name: str) -> str:
    """Return what Python calls the encoding *name*. RunError when there is none of that name."""
    try:
        "".encode(name)
        codecs.getincrementaldecoder(name)
    except (LookupError, UnicodeError):
        near = nearest(name, ("utf-8", "utf-16", "latin-1", "cp1252", "ascii"))
        hint = f"did you mean {near!r}?" if near else "use a name like utf-8, latin-1, cp1252 or utf-16"
        raise RunError(f"unknown encoding {name!r}", hint=hint, code="unknown-encoding") from None
    return codecs.lookup(name).name
