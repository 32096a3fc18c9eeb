"""What an error of JSON Schema means to the person who wrote the file."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from connrunner.config import secret_words
from connrunner.config.finding import Finding, Path
from connrunner.config.wording import describe, did_you_mean, show
from connrunner.lazy_dataclasses import replace
from connrunner.text.words import listed, nearest


class SchemaError(Protocol):
    """A ValidationError of jsonschema, as far as it is used here."""

    validator: Any  # the keyword that failed
    validator_value: Any
    schema: Any  # the one that the keyword stands in
    instance: Any
    context: Any  # the errors of each alternative
    relative_path: Any
    relative_schema_path: Any

    @property
    def absolute_path(self) -> Any: ...

    @property
    def absolute_schema_path(self) -> Any: ...


_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_YES_AND_NO = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def explain_error(error: SchemaError, root: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what *error* comes down to; *root* is the schema of the whole file."""
    if "propertyNames" in error.absolute_schema_path:
        yield _wrong_key(error)
    elif error.validator == "additionalProperties":
        yield from _unknown_keys(error, root)
    elif error.validator in ("oneOf", "anyOf"):
        yield from _alternatives(error, root)
    elif error.validator == "dependentRequired":
        yield from _lonely_keys(error)
    elif error.validator == "required":
        yield from _missing_keys(error)
    else:
        yield _SIMPLE[str(error.validator)](error)


def first_repeated(items: list[Any]) -> int | None:
    """Return the position of the first item that stands in *items* before."""
    seen = set()
    for position, item in enumerate(items):
        text = json.dumps(item, sort_keys=True)
        if text in seen:
            return position
        seen.add(text)
    return None


# --- keys --------------------------------------------------------------------------------------------------------


def _unknown_keys(error: SchemaError, root: Mapping[str, Any]) -> Iterator[Finding]:
    known = error.schema.get("properties", {})
    for key in error.instance:
        if key not in known:
            message = f"unknown key {show(key)} in {_title(error)}"
            hint = _belongs(key, error, root) or did_you_mean(key, known)
            yield Finding((*_path(error), key), message, hint, "unknown-key", at_key=True)


def _belongs(key: str, error: SchemaError, root: Mapping[str, Any]) -> str:
    """Return where *key* would be right, when it only stands at the wrong level."""
    if error.absolute_path:
        if key in root.get("properties", {}):
            return f"it belongs at the top of the file, not under `{error.absolute_path[0]}`"
        return ""
    for name, schema in root.get("properties", {}).items():
        inner = root.get("$defs", {}).get(name, schema)
        if name in error.instance and key in inner.get("properties", {}):
            return f"it belongs under `{name}`; indent it there"
    return ""


def _missing_keys(error: SchemaError) -> Iterator[Finding]:
    """Yield all keys that are missing; jsonschema has an error for each, and does not say which it is about."""
    for key in error.validator_value:
        if key not in error.instance:
            examples = error.schema.get("properties", {}).get(key, {}).get("examples")
            hint = f"add it, like `{key}: {json.dumps(examples[0], ensure_ascii=False)}`" if examples else "add it"
            yield Finding(_path(error), f"{_title(error)} needs `{key}`", hint, "missing-key", at_key=True)


def _lonely_keys(error: SchemaError) -> Iterator[Finding]:
    for key, needed in error.validator_value.items():
        for other in needed:
            if key in error.instance and other not in error.instance:
                message = f"`{key}` needs `{other}` beside it"
                yield Finding((*_path(error), key), message, "add it, or leave out both", "missing-key", at_key=True)


def _wrong_key(error: SchemaError) -> Finding:
    path = (*_path(error), error.instance)
    if error.validator == "minLength":
        return Finding(path, f"an empty text is not {_a(_title(error))}", "write its name", "bad-pattern", at_key=True)
    message = f"{show(error.instance)} is not {_a(_title(error))}"
    return Finding(path, message, _advice(error), "bad-pattern", at_key=True)


# --- alternatives ------------------------------------------------------------------------------------------------


