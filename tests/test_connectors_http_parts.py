"""What the HTTP connector decides without a server: addresses, places in data, links, watermarks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from connrunner.config import schema
from connrunner.connectors import http
from connrunner.connectors.http import client
from connrunner.connectors.http.batches import _word
from connrunner.connectors.http.data import ABSENT, look_up, outline, words
from connrunner.connectors.http.pages import linked
from connrunner.connectors.http.url import HttpAddress, check_step, parse
from connrunner.connectors.http.watermark import Watermark
from connrunner.errors import RunError
from tests.effort import examples

AT = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)

# --- addresses ---------------------------------------------------------------------------------------------------

SHOWN = [
    ("https://api.example.com", "https://api.example.com/", "/"),
    ("HTTPS://API.Example.com:443/a?key=s3cret", "https://api.example.com/a", "/a?key=s3cret"),
    ("https://api.example.com:8443/a%20b/c", "https://api.example.com:8443/a%20b/c", "/a%20b/c"),
    ("https://api.example.com/é ü?q=ø#part", "https://api.example.com/%C3%A9%20%C3%BC", "/%C3%A9%20%C3%BC?q=%C3%B8"),
    ("http://localhost:8000/a", "http://localhost:8000/a", "/a"),
    ("http://127.0.0.9/a", "http://127.0.0.9/a", "/a"),
    ("http://[::1]:8000/a", "http://[::1]:8000/a", "/a"),
    ("https://[2001:db8::1]/", "https://[2001:db8::1]/", "/"),
    ("https://h/" + "x" * 300, "https://h/" + "x" * 199 + "...", "/" + "x" * 300),
]


@pytest.mark.parametrize(("text", "shown", "target"), SHOWN)
def test_an_address(text: str, shown: str, target: str) -> None:
    assert (str(parse(text)), parse(text).target) == (shown, target)


REFUSED = [
    ("ftp://example.com/a", "bad-url", "'ftp://example.com/a' is not an address that can be asked"),
    ("file:///etc/passwd", "bad-url", "is not an address"),
    ("example.com/a", "bad-url", "is not an address"),
    ("https://", "bad-url", "is not an address"),
    ("https://exa mple.com/", "bad-url", "is not an address"),
    ("https://example.com:99999/", "bad-url", "is not an address"),
    ("https://[::1/", "bad-url", "is not an address"),
    ("https://[fe80::1%25eth0]/", "bad-url", "is not an address"),
    ("https://bücher.example/", "bad-url", "in its xn-- form"),
    ("https://example.com/a\r\nX: y", "bad-url", "is not an address"),
    ("https://api.example.com\\@evil.example/", "bad-url", "evil.example holds a user name or password"),
    ("https://api.example.com\\.evil.example/", "bad-url", "is not an address"),
    ("https://me:hunter22@example.com/", "bad-url", "the address of example.com holds a user name or password"),
    ("http://example.com/a", "no-tls", "http:// to example.com would send everything readable"),
    ("http://10.0.0.1/", "no-tls", "write https://10.0.0.1"),
    ("http://localhost.evil.example/", "no-tls", "http:// to localhost.evil.example"),
    ("http://2130706433/", "no-tls", "http:// to 2130706433"),
]


@pytest.mark.parametrize(("text", "code", "message"), REFUSED)
def test_what_is_no_address(text: str, code: str, message: str) -> None:
    with pytest.raises(RunError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert caught.value.code == code
    assert "hunter22" not in str(caught.value)


def test_the_query_of_an_address() -> None:
    address = parse("https://h/a?x=1&y=%20&x=2&flag")
    assert address.asking({}).target == "/a?x=1&y=%20&x=2&flag"
    assert address.asking({"x": "a b&c"}).target == "/a?y=%20&flag&x=a+b%26c"
    assert address.asking({"flag": "é"}).target == "/a?x=1&y=%20&x=2&flag=%C3%A9"


STEPS = [
    # from                     link                            to, or the code of the error
    ("https://h/a/b?x=1", "?page=2", "https://h/a/b?page=2"),
    ("https://h/a/b", "c", "https://h/a/c"),
    ("https://h/a/b", "/c", "https://h/c"),
    ("https://h/a", "//h/c", "https://h/c"),
    ("https://h/a", " https://H:443/c ", "https://h/c"),
    ("https://h/a", "https://listed/c", "https://listed/c"),
    ("https://h/a", "https://listed:444/c", "foreign-host"),
    ("https://h/a", "https://h:444/c", "foreign-host"),
    ("https://h/a", "https://h.evil/c", "foreign-host"),
    ("https://h/a", "//evil/c", "foreign-host"),
    ("https://h/a", "https://169.254.169.254/latest", "foreign-host"),
    ("https://h/a", "http://localhost/c", "bad-redirect"),
    ("https://h/a", "http://h/c", "no-tls"),
    ("https://h/a", "ftp://h/c", "bad-url"),
    ("https://h/a", "https://[bad/c", "bad-url"),
    ("https://h/a", "javascript:alert(1)", "bad-url"),
    ("http://localhost/a", "https://localhost/c", "https://localhost/c"),
    ("http://localhost:80/a", "https://localhost:444/c", "foreign-host"),
    ("http://localhost:8000/a", "http://localhost:8001/c", "foreign-host"),
]


@pytest.mark.parametrize(("origin", "link", "expected"), STEPS)
def test_where_an_answer_may_lead(origin: str, link: str, expected: str) -> None:
    def go() -> str:
        to = parse(origin).joined(link)
        check_step(parse(origin), to, listed={"listed"}, word="redirects")
        return to.whole

    if "://" in expected:
        assert go() == expected
        return
    with pytest.raises(RunError) as caught:
        go()
    assert caught.value.code == expected


CREDENTIALS = [
    ("https://h/a", "https://h/b", True),
    ("https://h/a", "https://h:444/b", False),
    ("https://h/a", "https://i/b", False),
    ("http://localhost/a", "https://localhost/b", True),
    ("http://localhost:8000/a", "https://localhost/b", False),
    ("https://localhost/a", "http://localhost/b", False),
]


@pytest.mark.parametrize(("own", "other", "expected"), CREDENTIALS)
def test_whose_credentials_go_where(own: str, other: str, *, expected: bool) -> None:
    assert parse(other).is_of(parse(own)) is expected


# --- data --------------------------------------------------------------------------------------------------------

DATA = {"data": {"items": [{"id": 7}], "a.b": 1}, "@odata.nextLink": "next", "a": {"b": {"c": 2}}, "null": None}
PLACES: list[tuple[str, Any]] = [
    (".", DATA),
    ("data.items", [{"id": 7}]),
    ("data.items.0.id", 7),
    ("data.items.1.id", ABSENT),
    ("data.items.x", ABSENT),
    ("@odata.nextLink", "next"),
    ("data.a.b", 1),
    ("a.b.c", 2),
    ("a.b.c.d", ABSENT),
    ("null", None),
    ("null.x", ABSENT),
    ("nothing", ABSENT),
]


@pytest.mark.parametrize(("path", "expected"), PLACES)
def test_places_in_data(path: str, expected: Any) -> None:
    assert look_up(DATA, path) == expected


SENTENCES: list[tuple[Any, str]] = [
    ({"message": "no"}, "no"),
    ({"error": "invalid_client", "error_description": "who?"}, "who?"),
    ({"errors": [{"error": {"message": "deep"}}]}, "deep"),
    ([{"detail": "first"}, {"detail": "second"}], "first"),
    ({"error": None, "title": "Bad"}, "Bad"),
    ({"code": 5}, ""),
    ("plain", "plain"),
    (None, ""),
    ({"errors": {"message": {"message": {"message": {"message": {"message": {"message": "too deep"}}}}}}}, ""),
]


@pytest.mark.parametrize(("data", "expected"), SENTENCES)
def test_the_sentence_of_a_refusal(data: Any, expected: str) -> None:
    assert words(data) == expected


@pytest.mark.parametrize(
    ("value", "word"),
    [("DUPLICATE_EMAIL", "duplicate-email"), (422, "422"), ("", "refused"), (None, "refused"), ("É!" * 99, "refused")],
)
def test_a_partners_code_as_a_word(value: Any, word: str) -> None:
    assert _word(value) == word


LINKS = [
    ('<https://h/a?page=2>; rel="next"', "https://h/a?page=2"),
    ("<https://h/1>; rel=prev, <https://h/2>; rel=next", "https://h/2"),
    ('<https://h/1>; rel="prev last", <https://h/2>; title="a, b; c"; REL="Last NEXT"', "https://h/2"),
    ('<a,b;c>;rel="next"', "a,b;c"),
    ('<https://h/1>; rel="nextish"', ""),
    ('<https://h/1>; title="rel=next"', ""),
    ("", ""),
    ("<" * 50_000, ""),
    ("<a>;" + " " * 50_000, ""),
]


@pytest.mark.parametrize(("header", "expected"), LINKS)
def test_links(header: str, expected: str) -> None:
    assert linked(header, "next") == expected


WAITS = [
    ("120", 120.0),
    (" 0 ", 0.0),
    ("9" * 400, 999_999_999.0),
    ("-5", None),
    ("1.5", None),
    ("soon", None),
    ("", None),
    ("Sun, 22 Nov 2020 09:15:00 GMT", 0.0),
    ("Sun, 22 Nov 2020 09:15:00 -0000", 0.0),
    ("Sunday, 22-Nov-20 09:15:00 GMT", 0.0),
    ("Sun Nov 22 09:15:00 2020", 0.0),
    ("Mon, 01 Jan 2000 00:00:00 +9999999999999999999999999999", None),
    ("Mon, 01 Jan 2000 00:00:00 -9999", None),
    ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ("Fri, 31 Dec 9999 23:59:59 -2359", None),
    ("Mon, 99999999999999999999 Jan 2000 00:00:00 GMT", None),
    ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
    ("Mon, 01 Jan 2000 99999999999999999999:00:00 GMT", None),
    ("\u00b2", None),
    (", 1 2 3 4 5 6", None),
    ("1 Jan 2000 " + "0" * 10_000, None),
]


@pytest.mark.parametrize(("value", "seconds"), WAITS)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert client._asked_wait(value) == seconds


_DATE_PARTS = st.sampled_from(
    [
        *("Mon,", "Mon", "Monday,", "01", "1", "31", "32", "Jan", "Foo", "2000", "0001", "9999", "00", "69"),
        *("00:00:00", "24:00:00", "0:0", "00.00.00", ":", "GMT", "+0000", "-0000", "+2400", "EST", "+9999", "-", "+"),
        *("9" * 30, "+" + "9" * 30, "-" + "9" * 30, "-1", "0", "", ",", ";", "(", ")", "(a", "\\", '"', "\u00b2", "@"),
    ]
)


@settings(max_examples=examples(500), derandomize=True, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(_DATE_PARTS, max_size=9).map(" ".join),
        st.lists(_DATE_PARTS, max_size=9).map("".join),
    )
)
def test_a_date_of_a_partner_is_never_a_bug(value: str) -> None:
    """Whatever a partner writes is a wait of some seconds, or is as if it was not there."""
    asked = client._asked_wait(value)
    assert asked is None or 0 <= asked < 1e12
    assert isinstance(http._instant(value), str)


def test_retry_after_a_date() -> None:
    asked = client._asked_wait("Wed, 22 Nov 2090 09:15:00 GMT")
    assert asked is not None
    assert asked > 1e9


OUTLINES: list[tuple[Any, str]] = [
    ({"a": 1, "b\n": 2}, "a mapping of a, b"),
    (dict.fromkeys("abcdefghi"), "a mapping of a, b, c, d, e, f, g, h, ..."),
    ({}, "an empty mapping"),
    ([1, 2], "a list of 2"),
    (None, "nothing"),
    (True, "true"),
    (5, "a number"),
    ("x", "a text"),
]


@pytest.mark.parametrize(("value", "expected"), OUTLINES)
def test_what_data_is(value: Any, expected: str) -> None:
    assert outline(value) == expected


# --- watermark ---------------------------------------------------------------------------------------------------


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(f"{level}: {text}")

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


GREATEST: list[tuple[Any, list[Any], Any]] = [
    # mark                     values                                                          the next mark
    (None, ["2026-11-20T10:00:00Z", "2026-11-21T10:00:00Z", "2026-11-19"], "2026-11-21T10:00:00Z"),
    (None, ["2026-11-20T23:00:00-02:00", "2026-11-21T00:30:00Z"], "2026-11-20T23:00:00-02:00"),  # as instants
    ("2026-11-21T10:00:00Z", ["2026-11-20T10:00:00Z"], "2026-11-21T10:00:00Z"),  # never back
    ("2026-11-21T10:00:00Z", [], "2026-11-21T10:00:00Z"),
    (None, ["2026-11-20", "9999-12-31"], "2026-11-20"),  # the future does not count
    (None, [9, 10], 10),
    (None, ["9", "10"], "10"),
    (None, ["9.5", 10], 10),
    (None, ["1763802000.5", "1763802000.25"], "1763802000.5"),
    (None, ["a", "b"], "b"),
    (None, ["2026-x1-01", "2026-x1-02"], "2026-x1-02"),
    (None, [None, 3], 3),
    (None, [], None),
]


@pytest.mark.parametrize(("mark", "values", "expected"), GREATEST)
def test_the_greatest_value(mark: Any, values: list[Any], expected: Any) -> None:
    log = Log()
    watermark = Watermark({"field": "meta.at", "parameter": "since"}, mark and {"field": "meta.at", "value": mark}, AT)
    for value in values:
        watermark.see({"meta": {"at": value}} if value is not None else {})
    new = watermark.mark(log)
    assert new == (None if expected is None else {"field": "meta.at", "value": expected})
    assert bool(log.texts) == (None in values or "9999-12-31" in values)


def test_what_a_watermark_asks() -> None:
    settings = {"field": "at", "parameter": "since"}
    assert Watermark(settings, None, AT).asks() == {}
    assert Watermark({**settings, "start": 0}, None, AT).asks() == {"since": "0"}
    assert Watermark(settings, {"field": "at", "value": 7}, AT).asks() == {"since": "7"}
    assert Watermark(settings, {"field": "other", "value": 7}, AT).asks() == {}  # the field was changed
    assert Watermark(settings, {"name": "https://h/", "size": 1}, AT).asks() == {}  # it was a file before


def test_a_watermark_that_cannot_be() -> None:
    watermark = Watermark({"field": "at", "parameter": "since"}, None, AT)
    watermark.see({"at": "2026-11-20"})
    with pytest.raises(RunError, match=r"`at` holds values that cannot be compared: '2026-11-20' \(instant\) and 'x'"):
        watermark.see({"at": "x"})
    watermark = Watermark({"field": "updatedAt", "parameter": "since"}, None, AT)
    without: list[Any] = [{}, {"updatedAt": None}, {"updatedAt": True}, {"updatedAt": {}}, "text"]
    for value in without:
        watermark.see(value)
    with pytest.raises(RunError, match="none of 5 records has a value under `updatedAt`; correct `field`"):
        watermark.mark(Log())


def test_an_address_is_a_value() -> None:
    assert parse("https://h/a") == HttpAddress(scheme="https", host="h", port=443, path="/a")


# --- settings ----------------------------------------------------------------------------------------------------

U = "https://h/a"
SOUND: list[tuple[str, dict[str, Any]]] = [
    ("from", {"url": "env:FEED_URL"}),
    ("from", {"url": "http://127.0.0.1:8000"}),
    ("from", {"url": "https://h:8443/{date}/x.csv?a=b"}),
    ("from", {"url": U, "query": {"a": 1, "b": True, "c": "x"}, "headers": {"Accept": "x/y", "X-Api-Key": "env:KEY"}}),
    ("from", {"url": U, "auth": {"type": "basic", "username": "me", "password": "env:PASSWORD"}}),
    ("from", {"url": U, "paging": {"type": "next_link"}, "rows": ".", "max_pages": 5}),
    ("from", {"url": U, "paging": {"type": "page", "parameter": "p", "start": 0, "step": 9}}),
    ("from", {"url": U, "watermark": {"field": "at", "parameter": "since", "start": 0}}),
    ("to", {"url": U, "body": "row", "method": "PUT", "timeout": "5m", "retries": 0}),
    ("to", {"url": U, "body": {"wrap": "x"}, "refused": {"path": "errors"}, "redirect_hosts": ["h:444", "[::1]"]}),
]


@pytest.mark.parametrize(("way", "settings"), SOUND)
def test_settings_that_are_sound(way: str, settings: dict[str, Any]) -> None:
    assert list(checker(way).iter_errors({"type": "http", **settings})) == []


UNSOUND: list[tuple[str, dict[str, Any], str]] = [
    ("from", {}, ""),
    ("from", {"url": "http://example.com/"}, "url"),
    ("from", {"url": "http://localhost.example.com/"}, "url"),
    ("from", {"url": "https://h/{day}"}, "url"),
    ("from", {"url": "ftp://h/"}, "url"),
    ("from", {"url": U, "headers": {"X-Api-Key": "literal"}}, "headers"),
    ("from", {"url": U, "headers": {"X Key": "x"}}, "headers"),
    ("from", {"url": U, "query": {"api_key": "literal"}}, "query"),
    ("from", {"url": U, "auth": {"type": "bearer", "token": "literal"}}, "auth"),
    ("from", {"url": U, "auth": {"type": "oauth2", "url": U, "client_id": "x", "client_secret": "literal"}}, "auth"),
    ("from", {"url": U, "paging": {"type": "page", "parameter": "p", "size": 5}}, "paging"),
    ("from", {"url": U, "redirect_hosts": ["https://h"]}, "redirect_hosts"),
    ("from", {"url": U, "batch": 5}, ""),
    ("to", {"url": U, "rows": "x"}, ""),
    ("to", {"url": U, "method": "GET"}, "method"),
    ("to", {"url": U, "batch": 10_001}, "batch"),
    ("to", {"url": U, "body": {"key": "x"}}, "body"),
]


@pytest.mark.parametrize(("way", "settings", "key"), UNSOUND)
def test_settings_that_are_not(way: str, settings: dict[str, Any], key: str) -> None:
    errors = list(checker(way).iter_errors({"type": "http", **settings}))
    assert {str(next(iter(error.absolute_path), "")) for error in errors} == {key}


def checker(way: str) -> Draft202012Validator:
    contents = schema._written_out(schema.load_schema("connector-http")["$defs"][way], "connector-http")
    return Draft202012Validator(contents)
