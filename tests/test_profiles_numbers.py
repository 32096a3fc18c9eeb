"""Numbers that are whole however their source writes them, and texts that are split wherever they come from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from connrunner.core.model import Field, Format, Property, PropertyType
from tests.test_profiles_open import MODEL, Shelf, counted, import_of, shelf

__all__ = ["shelf"]

JSON_LINES = [
    # the value in JSON, whether it is an integer
    ("1", True), ("1.0", True), ("1.00", True), ("1e3", True), ("1.5E1", True), ("-2.0", True), ("10e-1", True),
    ("1.5", False), ("1e-3", False), ('"1.0"', False), ("9223372036854775808.0", False), ('"7"', True),
]  # fmt: skip

NOT_FINITE = ("NaN", "Infinity", "-Infinity")


def test_a_number_of_json_that_is_whole_is_an_integer(shelf: Shelf) -> None:
    rows = "\n".join(f'{{"id": "{number}", "visits": {text}}}' for number, (text, _) in enumerate(JSON_LINES))
    shelf.take(import_of("id", "visits", format=Format(type="jsonl")), rows)
    sound = [str(number) for number, (_, whole) in enumerate(JSON_LINES) if whole]
    assert [one for (one,) in shelf.profiles("id")] == sound
    lists = (
        json.dumps({"id": "list", "scores": [1.0, 2, "3"]}) + "\n" + json.dumps({"id": "no", "scores": [1.0, "2.0"]})
    )
    assert counted(shelf.take(import_of("id", "scores", format=Format(type="jsonl")), lists)) == {
        "created": 1,
        "invalid": 1,
    }
    assert shelf.profiles("scores")[-1] == ([1, 2, 3],)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_numbers_of_a_database_are_whole_and_texts_are_not(shelf: Shelf, form: str) -> None:
    def rows(*each: str) -> str:
        if form == "csv":
            return "id,visits,spent,name\n" + "".join(f"{n},{one},{one},{one}\n" for n, one in enumerate(each))
        return "".join(
            json.dumps({"id": str(n), "visits": one, "spent": one, "name": one}) + "\n" for n, one in enumerate(each)
        )

    work = import_of("id", "visits", "spent", "name", format=Format(type=form))  # type: ignore[arg-type]
    texts = rows("2.00", "-3.0", "4", "4.5")
    typed = replace(shelf.file(texts), numbers=frozenset({"visits", "spent", "name"}))
    assert counted(shelf.take(work, typed)) == {"created": 3, "invalid": 1}
    assert shelf.profiles("visits", "spent", "name") == [(2, "2", "2.00"), (-3, "-3", "-3.0"), (4, "4", "4")]
    assert counted(shelf.take(work, shelf.file(texts, "texts"))) == {"unchanged": 1, "invalid": 3}


@pytest.mark.parametrize("yes", ["1", "1.0", "10e-1", "true", '"1"'])
def test_a_number_that_says_yes_may_be_written_in_any_way(shelf: Shelf, yes: str) -> None:
    work = import_of("id", "member", consent={"news": "member"}, format=Format(type="jsonl"))
    shelf.take(work, f'{{"id": "1", "member": {yes}}}\n{{"id": "2", "member": 1.5}}')
    assert (shelf.profiles("member"), shelf.told()[0]["code"]) == ([(True,)], "wrong-type")
    with shelf.open() as store:
        assert [one["consents"]["news"] for one in store.find("id", "1")] == [True]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_no_number_of_a_database_is_a_text_that_looks_like_one(shelf: Shelf, form: str) -> None:
    lines = [f'{{"id": "{n}", "v": "{one}"}}' if form == "jsonl" else f"{n},{one}" for n, one in enumerate(NOT_FINITE)]
    file = shelf.file("\n".join(lines if form == "jsonl" else ["id,v", *lines]))
    typed = replace(file, numbers=frozenset({"v"}))
    for property_, code in (("name", "not-a-number"), ("tags", "not-a-number"), ("spent", "wrong-type")):
        work = import_of("id", Field(property=property_, column="v"), format=Format(type=form))  # type: ignore[arg-type]
        assert counted(shelf.take(work, typed)) == {"invalid": 3}
        assert {one["code"] for one in shelf.told()} == {code}
    work = import_of("id", Field(property="name", column="v"), format=Format(type=form))  # type: ignore[arg-type]
    assert counted(shelf.take(work, file)) == {"created": 3}


def test_a_list_of_a_database_with_what_is_no_number(shelf: Shelf) -> None:
    work = import_of("id", "tags", "scores", format=Format(type="jsonl"))
    file = shelf.file('{"id": "1", "tags": ["1", "NaN"]}\n{"id": "2", "tags": ["1.5"]}\n{"id": "3", "scores": ["NaN"]}')
    typed = replace(file, numbers=frozenset({"tags", "scores"}))
    assert counted(shelf.take(work, typed)) == {"created": 1, "invalid": 2}
    assert [one["code"] for one in shelf.told()] == ["not-a-number", "wrong-type"]


def test_a_set_of_numbers_of_a_database(shelf: Shelf) -> None:
    work = import_of("id", "scores", format=Format(type="jsonl"))
    file = shelf.file('{"id": "1", "scores": ["2.00", "1"]}\n{"id": "2", "scores": ["2.50"]}')
    assert counted(shelf.take(work, replace(file, numbers=frozenset({"scores"})))) == {"created": 1, "invalid": 1}
    assert shelf.profiles("scores") == [([1, 2],)]


SPLIT = [
    # separator, value in JSON, the set
    (None, '"red;green"', ["green", "red"]),
    (None, '"red"', ["red"]),
    (None, '["red;green", "blue"]', ["blue", "red;green"]),
    ("|", '"red|green;x"', ["green;x", "red"]),
    ("|", '["red|green"]', ["red|green"]),
    (".", "1.5", ["1.5"]),  # a number is no text
    (None, '";;"', None),
    (None, '"\\u00a0red ; ;green\\u200b"', ["green", "red"]),
]


@pytest.mark.thorough
@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_a_text_is_split_and_a_list_is_not(shelf: Shelf, form: str, careful: bool) -> None:
    for number, (separator, value, members) in enumerate(SPLIT):
        field = Field(property="tags", column="tags")
        field = field if separator is None else replace(field, separator=separator)
        # A number with a zero behind its point has the file read by Python.
        line = f'{{"id": "{number}", "tags": {value}, "x": {"1.50" if careful else "1"}}}'
        work = import_of("id", field, format=Format(type=form))  # type: ignore[arg-type]
        shelf.take(work, f"[{line}]" if form == "json" else line)
        assert shelf.profiles("tags")[-1] == (members,)


def test_a_row_that_is_retained_is_split_as_well(shelf: Shelf) -> None:
    model = {**MODEL.properties, "tags": Property(name="tags", type=PropertyType.INTEGER, many=True, personal=False)}
    shelf.model = replace(MODEL, properties=model)
    form = Format(type="jsonl")
    file = replace(shelf.file('{"id": "1", "tags": "1|x"}'), once=True)
    work = import_of("id", Field(property="tags", column="tags"), format=form)
    assert counted(shelf.take(work, file)) == {"invalid": 1}
    shelf.model = MODEL
    model["tags"] = replace(model["tags"], type=PropertyType.TEXT)
    shelf.model = replace(MODEL, properties=model)
    work = import_of("id", Field(property="tags", column="tags", separator="|"), format=form)
    assert counted(shelf.take(work)) == {"created": 1}
    assert shelf.profiles("tags") == [(["1", "x"],)]
