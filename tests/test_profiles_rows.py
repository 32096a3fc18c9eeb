"""What becomes of a row: how values meet the stored ones, who consented, what is told, and what is read again."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import replace
from typing import Any

import pytest

from connrunner.core.model import Field, Format, LocalFile, Objective, ProfileModel, Property, PropertyType, Write
from connrunner.errors import ArgumentError, RunError
from connrunner.profiles.importing import classify, run
from connrunner.profiles.results import FileResult
from connrunner.profiles.session import StoreSession
from tests.test_profiles_open import AT, MODEL, Shelf, counted, import_of, names_of, properties, shelf

pytestmark = pytest.mark.thorough

__all__ = ["shelf"]


def field(name: str, **settings: Any) -> Field:
    return Field(property=name, column=settings.pop("column", name), **settings)


# --- how a value meets the stored one ----------------------------------------------------------------------------

MEETINGS = [
    # property, settings of the field, stored, cell, then, changed?
    ("name", {}, "Ann", "Eva", "Eva", True),
    ("name", {}, "Ann", "Ann", "Ann", False),
    ("name", {}, "Ann", "", "Ann", False),
    ("name", {}, "", "Eva", "Eva", True),
    ("name", {"empty": "clear"}, "Ann", "", None, True),
    ("name", {"empty": "clear"}, "", "", None, False),
    ("name", {"write": Write.SET_IF_EMPTY}, "Ann", "Eva", "Ann", False),
    ("name", {"write": Write.SET_IF_EMPTY}, "", "Eva", "Eva", True),
    ("name", {"write": Write.SET_IF_EMPTY, "empty": "clear"}, "Ann", "", "Ann", False),
    ("name", {"only": "new"}, "Ann", "Eva", "Ann", False),
    ("name", {"only": "existing"}, "Ann", "Eva", "Eva", True),
    ("tags", {}, "a;b", "b; a;b", ["a", "b"], False),
    ("tags", {}, "a;b", "c", ["c"], True),
    ("tags", {}, "a", ";;", ["a"], False),
    ("tags", {"empty": "clear"}, "a", "", None, True),
    ("tags", {"separator": "|"}, "a", "b|c;d", ["b", "c;d"], True),
    ("tags", {"write": Write.ADD}, "a;b", "b;c", ["a", "b", "c"], True),
    ("tags", {"write": Write.ADD}, "a;b", "b", ["a", "b"], False),
    ("tags", {"write": Write.ADD}, "", "b", ["b"], True),
    ("tags", {"write": Write.REMOVE}, "a;b", "b;c", ["a"], True),
    ("tags", {"write": Write.REMOVE}, "a;b", "c", ["a", "b"], False),
    ("tags", {"write": Write.REMOVE}, "a", "a", None, True),
    ("tags", {"write": Write.REMOVE}, "", "a", None, False),
    ("scores", {"write": Write.ADD}, "10;9", "9;-1", [-1, 9, 10], True),
    ("visits", {"write": Write.INCREMENT}, "2", "3", 5, True),
    ("visits", {"write": Write.INCREMENT}, "2", "-3", -1, True),
    ("visits", {"write": Write.INCREMENT}, "2", "0", 2, False),
    ("visits", {"write": Write.INCREMENT}, "", "3", 3, True),
    ("visits", {"write": Write.INCREMENT}, "2", "", 2, False),
    ("visits", {"write": Write.INCREMENT, "empty": "clear"}, "2", "", None, True),
    ("spent", {"write": Write.INCREMENT}, "0.1", "0.2", "0.3", True),
    ("spent", {}, "1.50", "1.5", "1.5", False),
    ("email", {}, "ann@x.org", "ANN@X.org", "ann@x.org", False),
    ("seen", {}, "2026-01-01T12:00:00Z", "2026-01-01T14:00:00+02:00", "2026-01-01T12:00:00Z", False),
    ("member", {}, "yes", "TRUE", True, False),
]


@pytest.mark.parametrize(("name", "settings", "stored", "cell", "then", "changed"), MEETINGS)
def test_a_value_meets_the_stored_one(
    shelf: Shelf, name: str, settings: dict[str, Any], stored: str, cell: str, then: Any, changed: bool
) -> None:
    with shelf.open() as store:
        shelf.take(import_of("id", name), f"id,{name}\n1,{stored}\n", store=store)
        result = shelf.take(import_of("id", field(name, **settings)), f"id,{name}\n1,{cell}\n", store=store)
        assert counted(result) == {"updated" if changed else "unchanged": 1}
        assert [one[name] for one in store.select()] == [then]


NEW = [
    ("name", {}, "Ann", "Ann"),
    ("name", {"only": "existing"}, "Ann", None),
    ("name", {"only": "new"}, "Ann", "Ann"),
    ("name", {"empty": "clear"}, "", None),
    ("tags", {"write": Write.ADD}, "b;a", ["a", "b"]),
    ("tags", {"write": Write.REMOVE}, "b;a", None),
    ("visits", {"write": Write.INCREMENT}, "3", 3),
]


@pytest.mark.parametrize(("name", "settings", "cell", "then"), NEW)
def test_a_value_of_a_new_profile(shelf: Shelf, name: str, settings: dict[str, Any], cell: str, then: Any) -> None:
    assert counted(shelf.take(import_of("id", field(name, **settings)), f"id,{name}\n1,{cell}\n")) == {"created": 1}
    assert shelf.profiles(name) == [(then,)]


def test_an_object_that_lacks_a_member_clears_nothing(shelf: Shelf) -> None:
    work = import_of("id", field("name", empty="clear"), format=Format(type="jsonl"))
    shelf.take(work, "\n".join(json.dumps({"id": number, "name": "Ann"}) for number in (1, 2, 3)))
    shelf.take(work, '{"id": 1}\n{"id": 2, "name": null}\n{"id": 3, "name": ""}')
    assert shelf.profiles("name") == [("Ann",), (None,), (None,)]


@pytest.mark.parametrize(("name", "stored", "cell"), [("visits", str(2**63 - 1), "1"), ("spent", "9" * 29, "1")])
def test_a_sum_that_does_not_fit_refuses_the_row(shelf: Shelf, name: str, stored: str, cell: str) -> None:
    shelf.take(import_of("id", name), f"id,{name}\n1,{stored}\n2,5\n")
    work = import_of("id", field(name, write=Write.INCREMENT))
    assert counted(shelf.take(work, f"id,{name}\n1,{cell}\n2,1\n")) == {"invalid": 1, "updated": 1}
    assert [(one["line"], one["field"], one["stage"], one["code"]) for one in shelf.told()] == [
        (2, name, "write", "overflow")
    ]


MISTAKES = [
    (import_of("id", field("name", write=Write.ADD)), "holds one value"),
    (import_of("id", field("name", write=Write.INCREMENT)), "needs a number"),
    (import_of("id", field("tags", write=Write.INCREMENT)), "needs a number"),
    (import_of("name"), "its `fields` do not fill it"),
    (import_of("id", "id"), "name a property twice"),
    (import_of("id", "unheard"), "'unheard', which profile.yaml does not declare"),
    (import_of("tags", match=[["tags"]]), "which is `many`"),
    (import_of("id", match=[]), "`match` is empty"),
    (import_of(field("id", only="existing")), "a new profile would lack 'id'"),
    (import_of("id", objectives=("unheard",)), "no objective 'unheard'"),
    (import_of("id", consent={"unheard": "id"}), "no objective 'unheard'"),
]


@pytest.mark.parametrize(("work", "words"), MISTAKES)
def test_an_import_that_means_nothing_is_refused(shelf: Shelf, work: Any, words: str) -> None:
    with pytest.raises(RunError, match=words) as caught:
        shelf.take(work, "id,name,tags\n1,Ann,a\n")
    assert caught.value.code == "mapping"


# --- whom a row is about -----------------------------------------------------------------------------------------

SEED = "id,email,name\n1,a@x.org,Ann\n2,b@x.org,Bob\n3,,Eva\n"
EITHER = import_of("id", "email", "name", match=[["id"], ["email"]])
CROWDS = [
    # rows, counters, ids and addresses then
    ("1,,Ann2\n,a@x.org,Ann3\n", {"duplicate": 1, "updated": 1}, "1a 2b 3"),
    ("4,a@x.org,\n", {"updated": 1}, "4a 2b 3"),
    ("1,b@x.org,\n", {"ambiguous": 1}, "1a 2b 3"),
    ("1,b@x.org,\n1,,Anna\n", {"ambiguous": 1, "updated": 1}, "1a 2b 3"),
    ("3,c@x.org,\n,c@x.org,Eve\n", {"duplicate": 1, "updated": 1}, "1a 2b 3c"),
    ("1,c@x.org,\n2,c@x.org,\n", {"ambiguous": 2}, "1a 2b 3"),
    ("1,c@x.org,\n2,c@x.org,\n3,,Eve\n", {"ambiguous": 2, "updated": 1}, "1a 2b 3"),
    ("7,z@x.org,\n8,z@x.org,\n8,y@x.org,\n", {"duplicate": 2, "created": 1}, "1a 2b 3 8y"),
    ("7,z@x.org,\n8,y@x.org,\n", {"created": 2}, "1a 2b 3 7z 8y"),
    ("1,B@X.org,\n", {"ambiguous": 1}, "1a 2b 3"),
    (" 1 ,,Anna\n", {"updated": 1}, "1a 2b 3"),
    (",,Nobody\n", {"invalid": 1}, "1a 2b 3"),
]


@pytest.mark.parametrize(("rows", "counts", "then"), CROWDS)
def test_rows_that_share_identifiers(shelf: Shelf, rows: str, counts: dict[str, int], then: str) -> None:
    shelf.take(EITHER, SEED)
    assert counted(shelf.take(EITHER, f"id,email,name\n{rows}")) == counts
    kept = shelf.profiles("id", "email")
    assert " ".join(f"{number}{(address or '')[:1]}" for number, address in kept) == then


def test_all_identifiers_of_a_group_must_agree(shelf: Shelf) -> None:
    shelf.take(EITHER, SEED)
    work = import_of("id", "email", "name", match=[["id", "email"]], create=False)
    rows = "1,a@x.org,Anna\n1,b@x.org,Anna\n2,,Bobby\n9,b@x.org,\n"
    assert counted(shelf.take(work, f"id,email,name\n{rows}")) == {"updated": 1, "not_found": 2, "invalid": 1}


def test_a_key_of_properties_that_tell_nobody_apart_alone(shelf: Shelf) -> None:
    """A number of a shop, say, that only together with the shop is anybody's."""
    shelf.model = ProfileModel(properties=properties(shop="text", number="integer", name="text"))
    work = import_of("shop", "number", "name", match=[["shop", "number"]])
    shelf.take(work, "shop,number,name\nN,1,Ann\nN,2,Bob\nS,1,Eva\n")
    assert counted(shelf.take(work, "shop,number,name\nN,1,Anna\nS,01,Eva\nS,2,Jan\n")) == {
        "updated": 1,
        "unchanged": 1,
        "created": 1,
    }


