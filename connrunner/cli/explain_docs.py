"""What is documented of a YAML key or a code, as `connrunner explain` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from connrunner.cli import text

if TYPE_CHECKING:
    from connrunner.answers.explain_docs import Documentation
    from connrunner.config.reference import Key, KeyDescription

MOST = 8  # places of a key that are written out


def as_text(found: Documentation) -> str:
    """Return a paragraph for each place of a key, and one for the code."""
    parts = _keys(found.keys)
    if (code := found.code) is not None:
        parts.append(f"{code.code} (a code of problems, runs or refused rows)\n  {code.cause}\n  {code.remedy}")
    return "\n\n".join(parts)


def _keys(keys: Sequence[KeyDescription]) -> list[str]:
    """Return a paragraph for each key; places that say the same of it share one."""
    places: dict[KeyDescription, list[str]] = {}
    for found in keys:
        places.setdefault(found._replace(place=""), []).append(found.place.replace("`", ""))
    parts = []
    for found, names in list(places.items())[:MOST]:
        need = ", required" if found.required else ""
        lines = [f"{found.key} ({'; '.join(names)})", f"  {found.words}"]
        lines.insert(1, f"  takes {found.takes.replace('`', '')}{need}")
        if found.keys:
            lines += ["", text.table(("Key", "Takes", "What it does"), [_row(key) for key in found.keys])]
        parts.append("\n".join(lines))
    if len(places) > MOST:
        parts.append(f"and {len(places) - MOST} more places: docs/yaml.md")
    return parts


def _row(key: Key) -> list[str]:
    of = f" with {key.of}" if key.of else ""
    return [f"{key.key}{of}{' (required)' if key.required else ''}", key.takes.replace("`", ""), key.words]
