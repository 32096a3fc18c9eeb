"""What is documented of a YAML key or a code: the other half of the answer of `connrunner explain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connrunner.config import reference
from connrunner.config.reference import KeyDescription
from connrunner.core import codes
from connrunner.core.codes import Code
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import similar

NEAR = 3  # names that an unknown one may have meant


@dataclass(frozen=True, slots=True)
class Documentation:
    """What a YAML key takes in each place, and what a code means."""

    keys: tuple[KeyDescription, ...]
    code: Code | None


def find_documentation(topic: str, connections: Sequence[str]) -> Documentation:
    """Return what is documented of *topic*.

    ArgumentError, with the nearest of the keys, the codes and *connections*, for anything else.
    """
    keys, code = reference.find_keys(topic), codes.known().get(topic)
    if keys or code is not None:
        return Documentation(tuple(keys), code)
    every = [*connections, *codes.known(), *reference.topics()]
    near = list(dict.fromkeys(similar(topic, every, most=NEAR)))
    hint = f"did you mean {', '.join(near)}?" if near else "`connrunner status` lists connections, docs/yaml.md keys"
    raise ArgumentError(f"there is no connection, key or code {topic!r}", hint=hint)


def as_dict(found: Documentation) -> dict[str, Any]:
    """Return *found* as `explain --format json` shows it."""
    return {
        "topic": "key" if found.keys else "code",
        "keys": [{**each._asdict(), "keys": [key._asdict() for key in each.keys]} for each in found.keys],
        "code": found.code._asdict() if found.code else None,
    }
