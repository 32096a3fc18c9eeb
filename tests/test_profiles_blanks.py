"""Blanks at the ends of values, and one address in several spellings: for every type, and wherever a value is asked for."""

from __future__ import annotations

import json
import unicodedata

import duckdb
import pytest

from connrunner.core.model import Field, Format, PropertyType
from connrunner.profiles import values
from connrunner.profiles.domains import normalize_address
from tests.test_profiles_open import Shelf, counted, import_of, shelf

__all__ = ["shelf"]

T = PropertyType
# White_Space of Unicode's PropList, and two that programs leave at the ends of texts without anybody seeing them.
BLANKS = [
    *map(chr, (*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F)),
    "\u3000", "\u200b", "\ufeff",
]  # fmt: skip
NO_BLANKS = ["\x01", "\x1f", "\u00ad", "\u180e", "\u2800", "\u3164", "\u200d", "\u2060", "é", "漢", "😀", "."]
SOUND = {
    T.TEXT: "Zoë", T.EMAIL: "ann@example.com", T.INTEGER: "-42", T.DECIMAL: "12.5", T.BOOLEAN: "true",
    T.DATE: "2026-11-22", T.DATETIME: "2026-11-22T09:15:00Z",
}  # fmt: skip


def values_of(kind: PropertyType, texts: list[str], *, trim: bool = True) -> list[str | None]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE TABLE texts AS SELECT unnest(?::VARCHAR[]) AS r", [texts])
        value = values.parse_value(kind, "r", trim=trim)
        found = connection.execute(f"SELECT {values.format_value(kind, 'v')} FROM (SELECT {value} AS v FROM texts)")
        return [spelt for (spelt,) in found.fetchall()]


@pytest.mark.parametrize("kind", SOUND)
def test_blanks_at_the_ends_are_no_part_of_a_value(kind: PropertyType) -> None:
    sound = SOUND[kind]
    texts = [text for one in BLANKS for text in (one + sound, sound + one, one + sound + one + one, " " + one + sound)]
    assert values_of(kind, texts) == [sound] * len(texts)


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.parametrize("trim", [True, False])
def test_blanks_alone_say_nothing(kind: PropertyType, trim: bool) -> None:
    texts = [text for one in BLANKS for text in (one, one + " ", " " + one, one * 70_000)]
    assert values_of(kind, texts, trim=trim) == [None] * len(texts)
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE texts AS SELECT unnest(?::VARCHAR[]) AS r", [["", *texts]])
        filled = connection.execute(f"SELECT count(*) FROM texts WHERE {values.is_filled('r')}").fetchall()
    assert filled == [(0,)]


@pytest.mark.parametrize("kind", SOUND)
def test_a_blank_within_a_value_stays_or_refuses_it(kind: PropertyType) -> None:
    sound = SOUND[kind]
    texts = [sound[:2] + one + sound[2:] for one in BLANKS]
    kept: list[str | None] = [*texts] if kind is T.TEXT else [None] * len(texts)
    if kind is T.DATETIME:  # a blank stands for the T
        texts = ["2026-11-22" + one + "09:15:00Z" for one in BLANKS]
        kept = [sound if one == " " else None for one in BLANKS]
    assert values_of(kind, texts) == kept


def test_a_blank_on_either_side_of_the_at_sign_refuses_an_address() -> None:
    texts = [
        text for one in BLANKS for text in (f"ann{one}@example.com", f"ann@{one}example.com", f"ann@example{one}.com")
    ]
    assert values_of(T.EMAIL, texts) == [None] * len(texts)


def test_a_text_that_finds_no_profile_keeps_its_ends() -> None:
    texts = [text for one in BLANKS for text in (one + "Zoë", "Zoë" + one)]
    assert values_of(T.TEXT, texts, trim=False) == texts


def test_what_is_no_blank_stays() -> None:
    texts = [text for one in NO_BLANKS for text in (one, one + "Zoë", "Zoë" + one)]
    assert values_of(T.TEXT, texts) == texts
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE texts AS SELECT unnest(?::VARCHAR[]) AS r", [texts])
        filled = connection.execute(f"SELECT count(*) FROM texts WHERE {values.is_filled('r')}").fetchall()
    assert filled == [(len(texts),)]


