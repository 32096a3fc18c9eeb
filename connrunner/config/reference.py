"""What each YAML key takes, as the schemas say it: for the reference page and for `explain KEY`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from connrunner.config import schema as schemas_of

FILES = {
    "workspace.json": "`connrunner.yaml`",
    "profile.json": "`profile.yaml`",
    "connection.json": "`connections/NAME.yaml`",
    "schedule.json": "`schedules/NAME.yaml`",
    "notification.json": "`notifications/NAME.yaml`",
}

Schema = dict[str, Any]


class Key(NamedTuple):
    """One key of one kind of file."""

    key: str  # with dots between the steps
    takes: str
    words: str  # what it does, with its default and an example
    required: bool


class Section(NamedTuple):
    """The keys of one file, of one kind in it, or of one connector."""

    title: str  # of the file or the connector
    kind: str  # the `type` or direction that these keys belong to; empty for all
    words: str
    keys: tuple[Key, ...]


def load_schemas() -> dict[str, Schema]:
    """Return every schema by its file's name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(schemas_of.folder().glob("*.json"))}


def titles(schemas: dict[str, Schema]) -> dict[str, str]:
    """Return how each file of *schemas* that is documented is called, in the order of the reference."""
    found = {
        **FILES,
        "blackout.json": "`blackout`: when nothing runs",
        "format.json": "`format`: how rows stand in a file",
    }
    for name in schemas:
        if name.startswith("connector-"):
            found[name] = f"Connector `{name.removeprefix('connector-').removesuffix('.json')}`"
    return found


def sections() -> list[Section]:
    """Return every key of every file, in the order of the reference."""
    schemas = load_schemas()
    return [
        Section(title, kind, words, tuple(keys(branch, where, schemas)))
        for file, title in titles(schemas).items()
        for kind, words, branch, where in kinds(schemas[file], file, schemas)
    ]


def follow_references(schema: Schema, file: str, schemas: dict[str, Schema]) -> tuple[Schema, str]:
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


def kinds(schema: Schema, file: str, schemas: dict[str, Schema]) -> Iterator[tuple[str, str, Schema, str]]:
    """Yield *schema* itself, or each kind of it when its `type` tells several kinds apart."""
    found = []
    for word, key in (("from", "import"), ("to", "export")):  # what a connector takes in either direction
        branch = schema.get("$defs", {}).get(word, {})
        if file.startswith("connector-") and branch:
            found.append((f"{key}.{word}", branch.get("description", ""), branch, file))
    for branch in schema.get("oneOf", ()):
        branch, where = follow_references(branch, file, schemas)
        word = branch.get("properties", {}).get("type", {}).get("const")
        if word:
            found.append((f"type: {word}", branch.get("description", ""), branch, where))
    yield from found or [("", "", schema, file)]


def keys(schema: Schema, file: str, schemas: dict[str, Schema], before: str = "") -> Iterator[Key]:
    """Yield each key below *schema*, in the order of the schema; a connector's own keys stand apart."""
    seen: dict[str, None] = {}
    for branch, where in branches(schema, file, schemas):
        if where != file:
            continue  # it has a section of its own
        required = branch.get("required", ())
        for name, raw in branch.get("properties", {}).items():
            value, inside = follow_references(raw, where, schemas)
            key = f"{before}{name}"
            if key in seen or "description" not in value:
                continue
            seen[key] = None
            yield row(key, value, inside, schemas, required=name in required)
            if inside == file:
                yield from keys(value, inside, schemas, f"{key}.")
        extra = branch.get("additionalProperties")
        if isinstance(extra, dict):
            value, inside = follow_references(extra, where, schemas)
            yield from keys(value, inside, schemas, f"{before}NAME.")


