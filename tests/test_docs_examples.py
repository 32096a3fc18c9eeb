"""What pages show can be copied: the YAML is valid, and each command that is typed is there, with its options."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from connrunner.cli import command_line as cli
from connrunner.config import schema
from connrunner.config.documents.document import parse
from connrunner.config.load import load

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = {"connection": "connections", "notification": "notifications", "schedule": "schedules"}
# A file of each kind has one of these; a block without them shows a part.
MARKS_OF_A_WHOLE = {"connection": {"import", "export", "command"}, "notification": {"email", "apprise"}}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: *place* is the page and the line of the fence."""

    place: str
    text: str

    @property
    def is_ours(self) -> bool:
        """Whether it is YAML of connrunner, whose files are mappings, and not of another program."""
        return not self.text.startswith("- ")

    @property
    def path(self) -> str:
        """The file that the comment at its beginning names, like connections/crm.yaml; empty when none does."""
        found = re.match(r"# (\w[\w/-]*\.yaml)\b", self.text)
        return found[1] if found else ""

    def kinds(self) -> list[str]:
        """Return the kinds of file that it can be from."""
        if not self.path:
            return ["connection", "workspace"]
        folder = self.path.rpartition("/")[0]
        return [kind for kind, place in FOLDERS.items() if place == folder] or ["workspace"]

    def alternatives(self) -> Iterator[str]:
        """Yield the texts that it stands for: a key that is there once more begins another way to say it."""
        lines: list[str] = []
        keys: set[str] = set()
        for line in self.text.splitlines():
            key = line.partition(":")[0]
            if key in keys:
                yield "\n".join(lines)
                lines, keys = [], set()
            if re.match(r"\w", line):
                keys.add(key)
            lines.append(line)
        yield "\n".join(lines)


def blocks(language: str) -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, block.start()) + 1
            yield Block(f"{page.relative_to(ROOT)}:{line}", block[1])


YAML = [block for block in blocks("yaml") if block.is_ours]
WHOLE = [
    (block, block.path or f"connections/block-{number}.yaml")
    for number, block in enumerate(YAML)
    for data in [parse(block.text.encode(), block.place).data or {}]
    if set(data) & MARKS_OF_A_WHOLE.get(block.kinds()[0], set())
]


@pytest.mark.parametrize("block", YAML, ids=[block.place for block in YAML])
def test_yaml_is_valid(block: Block) -> None:
    for text in block.alternatives():
        document = parse(text.encode(), block.place)
        assert [str(problem) for problem in document.problems] == []
        found = {
            kind: [finding for finding in schema.check_schema(kind, document.data) if finding.code != "missing-key"]
            for kind in block.kinds()
        }
        assert [] in found.values(), found


def test_whole_files_fit_into_the_example_workspace(tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "examples", tmp_path / "workspace")
    assert len(WHOLE) >= 4
    for block, path in WHOLE:
        (folder / path).write_text(block.text, encoding="utf-8")
    assert [str(problem) for problem in load(folder).problems] == []


# --- what is typed -------------------------------------------------------------------------------------------------


def typed() -> Iterator[tuple[str, list[str]]]:
    """Yield the place of each `connrunner` command line of a page, and its arguments."""
    for block in blocks("console"):
        for line in re.findall(r"^\$ (.+)$", block.text, re.MULTILINE):
            for command in re.split(r"&&|\|", line.partition(" #")[0]):
                words = shlex.split(command)
                if words[:1] == ["sudo"]:
                    del words[0]
                if words[:1] == ["connrunner"]:
                    yield f"{block.place} {' '.join(words)}", words[1:]


TYPED = list(typed())


@pytest.mark.parametrize("arguments", [arguments for _, arguments in TYPED], ids=[place for place, _ in TYPED])
def test_a_command_line_is_understood(arguments: list[str]) -> None:
    """Its options are those of the command, with values that they take; nothing is run."""
    command: click.Command = cli.commands
    context = click.Context(command, info_name="connrunner")
    while isinstance(command, click.Group):
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    command.parse_args(context, arguments)
