"""How fast an export to Meta is, and how much memory it takes, beside a plain loop that posts the same number of bytes.

    python -m benchmarks.meta [--rows 100000] [--rows 1000000] [--service-time 1.0]

The partner is the double of tests/servers/meta.py in a process of its own, over TLS on this machine. Of Meta nobody knows
how long a request of 10,000 rows takes; the double takes --service-time seconds for it, beside the work of reading it.
The plain loop posts bodies that are ready: no rows are read, hashed or remembered there. Each figure is from a process of
its own; `part` is how much of the time was the double's own. On a machine that others use, too, waiting for a processor counts
as well, so `CPU` says what the process used, `its CPU` what the double used (and what it made believe to), and `of CPU` how much
of both together was the double's: as if nothing were done at the same time, though rows are made ready while a batch is away.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import trustme
import urllib3

from connrunner.connectors import RunContext, meta
from connrunner.connectors.meta.member_rows import KeyMapping, compose_body, prepare_rows
from connrunner.core.report import NullReport
from tests.servers.http import running
from tests.servers.meta import ACCOUNT, MetaDouble

TOKEN = "token-of-a-benchmark"
KEYS = {
    "id": "EXTERN_ID",
    "email": "EMAIL",
    "phone": "PHONE",
    "first": "FN",
    "last": "LN",
    "born": ["DOBY", "DOBM", "DOBD"],
}
BATCH = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--service-time", type=float, default=1.0, help="seconds that the double takes for 10,000 rows")
    arguments = parser.parse_args()
    print(
        f"{'rows':>10} {'what':10} {'seconds':>8} {'CPU':>6} {'double':>8} {'part':>6} {'its CPU':>8} {'of CPU':>6} {'memory MB':>10}"
    )
    for rows in arguments.rows or [100_000]:
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "rows.jsonl"
            _make_rows(local, rows)
            for what in ("plain loop", "meta"):
                seconds, cpu, (busy, worked), memory = _measure(what, Path(folder), local, arguments.service_time)
                worked += arguments.service_time * rows / BATCH
                part, share = f"{busy / seconds:.0%}", f"{worked / (worked + cpu):.0%}"
                print(
                    f"{rows:>10,} {what:10} {seconds:>8.2f} {cpu:>6.2f} {busy:>8.2f} {part:>6} {worked:>8.2f} {share:>6} {memory:>10.0f}",
                    flush=True,
                )


def _make_rows(path: Path, rows: int) -> None:
    with path.open("w") as file:
        for number in range(rows):
            row = {
                "id": str(number),
                "email": f"person-{number}@example.com",
                "phone": f"06{number:08}",
                "first": f"Anna{number % 999}",
                "last": f"de Vries{number % 9999}",
                "born": "1985-03-09",
                "deleted": False,
                "profile_key": f"store-{number}",
            }
            file.write(json.dumps(row, separators=(",", ":")) + "\n")


def _measure(
    what: str, folder: Path, local: Path, service_time: float
) -> tuple[float, float, tuple[float, float], float]:
    """Return the seconds that it took, of the CPU too, both of the double, and the megabytes of memory."""
    with _double(folder, service_time) as (url, busy):
        ours, theirs = multiprocessing.Pipe()
        work = multiprocessing.get_context("spawn").Process(target=_work, args=(what, folder, local, url, theirs))
        work.start()
        seconds, cpu, memory = ours.recv()
        work.join()
        return seconds, cpu, busy(), memory


def _work(what: str, folder: Path, local: Path, url: str, out: Connection) -> None:
    mapping = KeyMapping.from_settings({"keys": KEYS, "country": "NL"})
    bodies = list(_bodies(local, mapping)) if what == "plain loop" else []
    start, used = time.monotonic(), time.process_time()
    if what == "plain loop":
        _post(url, folder, bodies)
    else:
        settings = {
            "type": "meta",
            "account": ACCOUNT,
            "audience": "Readers",
            "token": TOKEN,
            "keys": KEYS,
            "country": "NL",
            "graph_url": url,
            "ca_file": "ca.pem",
        }
        context = RunContext(
            connection="audience",
            run=1,
            at=datetime.now(UTC),
            workspace=folder,
            spool=folder,
            programs=folder,
            ledger=folder / "ledgers" / str(time.monotonic_ns()),
            report=NullReport(),
        )
        meta.deliver(settings, context, local)
    out.send(
        (
            time.monotonic() - start,
            time.process_time() - used,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )
    )


def _bodies(local: Path, mapping: KeyMapping) -> Iterator[bytes]:
    for number, some in enumerate(prepare_rows(local, BATCH, mapping), 1):
        session = {"session_id": 1, "batch_seq": number, "last_batch_flag": False, "estimated_num_total": 1}
        yield compose_body([one for rows in some.wanted.values() for one in rows], session)


def _post(url: str, folder: Path, bodies: list[bytes]) -> None:
    with urllib3.PoolManager(ca_certs=str(folder / "ca.pem")) as pool:
        for body in bodies:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = pool.request("POST", f"{url}/v26.0/1/users", body=body, headers=headers)
            if answer.status != 200:
                raise SystemExit(answer.data.decode())


@contextmanager
def _double(folder: Path, service_time: float) -> Iterator[tuple[str, Any]]:
    """Run the double in a process of its own; yield its address, and what returns for how long it worked, by CPU too."""
    ours, theirs = multiprocessing.Pipe()
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA).private_key_and_cert_chain_pem.write_to_path(
        str(folder / "server.pem")
    )
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, service_time, theirs))
    process.start()
    url = ours.recv()

    def busy() -> tuple[float, float]:
        ours.send("busy")
        found: tuple[float, float] = ours.recv()
        return found

    yield url, busy
    ours.send("end")
    process.join()


def _serve(folder: Path, service_time: float, out: Connection) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(folder / "server.pem"))
    double = MetaDouble(TOKEN, seconds_per_row=service_time / BATCH)
    double.keeps_rows = False
    double.hold("Readers", "1")
    with running(context) as server:
        server.act = double.act
        server.asked = _Forgetful()
        out.send(server.url(""))
        while out.recv() == "busy":
            out.send((double.busy, time.process_time()))


class _Forgetful(list[Any]):
    """Keeps no request: a million rows would stay in memory."""

    def append(self, item: Any) -> None:
        pass


if __name__ == "__main__":
    main()
