"""Custom audiences of Meta against a double over TLS: members, withdrawals, errors, throttles, and what a kill leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme

from connrunner.connectors.meta import graph, members, upload
from connrunner.core.model import Outcome
from tests.runs import Ran, Runs
from tests.servers.http import Reply, Server, running
from tests.servers.meta import ACCOUNT, MetaDouble, error

TOKEN = "EAAB-secret-token-of-meta"
PROFILE: dict[str, dict[str, Any]] = {
    "properties": {
        "id": {"type": "text", "identifier": True},
        "email": {"type": "email"},
        "phone": {"type": "text", "many": True},
        "first": {"type": "text"},
        "age": {"type": "integer"},
    },
    "objectives": {"ads": {"title": "Advertising", "legislation": "opt-in"}},
}
KEYS = {"id": "EXTERN_ID", "email": "EMAIL", "phone": "PHONE", "first": "FN"}
ANN = "1,ann@example.com,06-12345678,Ann,30,yes"
BOB = "2,Bob@Example.com ,,Bob,40,yes"
CAS = "3,cas@example.com,0612345670;0612345671,Cas,50,yes"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA).configure_cert(context)
    with running(context) as made:
        yield made


class Ads:
    """A workspace with an export to an audience of the double."""

    def __init__(self, folder: Path, server: Server, authority: trustme.CA) -> None:
        self.meta = MetaDouble(TOKEN)
        server.act = self.meta.act
        self.runs = Runs(folder, secret=TOKEN, profile=PROFILE)
        self.url = server.url("")
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.number = 0

    def put(self, *rows: str) -> None:
        self.number += 1
        path = self.runs.folder / f"people-{self.number}.csv"
        path.write_text("\n".join(["id,email,phone,first,age,ads", *rows, ""]))
        done = self.runs.run(
            {
                "import": {
                    "from": {"type": "files", "path": path.name},
                    "match": ["id"],
                    "fields": {name: {"from": name, "empty": "clear"} for name in PROFILE["properties"]},
                    "consent": {"ads": "ads"},
                }
            },
            "people",
        )
        assert done.outcome is Outcome.SUCCEEDED, done

    def work(self, **more: Any) -> dict[str, Any]:
        to = {
            "type": "meta",
            "account": ACCOUNT,
            "token": "env:META_TOKEN",
            "graph_url": self.url,
            "ca_file": "ca.pem",
            "country": "NL",
            "keys": KEYS,
            "audience": "Readers",
            **more.pop("to", {}),
        }
        if "audience_id" in to:
            del to["audience"]
        fields = {name: name for name in to["keys"]}
        return {"export": {"to": to, "fields": fields, "objectives": ["ads"], "deleted": "send", **more}}

    def run(self, **more: Any) -> Ran:
        return self.runs.run(self.work(**more), "audience")

    def held(self) -> list[dict[str, str]]:
        (audience,) = self.meta.audiences.values()
        return sorted((dict(row) for row in audience.members), key=lambda row: (row["EXTERN_ID"], row.get("PHONE", "")))

    def ids(self) -> list[str]:
        return [row["EXTERN_ID"] for row in self.held()]

    def twice(self) -> list[Any]:
        """Return what the double took more than once."""
        return [one for one, times in Counter(self.meta.taken).items() if times > 1]

    def ledger(self) -> list[tuple[str, str]]:
        path = self.runs.state.ledger("audience") / members.NAME
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("SELECT profile, row FROM members ORDER BY row").fetchall()


@pytest.fixture
def ads(server: Server, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ads:
    monkeypatch.setenv("META_TOKEN", TOKEN)
    for name in ("FIRST_WAIT", "FIRST_THROTTLE"):
        monkeypatch.setattr(graph, name, 0.001)
    made = Ads(tmp_path, server, authority)
    made.meta.hold("Others")
    made.meta.audiences.clear()
    return made


def test_members_come_with_hashes_and_the_same_run_again_sends_nothing(ads: Ads) -> None:
    number = ads.meta.hold("Readers")
    ads.put(ANN, BOB, CAS)
    done = ads.run()
    assert (done.outcome, done.counts) == (Outcome.SUCCEEDED, {"read": 3, "checked": 3, "created": 3})
    assert f"audience 'Readers' ({number}): 4 received, 0 invalid" in done.message
    assert ads.ids() == ["1", "2", "3", "3"]
    ann, bob, *_ = ads.held()
    assert ann["PHONE"] == "e03d152bbe638d9fe7a04f9b88a67674bf15b73c0981755c16eb78d177721e03"
    assert ann["COUNTRY"] == "1843653496800edfd0d30326c82f53b0338ed408468cca4a2f1b52f2f6395fc9"
    assert set(bob) == {"EXTERN_ID", "EMAIL", "FN", "COUNTRY"}
    before = ads.meta.writes()
    assert ads.run().counts == {"read": 3, "checked": 3, "unchanged": 3}
    assert ads.run(rows="all").counts == {"read": 3, "checked": 3, "unchanged": 3}
    assert ads.meta.writes() == before
    assert ads.twice() == []
    path = ads.runs.state.ledger("audience") / members.NAME
    assert path.stat().st_mode & 0o777 == 0o600
    for plain in (b"ann@example.com", b"12345678"):
        assert plain not in path.read_bytes()


def test_who_leaves_is_removed_with_what_was_sent(ads: Ads) -> None:
    ads.meta.hold("Readers")
    ads.put(ANN, BOB, CAS)
    ads.run(where="age > 20")
    known = {row["EXTERN_ID"]: row for row in ads.held()}
    # Another address, and a withdrawn consent: the row of then is removed. Cas leaves the selection.
    ads.put("1,new@example.com,,Ann,30,no", "3,cas@example.com,0612345670;0612345671,Cas,10,yes")
    done = ads.run(where="age > 20")
    assert (done.outcome, done.counts) == (Outcome.SUCCEEDED, {"read": 3, "checked": 3, "unchanged": 1, "deleted": 2})
    assert ads.ids() == ["2"]
    gone = [dict(row) for edge, _, row in ads.meta.taken if edge == "DELETE users"]
    assert known["1"] in gone
    assert [len(row) for _, row in ads.ledger()] == [len(json.dumps(known["2"], separators=(",", ":")))]
    assert ads.run(where="age > 20").counts == {
        "read": 3,
        "checked": 2,
        "unchanged": 1,
        "filtered": 1,
        "consent_blocked": 1,
    }


def test_a_changed_profile_is_a_member_by_its_new_row_alone(ads: Ads) -> None:
    ads.meta.hold("Readers")
    ads.put(ANN, BOB)
    ads.run()
    old = ads.held()[0]["EMAIL"]
    ads.put("1,new@example.com,06-12345678,Ann,30,yes")
    assert ads.run().counts == {"read": 2, "checked": 2, "updated": 1, "unchanged": 1}
    assert ads.ids() == ["1", "2"]
    assert ads.held()[0]["EMAIL"] != old


def test_a_row_that_another_profile_has_too_stays(ads: Ads) -> None:
    ads.meta.hold("Readers")
    keys = {"to": {"keys": {"email": "EMAIL"}}}
    ads.put("1,home@example.com,,Ann,30,yes", "2,home@example.com,,Bob,30,yes")
    ads.run(**keys)
    ads.put("1,home@example.com,,Ann,30,no")
    assert ads.run(**keys).counts["deleted"] == 1
    (held,) = ads.meta.audiences.values()
    assert len(held.members) == 1
    ads.put("2,home@example.com,,Bob,30,no")
    ads.run(**keys)
    assert held.members == set()


def test_an_erased_person_is_removed_by_the_next_run(ads: Ads) -> None:
    from connrunner.core.report import NullReport
    from connrunner.profiles.erasure import ErasureJob
    from connrunner.profiles.stores.rewriting import erase_person

    ads.meta.hold("Readers")
    ads.put(ANN, BOB)
    ads.run()
    state, job = ads.runs.state, ads.runs.job(ads.work(), "audience")
    waiting = state.withdrawals("audience")
    temp = ads.runs.folder / "erasing"
    temp.mkdir()
    erased = ErasureJob(value="1", withdrawals={"audience": waiting})
    found = erase_person(
        state.profiles, erased, job.model, temp=temp, report=NullReport(), wait=0, before=lambda *_: None
    )
    assert found.withdrawn == ("audience",)
    assert b"ann" not in waiting.read_bytes(), "the ledger knows the person by a key, so no identifier is kept"
    assert len(ads.ledger()) == 2, "the hashes stay until the removal has arrived"
    assert ads.run().counts == {"read": 2, "checked": 2, "unchanged": 1, "deleted": 1}
    assert ads.ids() == ["2"]
    assert len(ads.ledger()) == 1
    assert not waiting.exists()
    assert ads.run().counts == {"read": 1, "checked": 1, "unchanged": 1}


def test_rows_without_a_key_are_refused_and_unusable_values_are_told(ads: Ads) -> None:
    ads.meta.hold("Readers")
    ads.put("1,,nonsense,,30,yes", "2,bob@example.com,12,-,30,yes")
    done = ads.run()
    assert done.counts == {"read": 2, "checked": 2, "created": 1, "rejected": 1}
    assert ads.ids() == ["2"]
    assert any("values of PHONE in 2 rows cannot be used" in text for text in ads.runs.log.texts)
    ads.meta.invalid = lambda row: row["EXTERN_ID"] == "3"
    ads.put(CAS.replace(";0612345671", ""))
    assert "1 received, 1 invalid" in ads.run().message


def test_operations(ads: Ads) -> None:
    number = ads.meta.hold("Readers")
    held = ads.meta.audiences[number]
    ads.put(ANN, BOB)
    replace = {"to": {"operation": "replace", "batch": 1}, "rows": "all", "deleted": "skip"}
    assert ads.run(**replace).outcome is Outcome.SUCCEEDED
    assert (ads.ids(), held.status) == (["1", "2"], 200)
    ads.put("1,ann@example.com,,Ann,30,no", CAS)
    assert ads.run(**replace).outcome is Outcome.SUCCEEDED
    assert (ads.ids(), held.status) == (["2", "3", "3"], 200)
    ads.put(BOB.replace("yes", "no"), CAS.replace("yes", "no"))
    assert ads.run(**replace).outcome is Outcome.SUCCEEDED
    assert ads.ids() == [], "a replacement by nobody is a removal: Meta refuses an empty one"


def test_selected_profiles_are_taken_out(ads: Ads) -> None:
    number = ads.meta.hold("Readers")
    ads.put(ANN, BOB, CAS)
    ads.run()
    remove = {"to": {"operation": "remove"}, "where": "age > 35", "deleted": "skip"}
    assert ads.runs.run(ads.work(**remove), "suppress").counts == {"read": 3, "checked": 2, "created": 2, "filtered": 1}
    assert [dict(row)["EXTERN_ID"] for row in ads.meta.audiences[number].members] == ["1"]


# --- the audience ------------------------------------------------------------------------------------------------


def test_an_audience_is_made_once_also_when_the_answer_is_lost(ads: Ads) -> None:
    ads.put(ANN)
    assert "has no audience called 'Readers'" in ads.run().message
    lost = iter([Reply(drop=True)])
    ads.meta.after = lambda method, edge: next(lost, None) if (method, edge) == ("POST", "customaudiences") else None
    assert ads.run(to={"create": True}).outcome is Outcome.SUCCEEDED
    assert [held.name for held in ads.meta.audiences.values()] == ["Readers"]
    ads.put(BOB)
    assert ads.run(to={"create": True}).outcome is Outcome.SUCCEEDED
    assert ads.ids() == ["1", "2"]


def test_names_and_numbers(ads: Ads) -> None:
    for number in range(450):  # three pages
        ads.meta.hold(f"Audience {number}")
    first, second = ads.meta.hold("Readers"), ads.meta.hold("Readers")
    foreign = ads.meta.hold("Theirs", account="999")
    ads.put(ANN)
    twice = ads.run()
    assert (twice.outcome, twice.code) == (Outcome.FAILED, "ambiguous")
    assert first in twice.message
    assert second in twice.message
    assert ads.run(to={"audience_id": foreign}).code == "foreign-account"
    assert ads.run(to={"audience_id": "1"}).code == "not-found"
    assert ads.meta.writes() == []
    assert ads.run(to={"audience_id": second}).outcome is Outcome.SUCCEEDED
    other = ads.run(to={"audience_id": first})
    assert other.code == "other-audience"
    assert second in other.message


def reset(ads: Ads) -> None:
    """Do what `connrunner reset` does."""
    from connrunner.config import load
    from connrunner.profiles.stores.duckdb import open_store

    store = ads.runs.state
    (store.ledger("audience") / "reset").touch()
    temp = ads.runs.folder / "temp"
    temp.mkdir()
    with open_store(store.profiles, load.profile_model_from(PROFILE), temp=temp, report=ads.runs.log) as opened:
        opened.forget_connection("audience")


def test_after_a_reset_all_are_sent_again_and_others_removed(ads: Ads) -> None:
    number = ads.meta.hold("Readers")
    ads.put(ANN, BOB)
    ads.run()
    ads.meta.audiences[number].members.clear()
    ads.put("1,ann@example.com,06-12345678,Ann,30,no")
    reset(ads)
    assert ads.run().counts == {"read": 2, "checked": 2, "created": 1, "consent_blocked": 1}
    assert ads.ids() == ["2"]
    assert [edge for edge, _, _ in ads.meta.taken][-1] == "DELETE users"
    assert len(ads.ledger()) == 1


TOKENS: list[tuple[dict[str, Any] | None, str, str]] = [
    # what Meta says of the token, what a probe says, what it warns of
    ({"is_valid": True, "expires_at": 0, "scopes": ["ads_management"]}, "accepted; the token does not expire", ""),
    ({"is_valid": True, "expires_at": 1795564800}, "accepted; the token is good until 2026-11-25T", "make a new one"),
    ({"is_valid": True, "expires_at": 1999999999}, "accepted; the token is good until 2033-05-18T", ""),
    ({"is_valid": True, "expires_at": 0, "scopes": ["email"]}, "not expire", "lacks the permission `ads_management`"),
    ({"is_valid": True, "expires_at": "soon"}, "the terms are accepted", ""),
    (None, "the terms are accepted", ""),
]


@pytest.mark.parametrize(("said", "found", "warned"), TOKENS)
def test_the_end_of_a_token_is_told_before_it_comes(
    ads: Ads, said: dict[str, Any] | None, found: str, warned: str
) -> None:
    from connrunner.doctor import partners

    ads.meta.token_says = said
    ads.meta.hold("Readers")
    job = ads.runs.job(ads.work(), "audience")
    check = partners.check_partner(job.connection, ads.runs.folder, ads.runs.state, job.started_at)
    assert (check.level, found in check.found) == ("ok", True), check
    ads.put(ANN)
    ads.run()
    warnings = [text for text in ads.runs.log.texts if text.startswith("warning: the token")]
    assert [warned in text for text in warnings] == ([True] if warned else [])
    assert TOKEN not in "".join(ads.runs.log.texts)


# --- what Meta refuses -------------------------------------------------------------------------------------------

PROBLEMS = {
    "expired": (error(190, 463), "unauthorized", "has expired"),
    "revoked": (error(190, 458), "unauthorized", "taken off"),
    "password": (error(190, 460), "unauthorized", "password"),
    "session ended": (error(102), "unauthorized", "session"),
    "permission": (error(200), "forbidden", "ads_management"),
    "no permission for the account": (error(294), "forbidden", "ads_management"),
    "terms": (error(200, 1870034), "terms", "terms of custom audiences"),
    "old terms": (error(2655), "terms", "terms of custom audiences"),
    "flagged": (error(100, 1713230, error_user_title="Flagged", error_user_msg="Review"), "flagged", "Flagged: Review"),
    "too small": (error(200, 1870047), "too-small", "keeps these people"),
    "gone": (error(100, 33), "not-found", "no such audience"),
    "policy": (error(368), "blocked", "policies"),
    "version": (error(2635), "old-version", "version"),
    "parameter": (error(100), "refused", "as it is"),
    "unknown": (error(4711, 42), "refused", "4711/42"),
    "no json": (Reply(400, b"<html>proxy</html>"), "refused", "400"),
}


OFTEN = ("expired", "terms", "flagged", "no json")  # the others are told by the same table


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in OFTEN else pytest.mark.thorough) for name in PROBLEMS]
)
def test_a_refusal_is_explained_and_nothing_is_lost(ads: Ads, name: str) -> None:
    reply, code, words = PROBLEMS[name]
    ads.meta.hold("Readers")
    ads.put(ANN, BOB)
    ads.meta.before = lambda method, edge: reply if edge == "users" else None
    done = ads.run()
    assert (done.outcome, done.code) == (Outcome.FAILED, code)
    assert words in done.message
    assert done.counts == {}
    assert len(ads.meta.writes()) == 1, "it is not tried again"
    assert ads.ledger() == []
    ads.meta.before = lambda method, edge: None
    assert ads.run().counts == {"read": 2, "checked": 2, "created": 2}
    assert ads.twice() == []


def test_terms_and_a_flagged_audience_are_found_before_a_row_is_written(ads: Ads) -> None:
    number = ads.meta.hold("Readers", status=471)
    ads.put(ANN)
    assert ads.run().code == "flagged"
    ads.meta.audiences[number].status = 200
    ads.meta.terms = False
    done = ads.run()
    assert (done.code, f"act={ACCOUNT}" in done.message) == ("terms", True)
    assert ads.meta.writes() == []
    ads.meta.terms = True
    ads.meta.token = "another"
    assert ads.run().code == "unauthorized"


def test_an_audience_that_was_made_and_deleted_there_is_made_anew_after_a_reset(ads: Ads) -> None:
    ads.put(ANN, BOB)
    assert ads.run(to={"create": True}).outcome is Outcome.SUCCEEDED
    (first,) = ads.meta.audiences
    ads.meta.audiences.clear()
    ads.put(CAS)
    done = ads.run(to={"create": True})
    assert (done.code, "`connrunner reset audience` has the next run" in done.message) == ("not-found", True)
    assert ads.meta.audiences == {}
    reset(ads)
    assert ads.run(to={"create": True}).counts["created"] == 3
    (second,) = ads.meta.audiences
    assert (second != first, ads.ids()) == (True, ["1", "2", "3", "3"])


# --- throttles and what fails for a while ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        error(80003),
        *(
            pytest.param(one, marks=pytest.mark.thorough)
            for one in (error(17, 2446079), error(613, 1487742), error(4), error(2), error(1, 99))
        ),
    ],
)
def test_what_passes_is_tried_again(ads: Ads, reply: Reply) -> None:
    ads.meta.hold("Readers")
    ads.put(ANN, BOB)
    left = iter([reply, reply])
    ads.meta.before = lambda method, edge: next(left, None) if edge == "users" else None
    assert ads.run().outcome is Outcome.SUCCEEDED
    assert ads.twice() == []
    ads.put(CAS)
    ads.meta.before = lambda method, edge: reply if edge == "users" else None
    assert ads.run().code in ("throttled", "server-error")


def test_waits_are_those_that_meta_asks_for(ads: Ads, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    ads.meta.hold("Readers")
    ads.put(ANN)
    usage = {"type": "custom_audience", "call_count": 100, "total_time": 20, "estimated_time_to_regain_access": 7}
    ads.meta.usage = {"X-Business-Use-Case-Usage": json.dumps({ACCOUNT: [usage]})}
    left = iter([error(80003)])
    ads.meta.before = lambda method, edge: next(left, None) if edge == "users" else None
    assert ads.run().outcome is Outcome.SUCCEEDED
    assert 420 in waits
    assert 60 in waits, "all is used: the next request waits"
    usage["estimated_time_to_regain_access"] = 90
    ads.meta.usage = {"X-Business-Use-Case-Usage": json.dumps({ACCOUNT: [usage]})}
    ads.put(BOB)
    ads.meta.before = lambda method, edge: error(80003) if edge == "users" else None
    done = ads.run()
    assert (done.code, "in 90 min" in done.message) == ("throttled", True)


def test_batches_become_smaller_when_meta_wants_that(ads: Ads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SMALLEST", 2)
    ads.meta.hold("Readers")
    ads.meta.largest = 3
    ads.put(*(f"{number:02},p{number}@example.com,,P,30,yes" for number in range(20)))
    assert ads.run().counts["created"] == 20
    assert len(ads.ids()) == 20
    assert ads.twice() == []
    sizes = [rows for method, edge, rows in ads.meta.writes() if edge == "users"]
    assert sizes == [20, 10, 5, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    (session,) = ads.meta.uploads.values()
    assert (session.received, session.ended) == (20, True)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(drop=True),
        *(
            pytest.param(one, marks=pytest.mark.thorough)
            for one in (Reply(200, b"{", cut=0), Reply(200, b"<html>"), Reply(502, b"<html>"))
        ),
    ],
)
def test_a_lost_answer_sends_nothing_twice(ads: Ads, reply: Reply) -> None:
    ads.meta.hold("Readers")
    ads.put(ANN, BOB)
    ads.run()
    ads.put(ANN.replace("yes", "no"), CAS)
    left = iter([reply, reply])
    ads.meta.after = lambda method, edge: next(left, None) if edge == "users" else None
    done = ads.run()
    assert (done.outcome, ads.ids()) == (Outcome.SUCCEEDED, ["2", "3", "3"])
    assert ads.twice() == []


def test_a_dry_run_and_a_probe_write_nothing(ads: Ads) -> None:
    from dataclasses import replace

    from connrunner.doctor import partners
    from connrunner.worker import process

    ads.put(ANN)
    job = ads.runs.job(ads.work(to={"create": True}), "audience")
    folder = ads.runs.folder / "dry"
    folder.mkdir()
    done = process.perform(replace(job, dry_run_folder=folder), ads.runs.log)
    assert "1 row would go to audience 'Readers', which is to be made" in done.message
    check = partners.check_partner(job.connection, ads.runs.folder, ads.runs.state, job.started_at)
    assert check.level == "ok", check
    assert ads.meta.writes() == []
    assert not ads.runs.state.ledger("audience").exists()


def test_a_dry_run_tells_what_the_audience_was_not_given(ads: Ads) -> None:
    from dataclasses import replace

    from connrunner.worker import process

    ads.meta.hold("Readers")
    ads.put(ANN, CAS)
    ads.run()
    before = ads.ledger(), ads.meta.writes()
    ads.put(ANN.replace("12345678,Ann", "87654321,"), BOB, "4,,,,30,yes")
    folder = ads.runs.folder / "dry"
    folder.mkdir()
    result = process.perform(replace(ads.runs.job(ads.work(), "audience"), dry_run_folder=folder), ads.runs.log)
    assert result.message.endswith("; 1 row of them would be refused and not sent: no-key 1")
    held = {one["values"]["id"]: one["held"] for one in result.detail["samples"]}
    assert held == {"1": {"phone": "another value", "first": "another value"}, "2": None, "4": None}
    assert (ads.ledger(), ads.meta.writes()) == before


# --- killed ------------------------------------------------------------------------------------------------------

KILLER = """\
import json, os, pathlib, signal, sys
from connrunner.connectors.meta import graph, members
from tests.runs import Runs
left = [int(os.environ["KILL_AT"])]
def step():
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
def around(owner, name):
    inner = getattr(owner, name)
    def call(*given, **more):
        step()
        found = inner(*given, **more)
        step()
        return found
    setattr(owner, name, call)
