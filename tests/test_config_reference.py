"""What `explain KEY` and docs/yaml.md say of each key is what the schemas say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connrunner.answers.explain_docs import find_documentation
from connrunner.cli.explain_docs import as_text
from connrunner.config import reference

SCHEMAS = reference.load_schemas()
WORDS = {
    "string": ("text",),
    "integer": ("whole number",),
    "number": ("number",),
    "boolean": ("`true` or `false`",),
    "array": ("list",),
    "object": ("mapping",),
}


def resolve(schema: dict[str, Any], file: str) -> tuple[dict[str, Any], str]:
    """Follow references, by a way of its own."""
    while "$ref" in schema:
        target, _, pointer = schema["$ref"].partition("#")
        file = target or file
        found: Any = SCHEMAS[file]
        for step in pointer.split("/")[1:]:
            found = found[step]
        schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema, file


def alternatives(schema: dict[str, Any], file: str) -> Iterator[dict[str, Any]]:
    """Yield each form that a value can have."""
    schema, file = resolve(schema, file)
    inner = [one for word in ("oneOf", "anyOf") for one in schema.get(word, ()) if "$ref" in one or "type" in one]
    for one in inner:
        yield from alternatives(one, file)
    if not inner:
        yield schema


def properties(schema: Any, file: str, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each property that is described, wherever it stands in *schema*."""
    if isinstance(schema, list):
        for one in schema:
            yield from properties(one, file, path)
    elif isinstance(schema, dict):
        for name, one in schema.get("properties", {}).items():
            if "description" in resolve(one, file)[0] and {"type", "$ref", "oneOf", "anyOf", "enum", "const"} & {*one}:
                yield f"{path}/{name}", one
        for group in ("properties", "$defs"):
            for name, one in schema.get(group, {}).items():
                yield from properties(one, file, f"{path}/{name}")
        for key in ("items", "additionalProperties", "oneOf", "anyOf", "allOf", "then", "else"):
            yield from properties(schema.get(key), file, f"{path}/{key}")


EVERY = [(file, path, one) for file, schema in SCHEMAS.items() for path, one in properties(schema, file)]


@pytest.mark.parametrize(("file", "path", "schema"), EVERY, ids=[f"{file}{path}" for file, path, _ in EVERY])
def test_each_key_says_every_type_of_its_values(file: str, path: str, schema: dict[str, Any]) -> None:
    words = reference.kind(schema, file, SCHEMAS)
    for one in alternatives(schema, file):
        if "const" in one or "enum" in one:
            for value in one.get("enum", [one.get("const")]):
                assert f"`{reference.as_yaml(value)}`" in words
        elif "type" in one:
            assert any(word in words for word in WORDS[one["type"]]), words
        for bound in ("minimum", "maximum"):
            if one.get("type") in ("integer", "number") and bound in one:
                assert str(one[bound]) in words
        if word := one.get("properties", {}).get("type", {}).get("const"):
            assert f"`{word}`" in words


def test_there_are_many_keys() -> None:
    assert len(EVERY) > 200


def test_each_alternative_of_a_key_is_named_with_its_own_keys() -> None:
    (section,) = (one for one in reference.sections() if (one.title, one.kind) == ("Connector `http`", "import.from"))
    found: dict[str, list[str]] = {}
    for key in section.keys:
        found.setdefault(key.of, []).append(key.key.removeprefix("auth."))
    assert found["auth.type: bearer"] == ["type", "token"]
    assert found["auth.type: basic"] == ["type", "username", "password"]
    assert found["auth.type: oauth2"] == ["type", "url", "client_id", "client_secret", "scope", "client_in"]


EXPLAINED = [
    ("import.expect.max_invalid_pct", "takes number, 0 to 100\n"),
    ("import.expect.max_change_pct", "takes number, 0 or more\n"),
    ("retry.backoff", "takes number, 1 to 10\n"),
    ("command.run", "takes list of text, or text, required\n"),
    ("connection.schedule", "takes text (name), or mapping with type times_per_day, days_of_week,"),
    ("http.auth", "takes mapping with type bearer, basic or oauth2\n"),
    ("http.auth.type", "with auth.type: oauth2)\n  takes oauth2, required\n"),
    ("http.auth", "auth.client_id with auth.type: oauth2 (required)"),
    ("sql.watermark.overlap", "takes text (duration), or whole number"),
    ("max_bytes", "takes text (size), or whole number, 1 or more\n"),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "words"), EXPLAINED)
def test_explain_says_it(topic: str, words: str) -> None:
    assert words in as_text(find_documentation(topic, []))
