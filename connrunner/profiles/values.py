"""
Which texts are values of a property's type, and how values are written as text again.

A cast alone is no check: DuckDB makes 13 of the integer '12.7', 31 of '0x1F', 10.5 of the number '1_0.5', and takes
'2026-2-3' for a date. Here the text is checked first, then the value is cast.

    text       any text of at most 65,000 characters without NUL, kept as it stands
    email      one @, a domain with a dot, at most 254 characters; kept in lower case and in Unicode's form NFC; its
               domain in one spelling, see `domains`
    integer    digits with an optional minus, from -2^63 to 2^63-1
    decimal    digits with an optional minus and point, less than 10^29; kept to 9 decimals
    boolean    true/false, yes/no, y/n, t/f, 1/0 in any case
    date       YYYY-MM-DD, a day of the calendar, years 0001 to 9999
    datetime   RFC 3339 with seconds and an offset, kept in UTC to the microsecond; no leap seconds. Without an offset
               where the import names the zone

Blanks around a value are no part of it, except around a text that is neither an identifier nor one of `many`. What is
empty without its blanks says nothing, whatever its type. Blanks are what Unicode calls White_Space, and the two
invisible characters that programs leave at the ends of texts: U+200B and U+FEFF.
"""

from __future__ import annotations

from collections.abc import Callable

from connrunner.core.model import Property, PropertyType
from connrunner.profiles.sql_fragments import quote_text
from connrunner.profiles.wall_clock import convert_local

LONGEST_TEXT = 65_000
# Counts up when the same text becomes another value: then every file is read again, and what stands in old files is
# written over what newer ones said. A text that was refused and is a value now needs no such thing: refused rows are
# offered again by every run. Nor does the opposite: what is stored stays, see `respelling`.
RULES = 1

_COLUMN_TYPES = {
    PropertyType.TEXT: "VARCHAR",
    PropertyType.EMAIL: "VARCHAR",
    PropertyType.INTEGER: "BIGINT",
    PropertyType.DECIMAL: "DECIMAL(38,9)",
    PropertyType.BOOLEAN: "BOOLEAN",
    PropertyType.DATE: "DATE",
    PropertyType.DATETIME: "TIMESTAMP WITH TIME ZONE",
}

EXPECTED = {
    PropertyType.TEXT: f"a text of at most {LONGEST_TEXT:,} characters",
    PropertyType.EMAIL: "an e-mail address like ann@example.com",
    PropertyType.INTEGER: "an integer like 42, between -2^63 and 2^63-1",
    PropertyType.DECIMAL: "a decimal like 12.50, with a point and without thousands marks or exponent",
    PropertyType.BOOLEAN: "true or false (or yes/no, y/n, t/f, 1/0)",
    PropertyType.DATE: "a date of the calendar like 2026-11-22",
    PropertyType.DATETIME: "a date and time with offset like 2026-11-22T09:15:00Z or 2026-11-22T10:15:00+01:00",
}

_BOOLEANS = " ".join(
    [f"WHEN '{yes}' THEN true" for yes in ("true", "yes", "y", "t", "1")]
    + [f"WHEN '{no}' THEN false" for no in ("false", "no", "n", "f", "0")]
)
BLANKS = "".join(map(chr, (*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200C)))) + "".join(
    map(chr, (0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF))
)
_ANY_BLANK = "[" + "".join(f"\\x{{{ord(blank):x}}}" for blank in BLANKS) + "]"
_BLANK = r"[\t-\r ]*"  # those that DuckDB's casts overlook
_LOCAL = r"""[^\s\pC\pZ@"(),:;<>\[\]\\.]+(?:\.[^\s\pC\pZ@"(),:;<>\[\]\\.]+)*"""
_LABEL = r"[\pL\pN](?:[\pL\pN\pM-]*[\pL\pN\pM])?"
_ADDRESS = rf"{_LOCAL}@(?:{_LABEL}\.)+(?:\pL[\pL\pN\pM-]*[\pL\pN\pM])"
_PLAIN_ADDRESS = r"[0-9a-z_+-]+(?:\.[0-9a-z_+-]+)*@(?:[0-9a-z](?:[0-9a-z-]*[0-9a-z])?\.)+[a-z][0-9a-z-]*[0-9a-z]"
_INTEGER = "-?[0-9]+"
_DECIMAL = r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_YEAR = r"(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_DATE = rf"{_YEAR}-[0-9]{{2}}-[0-9]{{2}}"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_CLOCK = rf"[T ]{_TIME}:[0-5][0-9](?:\.[0-9]{{1,9}})?(?:Z|[+-]{_TIME})"
_DATETIME = rf"{_YEAR}-[0-9]{{2}}-[0-9]{{2}}{_CLOCK}"
_LOCAL_TIME = rf"{_YEAR}-[0-9]{{2}}-[0-9]{{2}}[T ]{_TIME}:[0-5][0-9](?:\.[0-9]{{1,9}})?"
_PLAIN_DATETIME = rf"[12][0-9]{{3}}-[0-9]{{2}}-[0-9]{{2}}{_CLOCK}"
_FIRST, _LAST = "'0001-01-01T00:00:00Z'::TIMESTAMPTZ", "'9999-12-31T23:59:59.999999Z'::TIMESTAMPTZ"


