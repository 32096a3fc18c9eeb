"""Templates, and the static files with a hash of their content in their names."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from connrunner.web.pages.links import Links

FOLDER = Path(__file__).parent
STATIC = ("app.css", "app.js", "icon.svg")


@functools.cache
def _named_files() -> dict[str, tuple[str, bytes]]:
    """Return each static file by its plain name: its hashed name and its content."""
    found = {}
    for name in STATIC:
        content = (FOLDER / "static" / name).read_bytes()
        stem, _, suffix = name.partition(".")
        found[name] = (f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}", content)
    return found


def static_files() -> Mapping[str, bytes]:
    """Return the static files by their names; a name changes with its content, so a file can be cached for good."""
    return dict(_named_files().values())


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment


def render_template(name: str, links: Links, **values: Any) -> str:
    """Return the template *name* with *values*; `link` and `file` write addresses."""
    files = {plain: links.file(hashed) for plain, (hashed, _) in _named_files().items()}
    return _environment().get_template(name).render(link=links.page, files=files, **values)
