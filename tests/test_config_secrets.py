"""Secrets: found by reference, and hidden in all their forms."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connrunner.config import secret_words
from connrunner.config.documents.literals import _is_secret_variable
from connrunner.config.secrets import Masker, is_reference, resolve_secret
from connrunner.errors import RunError
from tests.effort import examples


def test_a_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "correct horse\n")
    assert resolve_secret("env:SMTP_PASSWORD", folder=tmp_path) == "correct horse"


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"correct horse", "correct horse"),
        (b"correct horse\n", "correct horse"),
        (b"correct horse\r\n", "correct horse"),
        (b"correct horse\n\n", "correct horse\n"),
        (b"  spaces  \n", "  spaces  "),
        ("gehëim wachtwoord\n".encode(), "gehëim wachtwoord"),
    ],
)
def test_a_secret_in_a_file(tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert resolve_secret(f"file:{tmp_path}/secret", folder=tmp_path) == value


def _nothing(_: Path) -> None: ...


BAD = [
    (_nothing, "env:NOT_SET", "NOT_SET is not set"),
    (_nothing, "env:EMPTY", "it is empty"),
    (_nothing, "env:SHORT", "too short"),
    (_nothing, "file:secret", "the path is relative"),
    (_nothing, "file:", "the path is relative"),
    (_nothing, "file:{}/missing", "No such file"),
    (lambda path: path.write_bytes(b"\n"), "file:{}/s", "it is empty"),
    (lambda path: path.write_bytes(b"hunter2\n"), "file:{}/s", "too short"),
    (lambda path: path.write_bytes(b"hunter2hunter2\xff"), "file:{}/s", "not text"),
    (lambda path: path.write_bytes(b"hunter2" * 10_000), "file:{}/s", "larger than"),
    (lambda path: path.mkdir(), "file:{}/s", "Is a directory|not a regular file"),
    (os.mkfifo, "file:{}/s", "not a regular file"),
    (_nothing, "hunter2hunter2", "not a reference"),
]


@pytest.mark.parametrize(("make", "reference", "message"), BAD)
def test_a_secret_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], reference: str, message: str
) -> None:
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("SHORT", "hunter2")
    make(tmp_path / "s")
    reference = reference.format(tmp_path)
    with pytest.raises(RunError, match=message) as caught:
        resolve_secret(reference, folder=tmp_path)
    assert "hunter2" not in str(caught.value)
    assert is_reference(reference) == (reference in str(caught.value))
    assert caught.value.code in ("secret-missing", "secret-literal")
    assert not caught.value.waiting_helps


SECRET = 'p/ss w"rd+\\é&\n-----x=y'
FORMS = [
    SECRET,
    json.dumps(SECRET),
    json.dumps({"a": [SECRET]}, ensure_ascii=False),
    quote(SECRET),
    quote(SECRET, safe=""),
    quote(SECRET, safe="").lower(),
    quote_plus(SECRET),
    "https://me:" + quote(SECRET, safe="") + "@host/",
    *(base64.b64encode(b"x" * n + SECRET.encode() + b"y" * n).decode() for n in range(6)),
    *(base64.urlsafe_b64encode(b"x" * n + SECRET.encode() + b"y" * n).decode() for n in range(6)),
    base64.b64encode(SECRET.encode()).decode().rstrip("="),
]


@pytest.mark.parametrize("text", FORMS)
def test_every_form_is_hidden(text: str) -> None:
    shown = Masker([SECRET, "another secret"]).mask(f"before {text} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "***" in shown
    for piece in ("p/ss", "p%2Fss", "p%2fss", "-----x", "w%22rd"):
        assert piece not in shown


def test_the_longer_secret_is_hidden_whole() -> None:
    masker = Masker(["password", "password-of-the-server"])
    assert masker.mask("password-of-the-server, password") == "***, ***"


def test_the_lines_of_a_key_file_are_hidden_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"
    masker = Masker([key])
    for line in key.splitlines():
        assert masker.mask(f"read {line}!") == "read ***!"


def test_without_secrets_nothing_changes() -> None:
    assert Masker([]).mask("a *** b") == "a *** b"
    assert Masker([""]).mask("text") == "text"


@settings(max_examples=examples(80), deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=30),
    st.binary(max_size=5),
    st.binary(max_size=5),
)
def test_no_form_of_any_secret_survives(secret: str, before: bytes, after: bytes) -> None:
    masker = Masker([secret])
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    for text in (secret, quote(secret, safe=""), json.dumps(secret), encoded):
        assert "***" in masker.mask(text)
        assert secret.strip() == "" or secret not in masker.mask(text) or secret in "***"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True),
        ("smtp_password", True),
        ("PGPASSWORD", True),
        ("api_key", True),
        ("api-key", True),
        ("key", True),
        ("token", True),
        ("client_secret", True),
        ("passphrase", True),
        ("pasword", True),
        ("passwrod", True),
        ("title", False),
        ("keys", False),
        ("schedule", False),
        ("path", False),
    ],
)
def test_names_that_look_secret(name: str, secret: bool) -> None:
    assert secret_words.looks_secret(name) is secret


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("API_KEY", True),
        ("APIKEY", True),
        ("GITHUB_TOKEN", True),
        ("PGPASSWORD", True),
        ("db_pass", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("TOKENIZERS_PARALLELISM", False),
        ("PASSWORD_FILE", False),
        ("TOKEN_URL", False),
        ("PASSENGERS", False),
        ("REGION", False),
    ],
)
def test_variables_that_hold_secrets(name: str, secret: bool) -> None:
    assert _is_secret_variable(name) is secret
