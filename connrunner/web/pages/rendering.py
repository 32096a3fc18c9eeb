"""Templates, and the static files with a hash of their content in their names."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from connrunner.answers.explain import describe_usual
from connrunner.core.planning.forecast import RunDurations
from connrunner.web.pages.links import Links
from connrunner.web.pages.moments import run_time
from connrunner.web.pages.strip import style_of

FOLDER = Path(__file__).parent
STATIC = ("app.css", "app.js", "icon.svg")
_KEY = re.compile(r"(?P<indent>\s*(?:- )?)(?P<key>[\w.-]+)(?P<rest>:(?:\s.*)?)")


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


class YamlParts(NamedTuple):
    """A line of YAML in the parts that have a colour."""

    indent: str
    key: str
    rest: str
    comment: bool


def split_yaml(line: str) -> YamlParts:
    """Return the parts of a *line* of YAML: its key, if it begins with one, and the rest."""
    if line.lstrip().startswith("#"):
        return YamlParts("", "", line, comment=True)
    found = _KEY.fullmatch(line)
    return (
        YamlParts(found["indent"], found["key"], found["rest"], comment=False)
        if found
        else YamlParts("", "", line, comment=False)
    )


def mark_code(text: str) -> Markup:
    """Return *text* with what stands between backticks set as code, as commands, keys and paths are to be copied."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # one without a partner is a character like any other
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def say_usual(usual: RunDurations) -> str:
    """Return how long runs usually take, behind the word `Usually`."""
    return describe_usual(usual).removeprefix("usually ")


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
    environment.filters |= {
        "thousands": lambda number: f"{number:,}",
        "style_of": style_of,
        "run_time": run_time,
        "usual": say_usual,
        "coded": mark_code,
        "yaml_parts": split_yaml,
    }
    return environment


def render_template(name: str, links: Links, **values: Any) -> str:
    """Return the template *name* with *values*; `link` and `file` write addresses."""
    files = {plain: links.file(hashed) for plain, (hashed, _) in _named_files().items()}
    used: set[str] = set()

    def use_icon(name: str) -> str:
        used.add(name)
        return ""

    template = _environment().get_template(name)
    here = {"link": links.page, "has_page": links.holds, "files": files, "use_icon": use_icon, "used_icons": used}
    return template.render(**here, **values)
