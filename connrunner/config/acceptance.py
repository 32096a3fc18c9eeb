"""Is a file's data surely of the shape that its JSON Schema asks for?

Each part of a schema becomes a function when it is first met. That takes a tenth of what jsonschema does, whose import
alone costs as much as a tick; jsonschema is asked for its words about what is not accepted here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sized
from functools import cache
from typing import Any

Accepts = Callable[[Any], bool]
Files = Callable[[str], Mapping[str, Any]]  # the schema in a file, by its name
Keywords = Mapping[str, tuple[Any, str]]  # of one part of a schema, with the file that each stands in

ANNOTATIONS = frozenset(
    ("$schema", "$id", "$defs", "$ref", "title", "description", "examples", "default", "errorMessage", "x-secret")
)


def accept_by(files: Files, file: str) -> Accepts:
    """Return the function that is True for data of which the schema in *file*, one of *files*, has no error.

    It may be False for sound data, too: where it is not certain, as with a keyword that is not known here.
    """
    return _Parts(files).accept(files(file), file)


@cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    # `$` means the end, as in JavaScript; Python's lets a line end by.
    return re.compile(pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern)


class _Parts:
    """The functions of one set of schemas."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._made: dict[tuple[str, int], Accepts] = {}

    def accept(self, schema: Any, file: str) -> Accepts:
        """Return the function of *schema*, a part of *file*, which is made when it is first called."""
        if isinstance(schema, bool):
            return lambda _: schema
        known = self._made.get((file, id(schema)))  # the schemas live as long as these functions
        if known is not None:
            return known
        made: list[Accepts] = []

        def accepts(data: Any) -> bool:
            if not made:
                made.append(self._make(self.keywords(schema, file)))
            return made[0](data)

        self._made[file, id(schema)] = accepts
        return accepts

    def keywords(self, schema: Mapping[str, Any], file: str) -> Keywords:
        """Return what *schema* says, with what the target of its `$ref` says and it does not."""
        own = {name: (value, file) for name, value in schema.items()}
        if "$ref" not in schema:
            return own
        target, _, pointer = schema["$ref"].partition("#")
        target = target.removesuffix(".json") or file
        part: Any = self._files(target)
        for step in pointer.strip("/").split("/") if pointer else ():
            part = part[step]
        return {**self.keywords(part, target), **own}

    def _make(self, keywords: Keywords) -> Accepts:
        said = [name for name in keywords if name not in ANNOTATIONS and name not in ("then", "else")]
        if "properties" in said and "additionalProperties" in said:
            said.remove("additionalProperties")  # the one function does for both
        if not all(name in _MAKERS for name in said):
            return _never
        checks = tuple(_MAKERS[name](self, keywords) for name in sorted(said, key=_ORDER.index))
        if len(checks) == 1:
            return checks[0]

        def accepts(data: Any) -> bool:
            for check in checks:  # noqa: SIM110 - any() would take twice as long
                if not check(data):
                    return False
            return True

        return accepts

    def each(self, keywords: Keywords, name: str) -> list[Accepts]:
        parts, file = keywords[name]
        return [self.accept(part, file) for part in parts]


def _never(_: Any) -> bool:
    return False


# --- keywords: each function makes a check of one ------------------------------------------------------------------

_TYPES: Mapping[str, Accepts] = {
    "object": lambda data: type(data) is dict,
    "array": lambda data: type(data) is list,
    "string": lambda data: type(data) is str,
    "boolean": lambda data: type(data) is bool,
    "integer": lambda data: type(data) is int,
    "number": lambda data: type(data) in (int, float),
    "null": lambda data: data is None,
}


def _type(_: _Parts, keywords: Keywords) -> Accepts:
    names, _file = keywords["type"]
    return _TYPES[names] if isinstance(names, str) else _any_of_these([_TYPES[name] for name in names])


def _any_of_these(checks: Iterable[Accepts]) -> Accepts:
    known = tuple(checks)
    return lambda data: any(check(data) for check in known)


def _enum(_: _Parts, keywords: Keywords) -> Accepts:
    values = keywords["enum"][0]
    return lambda data: any(type(data) is type(one) and data == one for one in values)


def _const(_: _Parts, keywords: Keywords) -> Accepts:
    value = keywords["const"][0]
    return lambda data: type(data) is type(value) and data == value


def _required(_: _Parts, keywords: Keywords) -> Accepts:
    names = tuple(keywords["required"][0])
    return lambda data: type(data) is not dict or all(name in data for name in names)


def _dependent_required(_: _Parts, keywords: Keywords) -> Accepts:
    pairs = [(name, needed) for name, several in keywords["dependentRequired"][0].items() for needed in several]
    return lambda data: type(data) is not dict or all(name not in data or needed in data for name, needed in pairs)


