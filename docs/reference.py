"""Write docs/yaml.md and docs/mail-context.md from schemas and code; with --check only tell if they are true."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
FILES = {
    "workspace.json": "`connrunner.yaml`",
    "profile.json": "`profile.yaml`",
    "connection.json": "`connections/NAME.yaml`",
    "schedule.json": "`schedules/NAME.yaml`",
    "notification.json": "`notifications/NAME.yaml`",
}
HEAD = """\
# The YAML of a workspace

Every key of every file. This page is written from the schemas in `schemas/` (`make docs`); editors that know the YAML
language server complete and check these keys as you type, since each file names its schema in its first line.
"""

MAIL = """\
# What a mail's template sees

Every variable of the templates in `templates/`; [mail.md](mail.md) says how to write one. This page is written from
the code (`make docs`). The values are those of the samples on which `connrunner validate` tries each template.

Every variable is always there. What an event has not is `None`, and asking it for more is an error that `validate`
finds: write `{% if failing %}...{% endif %}`. Times are texts in the zone of the connection's schedule, with their
offset; numbers are numbers, and `{{ run.refused | number }}` writes one in the reader's language.

| event | what happened | our templates |
|---|---|---|
"""

Schema = dict[str, Any]


def load() -> dict[str, Schema]:
    """Return every schema by its file's name."""
    return {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "schemas").glob("*.json"))}


def resolve(schema: Schema, file: str, schemas: dict[str, Schema]) -> tuple[Schema, str]:
    """Follow `$ref`s; what stands beside one (a description, a default) wins over what it names."""
    while "$ref" in schema:
        target, _, pointer = schema["$ref"].partition("#")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        file = target or file
        found: Any = schemas[file]
        for part in filter(None, pointer.split("/")):
            found = found[part]
        schema = {**found, **beside}
    return schema, file


def page(schemas: dict[str, Schema]) -> str:
    """Return the whole page."""
    sections = {**FILES, "format.json": "`format`: how rows stand in a file"}
    for name in schemas:
        if name.startswith("connector-"):
            sections[name] = f"Connector `{name.removeprefix('connector-').removesuffix('.json')}`"
    parts = [HEAD]
    for file, title in sections.items():
        parts.append(f"\n## {title}\n\n{schemas[file]['description']}\n")
        for heading, schema, where in kinds(schemas[file], file, schemas):
            parts.append(heading + table(list(keys(schema, where, schemas))))
    return "".join(parts)


def mail_page() -> str:
    """Return the page about the variables of templates."""
    from connrunner.notify import samples
    from connrunner.notify.render import EVENTS, kind_of
    from connrunner.notify.vocabulary import MEANING, VARIABLES, paths

    parts = [MAIL]
    parts += [f"| `{event}` | {words} | `{own}` |\n" for event, words in MEANING.items() for own in [kind_of(event)]]
    parts.append("\n| variable | what it is | for example |\n|---|---|---|\n")
    values: dict[str, Any] = {}
    for event in ("partial", "recovered", *EVENTS):
        for path, value in paths(samples.sample(event)):
            if values.get(path) in (None, "", [], {}):
                values[path] = value
    for path, words in VARIABLES.items():
        value = values[path]
        example = "" if isinstance(value, dict | list) else f"`{shown(value)}`" if value not in (None, "") else ""
        parts.append(f"| `{path}` | {words} | {example.replace('|', chr(92) + '|')} |\n")
    return "".join(parts)


def kinds(schema: Schema, file: str, schemas: dict[str, Schema]) -> Iterator[tuple[str, Schema, str]]:
    """Yield *schema* itself, or each kind of it when its `type` tells several kinds apart."""
    found = []
    for word, key in (("from", "import"), ("to", "export")):  # what a connector takes in either direction
        branch = schema.get("$defs", {}).get(word, {})
        if file.startswith("connector-") and branch:
            found.append((f"\n### `{key}.{word}`\n\n{branch.get('description', '')}\n", branch, file))
    for branch in schema.get("oneOf", ()):
        branch, where = resolve(branch, file, schemas)
        word = branch.get("properties", {}).get("type", {}).get("const")
        if word:
            found.append((f"\n### `type: {word}`\n\n{branch.get('description', '')}\n", branch, where))
    yield from found or [("", schema, file)]


