"""What each YAML key takes, as the schemas say it: for the reference page and for `explain KEY`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from connrunner.config import schema as schemas_of
from connrunner.text.words import listed

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
    of: str = ""  # the alternative that it belongs to, such as `auth.type: bearer`; empty when it belongs to all


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
        "executor.json": "`executor`: where runs live",
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
    found = list(_rows(schema, file, schemas, before))
    alternatives = {key.of for key in found}
    for key in dict.fromkeys(found):
        same = {other.of for other in found if other._replace(of="") == key._replace(of="")}
        siblings = {of for of in alternatives if of.partition(":")[0] == key.of.partition(":")[0]}
        if not key.of or same != siblings:
            yield key
        elif key.of == next(other.of for other in found if other.of in same):  # said once for all alternatives
            yield key._replace(of="")


def _rows(schema: Schema, file: str, schemas: dict[str, Schema], before: str, of: str = "") -> Iterator[Key]:
    """Yield each key below *schema* in each of its alternatives."""
    seen: set[tuple[str, str]] = set()
    for branch, where, word in branches(schema, file, schemas):
        if where != file or (before and branch.get("title") in _titles_of_kinds(file, schemas)):
            continue  # it has a section of its own
        inner = f"{before}type: {word}" if word else of
        required = branch.get("required", ())
        for name, raw in branch.get("properties", {}).items():
            value, inside = follow_references(raw, where, schemas)
            key = f"{before}{name}"
            if (key, inner) in seen or "description" not in value:
                continue
            seen.add((key, inner))
            takes = kind(value, inside, schemas) or _conditional_kind(branch, name, where, schemas)
            yield row(key, value, takes, required=name in required)._replace(of=inner)
            if inside == file:
                yield from _rows(value, inside, schemas, f"{key}.", inner)
        extra = branch.get("additionalProperties")
        if isinstance(extra, dict):
            value, inside = follow_references(extra, where, schemas)
            yield from _rows(value, inside, schemas, f"{before}NAME.", inner)


def _titles_of_kinds(file: str, schemas: dict[str, Schema]) -> set[str]:
    """Return the titles of the kinds of a whole *file*, which `kinds` yields."""
    found = (follow_references(branch, file, schemas)[0] for branch in schemas[file].get("oneOf", ()))
    return {branch["title"] for branch in found if "title" in branch}


def branches(schema: Schema, file: str, schemas: dict[str, Schema]) -> Iterator[tuple[Schema, str, str]]:
    """Yield *schema* and every alternative of it that is a mapping, with the `type` that tells one from the others."""
    schema, file = follow_references(schema, file, schemas)
    yield schema, file, ""
    for word in ("oneOf", "anyOf", "allOf"):
        several = list(types_of(schema, file, schemas)) if word == "oneOf" else []
        for branch in schema.get(word, ()):
            for found, where, inner in branches(branch, file, schemas):
                own = found.get("properties", {}).get("type", {}).get("const", "")
                yield found, where, inner or (own if len(several) > 1 else "")
    if isinstance(schema.get("items"), dict):
        yield from branches(schema["items"], file, schemas)
    for word in ("then", "else"):
        if isinstance(schema.get(word), dict):
            yield from branches(schema[word], file, schemas)


def types_of(schema: Schema, file: str, schemas: dict[str, Schema]) -> Iterator[str]:
    """Yield the `type` of each alternative of *schema* that has one."""
    schema, file = follow_references(schema, file, schemas)
    for branch in schema.get("oneOf", ()):
        branch, _ = follow_references(branch, file, schemas)
        if word := branch.get("properties", {}).get("type", {}).get("const"):
            yield str(word)


def row(key: str, schema: Schema, takes: str, *, required: bool) -> Key:
    """Return what there is to say of one key, which *takes* such values."""
    words = [schema["description"]]
    if "default" in schema:
        words.append(f"Default: `{as_yaml(schema['default'])}`.")
    if schema.get("examples"):
        words.append(f"For example `{as_yaml(schema['examples'][0])}`.")
    return Key(key, takes, " ".join(words), required)


def kind(schema: Schema, file: str, schemas: dict[str, Schema]) -> str:
    """Return what values a key takes, in words, every alternative of them; empty when *schema* does not say."""
    schema, file = follow_references(schema, file, schemas)
    if "const" in schema:
        return f"`{as_yaml(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{as_yaml(value)}`" for value in schema["enum"])
    if types := list(types_of(schema, file, schemas)):
        words = [kind(branch, file, schemas) for branch in schema.get("oneOf", ()) if "const" in branch]
        return ", or ".join([*words, f"mapping with `type` {listed((f'`{word}`' for word in types), 'or')}"])
    for word in ("oneOf", "anyOf"):
        kinds = [kind(branch, file, schemas) for branch in schema.get(word, ()) if "$ref" in branch or "type" in branch]
        if kinds:
            return _alternatives(list(dict.fromkeys(kinds)))
    return _one_kind(schema, file, schemas)


def _alternatives(kinds: list[str]) -> str:
    """Return *kinds* as alternatives; a list of nothing but the others does not say them again."""
    for place, one in enumerate(kinds):
        others = ", or ".join(kinds[:place] + kinds[place + 1 :])
        if one in (f"list, each {others}", f"list of {others}"):
            return f"{others}, or a list of {'these' if ', or ' in others else 'them'}"
    return ", or ".join(kinds)


def _one_kind(schema: Schema, file: str, schemas: dict[str, Schema]) -> str:
    match schema.get("type"):
        case "array":
            items = kind(schema["items"], file, schemas) if isinstance(schema.get("items"), dict) else ""
            return f"list, each {items}" if ", or " in items else f"list of {items}" if items else "list"
        case "object":
            return "mapping"
        case "string":
            title = str(schema.get("title", "text"))
            return title if "text" in title.split() else f"text ({title})"
        case "boolean":
            return "`true` or `false`"
        case "integer" | "number" as name:
            return f"{'whole number' if name == 'integer' else 'number'}{_bounds(schema)}"
        case _:
            return ""


def _bounds(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is None:
        return "" if most is None else f", at most {most}"
    return f", {least} or more" if most is None else f", {least} to {most}"


def _conditional_kind(branch: Schema, name: str, file: str, schemas: dict[str, Schema]) -> str:
    """Return what the key *name* takes whose kind depends on another key beside it."""
    found = (branch.get(word, {}).get("properties", {}).get(name) for word in ("else", "then"))
    return ", or ".join(kind(part, file, schemas) for part in found if part) or "mapping"


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
    keys: tuple[Key, ...] = ()  # of a whole kind, or of the alternatives of a key


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
                where = f"{place}, with `{one.of}`" if one.of else place
                below = tuple(key for key in section.keys if key.of.startswith(f"{one.key}.type: "))
                found = KeyDescription(where, one.key, one.takes, one.words, one.required, below)
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