def _alternatives(error: SchemaError, root: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the alternative that was meant."""
    if all(set(branch) == {"required"} for branch in error.validator_value):
        yield _one_of_keys(error)
        return
    branches: dict[int, list[SchemaError]] = defaultdict(list)
    for inner in error.context or ():
        branches[int(inner.relative_schema_path[0])].append(inner)
    right_type = [errors for errors in branches.values() if not any(_is_wrong_type(inner) for inner in errors)]
    if not right_type:
        yield _wrong_type(error)
        return
    if isinstance(error.instance, dict):
        kinds = list(dict.fromkeys(kind for errors in right_type for inner in errors if (kind := _kind_of(inner))))
        if kinds and "type" not in error.instance:
            message = f"{_title(error)} needs `type`"
            yield Finding(
                _path(error),
                message,
                f"add it, like `type: {kinds[0]}`; known: {listed(kinds)}",
                "missing-key",
                at_key=True,
            )
            return
        right_type = [errors for errors in right_type if not any(_is_other_kind(inner) for inner in errors)]
        if not right_type:
            yield _unknown_kind(error, branches)
            return
    if (number := _quoted_number(error)) is not None:
        message = f"{_label(error)} cannot be {describe(error.instance)}"
        yield Finding(_path(error), message, _without_quotes(number, error.schema), "not-allowed-value")
        return
    for inner in right_type[0]:  # types and kinds leave one alternative
        for finding in explain_error(inner, root):
            yield _with_all_alternatives(finding, error, inner)


def _with_all_alternatives(finding: Finding, error: SchemaError, inner: SchemaError) -> Finding:
    """Return *finding*, about the value itself, with advice that names what the other alternatives take, too."""
    advice = error.schema.get("errorMessage")
    is_about_value = inner.validator in ("enum", "minimum", "maximum") and not inner.relative_path
    if not advice or not is_about_value or finding.hint.startswith("did you mean"):
        return finding
    return replace(finding, hint=str(advice))


def _quoted_number(error: SchemaError) -> int | None:
    """Return the whole number that the text at *error* means, when an alternative takes it."""
    if not isinstance(error.instance, str):
        return None
    branches = [branch for branch in error.validator_value if branch.get("type") == "integer"]
    numbers = (_whole_number(error.instance, branch) for branch in branches)
    return next((number for number in numbers if number is not None), None)


def _without_quotes(number: float, schema: Mapping[str, Any]) -> str:
    advice = str(schema.get("errorMessage", "")).removeprefix("write ")
    return f"write {number} without quotes" + (f": {advice}" if advice else "")


def _one_of_keys(error: SchemaError) -> Finding:
    keys = [str(branch["required"][0]) for branch in error.validator_value]
    present = [key for key in error.instance if key in keys] if isinstance(error.instance, dict) else []
    if not present:
        message = f"{_title(error)} needs {listed((f'`{key}`' for key in keys), 'or')}"
        return Finding(_path(error), message, "add one of them", "missing-key", at_key=True)
    message = f"{listed(f'`{key}`' for key in present)} cannot stand together"
    hint = "leave one of them out" if _path(error) else "give each a file of its own"
    return Finding((*_path(error), present[1]), message, hint, "several-kinds", at_key=True)


def _is_wrong_type(inner: SchemaError) -> bool:
    return inner.validator == "type" and not inner.relative_path


def _is_other_kind(inner: SchemaError) -> bool:
    return inner.validator == "const" and list(inner.relative_path) == ["type"]


def _kind_of(inner: SchemaError) -> str:
    """Return the `type` of the alternative that lacks its `type`."""
    if inner.validator != "required" or inner.relative_path or "type" in inner.instance:
        return ""
    return str(inner.schema["properties"].get("type", {}).get("const", ""))


def _unknown_kind(error: SchemaError, branches: Mapping[int, list[SchemaError]]) -> Finding:
    kinds = [str(inner.validator_value) for errors in branches.values() for inner in errors if _is_other_kind(inner)]
    message = f"unknown type of {_title(error)}: {show(error.instance['type'])}"
    hint = did_you_mean(str(error.instance["type"]), kinds)
    return Finding((*_path(error), "type"), message, hint, "not-allowed-value")


# --- values ------------------------------------------------------------------------------------------------------


def _wrong_type(error: SchemaError) -> Finding:
    value, path = error.instance, _path(error)
    if value is None:
        hint = error.schema.get("errorMessage") or "write one, or leave the key out"
        return Finding(path, f"{_label(error)} has no value", hint, "missing-value", at_key=True)
    wanted = _wanted(error)
    seen = "" if _is_secret(error) else f", not {describe(value) if path else _kind(value)}"
    message = f"{_label(error)} must be {listed((_TYPES[name] for name in wanted), 'or')}{seen}"
    return Finding(path, message, _type_hint(error, wanted), "wrong-type")


def _kind(value: Any) -> str:
    """Return what a whole file is. What it says is not quoted: it may be any file, by mistake or by a link."""
    return "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "a single value"


def _wanted(error: SchemaError) -> list[str]:
    """Return the JSON types that would be right."""
    if error.validator == "type":
        return [str(error.validator_value)]
    inner = [str(inner.validator_value) for inner in error.context or () if _is_wrong_type(inner)]
    return list(dict.fromkeys(inner))


def _type_hint(error: SchemaError, wanted: list[str]) -> str:
    value = error.instance
    if isinstance(value, str) and "boolean" in wanted and value.lower() in _YES_AND_NO and not _is_secret(error):
        return f"write {_YES_AND_NO[value.lower()]}"
    advice = error.schema.get("errorMessage")
    if (numeric := {"integer", "number"} & {*wanted}) and isinstance(value, str | float):
        schema = _alternative(error, numeric.pop())
        number = _whole_number(value, schema) if schema.get("type") == "integer" else _number(value, schema)
        if number is not None:
            return _without_quotes(number, error.schema) if isinstance(value, str) else f"write {number}"
        return str(advice or _limits(schema))
    if isinstance(value, bool | int | float) and "string" in wanted:
        text = show(value)
        schema = _alternative(error, "string")
        allowed = schema.get("enum", [text])
        if re.search(schema.get("pattern", ""), text) and text in allowed:
            return "put it in quotes"
        return str(advice or _allowed_hint(text, allowed))
    if advice and not (isinstance(value, list | dict) and "pattern" in error.schema):
        return str(advice)
    if isinstance(value, str) and wanted == ["array"]:
        return f"write a list: [{value}]" if re.fullmatch("[^][{},:#'\"\n]{1,60}", value) else "write a list: [...]"
    return ""


def _alternative(error: SchemaError, kind: str) -> Mapping[str, Any]:
    """Return the schema of the alternative of *error* that takes values of the JSON type *kind*."""
    branches = [error.schema, *error.schema.get("oneOf", ()), *error.schema.get("anyOf", ())]
    return next((branch for branch in branches if branch.get("type") == kind), error.schema)


def _whole_number(value: str | float, schema: Mapping[str, Any]) -> int | None:
    """Return the whole number that *value* means (`"4"`, `04`, 4.0, `"1e3"`), when *schema* takes it."""
    number = _number(value, schema)
    return int(number) if number is not None and number == int(number) else None


def _number(value: str | float, schema: Mapping[str, Any]) -> float | int | None:
    """Return the number that *value* means, when *schema* takes it."""
    text = str(value).replace("_", "").strip()
    if not re.fullmatch(r"[-+]?[0-9]{1,15}(\.[0-9]{1,15})?([eE][-+]?[0-9]{1,2})?", text):
        return None
    number = float(text)
    if not schema.get("minimum", number) <= number <= schema.get("maximum", number):
        return None
    return int(number) if number == int(number) else number


def _limits(schema: Mapping[str, Any]) -> str:
    """Return which numbers *schema* takes, as advice."""
    kind = "a whole number" if schema.get("type") == "integer" else "a number"
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"write {kind} from {least} to {most}"
    return f"write {kind}" + (f" of at least {least}" if least is not None else "")


_ORDINALS = ("first", "second", "third", "fourth", "fifth")


def _word_of_number(text: str, allowed: Sequence[Any]) -> str:
    """Return the hint to write `second` for 2, `2` or `2nd` where such words are *allowed*; empty elsewhere."""
    found = re.fullmatch(r"0*([1-5])(?:\.0*|st|nd|rd|th)?", text.strip())
    word = _ORDINALS[int(found[1]) - 1] if found else "last" if text == "-1" else ""
    if not {_ORDINALS[0], word} <= {*allowed}:
        return ""
    return f"write {word}"


def _not_allowed(error: SchemaError) -> Finding:
    value = error.instance
    allowed = [error.validator_value] if error.validator == "const" else error.validator_value
    message = f"{_label(error)} cannot be {show(value)}"
    return Finding(_path(error), message, _allowed_hint(value, allowed), "not-allowed-value")


def _allowed_hint(value: Any, allowed: Sequence[Any]) -> str:
    if isinstance(value, str):
        unquoted = [one for one in allowed if not isinstance(one, str) and show(one) == value]
        if unquoted:
            return f"write {value} without quotes"
        if word := _word_of_number(value, allowed):
            return word
        near = nearest(value, [one for one in allowed if isinstance(one, str)])
        if near:
            return f"did you mean {show(near)}?"
    return f"write {listed((str(one) if isinstance(one, str) else show(one) for one in allowed), 'or')}"


def _bad_pattern(error: SchemaError) -> Finding:
    path, value = _path(error), error.instance
    if error.schema.get("x-secret"):
        if secret_words.is_reference(value):
            hint = "write env:NAME, or file:/ and an absolute path"
            return Finding(path, f"{_label(error)} is not a sound reference to a secret", hint, "bad-reference")
        return Finding(path, f"{_label(error)} holds a secret itself", _advice(error), "literal-secret")
    return Finding(path, f"{show(value)} is not {_a(_title(error))}", _advice(error), "bad-pattern")


def _empty(error: SchemaError) -> Finding:
    hint = _advice(error) or ("write something" if error.validator == "minLength" else "write at least one entry")
    return Finding(_path(error), f"{_label(error)} is empty", hint, "too-short")


def _too_long(error: SchemaError) -> Finding:
    message = f"{_label(error)} is longer than {error.validator_value} characters"
    return Finding(_path(error), message, "shorten it", "too-long")


def _repeated(error: SchemaError) -> Finding:
    position = first_repeated(error.instance) or 0
    message = f"{_label(error)} has {show(error.instance[position])} twice"
    return Finding((*_path(error), position), message, "leave one out", "repeated-item")


def _too_small(error: SchemaError) -> Finding:
    message = f"{_label(error)} must be at least {error.validator_value}, not {show(error.instance)}"
    return Finding(_path(error), message, _advice(error), "out-of-range")


def _too_large(error: SchemaError) -> Finding:
    message = f"{_label(error)} must be at most {error.validator_value}, not {show(error.instance)}"
    return Finding(_path(error), message, _advice(error), "out-of-range")


_SIMPLE: Mapping[str, Callable[[SchemaError], Finding]] = {
    "type": _wrong_type,
    "enum": _not_allowed,
    "const": _not_allowed,
    "pattern": _bad_pattern,
    "minLength": _empty,
    "minItems": _empty,
    "minProperties": _empty,
    "maxLength": _too_long,
    "uniqueItems": _repeated,
    "minimum": _too_small,
    "maximum": _too_large,
}

# --- words -------------------------------------------------------------------------------------------------------


def _path(error: SchemaError) -> Path:
    return tuple(error.absolute_path)


def _title(error: SchemaError) -> str:
    return str(error.schema.get("title", "value"))


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _label(error: SchemaError) -> str:
    """Return how to call the part of the file that *error* is about."""
    match _path(error):
        case (*_, str(key), int(position)):
            return f"item {position + 1} of `{key}`"
        case (*_, str(key)):
            return f"`{key}`"
        case (*_, int(position)):
            return f"item {position + 1}"
    return f"the {_title(error)}"


def _advice(error: SchemaError) -> str:
    """Return what to write instead."""
    value = error.instance
    if isinstance(value, str) and _title(error) == "time of day":
        almost = re.fullmatch("([0-9]{1,2})[:.h]([0-5][0-9])(?::00)?", value)
        if almost and int(almost[1]) < 24:
            return f'write it as "{int(almost[1]):02}:{almost[2]}"'
    return str(error.schema.get("errorMessage", ""))


def _is_secret(error: SchemaError) -> bool:
    last = next((step for step in reversed(error.absolute_path) if isinstance(step, str)), "")
    return bool(error.schema.get("x-secret")) or secret_words.looks_secret(last)
