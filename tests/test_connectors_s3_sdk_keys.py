"""Keys of profiles that AWS's own library fetches: a real program, and a token service that is played here."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.s3.models import S3Backend

from connrunner.connectors import RunContext, s3
from connrunner.connectors.s3 import bucket, keys, sdk_keys
from connrunner.connectors.s3.role import Provider
from connrunner.core import instant
from connrunner.errors import RunError
from tests.servers.s3 import Faulty, empty, gives, says

SECRET = "hidden-horse"


class Log:
    def message(self, text: str, **facts: Any) -> None: ...

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own AWS settings, and no waiting."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(bucket, "RETRIES", 0)
    monkeypatch.setattr(sdk_keys, "TRIES", 1)


@pytest.fixture
def faulty(s3_server: Faulty) -> Faulty:
    s3_server.forget()
    return s3_server


@pytest.fixture
def objects(faulty: Faulty) -> S3Backend:
    return empty()


Configure = Callable[[str], None]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    def write(text: str) -> None:
        (tmp_path / ".aws").mkdir(exist_ok=True)
        (tmp_path / ".aws" / "config").write_text(text)

    return write


@pytest.fixture
def program(tmp_path: Path, configure: Configure) -> Callable[[str], None]:
    """Make a program that does what a text of Python says, and the profile `program` that goes by it."""

    def make(code: str) -> None:
        path = tmp_path / "give keys.py"
        path.write_text(f"import json, os, sys\n{code}\n")
        command = shlex.join([sys.executable, "-I", "-S", str(path)])
        configure(f"[profile program]\ncredential_process = {command}\nregion = eu-west-1\n")

    return make


def provider(profile: str) -> Provider:
    found = keys.identity({"profile": profile}, os.environ, session="s").provider
    assert found is not None
    return found


def fails(profile: str) -> RunError:
    with pytest.raises(RunError) as caught:
        provider(profile)()
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__, "a report of the error shows no text of a library's"
    return caught.value


# --- credential_process ------------------------------------------------------------------------------------------


def given(key: str, *, seconds: int | None = 3600) -> str:
    """Return what a program prints: the keys *key*, which hold for so many *seconds*, or for ever."""
    data = {"Version": 1, "AccessKeyId": key, "SecretAccessKey": SECRET, "SessionToken": "token-of-the-program"}
    if seconds is not None:
        data["Expiration"] = instant.text(datetime.now(UTC) + timedelta(seconds=seconds))
    return f"print({json.dumps(data)!r})"


def test_an_import_with_keys_of_a_program(
    objects: S3Backend, faulty: Faulty, program: Callable[[str], None], tmp_path: Path
) -> None:
    objects.put_object("drop", "1.csv", b"id\n")
    program(given("ASIAPROGRAM00001"))
    (tmp_path / "spool").mkdir()
    context = RunContext(
        connection="crm",
        run=7,
        at=datetime(2026, 11, 22, tzinfo=UTC),
        workspace=tmp_path,
        spool=tmp_path / "spool",
        programs=tmp_path / "programs",
        report=Log(),
    )
    settings = {"type": "s3", "bucket": "drop", "path": "1.csv", "endpoint_url": faulty.url, "profile": "program"}
    (file,) = s3.fetch(settings, context, known=lambda *_: False, mark=None).files
    assert Path(file.path).read_bytes() == b"id\n"
    signed = faulty.headers[-1]
    assert "Credential=ASIAPROGRAM00001/" in signed["authorization"]
    assert "/eu-west-1/s3/" in signed["authorization"]
    assert signed["x-amz-security-token"] == "token-of-the-program"


def test_a_program_is_asked_again_before_its_keys_end(program: Callable[[str], None], tmp_path: Path) -> None:
    count = f"path = {str(tmp_path / 'count')!r}\nopen(path, 'a').write('x')\n"
    program(count + given("ASIAPROGRAM00001", seconds=3600))
    ask = provider("program")
    assert not (tmp_path / "count").exists(), "before the keys are needed nothing is asked"
    first, second = ask(), ask()
    assert (first.access_key_id, len((tmp_path / "count").read_text())) == ("ASIAPROGRAM00001", 1)
    assert SECRET not in repr(second)
    assert first.expires_at is not None
    assert first.expires_at <= datetime.now(UTC) + timedelta(minutes=10), "obstore looks again before they can end"

    program(count + given("ASIAPROGRAM00001", seconds=60))
    ask = provider("program")
    ask(), ask()
    assert len((tmp_path / "count").read_text()) == 4, "what ends within minutes is renewed"


BROKEN = [
    # what the program does                                                         the error says
    (f"sys.exit({SECRET!r})",                                                       "gives no keys: its program failed"),
    (f"print({SECRET!r})",                                                          "what its program prints is not"),
    (f"print(json.dumps([{SECRET!r}]))",                                            "what its program prints is not"),
    (f"os.write(1, b'\\xff' + {SECRET.encode()!r})",                                "what its program prints is not"),
    (f"print(json.dumps({{'Version': 2, 'SecretAccessKey': {SECRET!r}}}))",         "its program failed"),
    (f"print(json.dumps({{'Version': 1, 'SecretAccessKey': {SECRET!r}}}))",         "its program failed"),
    (f"print(json.dumps({{'Version': 1, 'AccessKeyId': None, 'SecretAccessKey': {SECRET!r}}}))", "is not understood"),
    (given("A", seconds=-60),                                                       "is not understood, or has expired"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "why"), BROKEN, ids=range(len(BROKEN)))
def test_a_program_that_gives_none(code: str, why: str, program: Callable[[str], None]) -> None:
    program(code)
    error = fails("program")
    assert (error.code, error.waiting_helps) == ("bad-profile", False)
    assert str(error).startswith("the profile 'program' gives no keys: ")
    assert why in str(error)
    assert "its words are not shown here" in error.hint


@pytest.mark.parametrize("command", ["/nowhere/keys", "'unbalanced", "   "])
def test_a_program_that_cannot_start(command: str, configure: Configure) -> None:
    configure(f"[profile program]\ncredential_process = {command} --token {SECRET}\n")
    assert fails("program").code == "bad-profile"


def test_the_library_looks_nowhere_else(program: Callable[[str], None], tmp_path: Path) -> None:
    """Its own order would stop at the half of a pair of keys; ours says first what there is."""
    program(given("ASIAPROGRAM00001"))
    (tmp_path / ".aws" / "credentials").write_text("[program]\naws_access_key_id = AKIDHALF\n")
    assert provider("program")().access_key_id == "ASIAPROGRAM00001"


def test_an_empty_setting_is_none(configure: Configure) -> None:
    configure("[profile program]\ncredential_process =\n")
    with pytest.raises(RunError, match="it has no aws_access_key_id with its secret"):
        provider("program")


# --- SSO ---------------------------------------------------------------------------------------------------------

OLD = """
[profile sso]
sso_start_url = https://company.example.com/start
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = exports
"""
NEW = """
[profile sso]
sso_session = company
sso_account_id = 123456789012
sso_role_name = exports

