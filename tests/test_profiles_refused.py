"""Who was refused: the key of a row, the number of a profile, and which identifiers disagree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from connrunner.core.model import Export, Format
from connrunner.profiles.jobs import ExportJob
from connrunner.profiles.results import ExportResult
from tests.test_profiles_export_more import Shop, shop
from tests.test_profiles_open import Shelf, counted, import_of, shelf

__all__ = ["shelf", "shop"]

STORED = "id,email,visits\nk1,ann@example.com,\nk2,bob@example.com,\nk3,,7\n"
CLASHES = [
    # match, rows, of each ambiguous row: which field, what it finds, the end of its message
    ([["id"], ["email"]], "k1,bob@example.com,\n",
        [(None, {"id": 1, "email": 2}, "more than one profile: id finds profile 1, email finds profile 2")]),
    ([["email"], ["id"]], "k1,bob@example.com,\n",
        [(None, {"email": 2, "id": 1}, "more than one profile: email finds profile 2, id finds profile 1")]),
    ([["id", "visits"], ["email"]], "k3,ann@example.com,7\n",
        [(None, {"id+visits": 3, "email": 1}, ": id+visits finds profile 3, email finds profile 1")]),
    # Two rows that name one address, and two profiles by their ids.
    ([["id"], ["email"]], "k1,new@example.com,\nk2,new@example.com,\nk9,new@example.com,\n", [
        (None, {"id": 1}, "together with other rows that share its identifiers: id finds profile 1"),
        (None, {"id": 2}, "together with other rows that share its identifiers: id finds profile 2"),
        (None, None, "together with other rows that share its identifiers"),
    ]),
    ([["id"]], "k3,ann@example.com,\n", [("email", {"email": 1}, "has the same value: profile 1")]),
    ([["id"]], "k3,new@example.com,\nk4,new@example.com,\n", [
        ("email", None, "has the same value"), ("email", None, "has the same value"),
    ]),
    ([["id"]], "k3,ann@example.com,\nk4,ann@example.com,\n", [
        ("email", {"email": 1}, "has the same value: profile 1"), ("email", {"email": 1}, "has the same value: profile 1"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("match", "rows", "told"), CLASHES)
def test_it_is_told_which_identifiers_disagree(
    shelf: Shelf, match: list[list[str]], rows: str, told: list[tuple[Any, ...]]
) -> None:
    shelf.take(import_of("id", "email", "visits"), STORED)
    result = shelf.take(import_of("id", "email", "visits", match=match), "id,email,visits\n" + rows)
    assert counted(result)["ambiguous"] == len(told)
    found = shelf.told()
    assert [(one["field"], one.get("finds"), one.get("profile")) for one in found] == [
        (field, finds, None) for field, finds, _ in told
    ]
    assert [list(one.get("finds", ())) for one in found] == [list(finds or ()) for _, finds, _ in told], "in this order"
    for one, (_, _, end) in zip(found, told, strict=True):
        assert one["message"].endswith(end)
        assert "example.com" not in one["message"], "numbers only, no values"


def test_an_export_tells_the_numbers_of_those_who_were_refused_or_have_not_consented(
    shop: Shop, tmp_path: Path
) -> None:
    shop.put(
        {"id": "a", "news": "yes"}, {"id": "b", "news": "no"}, {"id": "c"}, {"id": "d", "news": "yes"}, {"id": "e"}
    )
    # No identifier among the columns: the number says who it was all the same.
    work = Export(destination={}, format=Format(), fields={"name": "name"}, objectives=("news",), where="id <> 'e'")
    shop.write(work)
    rejects = tmp_path / "rejects.jsonl"
    counts = shop.confirm(1, rejects=rejects)
    assert (counts.rejected, counts.consent_blocked, counts.filtered) == (1, 2, 1)
    found = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(one["line"], one["stage"], one["code"], one["profile"]) for one in found] == [
        (2, "write", "not-wanted", 4),
        (None, "consent", "no-consent", 2),
        (None, "consent", "no-consent", 3),
    ]
    assert found[1]["message"] == "no consent to news"
    (described,) = [shop.store.find_number(one["profile"]) for one in found[:1]]
    assert described is not None
    assert described["properties"]["id"] == "d"
    assert described == shop.store.find("id", "d")[0]
    assert shop.store.find_number(99) is None
    assert shop.store.find_number(2**63 - 1) is None


def test_those_who_have_not_consented_are_told_when_nothing_is_sent(shop: Shop, tmp_path: Path) -> None:
    shop.put({"id": "a", "news": "no"})
    work = Export(destination={}, format=Format(), fields={"name": "name"}, objectives=("news",), when_empty="skip")
    done: ExportResult = shop.store.export(ExportJob(work=work, stamp=shop.stamp, path=tmp_path / "none.csv"))
    assert not done.written
    shop.confirm(rejects=tmp_path / "rejects.jsonl")
    assert [json.loads(line)["profile"] for line in (tmp_path / "rejects.jsonl").read_text().splitlines()] == [1]
