"""How long does an export to Salesforce take beside a loop that sends the same bytes, and does its memory grow?

python -m benchmarks.salesforce [ROWS]      (default: 100000, and ten times as many for the memory)

The partner is the double of the tests, in a process of its own. The loop signs in, makes a job for the same bytes,
uploads and closes it, waits, and reads the three sets of results; it checks nothing, and knows no row.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

COLUMNS = ("Crm_Id__c", "LastName", "FirstName", "Email", "Title", "Phone", "Newsletter__c")
TRIES = 3


def serve() -> None:
    """Be the double: print the URL, and live until standard input ends."""
    from tests.servers import http
    from tests.servers.salesforce import Org

    with http.running() as server:
        org = Org(server.url(""), forgets=True)
        server.act = org
        print(server.url(""), flush=True)
        for line in sys.stdin:
            if line.strip() == "anew":
                org.__init__(server.url(""), forgets=True)  # type: ignore[misc]
                print("done", flush=True)
            elif line.strip() == "work":
                print(time.process_time(), flush=True)


def write_rows(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.write(",".join(COLUMNS) + "\n")
        for number in range(rows):
            file.write(
                f"k{number:09},Name {number},Ann,person{number}@example.com,Reader,+31 6 {number:08},{'true' if number % 3 else 'false'}\n"
            )


def export(url: str, path: Path, batch: int) -> float:
    """Return the seconds that the connector takes."""
    from connrunner.connectors import RunContext, salesforce
    from connrunner.core.model import Property, PropertyType
    from connrunner.core.report import NullReport

    kinds = {"Newsletter__c": PropertyType.BOOLEAN, "Email": PropertyType.EMAIL}
    columns = {
        one: Property(name=one, type=kinds.get(one, PropertyType.TEXT), identifier=one == "Crm_Id__c")
        for one in COLUMNS
    }
    with tempfile.TemporaryDirectory() as folder:
        spool = Path(folder)
        context = RunContext(
            connection="bench", run=1, at=datetime.now(UTC), workspace=spool, spool=spool, programs=spool, report=NullReport(),
            columns=columns, ledger=spool / "ledgers" / "bench",
        )  # fmt: skip
        settings = {
            **settings_of(url),
            "object": "Contact",
            "external_id": "Crm_Id__c",
            "batch": batch,
            "timeout": "30m",
        }
        began = time.perf_counter()
        done = salesforce.deliver(settings, context, path)
        seconds = time.perf_counter() - began
    assert done.refused == (), done.refused[:3]
    return seconds


def settings_of(url: str) -> dict[str, str]:
    from tests.servers.salesforce import CLIENT, SECRET

    return {"type": "salesforce", "login_url": url, "client_id": CLIENT, "client_secret": SECRET}


def post(url: str, path: Path, batch: int) -> float:
    """Return the seconds that a plain loop takes for the same bytes."""
    import urllib3

    from tests.servers.salesforce import CLIENT, SECRET

    header, *lines = path.read_bytes().splitlines(keepends=True)
    bodies = [header + b"".join(lines[start : start + batch]) for start in range(0, len(lines), batch)]
    began = time.perf_counter()
    pool = urllib3.PoolManager()
    form = f"grant_type=client_credentials&client_id={CLIENT}&client_secret={SECRET.replace(' ', '+')}"
    token = pool.request("POST", f"{url}/services/oauth2/token", body=form).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"}
    jobs = f"{url}/services/data/v67.0/jobs/ingest"
    said = {
        "object": "Contact",
        "operation": "upsert",
        "externalIdFieldName": "Crm_Id__c",
        "contentType": "CSV",
        "lineEnding": "LF",
    }
    for body in bodies:
        job = pool.request("POST", jobs, json=said, headers=headers).json()["id"]
        pool.request("PUT", f"{jobs}/{job}/batches", body=body, headers={**headers, "Content-Type": "text/csv"})
        pool.request("PATCH", f"{jobs}/{job}", json={"state": "UploadComplete"}, headers=headers)
        while pool.request("GET", f"{jobs}/{job}", headers=headers).json()["state"] != "JobComplete":
            time.sleep(0.1)
        for which in ("successfulResults", "failedResults", "unprocessedrecords"):
            assert pool.request("GET", f"{jobs}/{job}/{which}", headers=headers).data
    return time.perf_counter() - began


class Double:
    """The double in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._process.stdout
        self.url = self._process.stdout.readline().strip()

    def empty(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("anew\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def worked(self) -> float:
        """Return the seconds for which its processors worked so far."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("work\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate("")


def alone(what: str, url: str, path: Path, batch: int, *, work: bool = False) -> tuple[float, float]:
    """Return the seconds (of its processors, with *work*) and the greatest memory (MB) of one way by itself."""
    done = subprocess.run(
        [sys.executable, __file__, f"--{what}", url, str(path), str(batch)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    seconds, memory, worked = json.loads(done.stdout.splitlines()[-1])
    return worked if work else seconds, memory


def measure(double: Double, path: Path, batch: int) -> tuple[list[float], list[float], float]:
    """Return the seconds of both ways, taken in turn, and the memory of the connector."""
    ours, plain, memory = [], [], 0.0
    for _ in range(TRIES):
        double.empty()
        plain.append(alone("post", double.url, path, batch)[0])
        double.empty()
        seconds, memory = alone("export", double.url, path, batch)
        ours.append(seconds)
    return ours, plain, memory


def describe_work(double: Double, path: Path, batch: int) -> str:
    """Return how much the processors of both sides worked for one export."""
    double.empty()
    before = double.worked()
    own = alone("export", double.url, path, batch, work=True)[0]
    theirs = double.worked() - before
    return f"the partner {theirs:.2f} s, the connector {own:.2f} s: {theirs / (theirs + own):.0%}"


def main(arguments: Sequence[str]) -> None:
    rows = int(arguments[0]) if arguments else 100_000
    batch = 100_000
    double = Double()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write_rows(path, rows)
        ours, plain, memory = measure(double, path, batch)
        part = statistics.median(one / other for one, other in zip(plain, ours, strict=True))
        print(f"{rows:,} rows: export {statistics.median(ours):.2f} s, plain loop {statistics.median(plain):.2f} s")
        print(f"the partner's own part: {part:.0%} (goal: at least 80 %)")
        print(f"in seconds of processors, which a busy machine does not change: {describe_work(double, path, batch)}")
        write_rows(path, rows * 10)
        double.empty()
        seconds, more = alone("export", double.url, path, batch)
        print(f"memory: {memory:.0f} MB with {rows:,} rows, {more:.0f} MB with {rows * 10:,} ({seconds:.1f} s)")
    double.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve()
    elif sys.argv[1:2] in (["--export"], ["--post"]):
        work = export if sys.argv[1] == "--export" else post
        before = time.process_time()
        taken = work(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
        worked = time.process_time() - before
        print(json.dumps([taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, worked]))
    else:
        main(sys.argv[1:])
