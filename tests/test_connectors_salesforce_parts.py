"""Salesforce in tables: cells of an upload, queries, codes and their words, fields and what fits them."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from connrunner.connectors import RunContext
from connrunner.connectors.http.url import parse
from connrunner.connectors.salesforce import upload_csv
from connrunner.connectors.salesforce.description import ObjectField
from connrunner.connectors.salesforce.job_ledger import JobLedger, NotedJob
from connrunner.connectors.salesforce.org import ApiUsage
from connrunner.connectors.salesforce.refusal_words import (
    explain_request,
    explain_sign_in,
    read_errors,
    row_code,
    row_words,
    split_row_error,
)
from connrunner.connectors.salesforce.sign_in import find_audience, parse_login_url
from connrunner.connectors.salesforce.soql import compose_soql, quote_soql, read_object, write_instant
from connrunner.connectors.salesforce.upload_csv import (
    RowFile,
    Upload,
    UploadWriter,
    digest_key,
    find_doubles,
    find_row_flaw,
    have_one_case,
    make_checks,
)
from connrunner.core.report import NullReport
from connrunner.errors import RunError

# --- cells -------------------------------------------------------------------------------------------------------

CELLS = [
    # the cells of a row                          as they stand in the upload
    (["1", "Ann"],                                "1,Ann\r\n"),
    (["1", ""],                                   "1,#N/A\r\n"),
    (["", "Ann"],                                 ",Ann\r\n"),
    (["1", "a,b"],                                '1,"a,b"\r\n'),
    (["1", 'a"b'],                                '1,"a""b"\r\n'),
    (["1", "a\nb"],                               '1,"a\nb"\r\n'),
    (["1", "a\rb"],                               '1,"a\rb"\r\n'),
    (["1", " Ann "],                              "1, Ann \r\n"),
    (["1", "Łódź 王"],                            "1,Łódź 王\r\n"),
    (["1", "x;y"],                                "1,x;y\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("cells", "line"), CELLS)
def test_a_row_in_an_upload(cells: list[str], line: str) -> None:
    writer = UploadWriter(["K__c", "LastName"], key_at=0, most_rows=9, cleared=[1])
    assert writer.add(4, list(cells)) is None
    upload = writer.finish()
    assert upload is not None
    assert upload.content.decode() == f"K__c,LastName\r\n{line}"
    assert (upload.numbers, upload.keys) == ([4], [digest_key([cells[0]], 0)])
    assert writer.finish() is None


def test_uploads_have_so_many_rows_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_csv, "LARGEST_UPLOAD", 2_000)
    monkeypatch.setattr(upload_csv, "LARGEST_ROW", 900)
    monkeypatch.setattr(upload_csv, "_ENCODE_AT", 100)
    for most, text in ((7, "x"), (1_000, "王" * 30), (1_000, '"' * 100)):
        writer = UploadWriter(["Id", "A"], key_at=0, most_rows=most, cleared=[])
        made = [full for number in range(50) if (full := writer.add(number, [str(number), text]))]
        last = writer.finish()
        assert last is not None
        made.append(last)
        assert [number for one in made for number in one.numbers] == list(range(50))
        assert max(len(one.numbers) for one in made) <= most
        assert max(len(one.content) for one in made) <= 2_000
        for one in made:
            rows = list(csv.reader(io.StringIO(one.content.decode(), newline="")))
            assert rows == [["Id", "A"], *([str(number), text] for number in one.numbers)]
        assert len(made) > 1


def fields(**more: ObjectField) -> dict[str, ObjectField]:
    return {
        "K__c": ObjectField(name="K__c", type="string", length=5, external_id=True),
        "Name": ObjectField(name="Name", type="string", length=10),
        "Level": ObjectField(name="Level", type="picklist", length=255, choices=frozenset({"Gold", "Silver"})),
        "Tags": ObjectField(name="Tags", type="multipicklist", length=99, choices=frozenset({"a", "b"})),
        "Score": ObjectField(name="Score", type="double"),
        **more,
    }


FLAWS = [
    # key     name           level     tags     score   why it is not sent
    ("1",     "Ann",         "Gold",   "a;b",   "1.5",  None),
    ("1",     "",            "",       "",      "",     None),
    ("1",     "Ann",         "gold",   "B",     "1",    None),
    ("",      "Ann",         "",       "",      "",     "missing-key"),
    ("123456", "Ann",        "",       "",      "",     "too-long"),
    ("1",     "elevenchars", "",       "",      "",     "too-long"),
    ("1",     "王" * 10,      "",       "",      "",     None),
    ("1",     "Ann",         "Bronze", "",      "",     "not-in-picklist"),
    ("1",     "Ann",         "",       "a;c",   "",     "not-in-picklist"),
    ("1",     "#N/A",        "",       "",      "",     "cannot-send"),
    ("1",     "Ann",         "",       "",      "9" * 32_001, "too-long"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "name", "level", "tags", "score", "code"), FLAWS)
def test_a_row_that_cannot_be_sent(key: str, name: str, level: str, tags: str, score: str, code: str | None) -> None:
    known = fields()
    checks = make_checks(list(known), known, key="K__c")
    flaw = find_row_flaw([key, name, level, tags, score], checks)
    assert (flaw and flaw[0]) == code


def test_keys_that_are_one_but_for_capitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bits in (27, 4):  # the fewer, the more keys have to be compared
        monkeypatch.setattr(upload_csv, "_BITS", bits)
        path = tmp_path / "rows.csv"
        keys = [*(f"k{number}" for number in range(300)), "K7", "straße", "STRASSE", "", "", "x"]
        path.write_text("K__c,N\n" + "".join(f"{key},1\n" for key in keys))
        assert sorted(find_doubles(RowFile(path), 0)) == [7, 300, 301, 302]
    path.write_text("K__c\na\nb\n")
    assert find_doubles(RowFile(path), 0) == {}


@pytest.mark.parametrize(
    ("keys", "one"),
    [
        (["a1", "b-2"], True),
        (["A1", "B-2"], True),
        (["1", ""], True),
        (["a", "B"], False),
        (["aB"], False),
        (["ß"], False),
    ],
)
def test_keys_of_one_case(tmp_path: Path, keys: list[str], one: bool) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("K__c,N\n" + "".join(f"{key},X\n" for key in keys))
    assert have_one_case(RowFile(path), 0) is one


def test_the_rows_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('Id,Name,deleted\n1,"a\nb",false\n2,,true\n')
    rows = RowFile(path)
    assert rows.columns == ["Id", "Name"]
    assert [(row.number, row.cells, row.is_deleted) for row in rows.rows()] == [
        (0, ["1", "a\nb"], False),
        (1, ["2", ""], True),
    ]
    assert [row.number for row in rows.rows({1})] == [1]
    path.write_text("Id,Name\n1,a\n")
    assert [(row.cells, row.is_deleted) for row in RowFile(path).rows()] == [(["1", "a"], False)]


# --- queries -----------------------------------------------------------------------------------------------------

AT = datetime(2026, 11, 22, 9, 15, 0, 123_900, tzinfo=UTC)
QUERIES = [
    (("Contact", ["Id"], "", None), "SELECT Id FROM Contact"),
    (("Contact", ["Id", "Account.Name"], "A = 1 OR B = 2", None), "SELECT Id, Account.Name FROM Contact WHERE (A = 1 OR B = 2)"),
    (("Contact", ["Id"], "", ("SystemModstamp", AT)), "SELECT Id FROM Contact WHERE SystemModstamp >= 2026-11-22T09:15:00.123Z"),
    (("C", ["Id"], "A = 1", ("S", AT)), "SELECT Id FROM C WHERE (A = 1) AND S >= 2026-11-22T09:15:00.123Z"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "soql"), QUERIES)
def test_a_query(parts: tuple[str, list[str], str, Any], soql: str) -> None:
    name, columns, where, since = parts
    assert compose_soql(name, columns, where=where, since=since) == soql
    assert read_object(soql) == name


@pytest.mark.parametrize(
    ("text", "constant"),
    [("a", "'a'"), ("O'Neil", r"'O\'Neil'"), ("a\\'b", r"'a\\\'b'"), ("a\nb", r"'a\nb'"), ("", "''"), ("王", "'王'")],
)
def test_a_constant(text: str, constant: str) -> None:
    assert quote_soql(text) == constant


def test_an_instant_has_no_quotes_and_no_offset() -> None:
    assert write_instant(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == "2026-01-01T00:00:00.000Z"
    assert read_object("select id\n from Lead where x = 1") == "Lead"
    assert read_object("FIND {x}") == ""


# --- codes -------------------------------------------------------------------------------------------------------

ROW_ERRORS = [
    # sf__Error                                                                     code, message
    ("REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --",  "REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName] (LastName)"),
    ("UNABLE_TO_LOCK_ROW:unable to obtain exclusive access:--",                     "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access"),
    ('FIELD_CUSTOM_VALIDATION_EXCEPTION:Say "why",\nplease: now:Title --',          "FIELD_CUSTOM_VALIDATION_EXCEPTION", 'Say "why",\nplease: now (Title)'),
    ("DUPLICATE_VALUE:no fields",                                                   "DUPLICATE_VALUE", "no fields"),
    ("something else: entirely",                                                    "", "something else: entirely"),
    ("",                                                                            "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("error", "code", "message"), ROW_ERRORS)
def test_the_error_of_a_row(error: str, code: str, message: str) -> None:
    assert split_row_error(error) == (code, message)


def test_words_for_a_row() -> None:
    assert row_words("DUPLICATES_DETECTED", "Use one") == (
        "DUPLICATES_DETECTED: Use one; a duplicate rule of the org refuses it"
    )
    assert row_words("NEW_CODE", "so") == "NEW_CODE: so"
    assert row_words("", "so") == "so"
    assert (row_code("STRING_TOO_LONG"), row_code("")) == ("string-too-long", "refused")


REQUESTS = [
    # status, code, message                                                      our code, waiting helps, at once
    (401, "INVALID_SESSION_ID", "Session expired or invalid",                    ("unauthorized", False, False)),
    (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.",             ("limit-exceeded", True, False)),
    (403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded.",        ("throttled", True, True)),
    (403, "API_DISABLED_FOR_ORG", "API is not enabled",                          ("forbidden", False, False)),
    (403, "INSUFFICIENT_ACCESS", "",                                             ("forbidden", False, False)),
    (403, "SOMETHING_NEW", "",                                                   ("forbidden", False, False)),
    (400, "INVALID_FIELD", "No such column",                                     ("bad-query", False, False)),
    (400, "INVALID_TYPE", "sObject type",                                        ("no-object", False, False)),
    (400, "MALFORMED_QUERY", "unexpected token",                                 ("bad-query", False, False)),
    (400, "EXCEEDEDQUOTA", "",                                                   ("limit-exceeded", True, False)),
    (400, "FEATURENOTENABLED", "",                                               ("forbidden", False, False)),
    (404, "NOT_FOUND", "",                                                       ("not-found", False, False)),
    (410, "", "",                                                                ("not-found", False, False)),
    (500, "UNKNOWN_EXCEPTION", "",                                               ("server-busy", True, True)),
    (503, "", "",                                                                ("server-busy", True, True)),
    (429, "", "",                                                                ("server-busy", True, True)),
    (400, "JSON_PARSER_ERROR", "",                                               ("refused", False, False)),
]  # fmt: skip


@pytest.mark.parametrize(("status", "code", "message", "meant"), REQUESTS)
def test_the_error_of_a_request(status: int, code: str, message: str, meant: tuple[str, bool, bool]) -> None:
    found = explain_request(status, code, message)
    assert (found.code, found.waiting_helps, found.again) == meant
    assert found.hint


SIGN_INS = [
    ("invalid_grant", "user hasn't approved this consumer", "pre-authorise the user"),
    ("invalid_grant", "audience is invalid", "`audience`"),
    ("invalid_grant", "audience validation failed", "`audience`"),
    ("invalid_grant", "invalid assertion", "`private_key` belongs to the certificate"),
    ("invalid_grant", "expired authorization code", "clock"),
    ("invalid_grant", "request not supported on this domain", "My Domain"),
    ("invalid_grant", "no client credentials user enabled", "user to run as"),
    ("invalid_grant", "no valid scopes defined", "scope `api`"),
    ("invalid_client", "invalid client credentials", "`client_secret`"),
    ("invalid_client_id", "client identifier invalid", "`client_id`"),
    ("invalid_grant", "user is inactive", "activate"),
    ("new_code", "who knows", "see the app"),
]


@pytest.mark.parametrize(("code", "description", "hint"), SIGN_INS)
def test_a_refused_sign_in(code: str, description: str, hint: str) -> None:
    assert hint in explain_sign_in(code, description)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ([{"errorCode": "A", "message": "b", "fields": []}], ("A", "b")),
        ({"error": "invalid_grant", "error_description": "c"}, ("invalid_grant", "c")),
        ([], ("", "")),
        ("text", ("", "")),
        ([{"message": "b"}], ("", "b")),
    ],
)
def test_the_body_of_a_refusal(body: Any, found: tuple[str, str]) -> None:
    assert read_errors(body) == found


# --- sign-in, usage ----------------------------------------------------------------------------------------------

LOGINS = [
    # login_url                                              the audience
    ("https://login.salesforce.com",                         "https://login.salesforce.com"),
    ("https://test.salesforce.com/",                         "https://test.salesforce.com"),
    ("acme.my.salesforce.com",                               "https://login.salesforce.com"),
    ("acme--dev.sandbox.my.salesforce.com",                  "https://test.salesforce.com"),
    ("https://ACME--dev.sandbox.my.salesforce.com",          "https://test.salesforce.com"),
    ("http://127.0.0.1:8080",                                "https://login.salesforce.com"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "audience"), LOGINS)
def test_where_to_sign_in(url: str, audience: str) -> None:
    assert find_audience(parse_login_url({"login_url": url})) == audience
    assert str(parse_login_url({})) == "https://login.salesforce.com/"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://acme.my.salesforce.com", "no-tls"),
        ("http://127.evil.example", "no-tls"),
        ("https://acme.my.salesforce.com/services", "bad-url"),
        ("https://user:secret@acme.my.salesforce.com", "bad-url"),
        ("ftp://acme.my.salesforce.com", "bad-url"),
    ],
)
def test_where_nobody_signs_in(url: str, code: str) -> None:
    with pytest.raises(RunError) as caught:
        parse_login_url({"login_url": url})
    assert caught.value.code == code
    assert "secret" not in str(caught.value)


def test_the_calls_of_the_day() -> None:
    usage = ApiUsage(80)
    usage.refuse_beyond_share()
    assert usage.describe() == ""
    usage.note("per-app-api-usage=17/250(appName=x); api-usage=79/100")
    usage.refuse_beyond_share()
    assert usage.describe() == "1 calls; the org has used 79 of 100 of 24 hours (79.0 %)"
    usage.note("nonsense")
    usage.note("api-usage=80/100")
    with pytest.raises(RunError, match="80 of the 100 calls.*beyond 80 %"):
        usage.refuse_beyond_share()


def test_addresses_keep_to_the_org() -> None:
    assert parse("https://acme.my.salesforce.com").joined("/services/data").place == "acme.my.salesforce.com"


# --- the ledger --------------------------------------------------------------------------------------------------


def context(folder: Path, run: int = 1) -> RunContext:
    return RunContext(
        connection="c", run=run, at=AT, workspace=folder, spool=folder, programs=folder, report=NullReport(), ledger=folder / "l" / "c",
    )  # fmt: skip


def test_a_ledger_knows_its_jobs_after_every_crash(tmp_path: Path) -> None:
    """Whatever part of a line a crash has written, the steps before it are known and later ones are too."""
    ledger = JobLedger(context(tmp_path))
    number = ledger.plan(Upload(content=b"", numbers=[3, 5], keys=[b"a" * 16, b"b" * 16]))
    assert ledger.jobs() == []
    job = NotedJob(number=number, id="750A", org="h", key_column="K__c", columns=["K__c"])
    ledger.note_made(job)
    whole = (ledger.folder / "jobs.jsonl").read_bytes()
    assert list(JobLedger(context(tmp_path)).rows_of(job)) == [(3, b"a" * 16), (5, b"b" * 16)]
    ledger.note_closing(job)
    closed = (ledger.folder / "jobs.jsonl").read_bytes()
    for length in range(len(closed) + 1):
        (ledger.folder / "jobs.jsonl").write_bytes(closed[:length])
        again = JobLedger(context(tmp_path))
        found = again.jobs()
        assert len(found) == (length >= len(whole) - 1)
        assert [one.is_closed for one in found] == ([length >= len(closed) - 1] if found else [])
        again.note_made(NotedJob(number=9, id="750B", org="h", key_column="", columns=[]))
        assert [one.id for one in again.jobs()][-1] == "750B"
        assert len(again.jobs()) == len(found) + 1
    assert json.loads(closed.splitlines()[0])["id"] == "750A"
    other = JobLedger(context(tmp_path, 2))
    assert other.jobs() == []
    other.plan(Upload(content=b"", numbers=[], keys=[]))
    other.forget_others()
    assert not ledger.folder.exists()
    assert other.folder.exists()