TAKEN = [
    # rows by id that carry addresses, counters, addresses of 1, 2, 3 and beyond
    ("3,a@x.org\n", {"ambiguous": 1}, ["a", "b", ""]),
    ("9,A@x.org\n", {"ambiguous": 1}, ["a", "b", ""]),
    ("3,c@x.org\n9,c@x.org\n", {"ambiguous": 2}, ["a", "b", ""]),
    ("1,b@x.org\n2,a@x.org\n", {"ambiguous": 2}, ["a", "b", ""]),
    ("1,c@x.org\n3,a@x.org\n", {"updated": 1, "ambiguous": 1}, ["c", "b", ""]),
    ("1,a@x.org\n3,c@x.org\n", {"unchanged": 1, "updated": 1}, ["a", "b", "c"]),
    ("8,c@x.org\n9,d@x.org\n", {"created": 2}, ["a", "b", "", "c", "d"]),
]


@pytest.mark.parametrize(("rows", "counts", "then"), TAKEN)
def test_no_identifier_ever_belongs_to_two(shelf: Shelf, rows: str, counts: dict[str, int], then: list[str]) -> None:
    shelf.take(EITHER, SEED)
    assert counted(shelf.take(import_of("id", "email"), f"id,email\n{rows}")) == counts
    assert [(address or "")[:1] for (address,) in shelf.profiles("email")] == then
    assert {one["code"] for one in shelf.told()} <= {"identifier-taken"}