ADDRESSES = [
    # one address, however it is spelt                                                                 as it is kept
    (["jos\u00e9@example.com", "jose\u0301@example.com", "JOSE\u0301@Example.com", "JOS\u00c9@example.com"], "jos\u00e9@example.com"),
    (["\u0130an@example.com", "I\u0307an@example.com"], "ian@example.com"),
    (["a@b\u00fccher.example", "a@bu\u0308cher.example", "a@B\u00dcCHER.example", "a@xn--bcher-kva.example",
      "A@XN--BCHER-KVA.EXAMPLE"], "a@b\u00fccher.example"),
    (["a@stra\u00dfe.de", "a@xn--strae-oqa.de"], "a@stra\u00dfe.de"),
    (["a@mail.xn--e1afmkfd.xn--p1ai", "a@mail.\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444"], "a@mail.\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444"),
    (["a@\uff45\uff58ample.com", "a@example.com"], "a@example.com"),
    (["xn--x@example.com"], "xn--x@example.com"),
    (["a@xn--0.com"], "a@xn--0.com"),  # no A-label
    (["a@xn--collecci-ioa91d.cat"], "a@xn--collecci-ioa91d.cat"),
    (["a@xn--" + "z" * 63 + ".com"], "a@xn--" + "z" * 63 + ".com"),
]  # fmt: skip


def test_one_address_is_one_profile_however_it_is_spelt(shelf: Shelf) -> None:
    work = import_of("email", match=[["email"]])
    kept = [one for _, one in ADDRESSES]
    with shelf.open() as store:
        shelf.take(work, "\n".join(["email", *(spellings[0] for spellings, _ in ADDRESSES)]), store=store)
        assert [one["email"] for one in store.select(["email"])] == kept, "rows keep their order"
        shelf.take(work, "\n".join(["email", *(one for spellings, _ in ADDRESSES for one in spellings)]), store=store)
        assert [one["email"] for one in store.select(["email"])] == kept
        for number, (spellings, _) in enumerate(ADDRESSES, 1):
            found = [store.find("email", f"\u00a0{spelling}\ufeff") for spelling in spellings]
            assert [[one["profile"] for one in each] for each in found] == [[number]] * len(spellings)
    assert [normalize_address(one) for one in kept] == kept, "what is kept is its own spelling"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_lower_case_meets_both_forms_of_unicode(form: str) -> None:
    letters = [
        chr(code)
        for code in range(0xA0, 0x2FFF)
        if chr(code).isalpha() and unicodedata.normalize("NFD", chr(code)) != chr(code)
    ]
    texts = [unicodedata.normalize("NFC", f"{letter}@example.com") for letter in letters]
    spelt = values_of(T.EMAIL, [unicodedata.normalize(form, text) for text in texts])  # type: ignore[arg-type]
    assert None not in spelt
    assert spelt == values_of(T.EMAIL, texts)
    assert spelt == values_of(T.EMAIL, [str(one) for one in spelt])


def test_an_address_in_a_set_stands_there_once(shelf: Shelf) -> None:
    model = shelf.model
    properties = {**model.properties, "mails": type(model.properties["id"])(name="mails", type=T.EMAIL, many=True)}
    shelf.model = type(model)(properties=properties)
    rows = (
        "id,mails\n1,z@a.de;a@xn--bcher-kva.example; b@B\u00dcCHER.example;a@b\u00fccher.example\n2,x@y.de\n3,\n4,q\n"
    )
    assert counted(shelf.take(import_of("id", "mails"), rows)) == {"created": 3, "invalid": 1}
    assert shelf.profiles("id", "mails") == [
        ("1", ["a@b\u00fccher.example", "b@b\u00fccher.example", "z@a.de"]),
        ("2", ["x@y.de"]),
        ("3", None),
    ]
    assert [one["line"] for one in shelf.told()] == [5], "rows keep their places"


