"""Every code that the source uses is explained, and every explained code is used."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import connrunner
from connrunner.core import codes

PACKAGE = Path(connrunner.__file__).parent
POSITION = {"Finding": 3, "whole_file": 3, "UnreadableFile": 2, "report": 3, "stop": 3, "refuse": 4, "_refusal": 4}
TABLES = (
    "connectors/sql/failure.py",
    "connectors/s3/errors.py",
    "profiles/importing/reject_reasons.py",
    "connectors/http/client.py",
)
WORD = re.compile("[a-z0-9]+(-[a-z0-9]+)+")
NOT_CODES = {  # words of those tables that are something else
    "host", "content-length", "transfer-encoding", "accept-encoding", "idempotency-key", "content-type", "content-encoding",
    "retry-after", "utf-8", "user-agent", "x-amz-bucket-region",
}  # fmt: skip


def used() -> dict[str, str]:
    """Return the codes in the source, each with a file that uses it."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name == "core/codes.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for value in values(node):
                if re.fullmatch("[a-z0-9-]*[a-z0-9]", value) and value != "code":
                    found.setdefault(value, name)
            if name in TABLES and isinstance(node, ast.Constant) and WORD.fullmatch(str(node.value)):
                found.setdefault(str(node.value), name)
    return {word: name for word, name in found.items() if word not in NOT_CODES}


def values(node: ast.AST) -> list[str]:
    if not isinstance(node, ast.Call):
        return []
    given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
    called = getattr(node.func, "id", getattr(node.func, "attr", ""))
    position = POSITION.get(called)
    if position is not None and len(node.args) > position:
        given.append(node.args[position])
    constants = (one for value in given for one in ast.walk(value) if isinstance(one, ast.Constant))
    return [one.value for one in constants if isinstance(one.value, str)]


def test_every_code_of_the_source_is_explained() -> None:
    missing = {word: path for word, path in used().items() if word not in codes.known()}

    assert not missing, "add a line for each to core/codes.py: cause and remedy"


def test_every_explained_code_is_somewhere_in_the_source() -> None:
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "codes.py")
    built = {"not-gzip", "not-zstd"}  # f"not-{compression}"

    words = set(re.findall(r"(?<=[\"'\s])[a-z0-9-]+(?=[\"'\s])", source))
    assert set(codes.known()) - built <= words


def test_each_has_a_cause_and_a_remedy_and_stands_once() -> None:
    every = [code for group in codes.grouped().values() for code in group]

    assert len({code.code for code in every}) == len(every)
    for group in codes.grouped().values():
        assert [code.code for code in group] == sorted(code.code for code in group)
    for code in every:
        assert re.match("[A-Z`#a-z]", code.cause), code
        assert code.cause.endswith("."), code
        assert code.remedy.rstrip().endswith("."), code