[profile role]
role_arn = arn:aws:iam::123456789012:role/more
source_profile = sso

[sso-session company]
sso_start_url = https://company.example.com/start
sso_region = eu-west-1
"""
LOGINS = [(OLD, "https://company.example.com/start"), (NEW, "company")]


@pytest.fixture
def log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, datetime], None]:
    """Leave what `aws sso login` leaves in the home folder, which the library looks up when it is imported."""
    import botocore.credentials
    import botocore.tokens

    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    monkeypatch.setattr(botocore.credentials.SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))
    monkeypatch.setattr(botocore.tokens.SSOTokenProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))

    def write(name: str, until: datetime) -> None:
        token = {"accessToken": SECRET, "expiresAt": until.strftime("%Y-%m-%dT%H:%M:%SZ"), "region": "eu-west-1"}
        digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        (cache / f"{digest}.json").write_text(json.dumps({**token, "startUrl": "https://company.example.com/start"}))

    return write


Login = Callable[[str, datetime], None]


def role_keys() -> bytes:
    end = int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1000)
    found = {"accessKeyId": "ASIASSO000000001", "secretAccessKey": SECRET, "sessionToken": "t", "expiration": end}
    return json.dumps({"roleCredentials": found}).encode()


@pytest.mark.parametrize(("config", "name"), LOGINS)
def test_keys_by_sso(
    config: str, name: str, configure: Configure, log_in: Login, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(config)
    log_in(name, datetime.now(UTC) + timedelta(hours=1))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", faulty.url)
    faulty.faults = [gives(role_keys().decode())]
    found = provider("sso")()
    assert (found.access_key_id, found.session_token) == ("ASIASSO000000001", "t")
    ((method, path),) = faulty.asked
    assert (method, path.partition("?")[0]) == ("GET", "/federation/credentials")
    assert "role_name=exports" in path
    assert faulty.headers[0]["x-amz-sso_bearer_token"] == SECRET


def test_a_role_on_top_of_sso(
    configure: Configure, log_in: Login, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(NEW)
    log_in("company", datetime.now(UTC) + timedelta(hours=1))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", faulty.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", faulty.url)
    faulty.faults = [gives(role_keys().decode())]
    provider("role")()
    assert [method for method, _ in faulty.asked] == ["GET", "POST"]
    assert "Credential=ASIASSO000000001/" in faulty.headers[1]["authorization"]


@pytest.mark.parametrize(("config", "name"), LOGINS)
@pytest.mark.parametrize("ended", [True, False], ids=["ended", "never"])
def test_without_a_login(
    config: str, name: str, configure: Configure, log_in: Login, *, ended: bool, faulty: Faulty
) -> None:
    configure(config)
    if ended:
        log_in(name, datetime.now(UTC) - timedelta(hours=1))
    error = fails("sso")
    assert error.code == "expired-credentials"
    assert "run `aws sso login --profile sso`" in error.hint
    assert faulty.asked == []


ANSWERS = [
    # status  code                        our code               waiting helps
    (401,     "UnauthorizedException",    "expired-credentials", False),
    (403,     "ForbiddenException",       "bad-profile",         False),
    (429,     "TooManyRequestsException", "bad-profile",         True),
    (500,     "",                         "bad-profile",         True),
]  # fmt: skip


@pytest.mark.parametrize(("status", "word", "code", "waits"), ANSWERS)
def test_the_sso_service_refuses(
    status: int,
    word: str,
    code: str,
    *,
    waits: bool,
    configure: Configure,
    log_in: Login,
    faulty: Faulty,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(NEW)
    log_in("company", datetime.now(UTC) + timedelta(hours=1))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", faulty.url)
    body = json.dumps({"__type": word, "message": SECRET})
    faulty.faults = [gives(body, status)] if status != 500 else [says(500)]
    error = fails("sso")
    assert (error.code, error.waiting_helps) == (code, waits)


def test_the_sso_service_is_not_there(configure: Configure, log_in: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(NEW)
    log_in("company", datetime.now(UTC) + timedelta(hours=1))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", "http://127.0.0.1:1")
    error = fails("sso")
    assert (error.code, error.waiting_helps) == ("unreachable", True)


def test_a_profile_that_lacks_a_part(configure: Configure, log_in: Login) -> None:
    configure("[profile sso]\nsso_session = company\n\n[sso-session company]\nsso_start_url = https://x.example.com\n")
    assert fails("sso").code == "bad-profile"


# --- the extra ---------------------------------------------------------------------------------------------------


def test_without_the_extra(program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    program(given("ASIAPROGRAM00001"))
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "obstore.auth.boto3", raising=False)
    error = fails("program")
    assert (error.code, error.hint) == ("missing-extra", "pip install 'connrunner[aws]'")
    assert str(error).startswith("the profile 'program' goes by credential_process, which needs the extra `aws`")


def test_the_library_is_imported_for_such_profiles_only(configure: Configure) -> None:
    configure("[profile plain]\naws_access_key_id = AKID\naws_secret_access_key = s\n")
    code = """
import os, sys
from connrunner.connectors.s3 import keys
keys.identity({"profile": "plain"}, os.environ, session="s").provider()
print(sorted(name for name in sys.modules if name in ("boto3", "botocore", "obstore.auth.boto3")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
