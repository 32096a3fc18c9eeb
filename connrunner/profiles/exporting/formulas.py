"""
Texts that a spreadsheet would take for formulas are made safe: an apostrophe in front makes them texts again.

A formula begins with = + - or @, in their wide forms too, after whatever blanks a program may overlook; a text that
begins with a tab or a line break is made safe as well (OWASP, CSV injection). Spreadsheets of other countries, and
those that are told so, split a file elsewhere than it is meant: so each place in a text behind a separator or a line
break, and behind quotes that follow it, counts as a beginning. Numbers are not texts: -5 stays a number.
"""

from __future__ import annotations

from connrunner.core.model import PropertyType
from connrunner.profiles.sql_fragments import quote_text

_TEXTS = (PropertyType.TEXT, PropertyType.EMAIL)
_BLANK = r"\x00-\x20\x7f\x{85}\x{a0}\x{feff}\pZ"
_START = r"[=+\-@\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"
_FORMULA = rf"^(?:[\t\r\n]|[{_BLANK}]*{_START})"
_SEPARATOR = r"[,;|\t\n\v\f\r\x1c-\x1e\x{85}\x{2028}\x{2029}]"
_LATER = rf"({_SEPARATOR}[\"{_BLANK}]*)({_START})"
_SAFE = r"\1'\2"


def escape_formula(kind: PropertyType, cell: str) -> str:
    """Return the expression of the *cell*, a text made of values of *kind*, that no spreadsheet takes for a formula."""
    if kind not in _TEXTS:
        return cell
    later = rf"regexp_replace({cell}, {quote_text(_LATER)}, {quote_text(_SAFE)}, 'g')"
    return f"CASE WHEN regexp_matches({cell}, {quote_text(_FORMULA)}) THEN '''' ELSE '' END || {later}"