def _properties(parts: _Parts, keywords: Keywords) -> Accepts:
    said, file = keywords.get("properties", ({}, ""))
    known = {name: parts.accept(part, file) for name, part in said.items()}
    other = parts.accept(*keywords["additionalProperties"]) if "additionalProperties" in keywords else lambda _: True

    def accepts(data: Any) -> bool:
        if type(data) is not dict:
            return True
        for name, value in data.items():  # noqa: SIM110
            if not known.get(name, other)(value):
                return False
        return True

    return accepts


def _property_names(parts: _Parts, keywords: Keywords) -> Accepts:
    check = parts.accept(*keywords["propertyNames"])
    return lambda data: type(data) is not dict or all(map(check, data))


def _items(parts: _Parts, keywords: Keywords) -> Accepts:
    check = parts.accept(*keywords["items"])
    return lambda data: type(data) is not list or all(map(check, data))


def _unique_items(_: _Parts, keywords: Keywords) -> Accepts:
    is_unique = keywords["uniqueItems"][0]

    def accepts(data: Any) -> bool:
        if type(data) is not list or not is_unique:
            return True
        if all(type(item) is str for item in data):
            return len(set(data)) == len(data)
        from connrunner.config.schema_errors import first_repeated

        return first_repeated(data) is None

    return accepts


def _at_least(name: str, kind: type[Sized], *, least: bool) -> Callable[[_Parts, Keywords], Accepts]:
    """Return what makes the check of the number of characters, items or keys."""

    def make(_: _Parts, keywords: Keywords) -> Accepts:
        bound = keywords[name][0]
        if least:
            return lambda data: type(data) is not kind or len(data) >= bound
        return lambda data: type(data) is not kind or len(data) <= bound

    return make


def _minimum(_: _Parts, keywords: Keywords) -> Accepts:
    bound = keywords["minimum"][0]
    return lambda data: type(data) not in (int, float) or data >= bound


def _maximum(_: _Parts, keywords: Keywords) -> Accepts:
    bound = keywords["maximum"][0]
    return lambda data: type(data) not in (int, float) or data <= bound


def _pattern(_: _Parts, keywords: Keywords) -> Accepts:
    pattern = keywords["pattern"][0]
    return lambda data: type(data) is not str or compile_pattern(pattern).search(data) is not None


def _one_of(parts: _Parts, keywords: Keywords) -> Accepts:
    alternatives, file = keywords["oneOf"]
    checks = parts.each(keywords, "oneOf")
    kinds = [_kind(parts, one, file) for one in alternatives]

    def accepts(data: Any) -> bool:
        kind = data.get("type") if type(data) is dict else None
        # Of an alternative for another `type` no more is to be known.
        possible = (
            checks
            if type(kind) is not str
            else [check for check, its in zip(checks, kinds, strict=True) if its is None or its == kind]
        )
        return sum(check(data) for check in possible) == 1

    return accepts


def _kind(parts: _Parts, schema: Any, file: str) -> str | None:
    """Return the one `type` that an object has to say to be of *schema*; None when there is no such one."""
    if not isinstance(schema, Mapping):
        return None
    properties, inside = parts.keywords(schema, file).get("properties", ({}, file))
    said = properties.get("type")
    if not isinstance(said, Mapping):
        return None
    value = parts.keywords(said, inside).get("const", (None, ""))[0]
    return value if isinstance(value, str) else None


def _any_of(parts: _Parts, keywords: Keywords) -> Accepts:
    return _any_of_these(parts.each(keywords, "anyOf"))


def _all_of(parts: _Parts, keywords: Keywords) -> Accepts:
    checks = parts.each(keywords, "allOf")
    return lambda data: all(check(data) for check in checks)


def _if(parts: _Parts, keywords: Keywords) -> Accepts:
    # To be certain of the condition both ways, the same function has to hold for its opposite: so only where
    # everything in it is known, which a test sees to.
    condition = parts.accept(*keywords["if"])
    then = parts.accept(*keywords.get("then", (True, "")))
    otherwise = parts.accept(*keywords.get("else", (True, "")))
    return lambda data: then(data) if condition(data) else otherwise(data)


_MAKERS: Mapping[str, Callable[[_Parts, Keywords], Accepts]] = {
    "type": _type,
    "const": _const,
    "enum": _enum,
    "required": _required,
    "minimum": _minimum,
    "maximum": _maximum,
    "minLength": _at_least("minLength", str, least=True),
    "maxLength": _at_least("maxLength", str, least=False),
    "minItems": _at_least("minItems", list, least=True),
    "maxItems": _at_least("maxItems", list, least=False),
    "minProperties": _at_least("minProperties", dict, least=True),
    "maxProperties": _at_least("maxProperties", dict, least=False),
    "dependentRequired": _dependent_required,
    "pattern": _pattern,
    "propertyNames": _property_names,
    "additionalProperties": _properties,
    "properties": _properties,
    "uniqueItems": _unique_items,
    "items": _items,
    "if": _if,
    "oneOf": _one_of,
    "anyOf": _any_of,
    "allOf": _all_of,
}
_ORDER = tuple(_MAKERS)  # the cheap ones first