@pytest.mark.thorough
@pytest.mark.parametrize("blank", ["\u00a0", "\u200b", "\ufeff", "\u3000", "\x85"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_blank_makes_no_second_profile_and_hides_no_refusal(shelf: Shelf, blank: str, form: str) -> None:
    def rows(*cells: str) -> str:
        names = ("id", "email", "member", "ok")
        if form == "csv":
            return f"{','.join(names)}\n{','.join(cells)}\n"
        return json.dumps(dict(zip(names, cells, strict=True)))

    work = import_of(
        "id",
        "email",
        "member",
        match=[["id"], ["email"]],
        format=Format(type=form),  # type: ignore[arg-type]
        consent={"news": "ok"},
    )
    with shelf.open() as store:
        shelf.take(work, rows("k1", "ann@example.com", "yes", "yes"), store=store)
        done = shelf.take(work, rows(f"k1{blank}", f"{blank}ann@example.com", f"no{blank}", f"{blank}no"), store=store)
        assert counted(done) == {"updated": 1}
        (found,) = store.find("id", f"{blank}k1")
    assert found["properties"]["id"] == "k1"
    assert found["properties"]["member"] is False
    assert found["consents"]["news"] is False


def test_a_text_of_blanks_leaves_what_is_stored_and_clears_it_on_request(shelf: Shelf) -> None:
    work = import_of("id", "name")
    shelf.take(work, "id,name\n1,Ann\n2,Bob\n")
    assert counted(shelf.take(work, "id,name\n1, \n2,\u00a0\u200b\n")) == {"unchanged": 2}
    assert shelf.profiles("name") == [("Ann",), ("Bob",)]
    clears = import_of("id", Field(property="name", column="name", empty="clear"))
    assert counted(shelf.take(clears, "id,name\n1,\u3000\n")) == {"updated": 1}
    assert shelf.profiles("name") == [(None,), ("Bob",)]


# --- stores of older versions ------------------------------------------------------------------------------------


def made_old(shelf: Shelf, *statements: str) -> None:
    """Give the store the values that older versions kept."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{shelf.path}' AS store")
        connection.execute("DELETE FROM store.about WHERE key = 'spelling'")
        for statement in statements:
            connection.execute(statement)


def test_stored_identifiers_get_the_spelling_that_rows_have(shelf: Shelf) -> None:
    model = shelf.model
    shelf.take(
        import_of("id", "email", "tags", "name"),
        "id,email,tags,name\n1,a@x.de,t,n\n2,b@x.de,,\n3,c@x.de,,\n4,d@x.de,,\n",
    )
    made_old(
        shelf,
        "UPDATE store.profiles SET id = '1' || chr(160), email = 'jose' || chr(769) || '@x.de', name = 'n' || chr(160),"
        " tags = ['b', 't' || chr(160), 't'] WHERE _id = 1",
        "UPDATE store.profiles SET email = 'b@xn--bcher-kva.example' WHERE _id = 2",
        "UPDATE store.profiles SET email = 'c' || chr(160) || '@x.de' WHERE _id = 3",
    )
    with shelf.open(model=model):
        pass
    assert shelf.profiles("id", "email", "name", "tags") == [
        ("1", "jos\u00e9@x.de", "n\u00a0", ["b", "t"]),
        ("2", "b@b\u00fccher.example", None, None),
        ("3", "c\u00a0@x.de", None, None),  # no value of today's rules: it stays
        ("4", "d@x.de", None, None),
    ]
    assert counted(shelf.take(import_of("email", "id", match=[["email"]]), "email,id\njose\u0301@x.de,1\n")) == {
        "unchanged": 1
    }


def test_two_profiles_of_one_person_are_told_and_share_a_refusal(shelf: Shelf) -> None:
    work = import_of("id", "email", consent={"news": "ok"})
    shelf.take(work, "id,email,ok\n1,a@x.de,no\n2,b@x.de,yes\n3,c@x.de,yes\n4,d@x.de,yes\n")
    made_old(
        shelf,
        "UPDATE store.profiles SET email = chr(160) || 'b@x.de' WHERE _id = 1",
        "UPDATE store.profiles SET email = chr(8203) || 'd' || chr(160) || '@x.de' WHERE _id = 4",
        "UPDATE store.profiles SET email = 'c@x.de' || chr(160) WHERE _id = 3",
    )
    with shelf.open():
        pass
    assert shelf.profiles("email") == [("\u00a0b@x.de",), ("b@x.de",), ("c@x.de",), ("\u200bd\u00a0@x.de",)]
    assert shelf.sql("SELECT _id, consent_news FROM store.profiles ORDER BY 1") == [
        (1, False), (2, False), (3, True), (4, True)
    ]  # fmt: skip
    shelf.take(work, "id,email,ok\n9,z@x.de,yes\n")
    (told,) = [text for _, text in shelf.said.messages if "two spellings" in text]
    assert "1 and 2 (email)" in told
    shelf.said.messages.clear()
    made_old(shelf, "DELETE FROM store.profiles WHERE _id = 1", "INSERT INTO store.about VALUES ('spelling', '2')")
    shelf.take(work, "id,email,ok\n9,z@x.de,yes\n8,y@x.de,yes\n")
    assert not [text for _, text in shelf.said.messages if "two spellings" in text]


def test_a_store_is_respelt_once(shelf: Shelf) -> None:
    shelf.take(import_of("id"), "id\n1\n")
    made_old(shelf)
    with shelf.open():
        pass
    assert shelf.sql("SELECT value FROM store.about WHERE key = 'spelling'") == [("2",)]
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{shelf.path}' AS store")
        connection.execute("UPDATE store.profiles SET id = '1' || chr(160)")
    with shelf.open():
        pass
    assert shelf.profiles("id") == [("1\u00a0",)]
