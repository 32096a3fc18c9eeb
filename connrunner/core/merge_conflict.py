"""The markers that git leaves in a file whose merge nobody has finished."""

from __future__ import annotations

import re

# message, hint and code of the problem
COMPLAINT = (
    "the file holds an unresolved merge conflict",
    "keep what is right of both sides, and take out the lines that begin with <<<<<<<, ======= and >>>>>>>",
    "merge-conflict",
)
_MARKER = re.compile(r"^([<|>])\1{6,}(?= |$)|^={7,}$", re.MULTILINE)


def find_line(text: str, *, is_yaml: bool) -> int | None:
    """Return the line, from 1, of the first marker of a conflict in *text*; None when it holds none.

    In YAML, which has no line of its own like the outer markers, one of them is enough, for people take out the others
    first. Elsewhere a line of such characters may be an ornament: two kinds of them make a conflict.
    """
    if "<<<<<<<" not in text and ">>>>>>>" not in text and "|||||||" not in text:
        return None
    found = list(_MARKER.finditer(text.replace("\r", "")))
    kinds = {marker[0][0] for marker in found}
    if not kinds - {"="} or (not is_yaml and len(kinds) == 1):
        return None
    return text.replace("\r", "").count("\n", 0, found[0].start()) + 1
