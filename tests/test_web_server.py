"""The page as a process: how it starts, refuses to, streams, bears odd clients, and ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator

from connrunner.core import instant
from connrunner.scheduler import tick
from connrunner.state import requests
from tests.conftest import Place
from tests.test_cli import AT, ended, typed
from tests.web_client import WebClient

COMMAND = [sys.executable, "-m", "connrunner", "web"]
pytestmark = [pytest.mark.slow, pytest.mark.real_clock]

REFUSED = [
    # settings                                                        options                            words
    ('web: {listen: "0.0.0.0:0"}', ("--listen", "0.0.0.0:0"), "nothing says who may see the page"),
    ("", ("--listen", "[::]:0"), "nothing says who may see the page"),
    ("", ("--listen", "example.com:80"), "is not an address with a port"),
    ("", ("--listen", "127.0.0.1:99999"), "is not an address with a port"),
    ("", ("--listen", "127.0.0.1"), "is not an address with a port"),
    ('web: {tokens: {act: "env:NOT_SET"}}', ("--listen", "0.0.0.0:0"), "NOT_SET is not set"),
]


@pytest.mark.parametrize(("settings", "options", "words"), REFUSED)
def test_where_it_does_not_listen(place: Place, settings: str, options: tuple[str, ...], words: str) -> None:
    settings = settings.replace('listen: "0.0.0.0:0"', 'listen: "0.0.0.0:80"')
    place.write("connrunner.yaml", f"version: 1\n{settings}\n")
    code, _, err = typed(place, "web", *options)
    assert (code, words in err) == (2, True), err


def test_a_port_that_is_taken_is_said(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = typed(place, "web", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (code, "name another port" in err) == (2, True), err


@contextlib.contextmanager
def served(place: Place, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start the page; yield its process and port."""
    errors = place.folder.parent / "errors"
    with errors.open("w") as file:
        process = subprocess.Popen(
            [*COMMAND, "--listen", "127.0.0.1:0", *options],
            cwd=place.folder, stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip
    try:
        assert process.stdout
        address = process.stdout.readline()
        assert address.startswith("http://127.0.0.1:"), (address, errors.read_text())
        yield process, int(address.strip().rstrip("/").rpartition(":")[2])
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def running(place: Place) -> Place:
    """A workspace with one run, whose log ends."""
    place.command("a", "print()")
    place.command("b", "print()", schedule="{type: times_per_day, times: 4}")
    tick.Tick(place.folder, place.state, now=AT, say=lambda _: None).take_in()
    ended(place, "a", 1)
    add_lines(place, 3)
    return place


def add_lines(place: Place, count: int, *, end: bool = False) -> None:
    event = {"at": instant.text(AT), "level": "info", "message": "secret-in-a-log"}
    lines = [json.dumps(event)] * count
    if end:
        lines.append(json.dumps({"at": instant.text(AT), "type": "ended", "outcome": "succeeded", "message": ""}))
    with place.state.log("a", 1).open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


@pytest.mark.thorough
def test_a_log_is_followed_to_its_end_and_an_order_to_end_is_obeyed(running: Place) -> None:
    with served(running, "--access-log") as (process, port):
        with socket.create_connection(("127.0.0.1", port), timeout=600) as viewer:
            path = "/api/v1/connections/a/runs/1/log?after=1"
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nX-Token: person@example.com\r\n\r\n"
            viewer.sendall(head.encode())
            seen = read_until(viewer, b"id: 3\n")
            assert b"id: 2\n" in seen
            assert b"id: 1\n" not in seen
            add_lines(running, 2, end=True)
            assert b"event: end" in read_until(viewer, b"event: end")
        status, _ = ask(port, "/api/v1/connections/a/run", "POST", Content_Type="application/json")
        assert status == 202
        assert [one.connection for one in requests.read_run_requests(running.state)] == ["a"]
        with socket.create_connection(("127.0.0.1", port), timeout=600) as viewer:
            other = running.state.log("b", 1)
            other.parent.mkdir(parents=True)
            other.write_text("")
            ended(running, "b", 2)
            viewer.sendall(head.replace("?after=1", "").encode())
            read_until(viewer, b"event: end")
            process.send_signal(signal.SIGTERM)
            assert process.wait(600) == 0
    written = (running.folder.parent / "errors").read_text()
    assert "GET /api/v1/connections/{name}/runs/{number}/log 200" in written
    assert "Traceback" not in written
    for secret in ("person", "secret-in-a-log", "after=1"):
        assert secret not in written


def read_until(viewer: socket.socket, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        part = viewer.recv(1 << 16)
        assert part, seen
        seen += part
    return seen


@pytest.mark.thorough
def test_odd_clients_keep_nobody_from_the_page(running: Place) -> None:
    with served(running) as (process, port):
        with socket.create_connection(("127.0.0.1", port), timeout=600) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: ")  # and nothing more, for ever
            with socket.create_connection(("127.0.0.1", port), timeout=600) as wrong:
                wrong.sendall(b"\x16\x03\x01\x02\x00 no HTTP\r\n\r\n")
                answer = read_until(wrong, b"\r\n\r\n")
                assert b" 400 " in answer
                assert b"content-security-policy" in answer.lower()
            large = socket.create_connection(("127.0.0.1", port), timeout=600)
            with large, contextlib.suppress(ConnectionError):  # it stops reading
                large.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 4_000_000 + b"\r\n\r\n")
                assert b" 400 " in read_until(large, b"\r\n\r\n")
            assert ask(port, "/api/v1/queue")[0] == 200
            with contextlib.suppress(ConnectionResetError):
                assert slow.recv(100) == b""  # it is let go by itself
        assert process.poll() is None


@pytest.mark.thorough
def test_ten_thousand_connections(running: Place) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = min(10_000, (hard if hard != resource.RLIM_INFINITY else 20_000) - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(many + 200, hard)), hard))
    with served(running) as (process, port), contextlib.ExitStack() as opened:
        for number in range(many):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=600))
            if number % 2000 == 0:
                assert ask(port, "/api/v1/queue")[0] == 200
        assert ask(port, "/api/v1/queue")[0] == 200
        assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) < 700
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        assert peak < 120 * 1024


