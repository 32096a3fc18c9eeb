"""Which optional parts of connrunner the targets of a workspace need, and are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from connrunner.config import files, stamps
from connrunner.config.document import parse
from connrunner.config.finding import Finding
from connrunner.config.wording import printable
from connrunner.errors import Problem

NEEDS = {"apprise": ("apprise", "apprise"), "language": ("babel", "languages")}  # key -> package, extra


def missing(folder: Path) -> Iterator[Problem]:
    """Yield a problem for each target in *folder* that needs what is not installed.

    It breaks nothing: the mail for it waits, and a date is written in plain words.
    """
    absent = {key: extra for key, (package, extra) in NEEDS.items() if find_spec(package) is None}
    for path in stamps.stamps(folder) if absent else ():
        if not (path.startswith("notifications/") and path.endswith(".yaml")):
            continue
        try:
            document = parse(files.read(str(folder), path), printable(path))
        except files.Unreadable:
            continue  # told by the check of the file itself
        for key in absent.keys() & (document.data if isinstance(document.data, dict) else {}).keys():
            hint = f"pip install 'connrunner[{absent[key]}]'"
            message = f"`{key}` needs the extra `{absent[key]}`, which is not installed"
            yield document.problem(Finding((key,), message, hint, "missing-extra", at_key=True))
