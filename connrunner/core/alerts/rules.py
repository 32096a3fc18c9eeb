"""Rules of `notify` as plain data: the record of a run's start says who is told how it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from connrunner.core.model import Notify, Target
from connrunner.lazy_dataclasses import MISSING, fields

OF_TARGET = ("name", "to", "cc", "limit")  # what the end of a run asks of a target; the rest is asked when mail leaves
OF_RULE = tuple(each.name for each in fields(Notify) if each.name != "to")


def as_list(rules: Iterable[Notify]) -> list[dict[str, Any]]:
    """Return *rules* as plain data, without what is as usual."""
    return [{**_unusual(rule, OF_RULE), "to": [_unusual(target, OF_TARGET) for target in rule.to]} for rule in rules]


def from_list(data: Iterable[Mapping[str, Any]]) -> tuple[Notify, ...]:
    """Return the rules that plain data holds; keys that a newer version added are left out."""
    return tuple(Notify(**{**_known(rule, OF_RULE), "to": tuple(map(_target, rule["to"]))}) for rule in data)


def _target(data: Mapping[str, Any]) -> Target:
    known = _known(data, OF_TARGET)
    addresses: dict[str, Any] = {key: tuple(map(str, known.pop(key))) for key in ("to", "cc") if key in known}
    return Target(**addresses, **known)


def _unusual(value: Notify | Target, names: tuple[str, ...]) -> dict[str, Any]:
    usual = {each.name: each.default for each in fields(value)}
    said = {name: getattr(value, name) for name in names}
    return {name: one for name, one in said.items() if usual[name] is MISSING or one != usual[name]}


def _known(data: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key in names}