def test_a_row_that_creates_nobody(shelf: Shelf) -> None:
    shelf.take(EITHER, SEED)
    assert counted(shelf.take(import_of("id", "name", create=False), "id,name\n1,Anna\n9,New\n")) == {
        "updated": 1,
        "not_found": 1,
    }


def test_the_last_sound_row_stands(shelf: Shelf) -> None:
    work = import_of("id", "visits")
    result = shelf.take(work, "id,visits\n1,1\n1,2\n2,5\n1,x\n")
    assert counted(result) == {"duplicate": 1, "created": 2, "invalid": 1}
    assert shelf.profiles("id", "visits") == [("1", 2), ("2", 5)]


def test_files_follow_each_other(shelf: Shelf) -> None:
    """A person in two files is created by the first and updated by the second, in one transaction."""
    result = shelf.take(import_of("id", "name"), "id,name\n1,Ann\n2,Bob\n", "id,name\n1,Anna\n3,Eva\n2,Bob\n2,Rob\n")
    assert [file.counts.created for file in result.files] == [2, 1]
    assert counted(result) == {"created": 3, "updated": 2, "duplicate": 1}
    assert shelf.profiles("id", "name") == [("1", "Anna"), ("2", "Rob"), ("3", "Eva")]


# --- consent -----------------------------------------------------------------------------------------------------

