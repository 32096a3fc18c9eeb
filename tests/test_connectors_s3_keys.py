"""Whose keys the s3 connector uses, which server it trusts, and which mistakes in its settings are named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from connrunner.config import load
from connrunner.connectors.s3 import errors as s3_errors
from connrunner.connectors.s3 import keys as s3_keys
from connrunner.connectors.s3 import role as s3_role
from connrunner.connectors.s3.role import Role, Service
from connrunner.connectors.s3.signature import SigningKeys
from connrunner.errors import RunError

CREDENTIALS = """\
[default]
aws_access_key_id = AKIDDEFAULT
aws_secret_access_key = secret-of-default

[crm]
aws_access_key_id=AKIDCRM
aws_secret_access_key=secret%of=crm
aws_session_token=token-of-crm

[no-secret]
aws_access_key_id = AKIDALONE
"""
CONFIG = """\
[default]
region = eu-north-1
s3 =
    max_concurrent_requests = 20

[profile crm]
region = eu-west-1
aws_access_key_id = AKIDOLD

[profile exports]
role_arn = arn:aws:iam::123456789012:role/exports
source_profile = crm
external_id = partner
role_session_name = nightly

[profile twice]
role_arn = arn:aws:iam::123456789012:role/second
source_profile = exports

[profile self]
role_arn = arn:aws:iam::123456789012:role/self
source_profile = self
aws_access_key_id = AKIDSELF
aws_secret_access_key = secret-of-self

[profile ring]
role_arn = arn:aws:iam::123456789012:role/ring
source_profile = gnir

[profile gnir]
role_arn = arn:aws:iam::123456789012:role/gnir
source_profile = ring

[profile lost]
role_arn = arn:aws:iam::123456789012:role/lost
source_profile = nobody

[profile mfa]
role_arn = arn:aws:iam::123456789012:role/mfa
source_profile = crm
mfa_serial = arn:aws:iam::123456789012:mfa/me

