"""A column of any database's table: how the text of a value gets its type, and whether what is there is that value.

A value counts as arrived when the database, asked for it, gives back what was sent: the same text, the same number
whatever the zeros at its end, the same instant, the same JSON. A number is written plainly, so that no spelling is
lost: 007, +5, 1e3 and 1_000 are texts, and no column of numbers holds them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import sqlalchemy as sa

from connrunner.connectors.sql import sending
from connrunner.connectors.sql.alchemy import MYSQL

_LONG, _UNSIGNED = range(-(2**63), 2**63), range(-(2**63), 2**64)

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?")
_FINER = re.compile(r"\.[0-9]{6}[0-9]*[1-9]")  # than a microsecond, which Python would cut
_DURATION = re.compile(r"(-?)([0-9]+):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6}))?)?")


class ValueColumn:
    """A column, by its name and what the database says about it."""

    def __init__(self, told: Mapping[str, Any], dialect: str, *, holds_json: bool = False) -> None:
        self.name = str(told["name"])
        kind = told["type"]
        self.kind = str(kind)
        self.parameter: Any = kind
        self.is_timestamp = isinstance(kind, sa.types.TIMESTAMP)
        """True for an instant that the session's time zone is applied to."""
        self.invents = _invents(told, dialect)
        """True when the database makes up a value where none is sent."""
        self.is_json = holds_json or isinstance(kind, sa.types.JSON)
        self._has_zone = bool(getattr(kind, "timezone", False))
        try:
            python: type = kind.python_type
        except NotImplementedError:
            python = str
        if type(kind).__name__ == "BIT":
            python, self.parameter = int, sa.types.NullType()
        self._is_number = python in (int, float, Decimal)
        makers: dict[type, Callable[[str], Any]] = {
            bool: _boolean,
            int: lambda text: _integer(text, _UNSIGNED if dialect in MYSQL else _LONG),
            Decimal: _decimal,
            float: lambda text: float(_decimal(text)),
            datetime: self._datetime,
            date: _date,
            wall: _duration if dialect in MYSQL else _wall,
            bytes: _refuse,
        }
        self._make = _json if self.is_json else makers.get(python, str)
        if self.is_json or (python is Decimal and dialect == "sqlite") or (python is wall and dialect in MYSQL):
            # SQLAlchemy would write the JSON anew, make a float of the decimal, and know no time beyond 24 hours.
            self.parameter = sa.types.NullType()
        if python is Decimal and dialect == "sqlite":
            self._make = lambda text: str(_decimal(text))
        is_moment = python in (datetime, date, wall) and not self.is_json
        self.found_as = self.parameter if is_moment and dialect == "sqlite" else sa.types.NullType()
        """The type that it is read back as: nothing may be rounded on the way here."""

    def value(self, given: Any) -> Any:
        """Return the value that *given*, of a line of JSON, stands for; ValueError when it is not of this type."""
        if given is None:
            return None
        if isinstance(given, list) and not self.is_json:
            return self._make(sending.join_members(given))
        if isinstance(given, bool) and self._is_number:
            return int(given)
        if isinstance(given, bool | list):
            given = json.dumps(given, ensure_ascii=False)
        return self._make(given)

    def is_there(self, sent: Any, given: Any, found: Any) -> bool:
        """Return whether the value *found* in the database is the *sent* one, made of *given*."""
        if sent is None or found is None:
            return sent is found
        if self._is_number:
            number = _as_number(found)
            return number is not None and number == (int(given) if isinstance(given, bool) else Decimal(given))
        if self.is_json:
            return _same_json(sent, found if isinstance(found, str) else str(found))
        if isinstance(sent, str) and not isinstance(found, str):
            # A text that SQLite makes a number of; or a year of MySQL.
            number = None if isinstance(found, datetime | date) else _as_number(found)
            return number is not None and format(number, "f") == sent
        return bool(sent == found)

    def _datetime(self, text: str) -> datetime:
        if not _DAY.fullmatch(text) or _FINER.search(text):
            raise ValueError(text)
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None and not self._has_zone:
            return instant.astimezone(UTC).replace(tzinfo=None)
        return instant


def _invents(told: Mapping[str, Any], dialect: str) -> bool:
    if dialect == "sqlite":
        return told.get("primary_key") == 1 and str(told["type"]).upper() == "INTEGER"
    if dialect not in MYSQL or told.get("nullable", True):
        return False
    return bool(told.get("autoincrement") is True or isinstance(told["type"], sa.types.TIMESTAMP))


def _boolean(text: str) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def _integer(text: str, among: range) -> int:
    # Not int(): that takes 1_0 as well.
    number = _decimal(text)
    if number != int(number) or int(number) not in among:
        raise ValueError(text)
    return int(number)


def _decimal(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return Decimal(text)


def _date(text: str) -> date:
    if not _DAY.fullmatch(text):
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    if moment.time() != wall():
        raise ValueError(text)
    return moment.date()


def _wall(text: str) -> wall:
    found = wall.fromisoformat(text)
    if found.tzinfo is not None or _FINER.search(text):
        raise ValueError(text)
    return found


def _duration(text: str) -> timedelta:
    """Return a TIME of MySQL, which is a length of time too."""
    found = _DURATION.fullmatch(text)
    if not found or int(found[3]) > 59 or int(found[4] or 0) > 59:
        raise ValueError(text)
    length = timedelta(
        hours=int(found[2]),
        minutes=int(found[3]),
        seconds=int(found[4] or 0),
        microseconds=int((found[5] or "0").ljust(6, "0")),
    )
    return -length if found[1] else length


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _json(text: str) -> str:
    json.loads(text, parse_constant=_refuse)
    return text


def _same_json(sent: str, found: str) -> bool:
    try:
        one, other = (json.loads(text, parse_float=Decimal, parse_int=Decimal) for text in (sent, found))
    except ValueError:
        return False
    return bool(one == other)


def _as_number(found: Any) -> Decimal | None:
    """Return the number that a driver gave; None when it is none."""
    if isinstance(found, bytes):  # BIT
        return Decimal(int.from_bytes(found, "big"))
    try:
        number = Decimal(repr(found) if isinstance(found, float) else str(found))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