def branches(schema: Schema, file: str, schemas: dict[str, Schema]) -> Iterator[tuple[Schema, str]]:
    """Yield *schema* and every alternative of it that is a mapping."""
    schema, file = follow_references(schema, file, schemas)
    yield schema, file
    for word in ("oneOf", "anyOf", "allOf"):
        for branch in schema.get(word, ()):
            yield from branches(branch, file, schemas)
    if isinstance(schema.get("items"), dict):
        yield from branches(schema["items"], file, schemas)
    for word in ("then", "else"):
        if isinstance(schema.get(word), dict):
            yield from branches(schema[word], file, schemas)


def row(key: str, schema: Schema, file: str, schemas: dict[str, Schema], *, required: bool) -> Key:
    """Return what there is to say of one key."""
    words = [schema["description"]]
    if "default" in schema:
        words.append(f"Default: `{as_yaml(schema['default'])}`.")
    if schema.get("examples"):
        words.append(f"For example `{as_yaml(schema['examples'][0])}`.")
    return Key(key, kind(schema, file, schemas), " ".join(words), required)


def kind(schema: Schema, file: str, schemas: dict[str, Schema]) -> str:
    """Return what values a key takes, in words."""
    schema, file = follow_references(schema, file, schemas)
    if "const" in schema:
        return f"`{as_yaml(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{as_yaml(value)}`" for value in schema["enum"])
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


def as_yaml(value: Any) -> str:
    """Return *value* as it is written in YAML's flow style."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- for those who ask about one key -----------------------------------------------------------------------------


class KeyDescription(NamedTuple):
    """Where a key that somebody asked about stands, and what is said of it."""

    place: str  # the file, and the kind in it
    key: str
    takes: str
    words: str
    required: bool
    keys: tuple[Key, ...] = ()  # of a whole kind


def find_keys(topic: str) -> list[KeyDescription]:
    """Return what *topic* can mean: a key with dots, with or without its file before it, a kind, or a connector."""
    named = dict(_named())
    wanted = topic.strip("`.").lower()
    exact = named.get(wanted, [])
    if exact:
        return exact
    ends = [found for name, places in named.items() if name.endswith(f".{wanted}") for found in places]
    return list(dict.fromkeys(ends))


def topics() -> list[str]:
    """Return everything that `find_keys` knows by its full name."""
    return [name for name, _ in _named()]


def _named() -> list[tuple[str, list[KeyDescription]]]:
    names: dict[str, list[KeyDescription]] = {}
    for section in sections():
        kind = section.kind.removeprefix("type: ")
        place = section.title + (f", {section.kind}" if section.kind else "")
        whole = KeyDescription(
            place, kind or section.title, "mapping", section.words, required=False, keys=section.keys
        )
        for root in _roots(section):
            for name in _names_of(section, root, kind):
                names.setdefault(name, []).append(whole)
            for one in section.keys:
                found = KeyDescription(place, one.key, one.takes, one.words, one.required)
                name = f"{root}.{one.key}" if root else one.key
                for written in dict.fromkeys((name, name.replace(".NAME", ""))):
                    if found not in names.setdefault(written, []):
                        names[written].append(found)
    return list(names.items())


def _names_of(section: Section, root: str, kind: str) -> tuple[str, ...]:
    """Return how people call a whole kind: `schedule.day_of_month`, `sftp`, `import.from.sftp`."""
    if section.title.startswith("Connector"):
        return (root,)
    return (f"{root}.{kind}", f"{root}.type.{kind}") if kind and section.words and root else ()


def _roots(section: Section) -> tuple[str, ...]:
    """Return what people write before a key of *section*."""
    word = section.title.strip("`").split("/")[0].removesuffix(".yaml")
    match word:
        case "connections":
            return ("", "connection")
        case "schedules":
            return ("schedule",)
        case "notifications":
            return ("notification",)
        case "connrunner":
            return ("", "workspace")
        case "profile":
            return ("profile",)
    if section.title.startswith("Connector"):
        connector = section.title.split("`")[1]
        return (connector, f"{section.kind}.{connector}") if section.kind else (connector,)
    return ("format",)
