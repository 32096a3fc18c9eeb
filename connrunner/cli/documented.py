"""What is documented of a YAML key or a code, for `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from connrunner.cli import text
from connrunner.core import codes
from connrunner.errors import ArgumentError
from connrunner.text.words import similar

if TYPE_CHECKING:
    from connrunner.cli.home import Home
    from connrunner.config.reference import KeyDescription

MOST = 8  # places of a key that are written out
NEAR = 3  # names that an unknown one may have meant


def documented(home: Home, topic: str, names: list[str]) -> None:
    """Print what a YAML key takes, or what a code means.

    ArgumentError, with the nearest of them and of *names*, the connections, for anything else.
    """
    from connrunner.config import reference

    keys, code = reference.find(topic), codes.known().get(topic)
    if not keys and code is None:
        every = [*names, *codes.known(), *reference.topics()]
        near = list(dict.fromkeys(similar(topic, every, most=NEAR)))
        hint = (
            f"did you mean {', '.join(near)}?" if near else "`connrunner status` lists connections, docs/yaml.md keys"
        )
        raise ArgumentError(f"there is no connection, key or code {topic!r}", hint=hint)
    if home.json:
        home.echo_json(
            {
                "topic": "key" if keys else "code",
                "keys": [{**found._asdict(), "keys": [key._asdict() for key in found.keys]} for found in keys],
                "code": code._asdict() if code else None,
            }
        )
        return
    parts = _keys(keys)
    if code is not None:
        parts.append(f"{code.code} (a code of problems, runs or refused rows)\n  {code.cause}\n  {code.remedy}")
    click.echo("\n\n".join(parts))


def _keys(keys: list[KeyDescription]) -> list[str]:
    """Return a paragraph for each key; places that say the same of it share one."""
    places: dict[KeyDescription, list[str]] = {}
    for found in keys:
        places.setdefault(found._replace(place=""), []).append(found.place.replace("`", ""))
    parts = []
    for found, names in list(places.items())[:MOST]:
        need = ", required" if found.required else ""
        lines = [f"{found.key} ({'; '.join(names)})", f"  {found.words}"]
        if found.keys:
            rows = [[f"{key.key}{' (required)' if key.required else ''}", key.takes, key.words] for key in found.keys]
            lines += ["", text.table(("Key", "Takes", "What it does"), rows)]
        else:
            lines.insert(1, f"  takes {found.takes.replace('`', '')}{need}")
        parts.append("\n".join(lines))
    if len(places) > MOST:
        parts.append(f"and {len(places) - MOST} more places: docs/yaml.md")
    return parts
