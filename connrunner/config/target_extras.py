"""What the targets of a workspace need of the optional parts of connrunner, and is not there."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from connrunner.config import stamps
from connrunner.config.documents import workspace_file
from connrunner.config.documents.document import parse
from connrunner.config.finding import Finding
from connrunner.config.wording import did_you_mean, show
from connrunner.errors import Problem
from connrunner.text.words import escape

NEEDS = {"apprise": ("apprise", "apprise"), "language": ("babel", "languages")}  # key -> package, extra


def find_missing_extras(folder: Path) -> Iterator[Problem]:
    """Yield a problem for each target in *folder* that needs what is not installed, or a language that nobody knows.

    It breaks nothing: the mail for it waits, and a date is written in plain words.
    """
    absent = {key: extra for key, (package, extra) in NEEDS.items() if find_spec(package) is None}
    for path in stamps.stamps(folder):
        if not (path.startswith("notifications/") and path.endswith(".yaml")):
            continue
        try:
            document = parse(workspace_file.read_workspace_file(str(folder), path), escape(path))
        except workspace_file.UnreadableFile:
            continue  # told by the check of the file itself
        said = document.data if isinstance(document.data, dict) else {}
        for key in absent.keys() & said.keys():
            hint = f"pip install 'connrunner[{absent[key]}]'"
            message = f"`{key}` needs the extra `{absent[key]}`, which is not installed"
            yield document.problem(Finding((key,), message, hint, "missing-extra", at_key=True))
        if "language" not in absent and isinstance(said.get("language"), str):
            for finding in _unknown(said["language"]):
                yield document.problem(finding)


def _unknown(tag: str) -> Iterator[Finding]:
    from babel import Locale, UnknownLocaleError
    from babel.localedata import locale_identifiers

    try:
        Locale.parse(tag, sep="-")
    except (ValueError, UnknownLocaleError):
        hint = (
            did_you_mean(tag, [name.replace("_", "-") for name in locale_identifiers()]) or "write one like nl or de-AT"
        )
        yield Finding(("language",), f"unknown language {show(tag)}", hint, "unknown-language")
