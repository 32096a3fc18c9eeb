"""docs/recipes.md: its files are written, its commands typed, and their output is what the page shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "recipes.md"
RECIPES = [(section.partition("\n")[0], section) for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]]
STATUS = re.compile(r"  # ends with (\d+)$")


def matches(shown: list[str], printed: list[str]) -> bool:
    """Tell whether *printed* is what the page shows: `...` is anything in a line, and any lines where it stands alone."""
    pattern = ""
    for line in shown:
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += (
                r"\s+".join(".*".join(map(re.escape, word.split("..."))) for word in line.strip().split()) + r"\s*\n"
            )
            pattern = pattern.replace(r"\s+.*\s+", r"\s.*\s")
    return re.fullmatch(pattern, "".join(f"{line.strip()}\n" for line in printed)) is not None


@pytest.mark.slow
@pytest.mark.real_clock
@pytest.mark.thorough
@pytest.mark.parametrize("section", [text for _, text in RECIPES], ids=[title for title, _ in RECIPES])
def test_a_recipe_does_what_it_says(section: str, tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    shutil.copytree(ROOT / "examples", folder)
    shutil.rmtree(folder / "connections")
    (folder / "connections").mkdir()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    page = section.replace("/run/secrets", str(secrets))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "200"}
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language == "yaml":
            path = re.match(r"# (\S+)\n", block)
            assert path is not None
            (folder / path[1]).write_text(block, encoding="utf-8")
            continue
        for typed in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = typed.splitlines()
            done = subprocess.run(
                ["sh", "-c", STATUS.sub("", command)],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            status = STATUS.search(command)
            assert done.returncode == (int(status[1]) if status else 0), (command, done.stdout, done.stderr)
            assert matches(shown or ["..."], done.stdout.splitlines()), (command, done.stdout)
