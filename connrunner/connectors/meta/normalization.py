"""Values in the form that Meta hashes, and their SHA-256.

The rules are Meta's: https://developers.facebook.com/docs/marketing-api/audiences/guides/custom-audiences#hash
A value of which nothing is left is an empty text, which says that the key is not known; it is never hashed.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache, partial

import phonenumbers

HASHED = ("EMAIL", "PHONE", "GEN", "DOBY", "DOBM", "DOBD", "LN", "FN", "FI", "CT", "ST", "ZIP", "COUNTRY")
PLAIN = ("EXTERN_ID", "MADID")
KEYS = (*PLAIN, *HASHED)
UNIQUE = ("EMAIL", "PHONE")  # keys whose values hardly ever come again

_DATE = re.compile(r"\s*(\d{4})-(\d{2})-(\d{2})(?:[T ].*)?", re.DOTALL)
_HASH = re.compile(r"[0-9a-f]{64}")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_BETWEEN_DIGITS = re.compile(r"[\s().-]")
_GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f"}
_COUNTRY = re.compile("[a-z]{2}")
_FIRST_YEAR = 1900


def normalize(key: str, value: str, country: str) -> str:
    """Return the text of *value* that stands for it under *key*; *country* is the profile's, in two small letters."""
    return _RULES[key](value if value.isascii() else unicodedata.normalize("NFC", value), country)


def encode(key: str, value: str, country: str, *, hashed: bool = False) -> str:
    """Return what is sent for *value* under *key*: a hash, an id as it is, or an empty text.

    With *hashed* the value is a hash already, and is not hashed again; one that is none is an empty text.
    """
    return encoder(key, hashed=hashed)(value, country)


def encoder(key: str, *, hashed: bool = False) -> Callable[[str, str], str]:
    """Return what does `encode` for many values of one *key*, each with its country."""
    if hashed:
        return _read_hash
    return partial(normalize if key in PLAIN else _hash_value if key in UNIQUE else _hash_frequent, key)


def _read_hash(value: str, _country: str) -> str:
    given = value.strip().lower()
    return given if _HASH.fullmatch(given) else ""


def _hash_value(key: str, value: str, country: str) -> str:
    text = _RULES[key](value if value.isascii() else unicodedata.normalize("NFC", value), country)
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


_hash_frequent = lru_cache(maxsize=1 << 14)(_hash_value)  # names, places and dates come again and again


