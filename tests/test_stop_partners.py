"""Stopping imports and exports in the middle of their partners' answers: real servers, slow ones."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Place
from tests.servers import sftp
from tests.test_stop import me, stop
from tests.test_tick import eventually

pytestmark = [pytest.mark.slow, pytest.mark.long]


@dataclass
class Slow:
    """A partner on loopback that answers, but takes its time; nobody waits for it when the test is over."""

    taken: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@pytest.fixture
def slow() -> Iterator[Slow]:
    known = Slow()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/csv")
            self.end_headers()
            self.wfile.write(b"id,name\n1,Ann\n")
            self.wfile.flush()
            known.taken += 1
            known.over.wait()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if known.taken == 3:
                known.over.wait()
            known.taken += 1
            self.send_response(204)
            self.end_headers()

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                """The other side has gone, as it should."""

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_port}"
    yield known
    known.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def people(place: Place, rows: int) -> None:
    """Import so many people, who can be exported then."""
    place.write("in/people.csv", "id,name\n" + "".join(f"{number},P{number}\n" for number in range(rows)))
    place.write(
        "connections/file.yaml",
        "schedule: {type: manual}\nimport:\n  from: {type: files, path: in/people.csv}\n  match: [id]\n"
        "  fields: {id: id, name: name}\n",
    )
    place.run("run", "file")


def stopped(place: Place, name: str) -> dict[str, Any]:
    run = stop(place, name)
    assert (run["outcome"], run["code"]) == ("stopped", "stopped")
    assert run["message"].startswith(f"stopped by {me()}")
    assert run["counts"]["read"] == sum(
        run["counts"][each] for each in ("skipped", "filtered", "not_attempted", "checked")
    )
    assert not list(place.state.spool.iterdir())
    return run


def test_an_import_whose_partner_stalls(place: Place, slow: Slow) -> None:
    place.write(
        "connections/people.yaml",
        f'schedule: {{type: times_per_day, times: 1}}\nimport:\n  from: {{type: http, url: "{slow.url}/people.csv"}}\n'
        "  format: {type: csv}\n  match: [id]\n  fields: {id: id, name: name}\n",
    )
    tick = place.start("tick")
    eventually(lambda: slow.taken > 0)

    run = stopped(place, "people")
    tick.communicate(timeout=120)

    assert run["counts"]["created"] == 0


def test_an_export_in_batches_tells_how_many_had_arrived(place: Place, slow: Slow) -> None:
    people(place, 10)
    place.write(
        "connections/out.yaml",
        f'schedule: {{type: times_per_day, times: 1}}\nexport:\n  to: {{type: http, url: "{slow.url}/in", body: list, batch: 2}}\n'
        "  fields: {id: id}\n",
    )
    tick = place.start("tick")
    eventually(lambda: slow.taken >= 3)

    run = stopped(place, "out")
    tick.communicate(timeout=120)

    assert "6 of 10 rows had been delivered to " in run["message"]
    assert (run["counts"]["read"], run["counts"]["not_attempted"]) == (10, 10)
    slow.taken = 10
    done = json.loads(place.run("run", "out", "--format", "json").out)
    assert (done["outcome"], done["counts"]["created"]) == ("succeeded", 10)


def test_an_upload_leaves_nothing_half_written(
    place: Place, sftp_server: sftp.Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "server"
    (root / "out").mkdir(parents=True)
    (root / "out/people.csv").write_text("yesterday\n")
    sftp_server.mood.__init__(root=os.fsencode(root))  # type: ignore[misc]
    writing = threading.Event()

    async def linger(*_: object) -> None:
        writing.set()
        await asyncio.sleep(0.2)

    sftp_server.mood.before["write"] = linger
    monkeypatch.setenv("SFTP_PASSWORD", sftp.PASSWORD)
    people(place, 200_000)
    to = {
        "type": "sftp",
        "host": "127.0.0.1",
        "port": sftp_server.port,
        "username": "crm",
        "password": "env:SFTP_PASSWORD",
        "host_key": sftp_server.fingerprint,
        "path": "out/people.csv",
    }
    place.write(
        "connections/out.yaml",
        f"schedule: {{type: times_per_day, times: 1}}\nexport:\n  to: {json.dumps(to)}\n  format: {{type: csv}}\n"
        "  fields: {id: id, name: name}\n",
    )
    tick = place.start("tick")
    assert writing.wait(120)

    run = stopped(place, "out")
    tick.communicate(timeout=120)

    assert "it was delivering 200,000 rows to " in run["message"]
    assert [path.name for path in (root / "out").iterdir()] == ["people.csv"]
    assert (root / "out/people.csv").read_text() == "yesterday\n"
