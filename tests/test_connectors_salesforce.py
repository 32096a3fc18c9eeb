"""Salesforce from end to end: whole runs against its double, by real HTTP with TLS."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connrunner.connectors.http import client
from connrunner.connectors.salesforce import delivery, ingest_job
from connrunner.core.model import Outcome
from connrunner.doctor import partners
from tests.runs import AT, Ran, Runs
from tests.servers.http import Asked, Reply
from tests.servers.salesforce import CLIENT, SECRET, USER, Org, Running, Trouble, refusal

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

PROFILE = {
    "properties": {
        "id": {"type": "text", "identifier": True, "personal": False},
        "record": {"type": "text", "identifier": True},
        "email": {"type": "email"},
        "name": {"type": "text"},
        "title": {"type": "text"},
        "phone": {"type": "text"},
        "company": {"type": "text"},
        "company_name": {"type": "text"},
        "level": {"type": "text"},
        "badge": {"type": "text"},
        "score": {"type": "decimal"},
        "born": {"type": "date"},
        "seen": {"type": "datetime"},
        "news": {"type": "boolean"},
        "tags": {"type": "text", "many": True},
        "gone": {"type": "boolean"},
    },
    "objectives": {"letters": {"legislation": "opt-in"}},
}
FIELDS = {"Crm_Id__c": "id", "LastName": "name"}
ALL = {
    **FIELDS,
    "Email": "email",
    "Title": "title",
    "Phone": "phone",
    "Account.Ext__c": "company",
    "Level__c": "level",
    "Badge__c": "badge",
    "Score__c": "score",
    "Birthdate": "born",
    "Seen__c": "seen",
    "Newsletter__c": "news",
    "Interests__c": "tags",
}


class Shop:
    """A workspace beside an org."""

    def __init__(self, folder: Path, running: Running) -> None:
        self.org: Org = running.make_org()
        self.running = running
        self.folder = folder
        self.runs = Runs(folder, secret=SECRET, profile=PROFILE)
        running.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        (folder / "key.pem").write_text(running.keys[0])
        self.here = {
            "type": "salesforce",
            "login_url": running.server.url(""),
            "ca_file": "ca.pem",
            "client_id": CLIENT,
            "client_secret": "env:SF_SECRET",
            "object": "Contact",
        }

    def put(self, *people: dict[str, str], consent: str = "") -> None:
        """Import people from a file; a `letters` says whether they consented."""
        columns = list(dict.fromkeys(key for one in people for key in one))
        with (self.folder / "people.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(people)
        fields = {column: {"from": column, "empty": "clear"} for column in columns if column not in ("id", "letters")}
        more = {"consent": {"letters": "letters"}} if "letters" in columns else {}
        work = {
            "from": {"type": "files", "path": "people.csv"},
            "match": ["id"],
            "fields": {"id": "id", **fields},
            **more,
        }
        done = self.runs.run({"import": work}, "seed")
        assert done.outcome is Outcome.SUCCEEDED, done

    def work(self, fields: dict[str, str] = FIELDS, **more: Any) -> dict[str, Any]:
        settings = {
            key: more.pop(key) for key in list(more) if key not in ("where", "rows", "deleted", "objectives", "expect")
        }
        to = {**self.here, "external_id": "Crm_Id__c", **settings}
        return {
            "export": {"to": {key: value for key, value in to.items() if value is not None}, "fields": fields, **more}
        }

    def send(self, fields: dict[str, str] = FIELDS, **more: Any) -> Ran:
        return self.runs.run(self.work(fields, **more))

    def get(self, fields: dict[str, Any], source: dict[str, Any], **more: Any) -> Ran:
        settings = {key: value for key, value in {**self.here, **source}.items() if value is not None}
        return self.runs.run({"import": {"from": settings, "match": ["id"], "fields": fields, **more}}, "back")

    def refused(self) -> Counter[str]:
        """Return the codes of the rejects of the last run."""
        return Counter(one["code"] for one in self.rejects())

    def rejects(self) -> list[dict[str, Any]]:
        path = self.runs.state.rejects("people", self.runs.number)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def contacts(self) -> dict[str, dict[str, str]]:
        return {one.get("Crm_Id__c", ""): one for one in self.org.living("Contact")}


def people(count: int, **more: str) -> list[dict[str, str]]:
    return [{"id": f"k{number}", "name": f"Name {number}", **more} for number in range(count)]


@pytest.fixture
def shop(salesforce_server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("SF_SECRET", SECRET)
    monkeypatch.setattr(client, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(delivery, "LOCK_PAUSE", 0.0)
    monkeypatch.setattr(ingest_job, "FIRST_POLL", 0.001)
    made = Shop(tmp_path, salesforce_server)
    yield made
    made.org.over.set()


def counts(done: Ran, **wanted: int) -> None:
    have = {key: value for key, value in done.counts.items() if key not in ("read", "checked")}
    assert have == wanted, done


# --- exports -----------------------------------------------------------------------------------------------------


def test_each_value_arrives_as_it_is(shop: Shop) -> None:
    account = shop.org.add("Account", Name="Acme", Ext__c="a-1")
    row = {
        "id": "k1", "name": 'O\'Neil, "Łu"\r\nkasz', "email": "ann@example.com", "title": "  x ", "phone": "+31 6", "company": "a-1",
        "level": "Gold", "badge": "7", "score": "12.5", "born": "1985-03-09", "seen": "2026-11-22T10:15:00+01:00", "news": "true",
        "tags": "a;b",
    }  # fmt: skip
    columns = {**{name: name for name in row if name not in ("id", "tags")}, "tags": {"from": "tags", "separator": ";"}}
    with (shop.folder / "one.csv").open("w", newline="") as file:
        csv.writer(file).writerows([list(row), list(row.values())])
    source = {"type": "files", "path": "one.csv"}
    shop.runs.run({"import": {"from": source, "match": ["id"], "fields": {"id": "id", **columns}}}, "seed")
    counts(shop.send(ALL), created=1)
    kept = shop.contacts()["k1"]
    assert kept["LastName"] == row["name"]
    assert kept["Title"] == "  x "
    assert (kept["AccountId"], kept["Score__c"], kept["Birthdate"]) == (account, "12.5", "1985-03-09")
    assert (kept["Seen__c"], kept["Newsletter__c"]) == ("2026-11-22T09:15:00Z", "true")
    assert sorted(kept["Interests__c"].split(";")) == ["a", "b"]
    counts(shop.send(ALL), unchanged=1)
    shop.put({"id": "k1", "name": "Ann", "phone": "", "title": ""})
    counts(shop.send(ALL, clear=["Phone"]), updated=1)
    kept = shop.contacts()["k1"]
    assert ("Phone" in kept, kept["Title"], kept["LastName"]) == (False, "  x ", "Ann")


def test_a_parent_that_may_be_of_several_objects(shop: Shop) -> None:
    user = shop.org.add("User", Name="Ann", Staff_Id__c="s-1")
    shop.put({"id": "k1", "name": "Bob", "company": "s-1"}, {"id": "k2", "name": "Cas", "company": "s-2"})
    counts(shop.send({**FIELDS, "User:Owner.Staff_Id__c": "company"}), created=1, rejected=1)
    assert {key: one["OwnerId"] for key, one in shop.contacts().items()} == {"k1": user}
    assert shop.refused() == Counter({"invalid-field": 1})


EIGHT = {
    "required-field-missing": {"name": ""},
    "duplicate-value": {"badge": "taken"},
    "duplicates-detected": {"title": "Twin"},
    "invalid-email-address": {"email": "ann@example.invalid"},
    "field-custom-validation-exception": {"title": "Rule"},
    "cannot-insert-update-activate-entity": {"title": "Trigger"},
    "invalid-field": {"company": "nobody"},
    "number-outside-valid-range": {"score": "2000000"},
}


def test_a_hundredth_is_refused_for_eight_reasons(shop: Shop) -> None:
    """Each refused row is told with the partner's code and key; the others arrive; the next run offers them again."""
    shop.org.add("Contact", LastName="x", Badge__c="taken")
    total = 4_000
    rows: list[dict[str, str]] = people(total)
    for index in range(total // 100):
        flaw = list(EIGHT.values())[index % len(EIGHT)]
        rows[index * 100 + 7] |= flaw
    keys = ("id", "name", "title", "badge", "email", "company", "score")
    shop.put(*({key: row.get(key, "") for key in keys} for row in rows))
    fields = {**FIELDS, **{column: name for column, name in ALL.items() if name in keys}}
    done = shop.send(fields, batch=1_500)
    assert done.outcome is Outcome.PARTIAL
    counts(done, created=total - 40, rejected=40)
    assert shop.refused() == Counter(dict.fromkeys(EIGHT, 5))
    told = shop.rejects()
    assert {one["key"].split(",")[0] for one in told} == {f"id=k{index * 100 + 7}" for index in range(40)}
    by_code = {one["code"]: one["message"] for one in told}
    assert "REQUIRED_FIELD_MISSING: Required fields are missing: [LastName]" in by_code["required-field-missing"]
    assert 'Say "why", please: and who, too' in by_code["field-custom-validation-exception"]
    assert all("example.invalid" not in text and "nobody" not in text for text in by_code.values())
    assert len(shop.org.uploads) == 3
    assert len(shop.org.living("Contact")) == total - 40 + 1
    assert set(shop.org.written.values()) == {1}
    shop.put(
        *(
            {"id": f"k{index * 100 + 7}", **{key: row.get(key, "") for key in keys[1:]}}
            for index, row in enumerate(people(40))
        )
    )
    counts(shop.send(fields), created=40, unchanged=total - 40)


def test_rows_that_cannot_be_sent_are_not(shop: Shop) -> None:
    rows = [*people(3), {"id": "K1", "name": "x"}, {"id": "x" * 41, "name": "x"}, {"id": "k9", "name": "#N/A"}]
    shop.put(*rows, {"id": "k8", "name": "x", "level": "Old"})
    done = shop.send({**FIELDS, "Level__c": "level"})
    counts(done, created=2, rejected=5)
    assert shop.refused() == Counter({"duplicate-key": 2, "too-long": 1, "cannot-send": 1, "not-in-picklist": 1})
    assert sorted(shop.contacts()) == ["k0", "k2"]
    counts(shop.send({"Code__c": "id", "LastName": "name"}, external_id="Code__c"), created=3, updated=2, rejected=2)


def test_locked_rows_go_out_again_in_smaller_jobs_by_their_parents(shop: Shop) -> None:
    for number in range(3):
        shop.org.add("Account", Name="x", Ext__c=f"a{number}")
    shop.put(*({**row, "company": f"a{index % 3}" if index % 2 else ""} for index, row in enumerate(people(60))))
    shop.org.lock_above = 15
    done = shop.send({**FIELDS, "Account.Ext__c": "company"}, batch=60)
    counts(done, created=60)
    jobs = [shop.org.jobs[job] for job in shop.org.uploads]
    sizes = [len(job.content.splitlines()) - 1 for job in jobs if job.content]
    assert sizes == [60, 15, 15]
    parents = [row[2] for job in jobs[1:] for row in csv.reader((job.content or b"").decode().splitlines()[1:])]
    assert parents == sorted(parents)
    assert set(shop.org.written.values()) == {1}
    shop.org.lock_above = 1
    shop.put(*({**row, "name": "New", "company": "a1"} for row in people(2)))
    done = shop.send({**FIELDS, "Account.Ext__c": "company"}, batch=60)
    counts(done, updated=2, unchanged=58)
    assert any("2 rows were locked" in text for text in shop.runs.log.texts)


def test_a_row_that_stays_locked_is_refused_at_last(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "LOCK_ROUNDS", (2, 2))
    shop.org.add("Account", Name="x", Ext__c="a")
    shop.put(*people(3, company="a"))
    shop.org.lock_above = -1
    done = shop.send({**FIELDS, "Account.Ext__c": "company"}, batch=4)
    counts(done, rejected=3)
    assert shop.refused() == Counter({"unable-to-lock-row": 3})


def test_who_no_longer_qualifies_is_deleted_there(shop: Shop) -> None:
    shop.put(*people(5, letters="yes"))
    sent: dict[str, Any] = {"objectives": ["letters"], "deleted": "send"}
    counts(shop.send(**sent), created=5)
    shop.put({"id": "k1", "letters": "no"}, {"id": "k3", "letters": "no"})
    shop.org.remove("Contact", shop.contacts()["k3"]["Id"])
    counts(shop.send(**sent), deleted=2, unchanged=3)
    assert sorted(shop.contacts()) == ["k0", "k2", "k4"]
    assert any("1 record was to be deleted, and not there" in text for text in shop.runs.log.texts)
    assert (
        shop.org.written[
            "Contact",
            "delete",
            shop.org.find("Contact", "Crm_Id__c", "k1")[0] if shop.org.find("Contact", "Crm_Id__c", "k1") else "",
        ]
        == 0
    )
    assert [value for key, value in shop.org.written.items() if key[1] == "delete"] == [1]
    counts(shop.send(**sent), consent_blocked=2, unchanged=3)


def test_the_other_operations(shop: Shop) -> None:
    ids = [shop.org.add("Contact", LastName="Old", Crm_Id__c=f"k{number}") for number in range(3)]
    strangers = ["003000000000999AAA", "not-an-id"]
    shop.put(*({"id": f"k{number}", "name": "New", "record": one} for number, one in enumerate([*ids, *strangers])))
    to_id = {"Id": "record", "LastName": "name"}
    done = shop.send(to_id, operation="update", external_id=None)
    counts(done, created=3, rejected=2)
    assert shop.refused() == Counter({"invalid-cross-reference-key": 1, "malformed-id": 1})
    assert {one["LastName"] for one in shop.org.living("Contact")} == {"New"}
    visits = {"Who__c": "name", "Note__c": "id"}
    done = shop.runs.run(shop.work(visits, object="Visit__c", operation="insert", external_id=None), "visits")
    counts(done, created=5)
    assert sorted(one["Note__c"] for one in shop.org.living("Visit__c")) == [f"k{number}" for number in range(5)]
    done = shop.runs.run(shop.work({"Id": "record"}, operation="delete", external_id=None, where="id = 'k1'"), "gone")
    counts(done, created=1, filtered=4)
    assert sorted(shop.contacts()) == ["k0", "k2"]
    done = shop.runs.run(shop.work({"Crm_Id__c": "id"}, operation="delete", where="id = 'k2'"), "gone2")
    counts(done, created=1, filtered=4)
    assert sorted(shop.contacts()) == ["k0"]


def test_twins_among_new_records(shop: Shop) -> None:
    """Rows that are the same in all columns are counted one by one."""
    shop.put(*({"id": f"k{number}", "name": "Same"} for number in range(3)))
    done = shop.send({"Who__c": "name"}, object="Visit__c", operation="insert", external_id=None)
    counts(done, created=3)
    assert len(shop.org.living("Visit__c")) == 3


def test_a_key_that_several_records_have(shop: Shop) -> None:
    for name in ("A", "B"):
        shop.org.add("Contact", LastName=name, Loose_Id__c="k0")
    shop.put(*people(2))
    done = shop.send({"Loose_Id__c": "id", "LastName": "name"}, external_id="Loose_Id__c")
    counts(done, created=1, rejected=1)
    assert shop.refused() == Counter({"duplicate-external-id": 1})


def test_rows_in_no_set_of_results_are_told_and_offered_again(shop: Shop) -> None:
    shop.put(*people(10))
    shop.org.leave_out = 3
    done = shop.send()
    counts(done, created=7, rejected=3)
    assert shop.refused() == Counter({"no-result": 3})
    shop.org.leave_out = 0
    counts(shop.send(), created=3, unchanged=7)


@pytest.mark.parametrize("stop", ["abort_after", "fail_after"])
def test_a_job_that_is_given_up_half_way(shop: Shop, stop: str) -> None:
    """By an administrator, or by the platform: what was processed counts, the rest is offered again."""
    shop.put(*people(10))
    setattr(shop.org, stop, 4)
    done = shop.send(batch=6)
    assert (done.outcome, done.counts["created"], done.counts["rejected"]) == (Outcome.PARTIAL, 4, 6)
    assert shop.refused() == Counter({"unprocessed": 2, "not-sent": 4})
    setattr(shop.org, stop, 0)
    done = shop.send(batch=6)
    assert (done.outcome, done.code) == (Outcome.FAILED, "job-failed")
    setattr(shop.org, stop, -1)
    counts(shop.send(batch=6), created=6, unchanged=4)
    assert set(shop.org.written.values()) == {1}


# --- mistakes cost no upload -------------------------------------------------------------------------------------

MISTAKES = [
    # fields, settings                                                                  code, words
    (FIELDS, {"object": "Contakt"},                                                     "no-object", "did you mean 'Contact'"),
    (FIELDS, {"object": "contact"},                                                     "no-object", "the object is called Contact"),
    ({**FIELDS, "Emale": "email"},  {},                                                 "unknown-field", "did you mean 'Email'"),
    ({**FIELDS, "email": "email"},  {},                                                 "unknown-field", "did you mean 'Email'"),
    ({**FIELDS, "Rating__c": "title"}, {},                                              "not-writable", "may not write Rating__c"),
    ({**FIELDS, "SystemModstamp": "seen"}, {},                                          "not-writable", "may not write SystemModstamp"),
    ({**FIELDS, "MailingAddress": "title"}, {},                                         "not-writable", "see MailingCity"),
    ({**FIELDS, "Score__c": "title"}, {},                                               "wrong-type", "a field of type double, and title holds text"),
    ({**FIELDS, "Birthdate": "seen"}, {},                                               "wrong-type", "a field of type date"),
    ({**FIELDS, "Title": "tags"}, {},                                                   "", ""),
    ({**FIELDS, "Level__c": "tags"}, {},                                                "wrong-type", "text (many)"),
    ({"Crm_Id__c": "id", "Email": "email"}, {},                                         "unknown-column", "needs LastName"),
    ({"LastName": "name"}, {},                                                          "unknown-column", "`Crm_Id__c: PROPERTY`"),
    (FIELDS, {"external_id": None},                                                     "no-external-id", "Crm_Id__c, Code__c and Loose_Id__c"),
    ({**FIELDS, "Title": "title"}, {"external_id": "Title"},                            "no-external-id", "is no external id"),
    ({"Who__c": "id"}, {"object": "Visit__c", "external_id": None},                     "no-external-id", "has none"),
    ({"Who__c": "id"}, {"object": "Visit__c", "external_id": "Who__c"},                 "no-external-id", "has none"),
    (FIELDS, {"operation": "update", "external_id": None},                              "unknown-column", "Id: PROPERTY"),
    (FIELDS, {"operation": "update"},                                                   "unknown-column", "`operation: upsert` to find"),
    ({**FIELDS, "Id": "record"}, {"operation": "insert", "external_id": None},          "not-writable", "no Id yet"),
    ({**FIELDS, "Acount.Ext__c": "company"}, {},                                        "unknown-field", "did you mean 'Account'"),
    ({**FIELDS, "Account.Name": "company"}, {},                                         "no-external-id", "which is no external id"),
    ({**FIELDS, "Owner.Name": "company"}, {},                                           "unknown-field", "write which one: User:Owner.Name"),
    ({**FIELDS, "Usr:Owner.Name": "company"}, {},                                       "unknown-field", "write which one: User:Owner.Name"),
    ({**FIELDS, "User:Owner.Name": "company"}, {},                                      "no-external-id", "which is no external id"),
    ({**FIELDS, "Account:Account.Ext__c": "company"}, {},                               "unknown-field", "write Account.Ext__c"),
    (FIELDS, {"clear": ["LastNam"]},                                                    "unknown-column", "did you mean 'LastName'"),
    (FIELDS, {"clear": ["LastName"]},                                                   "not-writable", "may not be empty"),
    (FIELDS, {"operation": "insert", "deleted": "send", "external_id": None},           "bad-setting", "nobody can say which record"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "settings", "code", "words"), MISTAKES)
def test_a_mistake_costs_no_upload(
    shop: Shop, fields: dict[str, str], settings: dict[str, Any], code: str, words: str
) -> None:
    shop.put(*people(1))
    work = shop.work(fields, **settings)
    done = shop.runs.run(work)
    assert done.code == code, done
    assert words in done.message
    assert code == "" or shop.org.steps["create"] == 0
    assert code == "" or not shop.org.uploads


def test_a_dry_run_finds_mistakes_shows_what_would_go_and_writes_nothing(shop: Shop, tmp_path: Path) -> None:
    from dataclasses import replace

    from connrunner.worker import process

    shop.put(*people(3))
    for index, (work, message) in enumerate(
        [
            (shop.work(), "3 rows would go to Contact of 127.0.0.1"),
            (shop.work({**FIELDS, "Emale": "email"}), "did you mean"),
        ]
    ):
        folder = tmp_path / f"dry-{index}"
        folder.mkdir()
        job = replace(shop.runs.job(work), dry_run_folder=folder)
        result = process.perform(job, shop.runs.log)
        assert message in result.message
        assert index or result.detail["samples"][0]["values"] == {"Crm_Id__c": "k0", "LastName": "Name 0"}
    assert {asked.method for asked in shop.running.server.asked if "token" not in asked.path} == {"GET"}
    assert not shop.runs.state.ledger("people").exists()
    assert shop.org.living("Contact") == []


def dry_run(shop: Shop, work: dict[str, Any], folder: Path) -> Any:
    from dataclasses import replace

    from connrunner.worker import process

    folder.mkdir()
    return process.perform(replace(shop.runs.job(work), dry_run_folder=folder), shop.runs.log)


def test_a_dry_run_tells_what_the_org_holds_and_what_it_would_not_get(shop: Shop, tmp_path: Path) -> None:
    shop.org.add("Account", Name="Acme", Ext__c="a-1")
    row = {
        "id": "k1", "name": "Ann", "email": "new@example.com", "company": "a-1", "score": "12.50", "news": "true",
        "seen": "2026-11-22T10:15:00+01:00", "tags": "b", "phone": "", "title": "",
    }  # fmt: skip
    shop.put(row, {**row, "id": "k2"}, {**row, "id": "x" * 41})
    fields = {**FIELDS, **{column: ALL[column] for column in ALL if ALL[column] in row}}
    same = {"Score__c": "12.5", "Newsletter__c": "true", "Seen__c": "2026-11-22T09:15:00Z", "Interests__c": "b"}
    shop.org.add("Contact", Crm_Id__c="K1", LastName="Ann", Email="old@example.com", Phone="1", Title="x", **same)
    result = dry_run(shop, shop.work(fields, clear=["Phone"]), tmp_path / "dry")
    assert "3 rows would go to Contact of 127.0.0.1" in result.message
    assert result.message.endswith("; 1 row of them would be refused and not sent: too-long 1")
    held = {one["values"]["Crm_Id__c"]: one["held"] for one in result.detail["samples"]}
    changed = {"Email": "old@example.com", "Phone": "1", "Account.Ext__c": None, "Crm_Id__c": "K1"}
    assert held == {"k1": changed, "k2": None, "x" * 41: None}
    assert shop.org.steps["create"] == 0
    assert not shop.runs.state.ledger("people").exists()
    shop.org.troubles = [Trouble("query", "reply", reply=refusal(400, "MALFORMED_QUERY", "unexpected token"))]
    result = dry_run(shop, shop.work(fields), tmp_path / "again")
    assert (result.outcome, "held" in result.detail["samples"][0]) == (Outcome.SUCCEEDED, False)


def test_a_user_without_the_right(shop: Shop) -> None:
    shop.put(*people(1))
    shop.org.no_access = {"create"}
    done = shop.send()
    assert (done.code, "may not upsert records of Contact" in done.message) == ("forbidden", True)
    shop.org.no_access = {"delet"}
    assert shop.send(deleted="send").code == "forbidden"
    shop.org.no_access = set()
    shop.org.hidden = {("Contact", "LastName")}
    done = shop.send()
    assert (done.code, "no field 'LastName' that this user may see" in done.message) == ("unknown-field", True)


# --- signing in --------------------------------------------------------------------------------------------------


def jwt(shop: Shop, **more: Any) -> dict[str, Any]:
    return {"client_secret": None, "username": USER, "private_key": f"file:{shop.folder}/key.pem", **more}


def test_a_signed_assertion(shop: Shop) -> None:
    shop.put(*people(2))
    counts(shop.send(**jwt(shop)), created=2)
    shop.org.audience = "https://test.salesforce.com"
    counts(shop.send(**jwt(shop, audience="https://test.salesforce.com")), unchanged=2)


SIGN_INS = [
    # what is wrong, settings,                                              words
    ({"approved": False}, "jwt", {},                                        "pre-authorise the user"),
    ({"audience": "https://test.salesforce.com"}, "jwt", {},                "set `audience`"),
    ({"public_key": "other"}, "jwt", {},                                    "belongs to the certificate"),
    ({}, "jwt", {"client_id": "3MVG9.other"},                               "correct `client_id`"),
    ({}, "jwt", {"username": "other@acme.example"},                         "pre-authorise the user"),
    ({}, "jwt", {"private_key": "file:{}/ca.pem"},                          "`private_key` is not an RSA key"),
    ({"scopes": ""}, "secret", {},                                          "scope `api`"),
    ({"is_my_domain": False}, "secret", {},                                 "My Domain"),
    ({"run_as": False}, "secret", {},                                       "choose a user to run as"),
    ({}, "secret", {"client_id": "3MVG9.other"},                            "correct `client_id`"),
    ({}, "secret", {"client_secret": "env:OTHER_SECRET"},                   "correct `client_secret`"),
    ({}, "secret", {"client_secret": None},                                 "say neither"),
    ({}, "jwt", {"client_secret": "env:SF_SECRET"},                         "say both"),
    ({}, "secret", {"login_url": "https://login.salesforce.com"},           "at the My Domain of an org"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "way", "settings", "words"), SIGN_INS)
def test_a_sign_in_that_is_refused(
    shop: Shop, wrong: dict[str, Any], way: str, settings: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.servers.salesforce import make_keys

    monkeypatch.setenv("OTHER_SECRET", "wrong horse")
    for key, value in wrong.items():
        setattr(shop.org, key, make_keys()[1] if value == "other" else value)
    shop.put(*people(1))
    said = {key: value.format(shop.folder) if isinstance(value, str) else value for key, value in settings.items()}
    done = shop.send(**{**(jwt(shop) if way == "jwt" else {}), **said})
    assert done.outcome is Outcome.FAILED
    assert done.code in ("unauthorized", "bad-setting", "bad-key")
    assert words in done.message, done
    assert "wrong horse" not in done.message


def test_a_clock_that_is_wrong(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from connrunner.connectors.salesforce import sign_in

    class Late:
        @staticmethod
        def time() -> float:
            return 1_000_000_000.0

    monkeypatch.setattr(sign_in, "time", Late)
    shop.put(*people(1))
    done = shop.send(**jwt(shop))
    assert done.code == "unauthorized"
    assert "set the clock of this machine" in done.message


def test_a_token_that_ends_in_the_middle_is_renewed(shop: Shop) -> None:
    shop.org.token_lasts = 4
    shop.put(*people(40))
    counts(shop.send(batch=10), created=40)
    assert shop.org.sign_ins > 5
    assert set(shop.org.written.values()) == {1}
    assert any("the token had ended" in text for text in shop.runs.log.texts)
    shop.org.revoked = True
    done = shop.send(batch=10)
    assert (done.code, "INVALID_SESSION_ID: Session expired" in done.message) == ("unauthorized", True)
    assert shop.org.sign_ins < 40


# --- limits ------------------------------------------------------------------------------------------------------


def test_the_calls_of_the_day(shop: Shop) -> None:
    shop.put(*people(30))
    shop.org.used, shop.org.limit = 895, 1_000
    done = shop.send(batch=10)
    assert done.outcome is Outcome.PARTIAL
    assert (done.counts["created"], shop.refused()["not-sent"]) == (10, 20)
    done = shop.send(batch=10)
    assert (done.outcome, done.code) == (Outcome.FAILED, "limit-exceeded")
    assert "`api_share` lets this connection begin nothing beyond 90 %" in done.message
    counts(shop.send(batch=10, api_share=100), created=20, unchanged=10)
    assert any("API: " in text and "of 1,000 of 24 hours" in text for text in shop.runs.log.texts)
    shop.put(*people(1, title="x"))
    shop.org.used = 1_000
    done = shop.send({**FIELDS, "Title": "title"}, api_share=100)
    assert (done.code, "TotalRequests" in done.message) == ("limit-exceeded", True)


# --- answers that are lost or make no sense ----------------------------------------------------------------------

STEPS = (
    "sign-in",
    "describe",
    "create",
    "upload",
    "close",
    "state",
    "successfulResults",
    "failedResults",
    "unprocessedrecords",
)


@pytest.mark.parametrize("kind", ["lost", "drop", "busy", "html", "cut"])
@pytest.mark.parametrize("step", STEPS)
def test_trouble_that_passes_is_outlived(shop: Shop, step: str, kind: str) -> None:
    """Whatever happens to one request, before or after its work: all rows arrive, none twice."""
    shop.put(*people(20))
    shop.org.troubles = [Trouble(step, kind)]
    counts(shop.send(batch=10), created=20)
    assert set(shop.org.written.values()) == {1}
    assert len(shop.org.written) == 20


@pytest.mark.parametrize("step", STEPS)
def test_trouble_that_lasts_ends_the_run_and_the_next_one_goes_on(shop: Shop, step: str) -> None:
    shop.put(*people(20))
    shop.org.troubles = [Trouble(step, "lost", times=1_000, after=1)]
    done = shop.send(batch=10, retries=1)
    # A close whose answer is lost is asked about, so it is no trouble at all.
    assert (done.outcome is Outcome.SUCCEEDED) == (step == "close"), done
    assert done.code != "bug"
    shop.org.troubles = []
    shop.org.finish_jobs()
    after = shop.send(batch=10)
    assert after.outcome is Outcome.SUCCEEDED, after
    assert set(shop.org.written.values()) == {1}
    assert len(shop.org.written) == 20
    assert after.counts.get("created", 0) + after.counts.get("unchanged", 0) == 20


def test_answers_that_are_no_json(shop: Shop) -> None:
    shop.put(*people(1))
    for step, reply in (
        ("sign-in", Reply(200, b"<html>")),
        ("sign-in", Reply(200, b'{"access_token": 1}')),
        ("describe", Reply(200, b"nothing")),
        ("describe", Reply(200, b"[1]")),
        ("create", Reply(200, b"{}")),
        ("create", Reply(400, b"<html>no</html>")),
    ):
        shop.org.troubles = [Trouble(step, "reply", 9, reply=reply)]
        done = shop.send(retries=0)
        assert (done.outcome, done.code in ("bad-answer", "refused", "no-object")) == (Outcome.FAILED, True), (
            step,
            done,
        )
    shop.org.troubles = [Trouble("create", "reply", 9, reply=refusal(400, "FEATURENOTENABLED", "Bulk is off"))]
    done = shop.send()
    assert (done.code, "FEATURENOTENABLED: Bulk is off" in done.message) == ("forbidden", True)
    shop.org.troubles = []
    counts(shop.send(), created=1)


def test_a_job_that_is_gone(shop: Shop) -> None:
    """After 7 days nobody knows what became of it: what may be sent twice is, what makes new records is not."""
    shop.put(*people(2))
    shop.org.troubles = [Trouble("state", "busy", 1_000)]
    assert shop.send(retries=0).outcome is Outcome.FAILED
    visits = shop.work({"Who__c": "name"}, object="Visit__c", operation="insert", external_id=None, retries=0)
    assert shop.runs.run(visits, "visits").outcome is Outcome.FAILED
    shop.org.troubles = []
    shop.org.jobs.clear()
    counts(shop.send(), updated=2)
    done = shop.runs.run(visits, "visits")
    assert (done.outcome, done.code) == (Outcome.FAILED, "unconfirmed")
    assert "look for records of that day" in done.message
    assert len(shop.org.uploads) == 3


def test_an_org_at_another_place(shop: Shop) -> None:
    shop.put(*people(1))
    shop.org.url = "http://acme.my.salesforce.com"
    assert shop.send().code == "no-tls"


# --- killed at every step ----------------------------------------------------------------------------------------


class Killer:
    """Runs the process of a run by itself, and kills it at a step of its partner."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def run(self, work: dict[str, Any], step: str = "", *, after: bool = False, nth: int = 1) -> dict[str, Any] | None:
        """Return the record of its end; None when it was killed at the *nth* *step*, before or *after* its work."""
        shop, runs = self.shop, self.shop.runs
        job = runs.job(work)
        folder = runs.state.run("people", job.run)
        folder.mkdir(parents=True)
        document = {"schedule": {"type": "manual"}, "title": "", "notify": [], "timeout": "1h", **work}
        data = {
            "workspace": str(shop.folder), "state": str(runs.state.root), "connection": "people", "document": document,
            "profile": PROFILE, "run": job.run, "started_at": "2026-11-22T23:30:00Z", "lane_descriptor": 0,
        }  # fmt: skip
        worker = subprocess.Popen(
            [sys.executable, "-m", "connrunner.worker.process"],
            stdin=subprocess.PIPE,
            env={**os.environ, "CONNRUNNER_RUN_ID": f"test-{job.run}"},
            text=True,
        )
        left = [nth]

        def on_step(here: str, asked: Asked) -> None:
            if here == step:
                left[0] -= 1
                if left[0] == 0:
                    if after:
                        shop.org._answer(here, asked)
                    worker.send_signal(signal.SIGKILL)
                    worker.wait()

        shop.org.on_step = on_step
        assert worker.stdin
        worker.communicate(json.dumps(data))
        shop.org.on_step = lambda here, asked: None
        events = [json.loads(line) for line in runs.state.log("people", job.run).read_text().splitlines()]
        ended = [event for event in events if event.get("type") == "ended"]
        assert bool(ended) == (worker.returncode == 0)
        return ended[-1] if ended else None


KILLS = [(step, after) for step in STEPS for after in (False, True)]


@pytest.mark.parametrize(("step", "after"), KILLS)
def test_sigkill_at_every_step_sends_nothing_twice(shop: Shop, step: str, after: bool) -> None:
    """The next run books what the jobs of the killed one did, and sends the rest; by the double's own ledger."""
    shop.put(*people(20))
    killer = Killer(shop)
    work = shop.work(batch=10)
    assert killer.run(work, step, after=after, nth=1 if step == "sign-in" else 2) is None
    shop.org.finish_jobs()
    ended = killer.run(work)
    assert ended is not None
    assert ended["outcome"] == "succeeded", ended
    assert ended["counts"]["created"] + ended["counts"]["unchanged"] == 20
    assert len(shop.org.written) == 20
    assert set(shop.org.written.values()) == {1}
    # A job whose id never reached us stays open and empty, and nobody can tell that it is ours.
    assert sum(job.state == "Open" for job in shop.org.jobs.values()) <= (2 if step == "create" else 0)
    ended = killer.run(work)
    assert ended is not None
    assert ended["counts"]["unchanged"] == 20


def test_sigkill_of_an_insert_makes_no_record_twice(shop: Shop) -> None:
    shop.put(*people(6))
    killer = Killer(shop)
    work = shop.work({"Who__c": "name"}, object="Visit__c", operation="insert", external_id=None, batch=3)
    for step, nth in (("close", 1), ("state", 1), ("successfulResults", 2)):
        assert killer.run(work, step, after=True, nth=nth) is None
    shop.org.finish_jobs()
    ended = killer.run(work)
    assert ended is not None
    assert ended["outcome"] == "succeeded", ended
    assert sorted(one["Who__c"] for one in shop.org.living("Visit__c")) == [f"Name {number}" for number in range(6)]


def test_who_leaves_after_a_killed_run_is_deleted(shop: Shop) -> None:
    """The partner has what the killed run sent, and a profile that left the selection meanwhile is withdrawn."""
    shop.put(*people(4, letters="yes"))
    killer = Killer(shop)
    work = shop.work(objectives=["letters"], deleted="send")
    assert killer.run(work, "successfulResults", after=True) is None
    shop.put({"id": "k2", "letters": "no"})
    ended = killer.run(work)
    assert ended is not None
    assert (ended["counts"]["deleted"], ended["counts"]["unchanged"]) == (1, 3)
    assert sorted(shop.contacts()) == ["k0", "k1", "k3"]


# --- imports -----------------------------------------------------------------------------------------------------

BACK = {"id": "Crm_Id__c", "name": "LastName", "company_name": "Account.Name"}
ASKED = {"fields": ["Crm_Id__c", "LastName", "Account.Name"], "where": "Crm_Id__c != null"}


def test_records_come_in_pages_with_their_parents(shop: Shop) -> None:
    account = shop.org.add("Account", Name="Acme, Inc.")
    for number in range(25):
        shop.org.add("Contact", Crm_Id__c=f"k{number}", LastName=f'N\n"{number}"', AccountId=account)
    shop.org.add("Contact", LastName="no id")
    shop.org.polls = 2
    done = shop.get(BACK, {**ASKED, "page": 10})
    counts(done, created=25)
    assert shop.org.steps["page"] == 3
    assert shop.runs.people()["k3"] == 'N\n"3"'
    counts(shop.get(BACK, {**ASKED, "page": 1_000}), unchanged=25)
    counts(
        shop.get(
            BACK,
            {"soql": "SELECT Crm_Id__c, LastName, Account.Name FROM Contact WHERE LastName = 'none'", "object": None},
        )
    )


def test_only_what_changed_comes_and_nothing_is_missed(shop: Shop) -> None:
    ids = [shop.org.add("Contact", Crm_Id__c=f"k{number}", LastName="Old") for number in range(10)]
    watermark = {**ASKED, "watermark": {"overlap": "1s"}}
    counts(shop.get(BACK, watermark), created=10)
    shop.org.clock += __import__("datetime").timedelta(minutes=5)
    counts(shop.get(BACK, watermark), unchanged=10)
    shop.org.change("Contact", ids[3], LastName="New")
    late = dict(shop.org.records["Contact"][ids[4]])  # stamped before, seen after the run
    counts(shop.get(BACK, watermark), updated=1, unchanged=9)
    assert late
    shop.org.clock += __import__("datetime").timedelta(minutes=5)
    shop.org.change("Contact", ids[5], LastName="Newer")
    counts(shop.get(BACK, watermark), updated=1, unchanged=1)
    asked = [
        asked.json["query"]
        for asked in shop.running.server.asked
        if asked.method == "POST" and asked.path.endswith("jobs/query")
    ]
    assert asked[0] == "SELECT Crm_Id__c, LastName, Account.Name, SystemModstamp FROM Contact WHERE (Crm_Id__c != null)"
    assert "AND SystemModstamp >= 2026-11-22T12:0" in asked[-1]


def test_deleted_records_come_when_they_are_asked_for(shop: Shop) -> None:
    shop.org.add("Contact", Crm_Id__c="k1", LastName="Here")
    shop.org.remove("Contact", shop.org.add("Contact", Crm_Id__c="k2", LastName="Gone"))
    counts(shop.get(BACK, ASKED), created=1)
    counts(shop.get({**BACK, "gone": "IsDeleted"}, {**ASKED, "deleted": True}), created=1, updated=1)


WRONG = [
    ({"fields": ["Crm_Id__c", "LastNam"]}, "unknown-field", "did you mean 'LastName'"),
    ({"fields": ["Crm_Id__c", "Acount.Name"]}, "unknown-field", "did you mean 'Account'"),
    ({"fields": ["Crm_Id__c", "MailingAddress"]}, "unknown-field", "one by one"),
    ({"fields": ["Crm_Id__c"], "object": "Lead"}, "no-object", "no object 'Lead'"),
    ({"fields": ["Crm_Id__c"], "where": "nonsense"}, "bad-query", "MALFORMED_QUERY"),
    ({"fields": ["Crm_Id__c"], "watermark": {"field": "LastName"}}, "bad-watermark", "of type string"),
    ({"fields": ["Crm_Id__c"], "watermark": {"start": "yesterday"}}, "bad-setting", "2026-01-01T00:00:00Z"),
    ({"object": None, "soql": "SELECT Nothing FROM Contact"}, "bad-query", "INVALID_FIELD"),
    ({"object": None, "soql": "SELECT count(Id) FROM Contact"}, "refused", "API_ERROR"),
]


@pytest.mark.parametrize(("source", "code", "words"), WRONG)
def test_a_query_that_cannot_be(shop: Shop, source: dict[str, Any], code: str, words: str) -> None:
    done = shop.get({"id": "Crm_Id__c"}, source)
    assert (done.outcome, done.code) == (Outcome.FAILED, code), done
    assert words in done.message


@pytest.mark.parametrize("kind", ["lost", "busy", "cut", "html"])
@pytest.mark.parametrize("step", ["sign-in", "describe", "ask", "query-state", "page"])
def test_an_import_outlives_trouble(shop: Shop, step: str, kind: str) -> None:
    for number in range(5):
        shop.org.add("Contact", Crm_Id__c=f"k{number}", LastName="x")
    shop.org.troubles = [Trouble(step, kind)]
    counts(shop.get({"id": "Crm_Id__c"}, {"fields": ["Crm_Id__c"], "page": 2}), created=5)


def test_pages_that_lie(shop: Shop) -> None:
    for number in range(5):
        shop.org.add("Contact", Crm_Id__c=f"k{number}", LastName="x")
    asked = {"fields": ["Crm_Id__c"], "retries": 1}
    for reply, code in (
        (Reply(204), "incomplete"),
        (Reply(200, b'"Crm_Id__c"\n"k1"\n', {"Sforce-NumberOfRecords": "2"}), "incomplete"),
        (Reply(200, b'"Crm_Id__c"\n"k1"\n', {"Sforce-Locator": "MQ"}), "endless-pages"),
        (Reply(200, b'"Crm_Id__c"\n"k1","x"\n', {}), "bad-answer"),
    ):
        shop.org.troubles = [Trouble("page", "reply", 99, reply=reply)]
        done = shop.get({"id": "Crm_Id__c"}, asked)
        assert (done.outcome, done.code) == (Outcome.FAILED, code), done
        assert shop.runs.people() == {}


# --- doctor ------------------------------------------------------------------------------------------------------


def test_a_probe_tells_how_far_it_gets(shop: Shop) -> None:
    def check(work: dict[str, Any]) -> tuple[str, str]:
        found = partners.check_partner(shop.runs.job(work).connection, shop.folder, shop.runs.state, AT)
        return found.level, f"{found.found} {found.fix}"

    level, words = check(shop.work())
    assert (level, "lets us in, and shows Contact; the org has used" in words) == ("ok", True)
    read = {"import": {"from": {**shop.here, "fields": ["Emale"]}, "match": ["id"], "fields": {"id": "Emale"}}}
    assert check(read)[0] == "failure"
    assert "did you mean 'Email'" in check(read)[1]
    level, words = check(shop.work(client_id="other"))
    assert (level, "correct `client_id`" in words) == ("failure", True)
    assert {asked.method for asked in shop.running.server.asked if "token" not in asked.path} == {"GET"}
