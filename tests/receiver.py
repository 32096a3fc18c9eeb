"""A web server on this machine that keeps what it is sent, and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Got:
    """One request."""

    method: str
    path: str
    body: str


@dataclass
class Receiver:
    """What came in, and what to answer."""

    port: int = 0
    status: int = 200
    location: str = ""  # where it says to go
    got: list[Got] = field(default_factory=list)
    hold: threading.Event | None = None  # no answer before it is set
    came: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, count: int, seconds: float = 120) -> list[Got]:
        """Return what came in, when it is *count* requests."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.got) >= count, seconds), self.got
        return self.got


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            with receiver.came:
                receiver.got.append(Got(self.command, self.path, body))
                receiver.came.notify_all()
            if receiver.hold is not None:
                receiver.hold.wait()
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            if receiver.location:
                self.send_header("location", receiver.location)
            self.end_headers()

        do_GET = do_POST = answer  # noqa: N815 - http.server's

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    try:
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