[crn]
aws_access_key_id = not a profile: the word is missing
"""


@pytest.fixture
def home(tmp_path: Path) -> Mapping[str, str]:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(CREDENTIALS)
    (tmp_path / ".aws" / "config").write_text(CONFIG)
    return {"HOME": str(tmp_path)}


ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "secret-of-env"}
WEB = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/pod"}
GIVEN = {"access_key_id": "AKIDGIVEN", "secret_access_key": "secret-of-settings"}
WHO = [
    # settings,                      environment,                       the key,       region
    ({**GIVEN}, ENVIRONMENT, "AKIDGIVEN", "eu-north-1"),
    ({**GIVEN, "region": "us-west-2"}, {"AWS_REGION": "eu-south-1"}, "AKIDGIVEN", "us-west-2"),
    ({"profile": "crm"}, ENVIRONMENT, "AKIDCRM", "eu-west-1"),
    ({"profile": "crm"}, {"AWS_REGION": "eu-south-1"}, "AKIDCRM", "eu-south-1"),
    ({"profile": "crm"}, {"AWS_DEFAULT_REGION": "eu-south-1"}, "AKIDCRM", "eu-south-1"),
    ({}, {**ENVIRONMENT, **WEB, "AWS_PROFILE": "crm"}, "AKIDENV", "eu-west-1"),
    ({}, WEB, None, "eu-north-1"),
    ({"profile": "crm"}, WEB, "AKIDCRM", "eu-west-1"),
    ({}, {"AWS_PROFILE": "crm"}, "AKIDCRM", "eu-west-1"),
    ({}, {}, "AKIDDEFAULT", "eu-north-1"),
    ({}, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1"}, "AKIDDEFAULT", "eu-north-1"),
]


@pytest.mark.parametrize(("settings", "environment", "key", "region"), WHO)
def test_who_asks(
    settings: dict[str, str], environment: dict[str, str], key: str | None, region: str, home: Mapping[str, str]
) -> None:
    who = s3_keys.identity(settings, {**home, **environment}, session="connrunner-crm")
    assert (who.provider().access_key_id if who.provider else None) == key
    assert who.region == region


def test_without_files(tmp_path: Path) -> None:
    nobody = {"HOME": str(tmp_path)}
    who = s3_keys.identity({}, nobody, session="x")
    assert (who.provider, who.region) == (None, "us-east-1"), "a container or an instance may know"
    none_here = {**nobody, "AWS_EC2_METADATA_DISABLED": "true"}
    in_container = {**none_here, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2"}
    assert s3_keys.identity({}, in_container, session="x").provider is None
    with pytest.raises(RunError, match="there are no keys for S3") as caught:
        s3_keys.identity({}, none_here, session="x")
    assert caught.value.code == "no-credentials"
    with pytest.raises(RunError, match=r"cannot assume the role .*: there are no keys to begin with"):
        s3_keys.identity({"role": "arn:aws:iam::1:role/x"}, nobody, session="x")


def test_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\ufeff[default]\naws_access_key_id = AKIDBOM\naws_secret_access_key = s\n")
    environment = {"HOME": str(tmp_path), "AWS_SHARED_CREDENTIALS_FILE": "~/keys", "AWS_CONFIG_FILE": "/nowhere"}
    who = s3_keys.identity({}, environment, session="x")
    assert who.provider
    assert who.provider().access_key_id == "AKIDBOM"


def test_keys_of_a_profile_are_whole(home: Mapping[str, str]) -> None:
    who = s3_keys.identity({"profile": "crm"}, home, session="x")
    assert who.provider
    assert who.provider() == SigningKeys(
        access_key_id="AKIDCRM", secret_access_key="secret%of=crm", session_token="token-of-crm"
    )
    assert "secret" not in repr(who.provider())
    assert "token-of" not in repr(who.provider())


WRONG = [
    ({"profile": "cmr"}, {}, "no profile 'cmr' in .*; did you mean 'crm'"),
    ({"profile": "crn"}, {}, "no profile 'crn'"),
    ({}, {"AWS_PROFILE": "xyz"}, "no profile 'xyz' in .*; there is crm, default, "),
    ({"profile": "no-secret"}, {}, "gives no keys: it has no aws_access_key_id with its secret"),
    ({"profile": "mfa"}, {}, "'mfa' gives no keys: it goes by mfa_serial, which connrunner cannot; put keys into"),
    ({"profile": "ring"}, {}, "the profiles lead in a circle: ring -> gnir -> ring"),
    ({"profile": "lost"}, {}, "no profile 'nobody'"),
    ({"profile": "crm", **GIVEN}, {}, "there are `profile` and `access_key_id`; leave one out"),
    ({}, {"AWS_ACCESS_KEY_ID": "AKIDENV"}, "the environment has AWS_ACCESS_KEY_ID, but no AWS_SECRET_ACCESS_KEY"),
    (GIVEN, {"AWS_ENDPOINT_URL_STS": "http://sts.example.com"}, "the endpoint http://sts.example.com is not safe"),
]


@pytest.mark.parametrize(("settings", "environment", "why"), WRONG)
def test_keys_that_cannot_be(
    settings: dict[str, str], environment: dict[str, str], why: str, home: Mapping[str, str]
) -> None:
    with pytest.raises(RunError, match=why) as caught:
        s3_keys.identity(settings, {**home, **environment}, session="x")
    assert "secret-of" not in str(caught.value)
    assert not caught.value.waiting_helps


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"aws_secret_access_key = hunter2hunter2\n", "line 1 is not understood"),
        (b"[default]\nhunter2hunter2\n", "line 2 is not understood"),
        (b"[default]\nx = \xff hunter2hunter2\n", "it is not text"),
    ],
)
def test_a_broken_file_shows_no_secret(content: bytes, why: str, home: Mapping[str, str]) -> None:
    path = Path(home["HOME"], ".aws", "credentials")
    path.write_bytes(content)
    with pytest.raises(RunError) as caught:
        s3_keys.identity({}, home, session="x")
    assert str(caught.value) == f"cannot read {path}: {why}; correct it"
    assert caught.value.__cause__ is None, "it has the line"


# --- roles -------------------------------------------------------------------------------------------------------


class Asked:
    """Stands for the token service: a role for whoever asks, under whose keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, lasts: timedelta = timedelta(hours=1)) -> None:
        self.asked: list[tuple[str, str, str]] = []

        def assume(role: Any) -> SigningKeys:
            arn = role._arn.rpartition("/")[2]
            self.asked.append((arn, role._base().access_key_id, f"{role._service.session} {role._external_id}".strip()))
            end = datetime.now(UTC) + lasts
            return SigningKeys(access_key_id=f"ASIA-{arn}", secret_access_key="s", session_token="t", expires_at=end)

        monkeypatch.setattr(Role, "_assume", assume)


