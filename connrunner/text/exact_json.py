"""JSON whose numbers keep their spelling: `1.10` stays `1.10`, and no digit of a long number is lost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import simplejson
from simplejson.raw_json import RawJSON

_SHORT = 18  # digits that an integer of 64 bits always holds
_LONGEST = 100  # digits of a number that is written out


def decode_exactly(text: str | bytes) -> Any:
    """
    Return the value of *text* like `json.loads`, but a number that Python would spell otherwise as its spelling.

    Such a number is a `simplejson.raw_json.RawJSON`: each one with a fraction or an exponent, `-0`, and integers too
    long for 64 bits. Of members with one name the last one counts. ValueError for what is no JSON: NaN and the
    infinities are none (RFC 8259, section 6).
    """
    return simplejson.loads(text, parse_float=RawJSON, parse_int=_parse_integer)


def encode_exactly(value: Any) -> str:
    """Return *value*, as `decode_exactly` makes it, as JSON in one line without blanks. ValueError for NaN."""
    return str(simplejson.dumps(value, ensure_ascii=False, separators=(",", ":")))


def write_digits(value: Any) -> str | None:
    """
    Return the number *value*, if `decode_exactly` made one that it keeps as a spelling, with all of its digits.

    There is no exponent then, and no zero at the end of a fraction. None for every other value, and for a number that
    would take more than a hundred digits.
    """
    if not isinstance(value, RawJSON):
        return None
    number = Decimal(value.encoded_json)
    if abs(number.adjusted()) > _LONGEST or len(number.as_tuple().digits) > _LONGEST:
        return None
    if not number:
        return "0"
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _parse_integer(digits: str) -> Any:
    return int(digits) if len(digits) <= _SHORT and digits != "-0" else RawJSON(digits)