def column_type(kind: PropertyType, *, many: bool) -> str:
    """Return the type of the column that keeps values of *kind*."""
    return _COLUMN_TYPES[kind] + ("[]" if many else "")


def parse_value(kind: PropertyType, raw: str, *, trim: bool = True, nul: bool = True, zone: str = "") -> str:
    """
    Return the expression of the value that the text *raw* stands for, or NULL when it is no value of *kind*.

    *trim* False keeps the blanks around a text. *nul* False promises that no text contains NUL, which spares a look at
    each of them. *zone* is that of times without an offset.
    """
    # Each branch is evaluated only for the rows that come to it; blanks and capitals are rare, so they come last.
    trimmed = trim_blanks(raw)
    match kind:
        case PropertyType.TEXT:
            if trim:
                raw = trimmed
            short = f"(strlen({raw}) <= {LONGEST_TEXT} OR length({raw}) <= {LONGEST_TEXT})"
            sound = f"{short} AND NOT contains({raw}, chr(0))" if nul else short
            return f"CASE WHEN {_may_be_blank(raw)} AND {_is_blank(raw)} THEN NULL WHEN {sound} THEN {raw} END"
        case PropertyType.EMAIL:
            # Composed first: of the capital I with a dot, one spelling in lower case is another letter than the other.
            lower = f"nfc_normalize(lower(nfc_normalize({trimmed})))"
            short = f"strlen({lower}) <= 254 AND strpos({lower}, '@') <= 65"
            return f"""CASE WHEN strlen({raw}) <= 65 AND {_matches(raw, _PLAIN_ADDRESS)} THEN {raw}
                WHEN {_matches(lower, _ADDRESS)} AND {short} THEN {lower} END"""
        case PropertyType.INTEGER:
            return _cast_spelled(raw, _INTEGER, lambda text: f"try_cast({text} AS BIGINT)")
        case PropertyType.DECIMAL:
            # Most numbers fit the narrow type, to which some versions of DuckDB cast a hundred times faster.
            return _cast_spelled(
                raw,
                _DECIMAL,
                lambda text: f"coalesce(try_cast({text} AS DECIMAL(18,9)), try_cast({text} AS DECIMAL(38,9)))",
            )
        case PropertyType.BOOLEAN:
            # Not `IN`: DuckDB makes a join of a long list, and a join loses the order of the file.
            lower = f"CASE lower({trimmed}) {_BOOLEANS} END"
            return f"CASE {raw} WHEN 'true' THEN true WHEN 'false' THEN false ELSE {lower} END"
        case PropertyType.DATE:
            return _cast_spelled(raw, _DATE, lambda text: f"try_cast({text} AS DATE)")
        case PropertyType.DATETIME:
            upper = f"upper({trimmed})"
            # Only at the ends of time can the offset lead beyond them.
            local = ""
            if zone:
                instant = convert_local(f"try_cast({upper} AS TIMESTAMP)", zone)
                inside = f"list_filter([{instant}], lambda i: i BETWEEN {_FIRST} AND {_LAST})[1]"
                local = f"WHEN {_matches(upper, _LOCAL_TIME)} THEN {inside}"
            return f"""CASE WHEN {_matches(raw, _PLAIN_DATETIME)} THEN try_cast({raw} AS TIMESTAMPTZ) {local}
                WHEN {_matches(upper, _DATETIME)} AND try_cast({upper} AS TIMESTAMPTZ) BETWEEN {_FIRST} AND {_LAST}
                    THEN try_cast({upper} AS TIMESTAMPTZ) END"""


def _cast_spelled(raw: str, pattern: str, cast: Callable[[str], str]) -> str:
    """Return the expression of the text *raw*, which *cast* casts when it is a *pattern* between blanks."""
    trimmed = f"trim({raw}, {quote_text(BLANKS)})"
    return f"""CASE WHEN {_matches(raw, _BLANK + pattern + _BLANK)} THEN {cast(raw)}
        WHEN {_matches(raw, f"{_ANY_BLANK}*{pattern}{_ANY_BLANK}*")} THEN {cast(trimmed)} END"""