CONSENTS = [
    # objectives, stored (None: no profile), what the row says, counted as, consent then (None: no profile)
    (("news",), "yes", "", "updated", "yes"),
    (("news",), "no", "", "consent_blocked", "no"),
    (("news",), "", "", "consent_blocked", ""),
    (("news",), "no", "yes", "updated", "yes"),
    (("news",), "yes", "no", "consent_blocked", "no"),
    (("news",), "", "no", "consent_blocked", "no"),
    (("news",), None, "", "consent_blocked", None),
    (("news",), None, "no", "consent_blocked", None),
    (("news",), None, "yes", "created", "yes"),
    (("ads",), "", "", "updated", ""),
    (("ads",), "no", "", "consent_blocked", "no"),
    (("ads",), "yes", "no", "consent_blocked", "no"),
    (("ads",), "no", "yes", "updated", "yes"),
    (("ads",), None, "", "created", ""),
    (("ads",), None, "no", "consent_blocked", None),
    ((), "no", "", "updated", "no"),
    ((), None, "no", "created", "no"),
]


@pytest.mark.parametrize(("objectives", "stored", "said", "verdict", "then"), CONSENTS)
def test_a_connection_acts_where_it_may(
    shelf: Shelf, objectives: tuple[str, ...], stored: str | None, said: str, verdict: str, then: str | None
) -> None:
    name = objectives[0] if objectives else "news"
    if stored is not None:
        shelf.take(import_of("id", "name", consent={name: "ok"}), f"id,name,ok\n1,Ann,{stored}\n")
    work = import_of("id", "name", consent={name: "ok"}, objectives=objectives)
    result = shelf.take(work, f"id,name,ok\n1,Anna,{said}\n")
    assert counted(result) == {verdict: 1}
    with shelf.open() as store:
        found = store.find("id", "1")
    if then is None:
        assert found == []
    else:
        assert found[0]["consents"][name] == {"yes": True, "no": False, "": None}[then]
        assert found[0]["properties"]["name"] == ("Ann" if verdict == "consent_blocked" else "Anna")


BOTH = [
    # news and ads as stored; whether a connection with both objectives acts
    ("yes", "", True),
    ("yes", "no", False),
    ("", "yes", False),
    ("no", "", False),
]


@pytest.mark.parametrize(("news", "ads", "acts"), BOTH)
def test_opt_in_and_opt_out_together(shelf: Shelf, news: str, ads: str, acts: bool) -> None:
    shelf.take(import_of("id", consent={"news": "news", "ads": "ads"}), f"id,news,ads\n1,{news},{ads}\n")
    result = shelf.take(import_of("id", "name", objectives=("news", "ads")), "id,name\n1,Ann\n")
    assert counted(result) == {"updated" if acts else "consent_blocked": 1}


def test_one_of_several_opt_ins_is_enough(shelf: Shelf) -> None:
    shelf.model = replace(MODEL, objectives={"a": Objective(name="a"), "b": Objective(name="b")})
    shelf.take(import_of("id", consent={"a": "a", "b": "b"}), "id,a,b\n1,no,yes\n2,no,\n")
    result = shelf.take(import_of("id", "name", objectives=("a", "b")), "id,name\n1,Ann\n2,Bob\n")
    assert counted(result) == {"updated": 1, "consent_blocked": 1}


