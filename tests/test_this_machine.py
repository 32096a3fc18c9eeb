"""Who is this machine? One answer, for each who asks before something goes out without TLS, in YAML and in a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connrunner.config.load import load
from connrunner.connectors.http import url as http_url
from connrunner.connectors.s3 import keys
from connrunner.connectors.sql.database_url import address_of
from connrunner.errors import Problem, RunError, WorkspaceError
from connrunner.messenger.pinger import send_ping
from tests.conftest import Place

HERE = [
    *("localhost", "LocalHost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "127.255.255.254"),
    *("[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::0:1]", "[::ffff:127.0.0.1]"),
]
ELSEWHERE = [
    *("127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil-localhost", "127.0.0.1.", "127.1"),
    *("localhost.", "127.0.0.256", "127.0.0.1.1", "10.0.0.1", "0.0.0.0", "128.0.0.1", "db.example.com", "1127.0.0.1"),
    *("[::2]", "[::]", "[::1:1]", "[::ffff:10.0.0.1]", "[2001:db8::1]", "0x7f.1", "2130706433"),
]


def heartbeat(host: str) -> tuple[str, str]:
    return f'heartbeat: {{url: "http://{host}:9/x"}}\n', "command: {run: ['true']}\n"


def http(host: str) -> tuple[str, str]:
    return "", f'import: {{from: {{type: http, url: "http://{host}:9/x.csv"}}, match: [id], fields: {{id: id}}}}\n'


def token(host: str) -> tuple[str, str]:
    auth = f'{{type: oauth2, url: "http://{host}/t", client_id: x, client_secret: "env:X"}}'
    source = f'{{type: http, url: "https://h/x.csv", auth: {auth}}}'
    return "", f"import: {{from: {source}, match: [id], fields: {{id: id}}}}\n"


def s3(host: str) -> tuple[str, str]:
    source = f'{{type: s3, bucket: drop, path: x.csv, endpoint_url: "http://{host}:9"}}'
    return "", f"import: {{from: {source}, match: [id], fields: {{id: id}}}}\n"


def sql(host: str) -> tuple[str, str]:
    source = f'{{type: sql, url: "mssql+pymssql://u@{host}:9/x", table: t}}'
    return "", f"import: {{from: {source}, match: [id], fields: {{id: id}}}}\n"


def mail(host: str) -> tuple[str, str]:
    return f'mail: {{server: "smtp+plain://{host}:9", from: a@example.com}}\n', "command: {run: ['true']}\n"


def problems_of(place: Place) -> tuple[Problem, ...]:
    try:
        return load(place.folder).problems
    except WorkspaceError as error:
        return error.problems


USERS = [heartbeat, http, token, s3, sql, mail]


@pytest.mark.parametrize("host", [*HERE, *ELSEWHERE])
def test_validate_knows_this_machine(host: str, place: Place) -> None:
    """One workspace for each, with a connection for each connector."""
    place.write("profile.yaml", "properties: {id: {type: text, identifier: true}}\n")
    for user in USERS:
        workspace, connection = user(host)
        place.write("connrunner.yaml", f"version: 1\n{workspace}")
        place.write("connections/x.yaml", f"schedule: {{type: manual}}\n{connection}")
        found = problems_of(place)
        assert bool(found) is (host in ELSEWHERE), (user.__name__, found)


def asks_http(host: str, folder: Path) -> None:
    http_url.parse(f"http://{host}:9/")


def asks_s3(host: str, folder: Path) -> None:
    keys._trustworthy(f"http://{host}:9")


def asks_sql(host: str, folder: Path) -> None:
    address_of({"url": f"mssql+pymssql://u@{host}:9/x"}, folder)


def pings(host: str, folder: Path) -> None:
    url = f"http://{host}:1/x"
    reason = send_ping({"url": url, "sign": "success", "rid": "", "body": "", "about": "x"}, folder)
    if "could read" in reason:
        raise RunError(reason, code="no-tls")


@pytest.mark.parametrize("asks", [asks_http, asks_s3, asks_sql, pings])
@pytest.mark.parametrize("host", [*HERE, *ELSEWHERE])
def test_a_run_knows_this_machine(host: str, asks: Callable[[str, Path], Any], tmp_path: Path) -> None:
    if host in HERE:
        asks(host, tmp_path)
    else:
        with pytest.raises(RunError) as error:
            asks(host, tmp_path)
        assert error.value.code in ("no-tls", "bad-endpoint", "unverified", "bad-url")


LINK_LOCAL = ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "168.63.129.16", "[64:ff9b:1::a9fe:a9fe]"]


@pytest.mark.parametrize("host", LINK_LOCAL)
def test_validate_refuses_where_clouds_keep_their_secrets(host: str, place: Place) -> None:
    place.write("profile.yaml", "properties: {id: {type: text, identifier: true}}\n")
    source = {"type": "http", "url": f"https://{host}/x"}
    for more, codes in (({}, {"link-local"}), ({"allow_link_local": True}, set())):
        rows = json.dumps({"from": {**source, **more}, "match": ["id"], "fields": {"id": "id"}})
        place.write("connections/x.yaml", f"schedule: {{type: manual}}\nimport: {rows}\n")
        assert {problem.code for problem in problems_of(place)} == codes
    place.write("connections/x.yaml", "schedule: {type: manual}\ncommand: {run: ['true']}\n")
    place.write("connrunner.yaml", f'version: 1\nheartbeat: {{url: "https://{host}/x"}}\n')
    assert {problem.code for problem in problems_of(place)} == {"link-local"}
