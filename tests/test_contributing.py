"""CONTRIBUTING.md is true: what its map names is there, and who follows "your first connector" gets one that works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TUTORIAL = PAGE.partition("## Your first connector")[2].partition("\n## ")[0]
STEP = re.compile(r"^(?:(?P<prose>.+(?:\n.+)*)\n\n)?```(?P<kind>\w*)\n(?P<block>(?s:.*?))^```$", re.MULTILINE)
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", "build", "dist", "__pycache__", "assets")


def steps() -> Iterator[tuple[str, str, str]]:
    """Yield what the tutorial tells to do: `file` with a path and a text, `line` with a place and lines, or `type`."""
    for step in STEP.finditer(TUTORIAL):
        prose = (step["prose"] or "").replace("\n", " ")
        if step["kind"] == "console":
            yield "type", "", "\n".join(line.removeprefix("$ ") for line in step["block"].splitlines())
        elif found := re.search(r"(?:New file|[Nn]ow|and) `(\S+)`(?: is)?:$", prose):
            yield "file", found[1], step["block"]
        elif found := re.search(r"In `(\S+)`, below `(.+)`:$", prose):
            yield "line", f"{found[1]} {found[2]}", step["block"]
        else:
            pytest.fail(f"what is to be done with this? {prose}")


def test_what_it_names_is_there() -> None:
    for name in re.findall(r"`((?:connrunner|tests|docs|schemas|examples|benchmarks)/[\w/.-]*)`", PAGE):
        assert (ROOT / name).exists() or f"ew file `{name}`" in PAGE, name


@pytest.mark.slow
@pytest.mark.thorough
def test_who_follows_the_first_connector_gets_one_that_works(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT, checkout, ignore=LEFT_OUT)
    (checkout / ".venv").symlink_to(sys.prefix)
    typed = 0
    for action, where, text in steps():
        if action == "file":
            (checkout / where).write_text(text)
        elif action == "line":
            name, _, anchor = where.partition(" ")
            before, found, after = (checkout / name).read_text().partition(f"{anchor}\n")
            assert found, where
            assert anchor not in after, where
            (checkout / name).write_text(before + found + text + after)
        else:
            typed += 1
            environment = {**os.environ, "PYTHONPATH": str(checkout)}
            done = subprocess.run(
                ["bash", "-euxo", "pipefail", "-c", text],
                cwd=checkout,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
            assert done.returncode == 0, (done.stdout, done.stderr)
    assert typed == 2
    assert "would end succeeded; 1 read, 1 created" in done.stdout
