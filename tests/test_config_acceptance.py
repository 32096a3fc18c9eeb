"""What is taken for sound without jsonschema is what jsonschema has no error about, and nothing else."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connrunner.config import acceptance, schema
from connrunner.config.documents.document import parse

ROOT = Path(__file__).parent.parent
KINDS = {"connections": "connection", "schedules": "schedule", "notifications": "notification"}
MUTANTS = 25  # of each file
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.0, 1.5, 10**9, "", "a", "1", "import", "sftp", "2026-01-01", "03:00", "env:NAME", "x" * 300, "a\n",
    [], {}, ["a"], ["a", "a"], [1, True], [1, 1.0], [{"a": 1}, {"a": 1}], {"type": "manual"}, {"type": "http"}, {"from": "a"}, {"a": {"b": 1}},
)  # fmt: skip


def documents() -> Iterator[tuple[str, Any]]:
    """Yield the kind and the data of every YAML file of the examples and of the cases of problems."""
    for path in sorted([*ROOT.glob("examples/**/*.yaml"), *ROOT.glob("tests/cases/config/**/*.yaml")]):
        data = parse(path.read_bytes(), path.name).data
        for kind in schema.KINDS:
            if kind == KINDS.get(
                path.parent.name, path.stem if path.stem != "connrunner" else "workspace"
            ) or path.name.startswith(kind):
                yield kind, data


def is_sound(kind: str, data: Any) -> bool:
    return not list(schema._validator(kind).iter_errors(data))


def test_it_says_what_jsonschema_says() -> None:
    kinds = set()
    for kind, data in documents():
        kinds.add((kind, sound := is_sound(kind, data)))
        assert schema._accepts(kind)(data) is sound, (kind, data)
    assert kinds == {(kind, sound) for kind in schema.KINDS for sound in (True, False)}


def test_it_says_so_of_mutants() -> None:
    dice = random.Random(20261130)
    sound = 0
    for kind, data in documents():
        for _ in range(MUTANTS if is_sound(kind, data) else 2):
            mutant = mutated(dice, data)
            sound += (expected := is_sound(kind, mutant))
            assert schema._accepts(kind)(mutant) is expected, (kind, mutant)
    assert sound > 100


def mutated(dice: random.Random, data: Any) -> Any:
    """Return *data* with one part taken away, doubled, replaced, or set under another key."""
    whole = {"": copy.deepcopy(data)}
    containers = list(_containers(whole))
    at = dice.choice(containers)
    if isinstance(at, list):
        if at and dice.random() < 0.3:
            at.pop(dice.randrange(len(at)))
        elif at and dice.random() < 0.4:
            at[dice.randrange(len(at))] = dice.choice(VALUES)
        else:
            at.append(dice.choice([*at, *VALUES]))
        return whole[""]
    key = dice.choice(list(at) or [""])
    keys = [key for one in containers if isinstance(one, dict) for key in one]
    match dice.randrange(4):
        case 0 if at is not whole:
            at.pop(key, None)
        case 1 if at is not whole:
            at[dice.choice(keys)] = dice.choice(VALUES)
        case 2 if isinstance(at.get(key), str):
            at[key] += dice.choice(("\n", " ", "x", "\0", "é"))
        case _:
            at[key] = dice.choice(VALUES)
    return whole[""]


def _containers(data: Any) -> Iterator[Any]:
    if isinstance(data, dict | list):
        yield data
        for value in data.values() if isinstance(data, dict) else data:
            yield from _containers(value)


FILES = sorted(path.stem for path in schema.folder().glob("*.json"))


@pytest.mark.parametrize("name", FILES)
def test_every_keyword_is_known(name: str) -> None:
    """Else nothing that the part describes would be accepted, and of several alternatives the wrong number."""
    for part in _parts(schema.load_schema(name)):
        assert set(part) <= acceptance.ANNOTATIONS | set(acceptance._MAKERS) | {"then", "else"}
        for value in (part.get("const"), *part.get("enum", ())):
            # 1 and 1.0 are the same to JSON Schema; `version` stands among no alternatives, so jsonschema is asked.
            assert value is None or isinstance(value, str | bool) or (name, value) == ("workspace", 1)


def _parts(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, bool):
        return
    yield part
    for keyword in ("properties", "$defs"):
        for inner in part.get(keyword, {}).values():
            yield from _parts(inner)
    for keyword in ("items", "additionalProperties", "propertyNames", "if", "then", "else"):
        yield from _parts(part.get(keyword, True))
    for keyword in ("oneOf", "anyOf", "allOf"):
        for inner in part.get(keyword, []):
            yield from _parts(inner)


def test_a_keyword_that_is_not_known_accepts_nothing() -> None:
    assert not acceptance.accept_by(lambda _: {"type": "string", "contentEncoding": "base64"}, "")("YQ==")
    assert acceptance.accept_by(lambda _: {"type": "string"}, "")("YQ==")