ROLES = [
    ({"profile": "exports"}, [("exports", "AKIDCRM", "nightly partner")]),
    ({"profile": "twice"}, [("exports", "AKIDCRM", "nightly partner"), ("second", "ASIA-exports", "connrunner-crm")]),
    ({"profile": "self"}, [("self", "AKIDSELF", "connrunner-crm")]),
    ({**GIVEN, "role": "arn:x/given", "external_id": "id"}, [("given", "AKIDGIVEN", "connrunner-crm id")]),
    ({"role": "arn:x/plain"}, [("plain", "AKIDDEFAULT", "connrunner-crm")]),
    (
        {"profile": "exports", "role": "arn:x/on-top"},
        [("exports", "AKIDCRM", "nightly partner"), ("on-top", "ASIA-exports", "connrunner-crm")],
    ),
]


@pytest.mark.parametrize(("settings", "asked"), ROLES)
def test_roles(
    settings: dict[str, str],
    asked: list[tuple[str, str, str]],
    home: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Asked(monkeypatch)
    who = s3_keys.identity(settings, home, session="connrunner-crm")
    assert who.provider
    assert who.provider().access_key_id == f"ASIA-{asked[-1][0]}"
    who.provider()
    assert sorted(service.asked) == sorted(asked), "once, as long as the keys hold"


def test_a_role_is_renewed_before_its_keys_end(home: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    service = Asked(monkeypatch, lasts=timedelta(minutes=5, seconds=30))
    who = s3_keys.identity({"profile": "self"}, home, session="x")
    assert who.provider
    who.provider()
    who.provider()
    assert len(service.asked) == 2


@pytest.mark.parametrize("token", [None, "a-token+/="])
@pytest.mark.parametrize("url", ["https://sts.eu-west-1.amazonaws.com", "http://127.0.0.1:5000/"])
def test_the_signature_is_the_one_of_aws(url: str, token: str | None) -> None:
    now = datetime.now(UTC)
    keys = SigningKeys(access_key_id="AKID", secret_access_key="a/secret+key", session_token=token)
    ours = s3_role.sign_request(url, b"Action=AssumeRole&RoleArn=arn%3Aaws", keys, region="eu-west-1", now=now)
    asked = AWSRequest("POST", url, data=b"Action=AssumeRole&RoleArn=arn%3Aaws")
    asked.headers["Content-Type"] = ours["content-type"]
    asked.context["timestamp"] = ours["x-amz-date"]
    signer = SigV4Auth(Credentials("AKID", "a/secret+key", token), "sts", "eu-west-1")
    asked.headers["X-Amz-Date"] = ours["x-amz-date"]
    if token:
        asked.headers["X-Amz-Security-Token"] = token
    text = signer.string_to_sign(asked, signer.canonical_request(asked))
    assert ours["authorization"].endswith(f"Signature={signer.signature(text, asked)}")


def test_the_service_of_a_region(home: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Service] = []

    def assume(role: Any) -> SigningKeys:
        seen.append(role._service)
        return SigningKeys(access_key_id="a", secret_access_key="b")

    monkeypatch.setattr(Role, "_assume", assume)
    for region in ("eu-west-1", "cn-north-1"):
        who = s3_keys.identity({"role": "arn:x/y", "region": region}, home, session="s")
        assert who.provider
        who.provider()
    assert [service.endpoint for service in seen] == [
        "https://sts.eu-west-1.amazonaws.com",
        "https://sts.cn-north-1.amazonaws.com.cn",
    ]


# --- servers -----------------------------------------------------------------------------------------------------

SERVERS = [
    # settings,                          environment,                                         the server or what is wrong
    ({}, {}, "https://s3.eu-west-1.amazonaws.com"),
    ({}, {"AWS_ENDPOINT_URL": "https://a.example.com"}, "https://a.example.com"),
    ({}, {"AWS_ENDPOINT_URL": "https://a.example.com", "AWS_ENDPOINT_URL_S3": "https://b.example.com"}, "https://b.example.com"),
    ({"endpoint_url": "https://c.example.com:9000/"}, {"AWS_ENDPOINT_URL_S3": "https://b"}, "https://c.example.com:9000"),
    ({"endpoint_url": "https://c.example.com/storage/s3"}, {}, "https://c.example.com/storage/s3"),
    ({"endpoint_url": "http://localhost:9000"}, {}, "http://localhost:9000"),
    ({"endpoint_url": "http://127.8.9.1:9000"}, {}, "http://127.8.9.1:9000"),
    ({"endpoint_url": "http://[::1]:9000"}, {}, "http://[::1]:9000"),
    ({"endpoint_url": "http://minio.example.com"}, {}, "the endpoint http://minio.example.com is not safe"),
    ({"endpoint_url": "http://127.0.0.1.example.com"}, {}, "is not safe"),
    ({"endpoint_url": "http://169.254.169.254"}, {}, "is not safe"),
    ({}, {"AWS_ENDPOINT_URL": "http://minio.example.com"}, "is not safe"),
    ({"endpoint_url": "ftp://c.example.com"}, {}, "is not safe"),
    ({"endpoint_url": "https://me:hunter2hunter2@c.example.com"}, {}, "c.example.com is not an endpoint"),
    ({"endpoint_url": "https://c.example.com:99999"}, {}, "is not an endpoint"),
    ({"endpoint_url": "minio:9000"}, {}, "is not an endpoint"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "environment", "found"), SERVERS)
def test_servers(settings: dict[str, str], environment: dict[str, str], found: str) -> None:
    if " " not in found:
        assert s3_keys.endpoint(settings, environment, region="eu-west-1") == found
        return
    with pytest.raises(RunError, match=found) as caught:
        s3_keys.endpoint(settings, environment, region="eu-west-1")
    assert caught.value.code == "bad-endpoint"
    assert "hunter2" not in str(caught.value)


def test_words_of_a_server_are_made_harmless() -> None:
    text = f"status code: 400 <Code>Odd\x1b[31m</Code><Message>one\ntwo &lt;three&gt; \x07{'x' * 400}</Message>"
    fact = s3_errors.parse_error_facts(text)
    assert fact.message.startswith("one two <three> xxx")
    assert len(fact.message) < 310
    assert (fact.code + fact.message).isprintable()


# --- mistakes in a connection's file -----------------------------------------------------------------------------

FILE = """\
schedule: {{type: manual}}
{work}
"""
IMPORT = "import: {{from: {{type: s3, bucket: drop, path: x.csv{}}}, match: [id], fields: {{id: id}}}}"
EXPORT = "export: {{to: {{type: s3, bucket: drop, path: x.csv{}}}, fields: {{id: id}}}}"
MISTAKES = [
    (IMPORT, "", None),
    (EXPORT, ", overwrite: never", None),
    (IMPORT, ", after: move, move_to: done/", None),
    (IMPORT, ', access_key_id: "env:A", secret_access_key: "file:/run/secret", session_token: "env:T"', None),
    (IMPORT, ", endpoint_url: http://localhost:9000", None),
    (IMPORT, ', access_key_id: AKIDEXAMPLE, secret_access_key: "env:S"', "`access_key_id` holds a secret itself"),
    (EXPORT, ', access_key_id: "env:A"', "`access_key_id` needs `secret_access_key` beside it"),
    (IMPORT, ", after: move", "s3 connector with `after: move` needs `move_to`; add it, like `move_to: \"done/\"`"),
    (IMPORT, ", move_to: done/", "`move_to` needs `after` beside it"),
    (IMPORT, ", external_id: x", "`external_id` needs `role` beside it"),
    (IMPORT, ", after: remove", "`after` cannot be 'remove'; did you mean 'move'?"),
    (IMPORT, ", endpoint_url: http://minio.example.com", "is not an endpoint; write https://HOST; http:// is for this"),
    (EXPORT, ", region: EU West", "'EU West' is not a region; write it like eu-west-1"),
    (EXPORT, ", role: exports", "'exports' is not a role; write its ARN"),
    (EXPORT, ", overwrite: no", "`overwrite` cannot be 'no'; write replace or never"),
    (EXPORT, ", after: delete", "unknown key 'after' in s3 connector"),
]  # fmt: skip


@pytest.mark.parametrize(("work", "more", "problem"), MISTAKES)
def test_mistakes(work: str, more: str, problem: str | None, tmp_path: Path) -> None:
    (tmp_path / "connections").mkdir()
    (tmp_path / "connrunner.yaml").write_text("version: 1\n")
    (tmp_path / "profile.yaml").write_text("properties: {id: {type: text, identifier: true}}\n")
    (tmp_path / "connections" / "x.yaml").write_text(FILE.format(work=work.format(more)))
    found = [str(each) for each in load.load(tmp_path).problems]
    if problem is None:
        assert found == []
    else:
        assert len(found) == 1
        assert problem in found[0]