def test_a_blocked_row_records_its_refusal_and_nothing_else(shelf: Shelf) -> None:
    both = {"news": "news", "ads": "ads"}
    shelf.take(import_of("id", "name", consent=both), "id,name,news,ads\n1,Ann,yes,no\n")
    work = import_of("id", "name", consent=both, objectives=("news",))
    rows = "id,name,news,ads\n1,Anna,no,yes\n"
    assert counted(shelf.take(work, rows)) == {"consent_blocked": 1}
    assert counted(shelf.take(work, rows)) == {"consent_blocked": 1}
    with shelf.open() as store:
        (found,) = store.find("id", "1")
    assert found["consents"] == {"news": False, "ads": False}
    assert found["properties"]["name"] == "Ann"
    assert found["changed"] == {"at": "2026-11-22T09:15:00Z", "connection": "c", "run": 2}


# --- stamps ------------------------------------------------------------------------------------------------------


def test_who_created_and_changed_a_profile(shelf: Shelf) -> None:
    work = import_of("id", "name")
    shelf.take(work, "id,name\n1,Ann\n2,Bob\n", connection="first")
    shelf.take(work, "id,name\n1,Ann\n2,Rob\n", connection="second")
    with shelf.open() as store:
        (ann,), (bob,) = store.find("id", "1"), store.find("id", "2")
    first = {"at": "2026-11-22T09:15:00Z", "connection": "first", "run": 1}
    assert (ann["created"], ann["changed"]) == (first, first)
    assert (bob["created"], bob["changed"]) == (first, {**first, "connection": "second", "run": 2})


def test_a_run_is_recorded_once_with_its_counters(shelf: Shelf) -> None:
    shelf.take(import_of("id"), "id\n1\n2\nx,y\n")
    with shelf.open() as store:
        counts = store.read_counts(connection="c", run=1)
        assert counts is not None
        assert (counts.created, counts.invalid) == (2, 1)
        assert store.read_counts(connection="c", run=2) is None
        shelf.runs = 0
        with pytest.raises(RunError, match="run 1 of c is in the profile store already"):
            shelf.take(import_of("id"), "id\n3\n", store=store)
        assert store.count() == 2


def test_a_dry_run_keeps_nothing(shelf: Shelf) -> None:
    with shelf.open() as store:
        result = shelf.take(import_of("id"), "id\n1\nx,y\n", store=store, dry_run=True)
        assert counted(result) == {"created": 1, "invalid": 1}
        assert names_of(shelf.told()) == [3]
        assert store.count() == 0
        assert store.read_counts(connection="c", run=1) is None


def test_numbers_of_profiles_never_repeat(shelf: Shelf) -> None:
    shelf.take(import_of("id"), "id\n1\n2\n")
    shelf.take(import_of("id"), "id\n3\n")
    assert len(set(shelf.sql("SELECT _id FROM store.profiles"))) == 3