def table(rows: list[tuple[str, str, str]]) -> str:
    """Return a table of keys."""
    lines = ["\n| key | what it takes | what it does |\n|---|---|---|\n"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows]
    return "".join(lines)


def keys(schema: Schema, file: str, schemas: dict[str, Schema], before: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield a row for each key below *schema*, in the order of the schema; a connector's own keys stand apart."""
    seen: dict[str, None] = {}
    for branch, where in branches(schema, file, schemas):
        if where != file:
            continue  # it has a section of its own
        required = branch.get("required", ())
        for name, raw in branch.get("properties", {}).items():
            value, inside = resolve(raw, where, schemas)
            key = f"{before}{name}"
            if key in seen or "description" not in value:
                continue
            seen[key] = None
            yield row(key, value, inside, schemas, required=name in required)
            if inside == file:
                yield from keys(value, inside, schemas, f"{key}.")
        extra = branch.get("additionalProperties")
        if isinstance(extra, dict):
            value, inside = resolve(extra, where, schemas)
            yield from keys(value, inside, schemas, f"{before}NAME.")


def branches(schema: Schema, file: str, schemas: dict[str, Schema]) -> Iterator[tuple[Schema, str]]:
    """Yield *schema* and every alternative of it that is a mapping."""
    schema, file = resolve(schema, file, schemas)
    yield schema, file
    for word in ("oneOf", "anyOf", "allOf"):
        for branch in schema.get(word, ()):
            yield from branches(branch, file, schemas)
    if isinstance(schema.get("items"), dict):
        yield from branches(schema["items"], file, schemas)
    for word in ("then", "else"):
        if isinstance(schema.get(word), dict):
            yield from branches(schema[word], file, schemas)


def row(key: str, schema: Schema, file: str, schemas: dict[str, Schema], *, required: bool) -> tuple[str, str, str]:
    """Return what the table says of one key."""
    words = [schema["description"]]
    if "default" in schema:
        words.append(f"Default: `{shown(schema['default'])}`.")
    if schema.get("examples"):
        words.append(f"For example `{shown(schema['examples'][0])}`.")
    return (f"`{key}`" + (" (required)" if required else ""), kind(schema, file, schemas), " ".join(words))


def kind(schema: Schema, file: str, schemas: dict[str, Schema]) -> str:
    """Return what values a key takes, in words."""
    schema, file = resolve(schema, file, schemas)
    if "const" in schema:
        return f"`{shown(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{shown(value)}`" for value in schema["enum"])
    for word in ("oneOf", "anyOf"):
        kinds = [kind(branch, file, schemas) for branch in schema.get(word, ()) if "$ref" in branch or "type" in branch]
        if kinds:
            return ", or ".join(dict.fromkeys(kinds))
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return f"list of {kind(schema['items'], file, schemas)}"
    words = {"object": "mapping", "string": "text", "integer": "whole number", "boolean": "`true` or `false`"}
    if schema.get("type") == "integer" and "minimum" in schema and "maximum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    if schema.get("type") == "string" and schema.get("title"):
        return str(schema["title"])
    return words.get(str(schema.get("type")), "mapping")


def shown(value: Any) -> str:
    """Return *value* as it is written in YAML's flow style."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def main() -> int:
    """Write the pages, or tell which of them is not what the code says."""
    pages = {"yaml.md": page(load()), "mail-context.md": mail_page()}
    stale = [name for name, text in pages.items() if not _says(ROOT / "docs" / name, text)]
    if "--check" not in sys.argv:
        for name in stale:
            (ROOT / "docs" / name).write_text(pages[name])
        return 0
    for name in stale:
        sys.stderr.write(f"docs/{name} is not what the schemas and the code say; write it anew with `make docs`\n")
    return 1 if stale else 0


def _says(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
