"""A real server of S3's language in this process, and a way to it that fails in the ways that servers and lines do."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from moto.moto_api._internal.models import moto_api_backend
from moto.s3.models import S3Backend, s3_backends
from moto.server import ThreadedMotoServer

ACCOUNT = "123456789012"
KEYS = {"access_key_id": "AKIDEXAMPLE00001", "secret_access_key": "a-secret-of-the-test"}


@contextmanager
def running() -> Iterator[Faulty]:
    """Run the server, and before it the one that fails when it is told to."""
    behind = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    behind.start()
    with Faulty(behind.get_host_and_port()) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    behind.stop()


def empty() -> S3Backend:
    """Return the server's side of the wire, with an empty bucket `drop`."""
    moto_api_backend.reset()
    backend: S3Backend = s3_backends[ACCOUNT]["aws"]
    backend.create_bucket("drop", "us-east-1")
    return backend


def there(backend: S3Backend) -> dict[str, bytes]:
    """Return what is in the bucket."""
    return {key: found.value for key, found in backend.get_bucket("drop").keys.items()}


@contextmanager
def checking_keys(*actions: str) -> Iterator[dict[str, str]]:
    """Have the server check signatures and rights, and give the keys of a user who may do *actions*."""
    from moto import settings
    from moto.core.authorization import ActionAuthenticatorMixin
    from moto.iam.models import iam_backends

    iam = iam_backends[ACCOUNT]["aws"]
    iam.create_user("us-east-1", "partner")
    rights = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]
    iam.put_user_policy("partner", "rights", json.dumps({"Version": "2012-10-17", "Statement": rights}))
    made = iam.create_access_key("partner")
    before = settings.INITIAL_NO_AUTH_ACTION_COUNT
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    ActionAuthenticatorMixin.request_count = 0
    yield {"access_key_id": made.access_key_id, "secret_access_key": made.secret_access_key}
    settings.INITIAL_NO_AUTH_ACTION_COUNT = before


class Faulty(ThreadingHTTPServer):
    """Hands requests on to the real server, unless a fault is due; keeps what was asked."""

    daemon_threads = True

    def __init__(self, behind: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = behind
        self.faults: list[Callable[[Handler], bool]] = []  # each is asked once, in order; True: it took the request
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def forget(self) -> None:
        self.faults, self.asked, self.headers = [], [], []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Faulty

    def log_message(self, *_: Any) -> None: ...

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def hand_on(self) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.server.behind, timeout=10)
        try:
            sent = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request(self.command, self.path, body=self.body() or None, headers=sent)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])

    def _any(self) -> None:
        self.server.asked.append((self.command, self.path))
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.faults and self.server.faults.pop(0)(self):
            return
        self.answer(*self.hand_on())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any  # noqa: N815


# What can go wrong with one request.


def says(status: int, code: str = "", more: str = "", **headers: str) -> Callable[[Handler], bool]:
    def fault(handler: Handler) -> bool:
        handler.body()
        text = f"<Error><Code>{code}</Code><Message>said by the server</Message>{more}</Error>" if code else ""
        names = [(name.replace("_", "-"), value) for name, value in headers.items()]
        handler.answer(status, names, b"" if handler.command == "HEAD" else text.encode())
        return True

    return fault


def gives(text: str, status: int = 200) -> Callable[[Handler], bool]:
    def fault(handler: Handler) -> bool:
        handler.body()
        handler.answer(status, [("Content-Type", "application/json")], text.encode())
        return True

    return fault


def cut(handler: Handler) -> bool:
    """Send the first half of an answer, then hang up."""
    status, headers, body = handler.hand_on()
    handler.answer(status, headers, body, cut=len(body) // 2)
    handler.close_connection = True
    return True


def stall(handler: Handler) -> bool:
    """Send the first half of an answer, then nothing."""
    status, headers, body = handler.hand_on()
    handler.answer(status, headers, body, cut=len(body) // 2)
    time.sleep(3)
    handler.close_connection = True
    return True


def lose(handler: Handler) -> bool:
    """Do what was asked, and hang up without an answer."""
    handler.hand_on()
    handler.close_connection = True
    return True


def late(handler: Handler) -> bool:
    """Do what was asked, and answer when nobody waits any more."""
    done = lose(handler)
    time.sleep(0.8)
    return done


def sleep(handler: Handler) -> bool:
    """Take a request, and do nothing about it."""
    handler.body()
    time.sleep(1)
    handler.close_connection = True
    return True


def well(_handler: Handler) -> bool:
    return False


def then(change: Callable[[], Any], fault: Callable[[Handler], bool] = well) -> Callable[[Handler], bool]:
    """Let something else happen in the bucket, right before this request is answered, or after half of it was."""

    def both(handler: Handler) -> bool:
        if fault is well:
            change()
            return False
        done = fault(handler)
        change()
        return done

    return both