def trim_blanks(raw: str) -> str:
    """Return the expression of the text *raw* without the blanks at its ends."""
    # DuckDB takes as long for one `trim` as for fifty looks at both ends.
    plain = f"{raw} BETWEEN '!' AND chr(127) AND right({raw}, 1) BETWEEN '!' AND chr(127)"
    ends = rf"\A{_ANY_BLANK}|{_ANY_BLANK}\z"
    blank = f"regexp_matches({raw}, {quote_text(ends)})"
    return f"CASE WHEN {plain} THEN {raw} WHEN {blank} THEN trim({raw}, {quote_text(BLANKS)}) ELSE {raw} END"


def is_filled(raw: str) -> str:
    """Return the condition that the text *raw* says something."""
    return f"(NOT ({_may_be_blank(raw)}) OR NOT {_is_blank(raw)})"


def _may_be_blank(raw: str) -> str:
    """Return the condition that holds for each text of blanks and for few others: it costs next to nothing."""
    return f"({raw} < '!' OR {raw} > chr(127))"


def _is_blank(raw: str) -> str:
    return _matches(raw, f"{_ANY_BLANK}*")


def format_value(kind: PropertyType, value: str) -> str:
    """Return the expression of the one text form of *value*, a value of *kind*."""
    match kind:
        case PropertyType.DECIMAL:
            return _format_decimal(f"({value})")
        case PropertyType.DATETIME:
            return f"replace({_instant_text(value)}, ' ', 'T') || 'Z'"
        case _:
            return f"({value})::VARCHAR"


def cast_text(kind: PropertyType, value: str) -> str:
    """Return the expression of what `value::VARCHAR` is where the zone is UTC, and faster."""
    match kind:
        case PropertyType.DECIMAL:
            narrow = f"({value})::{_NARROW}::VARCHAR"
            return f"CASE WHEN {_is_narrow(f'({value})')} THEN {narrow} ELSE ({value})::VARCHAR END"
        case PropertyType.DATETIME:
            return f"{_instant_text(value)} || '+00'"
        case _:
            return f"({value})::VARCHAR"


# DuckDB calculates with at most 18 digits many times faster than with more of them, and most numbers have fewer.
_NARROW = "DECIMAL(18,9)"


def _is_narrow(value: str) -> str:
    return f"{value} BETWEEN -999999999 AND 999999999"


def _format_decimal(value: str) -> str:
    narrow = f"{value}::{_NARROW}"
    cents = f"{narrow}::DECIMAL(18,2)"
    tenths = f"{cents}::DECIMAL(18,1)"
    # The scale is fixed, so there always is a point to stop at; to trim takes longer than all of the comparisons.
    return f"""CASE WHEN NOT {_is_narrow(value)} THEN rtrim(rtrim({value}::VARCHAR, '0'), '.')
        WHEN {cents}::{_NARROW} <> {narrow} THEN rtrim(rtrim({narrow}::VARCHAR, '0'), '.')
        WHEN {tenths}::DECIMAL(18,2) <> {cents} THEN {cents}::VARCHAR
        WHEN {tenths}::BIGINT::DECIMAL(18,1) <> {tenths} THEN {tenths}::VARCHAR
        ELSE {tenths}::BIGINT::VARCHAR END"""


def _instant_text(value: str) -> str:
    """Return the expression of the instant *value* in UTC, without its zone: that takes a third of the time."""
    return f"make_timestamp(epoch_us({value}))::VARCHAR"


def format_each(owner: Property, value: str) -> str:
    """Return the expression of the text form of a property's *value*: a list of texts when it is `many`."""
    if not owner.many:
        return format_value(owner.type, value)
    return f"list_transform({value}, lambda x: {format_value(owner.type, 'x')})"


def format_joined(owner: Property, value: str, separator: str) -> str:
    """Return the expression of the one text of a property's *value*, with *separator* between those of a `many`."""
    text = format_each(owner, value)
    return f"array_to_string({text}, {quote_text(separator)})" if owner.many else text


def redact(value: str, *, personal: bool) -> str:
    """Return the expression that is *value* (a text) as a log may show it: a *personal* one is masked."""
    value = f"({value})"
    if personal:
        return f"""CASE WHEN {value} IS NULL THEN NULL
            WHEN length({value}) <= 3 THEN '… (' || length({value}) || ')'
            ELSE {value}[1] || '…' || {value}[-1] || ' (' || length({value}) || ')' END"""
    return f"CASE WHEN length({value}) > 200 THEN left({value}, 200) || '…' ELSE {value} END"


def _matches(value: str, pattern: str) -> str:
    return f"regexp_full_match({value}, {quote_text(pattern)})"