around(graph.Graph, "_ask_once")
for name in ("begin_batch", "finish_batch", "write", "forget", "finish_replacement"):
    around(members.MemberLedger, name)
job = json.loads(sys.stdin.read())
runs = Runs(pathlib.Path(job["folder"]), profile=job["profile"], number=job["number"])
print(runs.run(job["work"], "audience").outcome)
"""


def killed_at(ads: Ads, moment: int, **more: Any) -> bool:
    """Run the export in a process of its own, killed before its step *moment*; False when it ended before that."""
    job = {"folder": str(ads.runs.folder), "profile": PROFILE, "number": ads.runs.number, "work": ads.work(**more)}
    done = subprocess.run(
        [sys.executable, "-c", KILLER],
        input=json.dumps(job),
        env={**os.environ, "KILL_AT": str(moment)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    shutil.rmtree(ads.runs.state.spool, ignore_errors=True)
    ads.runs.number += 1
    return done.returncode != 0


def kill_at_each(ads: Ads, moments: Iterable[int], **more: Any) -> None:
    """Kill at each of *moments* a run that removes, changes and adds; the next one ends it, and nothing came twice."""
    number = ads.meta.hold("Readers")
    people = [f"{one:02},p{one}@example.com,,P,30,yes" for one in range(10)]
    ads.put(*people)
    ads.run(**more)
    ads.put(
        *(row.replace("yes", "no") for row in people[:3]),
        *(row.replace("@example.com", "@new.example") for row in people[3:6]),
        *(f"{one:02},p{one}@example.com,,P,30,yes" for one in range(10, 17)),
    )
    base = ads.runs.folder / "base"
    shutil.copytree(ads.runs.state.root, base)
    held = set(ads.meta.audiences[number].members)
    for moment in moments:
        shutil.rmtree(ads.runs.state.root)
        shutil.copytree(base, ads.runs.state.root)
        ads.meta.audiences[number].members, ads.meta.audiences[number].incoming = set(held), None
        ads.meta.uploads.clear()
        ads.meta.taken.clear()
        was_killed = killed_at(ads, moment, **more)
        done = ads.run(**more)
        assert done.outcome is Outcome.SUCCEEDED, (moment, done)
        assert ads.ids() == [f"{one:02}" for one in range(3, 17)], moment
        assert ads.twice() == [], moment
        assert len(ads.ledger()) == 14, moment
        if not was_killed:
            return


MODES: dict[str, dict[str, Any]] = {
    "add": {"to": {"batch": 3}},
    "replace": {"to": {"batch": 3, "operation": "replace"}, "rows": "all", "deleted": "skip"},
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_killed_at_some_moments(ads: Ads, mode: str) -> None:
    kill_at_each(ads, (21,), **MODES[mode])


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_killed_at_any_moment(ads: Ads, mode: str) -> None:
    kill_at_each(ads, range(400), **MODES[mode])