def hash_text(text: str) -> str:
    """Return the SHA-256 of *text* in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_country(value: str) -> str:
    """Return *value* as two small letters of ISO 3166-1; empty for anything else."""
    text = value.strip().lower()
    return text if _COUNTRY.fullmatch(text) else ""


def _email(value: str, _country: str) -> str:
    text = value.strip().lower()
    return text if "@" in text else ""


def _phone(value: str, country: str) -> str:
    """Return the digits of a number with the code of its country; a national number without a country is none."""
    text = value.strip()
    if not text.isascii():  # digits of any script are digits
        text = "".join(str(unicodedata.digit(one, one)) for one in text)
    if _E164.fullmatch(text):
        return text[1:]
    if usual := _domestic(text, country):
        return usual
    try:
        found = phonenumbers.parse(re.sub(r"^00", "+", text), country.upper() or None)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_possible_number(found):
        return ""
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164).lstrip("+")


def _domestic(text: str, country: str) -> str:
    """Return what `phonenumbers.parse` makes of the usual way to write a number, 30 times faster; else nothing."""
    rule = _dialing_rule(country)
    digits = text if text.isdecimal() else _BETWEEN_DIGITS.sub("", text)
    if rule is None or not digits.isdecimal() or not digits.isascii() or not digits.startswith("0"):
        return ""
    code, pattern = rule
    rest = digits[1:]
    return f"{code}{rest}" if pattern.fullmatch(rest) and not pattern.fullmatch(digits) else ""


@cache
def _dialing_rule(country: str) -> tuple[int, re.Pattern[str]] | None:
    """Return the code of a *country* whose numbers have a 0 before them at home, and the pattern of the rest."""
    found = phonenumbers.PhoneMetadata.metadata_for_region(country.upper(), None) if country else None
    if found is None or (found.national_prefix_for_parsing or "") != "0" or found.national_prefix_transform_rule:
        return None
    pattern = found.general_desc.national_number_pattern if found.general_desc else None
    return (found.country_code, re.compile(pattern)) if found.country_code and pattern else None


def _name(value: str, _country: str) -> str:
    return " ".join(_letters(value, " ").split())


def _initial(value: str, country: str) -> str:
    return _name(value, country)[:1]


def _place(value: str, _country: str) -> str:
    return _letters(value, "")


def _state(value: str, country: str) -> str:
    text = _letters(value, "")
    if country == "us":
        return US_STATES.get(text, text if len(text) == 2 else "")
    return text


def _letters(value: str, blank: str) -> str:
    """Return *value* in small letters without punctuation and symbols; letters of any script stay."""
    if value.isascii():  # most are, and this is ten times faster
        plain = value.lower().translate(_NO_LETTERS)
        return plain if blank else plain.replace(" ", "")
    lower = unicodedata.normalize("NFC", value.lower())
    return "".join(
        blank if one.isspace() else one
        for one in lower
        if one.isspace() or unicodedata.category(one)[0] in "LMN"  # letters, marks that belong to one, digits
    )


def _zip(value: str, country: str) -> str:
    text = re.sub(r"[\s\-\u2010-\u2015]", "", value.lower())
    if country == "us":
        return text[:5]
    if country == "gb":  # area, district and sector: the last two letters name the delivery point
        return re.sub(r"(\d)[a-z]{2}$", r"\1", text)
    return text


def _country(value: str, _country: str) -> str:
    return read_country(value)


def _year(value: str, _country: str) -> str:
    text = value.strip()
    year = text if re.fullmatch(r"[0-9]{4}", text) else _part_of_date(text, 1)
    return year if year and int(year) >= _FIRST_YEAR else ""


def _month(value: str, _country: str) -> str:
    return _small_number(value, 2, 12)


def _day(value: str, _country: str) -> str:
    return _small_number(value, 3, 31)


def _small_number(value: str, part: int, most: int) -> str:
    text = value.strip()
    found = text if re.fullmatch(r"[0-9]{1,2}", text) else _part_of_date(text, part)
    return f"{int(found):02}" if found and 1 <= int(found) <= most else ""


def _part_of_date(text: str, part: int) -> str:
    found = _DATE.fullmatch(text)
    return found[part] if found else ""


def _gender(value: str, _country: str) -> str:
    # Who said neither is neither: to guess would make somebody a man or a woman.
    return _GENDERS.get(value.strip().lower(), "")


def _as_it_is(value: str, _country: str) -> str:
    return value


def _device(value: str, _country: str) -> str:
    return value.strip().lower()


_NO_LETTERS = {number: " " if chr(number).isspace() else None for number in range(128) if not chr(number).isalnum()}

_RULES: dict[str, Callable[[str, str], str]] = {
    "EXTERN_ID": _as_it_is,
    "MADID": _device,
    "EMAIL": _email,
    "PHONE": _phone,
    "GEN": _gender,
    "DOBY": _year,
    "DOBM": _month,
    "DOBD": _day,
    "LN": _name,
    "FN": _name,
    "FI": _initial,
    "CT": _place,
    "ST": _state,
    "ZIP": _zip,
    "COUNTRY": _country,
}

# Names as `_letters` leaves them, and their codes (ANSI INCITS 38).
US_STATES = {
    "alabama": "al",
    "alaska": "ak",
    "arizona": "az",
    "arkansas": "ar",
    "california": "ca",
    "colorado": "co",
    "connecticut": "ct",
    "delaware": "de",
    "districtofcolumbia": "dc",
    "florida": "fl",
    "georgia": "ga",
    "hawaii": "hi",
    "idaho": "id",
    "illinois": "il",
    "indiana": "in",
    "iowa": "ia",
    "kansas": "ks",
    "kentucky": "ky",
    "louisiana": "la",
    "maine": "me",
    "maryland": "md",
    "massachusetts": "ma",
    "michigan": "mi",
    "minnesota": "mn",
    "mississippi": "ms",
    "missouri": "mo",
    "montana": "mt",
    "nebraska": "ne",
    "nevada": "nv",
    "newhampshire": "nh",
    "newjersey": "nj",
    "newmexico": "nm",
    "newyork": "ny",
    "northcarolina": "nc",
    "northdakota": "nd",
    "ohio": "oh",
    "oklahoma": "ok",
    "oregon": "or",
    "pennsylvania": "pa",
    "puertorico": "pr",
    "rhodeisland": "ri",
    "southcarolina": "sc",
    "southdakota": "sd",
    "tennessee": "tn",
    "texas": "tx",
    "utah": "ut",
    "vermont": "vt",
    "virginia": "va",
    "washington": "wa",
    "westvirginia": "wv",
    "wisconsin": "wi",
    "wyoming": "wy",
}