@pytest.mark.thorough
def test_a_schemathesis_of_the_interface(running: Place) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    client = WebClient(running.folder, now=AT)
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json)
    tried = [try_operation(client, result.ok()) for result in schema.get_all_operations()]
    assert len(tried) == 16
    assert sum(tried) >= 16 * 10


def try_operation(client: WebClient, operation: Any) -> int:
    """Send what can be made up for *operation*; return how much that was."""
    tried = 0

    @given(case=operation.as_strategy())
    @settings(
        max_examples=25,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def try_it(case: Any) -> None:
        nonlocal tried
        tried += 1
        check(client, operation, case)

    try_it()
    return tried


def check(client: WebClient, operation: Any, case: Any) -> None:
    """Send what was made up; the answer has to be one that the description allows."""
    made = case.as_transport_kwargs(base_url="http://127.0.0.1:8080")
    path = made["url"].removeprefix("http://127.0.0.1:8080")
    query = urlencode(made.get("params") or {}, doseq=True, errors="replace")
    content = json.dumps(made["json"]).encode() if "json" in made else b""
    method = str(made["method"])
    headers = {"content-type": "application/json"} if method == "POST" else {}
    answered = client.ask(method, unquote(path), content, query=query, headers=headers)
    described = operation.definition.raw["responses"]
    assert answered.status < 500, (method, path, query, content, answered.text)
    assert str(answered.status) in described, (method, quote(path), query, content, answered.text)
    kind = answered.headers["content-type"]
    content_of = described[str(answered.status)]["content"]
    assert kind in content_of, (kind, path)
    if kind.endswith("json"):
        whole = client.get("/openapi.json").json
        shape = {"components": whole["components"], **content_of[kind]["schema"]}
        errors = list(Draft202012Validator(shape).iter_errors(answered.json))
        assert errors == [], (path, errors[:3])