def test_counters_that_do_not_balance_undo_the_run(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in the SQL shows before anything is kept."""
    shelf.take(import_of("id"), "id\n1\n")

    def forgetful(session: StoreSession, *arguments: Any, **more: Any) -> None:
        classify.classify_rows(session, *arguments, **more)
        session.execute("DELETE FROM verdicts WHERE rn = 1")

    monkeypatch.setattr(run, "classify_rows", forgetful)
    with pytest.raises(RunError) as caught:
        shelf.take(import_of("id", "name"), "id,name\n1,\n2,x\n3\n")
    assert caught.value.code == "unbalanced"
    assert shelf.profiles("id") == [("1",)]
    assert shelf.sql("SELECT count(*) FROM store.runs") == [(1,)]


# --- what is told ------------------------------------------------------------------------------------------------


def test_a_reject_says_where_what_and_why(shelf: Shelf) -> None:
    shelf.model = ProfileModel(
        properties=properties(id="text!", email="email!", visits="integer", born="date", scores="integer*")
        | {"secret": Property(name="secret", type=PropertyType.INTEGER)},
        objectives={"news": Objective(name="news")},
    )
    work = import_of(
        "id", "email", "visits", field("born", column="Birthday"), "scores", "secret", consent={"news": "ok"}
    )
    rows = "id,email,visits,Birthday,scores,secret,ok\n1,a@x.org,12.7,2026-02-30,1;x;2,hunter2,maybe\n"
    shelf.take(work, shelf.file(rows, name="in/members.csv"))
    common = {"line": 2, "key": "id=1", "stage": "validate", "code": "wrong-type", "file": "in/members.csv"}
    integer = "must be an integer like 42, between -2^63 and 2^63-1"
    assert shelf.told() == [
        {
            **common,
            "field": "born",
            "value": "2026-02-30",
            "message": "born (column Birthday) must be a date of the calendar like 2026-11-22",
        },
        {
            **common,
            "field": "ok",
            "value": "m…e (5)",
            "message": "consent to news (column ok) must be true or false (or yes/no, y/n, t/f, 1/0)",
        },
        {**common, "field": "scores", "value": "x", "message": f"each value of scores {integer}"},
        {**common, "field": "secret", "value": "h…2 (7)", "message": f"secret {integer}"},
        {**common, "field": "visits", "value": "12.7", "message": f"visits {integer}"},
    ]
    assert stat.S_IMODE(shelf.rejects.stat().st_mode) == 0o600


def test_a_reject_names_the_line_that_won_and_the_stage_of_each_verdict(shelf: Shelf) -> None:
    shelf.take(import_of("id", "email"), "id,email\n1,a@x.org\n2,b@x.org\n")
    work = import_of(
        "id", "email", match=[["id"], ["email"]], create=False, objectives=("news",), consent={"news": "ok"}
    )
    shelf.take(work, "id,email,ok\n1,,\n1,a@x.org,yes\n2,a@x.org,yes\n9,,yes\n,b@x.org,\n,,no\n")
    assert [(one["line"], one["stage"], one["code"], one["key"], one["value"]) for one in shelf.told()] == [
        (2, "match", "duplicate", "id=1", None),
        (4, "match", "ambiguous", "id=2", None),
        (5, "match", "not-found", "id=9", None),
        (6, "consent", "no-consent", "email=b@x.org", None),
        (7, "validate", "missing-key", None, None),
    ]
    messages = {one["code"]: one["message"] for one in shelf.told()}
    assert messages["duplicate"].endswith("line 3")
    assert messages["missing-key"].endswith("id or email")
    assert messages["no-consent"] == "no consent to news"


MASKED = [("a", "… (1)"), ("abc", "… (3)"), ("ab…cd", "a…d (5)"), ("hünter2", "h…2 (7)"), ("x" * 70_000, "x…x (70000)")]


@pytest.mark.parametrize(("value", "shown"), MASKED)
def test_a_personal_value_is_masked(shelf: Shelf, value: str, shown: str) -> None:
    shelf.model = ProfileModel(properties={"id": Property(name="id", identifier=True, type=PropertyType.INTEGER)})
    shelf.take(import_of("id"), f"id\n{value}\n")
    assert shelf.told()[0]["value"] == shown
    assert shelf.told()[0]["key"] is None


def test_a_personal_key_is_masked_and_long_values_are_cut(shelf: Shelf) -> None:
    shelf.model = ProfileModel(
        properties={"email": Property(name="email", type=PropertyType.EMAIL, identifier=True)}
        | properties(visits="integer")
    )
    shelf.take(import_of("email", "visits", match=[["email"]]), f"email,visits\nann@example.com,{'9' * 300}\n")
    (told,) = shelf.told()
    assert told["key"] == "email=a…m (15)"
    assert told["value"] == "9" * 200 + "…"


def test_nothing_to_tell_leaves_no_file(shelf: Shelf) -> None:
    shelf.take(import_of("id"), "id\n1\n")
    assert not shelf.rejects.exists()


def test_rejects_of_several_files_stand_in_their_order(shelf: Shelf) -> None:
    shelf.take(import_of("id"), "id\n1\na,b\n", "id\na,b\n2\na,b\n")
    assert [(one["file"], one["line"]) for one in shelf.told()] == [
        ("rows-1-0.csv", 3),
        ("rows-1-1.csv", 2),
        ("rows-1-1.csv", 4),
    ]


def test_text_that_would_break_a_line_of_json_does_not(shelf: Shelf) -> None:
    shelf.take(import_of("id", "visits"), 'id,visits\n"a\n""b""\\",x\n')
    assert json.loads(shelf.rejects.read_text())["key"] == 'id=a\n"b"\\'


# --- what was read before ----------------------------------------------------------------------------------------


def again(file: LocalFile, **changes: Any) -> LocalFile:
    return replace(file, **changes)


def test_a_file_that_did_not_change_is_not_read(shelf: Shelf) -> None:
    work = import_of("id")
    file = shelf.file("id\n1\n2\n", modified="monday")
    shelf.take(work, file)
    result = shelf.take(work, again(file, path="/nowhere"))
    assert result.files == (FileResult(name="rows.csv", status="skipped", counts=result.counts),)
    assert (result.counts.read, result.counts.skipped, result.counts.checked) == (2, 2, 0)


SAME = [
    # what is new about the file, is it the same file?
    ({"modified": "tuesday"}, True),  # its bytes decide
    ({"modified": ""}, True),
    ({"modified": "tuesday", "digest": "0" * 64}, False),
    ({"name": "other.csv"}, False),
]


@pytest.mark.parametrize(("changes", "same"), SAME)
def test_what_makes_a_file_the_same(shelf: Shelf, changes: dict[str, str], same: bool) -> None:
    work = import_of("id")
    file = shelf.file("id\n1\n2\n", modified="monday")
    shelf.take(work, file)
    assert counted(shelf.take(work, again(file, **changes))) == ({"skipped": 2} if same else {"unchanged": 2})


def test_a_file_with_other_bytes_is_read_again(shelf: Shelf) -> None:
    work = import_of("id")
    shelf.take(work, shelf.file("id\n1\n2\n", modified="monday"))
    assert counted(shelf.take(work, shelf.file("id\n1\n3\n", modified="tuesday"))) == {"unchanged": 1, "created": 1}


def test_the_source_may_know_the_digest(shelf: Shelf) -> None:
    file = shelf.file("id\n1\n")
    shelf.take(import_of("id"), again(file, digest=hashlib.sha256(b"id\n1\n").hexdigest()))
    assert counted(shelf.take(import_of("id"), again(file, modified="later"))) == {"skipped": 1}


def test_each_connection_reads_for_itself(shelf: Shelf) -> None:
    file = shelf.file("id\n1\n")
    shelf.take(import_of("id"), file, connection="first")
    assert counted(shelf.take(import_of("id"), file, connection="second")) == {"unchanged": 1}


REREAD = [
    (import_of("id", "name", create=False), True),
    (import_of("id", field("name", write=Write.SET_IF_EMPTY)), True),
    (import_of("id", "name", objectives=("ads",)), True),
    (import_of("id", "name", format=Format(quote="'")), True),
    (import_of("id", "name", format=Format(encoding="latin-1")), True),
    (import_of("name", "id"), True),
    (import_of("id", "name"), False),
]


@pytest.mark.parametrize(("work", "reads"), REREAD)
def test_another_mapping_reads_the_files_again(shelf: Shelf, work: Any, reads: bool) -> None:
    file = shelf.file("id,name\n1,Ann\n")
    shelf.take(import_of("id", "name"), file)
    assert counted(shelf.take(work, file)) == {"unchanged" if reads else "skipped": 1}


def test_refused_rows_are_offered_again_alone(shelf: Shelf) -> None:
    work = import_of("id", "email", "visits")
    shelf.take(import_of("id", "email"), "id,email\n1,a@x.org\n", connection="other")
    file = shelf.file("id,email,visits\n2,b@x.org,1\n3,a@x.org,2\n4,,x\n", name="rows.csv")
    assert counted(shelf.take(work, file)) == {"created": 1, "ambiguous": 1, "invalid": 1}
    result = shelf.take(work, file)
    assert counted(result) == {"skipped": 1, "ambiguous": 1, "invalid": 1}
    assert result.files[0].status == "retried"
    shelf.take(import_of("id", "email"), "id,email\n1,z@x.org\n", connection="other")
    assert counted(shelf.take(work, file)) == {"skipped": 1, "created": 1, "invalid": 1}
    assert names_of(shelf.told()) == [4]
    assert counted(shelf.take(work, file)) == {"skipped": 2, "invalid": 1}


def test_a_row_that_is_tried_again_does_not_undo_a_later_one(shelf: Shelf) -> None:
    shelf.take(import_of("id", "email"), "id,email\n1,a@x.org\n", connection="other")
    work = import_of("id", "email", "name", match=[["id"], ["email"]])
    file = shelf.file("id,email,name\n2,a@x.org,old\n2,,new\n", name="rows.csv")
    assert counted(shelf.take(work, file)) == {"duplicate": 1, "updated": 1}
    other = Shelf(shelf.folder / "other")
    other.folder.mkdir()
    other.take(import_of("id", "email"), "id,email\n1,a@x.org\n2,\n", connection="other")
    file = other.file("id,email,name\n2,a@x.org,old\n2,,new\n", name="rows.csv")
    assert counted(other.take(work, file)) == {"ambiguous": 1, "updated": 1}
    other.take(import_of("id", "email"), "id,email\n1,b@x.org\n", connection="other")
    assert counted(other.take(work, file)) == {"skipped": 1, "duplicate": 1}
    assert ("2", "new") in other.profiles("id", "name")


def test_blocked_and_unknown_rows_are_not_offered_again(shelf: Shelf) -> None:
    work = import_of("id", "name", create=False, objectives=("news",), consent={"news": "ok"})
    shelf.take(import_of("id"), "id\n1\n", connection="other")
    file = shelf.file("id,name,ok\n1,Ann,no\n2,Bob,yes\n", name="rows.csv")
    assert counted(shelf.take(work, file)) == {"consent_blocked": 1, "not_found": 1}
    assert counted(shelf.take(work, file)) == {"skipped": 2}


def test_a_number_is_added_once_for_each_row(shelf: Shelf) -> None:
    """Also when the file is read again because its mapping changed, and its refused rows then come through."""
    file = shelf.file("id,visits,name\n1,5,Ann\n2,5,Bob\n3,x,Eva\n", name="rows.csv")
    plus = field("visits", write=Write.INCREMENT)
    with shelf.open() as store:
        shelf.take(import_of("id", plus), file, store=store)
        assert counted(shelf.take(import_of("id", plus), file, store=store)) == {"skipped": 2, "invalid": 1}
        changed = import_of("id", plus, "name")
        assert counted(shelf.take(changed, file, store=store)) == {"updated": 2, "invalid": 1}
        assert [(one["visits"], one["name"]) for one in store.select()] == [(5, "Ann"), (5, "Bob")]
        assert counted(shelf.take(import_of("id", plus, field("scores", column="visits")), file, store=store)) == {
            "updated": 2,
            "invalid": 1,
        }
        assert [one["visits"] for one in store.select()] == [5, 5]
        assert counted(shelf.take(changed, "id,visits,name\n1,5,Ann\n", store=store)) == {"updated": 1}
        assert [one["visits"] for one in store.select()] == [10, 5]


# --- finding -----------------------------------------------------------------------------------------------------

FINDINGS = [
    ("id", "2", ["2"]),
    ("id", " 2 ", ["2"]),
    ("email", "ANN@X.org", ["1"]),
    ("tags", "b", ["1", "2"]),
    ("visits", "07", ["2"]),
    ("member", "yes", ["1"]),
    ("spent", "1.50", ["1"]),
    ("born", "2001-02-03", ["1"]),
    ("seen", "2026-01-01T11:00:00+01:00", ["1"]),
    ("name", "Nobody", []),
]


@pytest.mark.parametrize(("name", "value", "ids"), FINDINGS)
def test_profiles_are_found_by_any_value(shelf: Shelf, name: str, value: str, ids: list[str]) -> None:
    columns = ("id", "email", "tags", "visits", "member", "spent", "born", "seen")
    rows = "1,ann@x.org,a;b,,true,1.5,2001-02-03,2026-01-01T10:00:00Z\n2,,b,7,false,,,\n"
    shelf.take(import_of(*columns), f"{','.join(columns)}\n{rows}")
    with shelf.open(read_only=True) as store:
        assert [found["properties"]["id"] for found in store.find(name, value)] == ids


@pytest.mark.parametrize(("name", "value", "words"), [("nmae", "x", "did you mean 'name'"), ("born", "x", "a date")])
def test_what_cannot_be_found_is_said(shelf: Shelf, name: str, value: str, words: str) -> None:
    shelf.take(import_of("id"), "id\n1\n")
    with shelf.open() as store, pytest.raises(ArgumentError, match=words):
        store.find(name, value)


def test_instants_are_utc_whatever_the_host_says(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    shelf.take(import_of("id", "seen"), "id,seen\n1,2026-07-01T10:00:00+02:00\n")
    assert shelf.profiles("seen") == [("2026-07-01T08:00:00Z",)]
    assert AT.utcoffset() is not None
