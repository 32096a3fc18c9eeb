"""How long does an import into PostgreSQL take, next to COPY of the same file into a table of texts on the same server?

    python -m benchmarks.import_postgresql URL [ROWS] [--repeat N]

URL is that of a superuser of a server on this machine that may be used for nothing else. The people are those of
`import_rows`: of ROWS rows (1,000,000) 70 % change nothing, 20 % change something, 8 % are new and 2 % are flawed. Beside
that: a file of the stored people of whom 5 % changed, and one of 10,000 rows. CPU is that of the client and of all of
the server's processes. The counters must be what the generator says. The goals are at most 9 times the COPY, 6.5 times
and 3.5 times, and at most 3 times the embedded store.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import psycopg

from benchmarks import people
from benchmarks.import_rows import PROPERTIES, Silent, generate
from connrunner.core.model import Field, Format, Import, LocalFile, ProfileModel
from connrunner.profiles.jobs import ImportJob, RunStamp
from connrunner.profiles.stores.duckdb import open_store
from connrunner.profiles.stores.postgres_database import DatabasePlace
from connrunner.profiles.stores.postgresql import open_database_store

BASE, TRIAL = "connrunner_base", "connrunner_trial"
GOALS = {"changed 20 %": 9.0, "changed 5 %": 6.5, "delta": 3.5}
EMBEDDED = 3.0
DELTA = 10_000
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one import or COPY took: of the client and of the server."""

    seconds: float
    client: float
    server: float
    mib: float

    @property
    def cpu(self) -> float:
        return self.client + self.server


def run_import(store: str, file: Path, run: int, folder: Path) -> dict[str, int]:
    """Import *file* into *store*, a URL or the path of an embedded one; return the counters that are not zero."""
    properties = {one.name: one for one in PROPERTIES}
    work = Import(
        source={},
        format=Format(),
        match=(("customer_id",),),
        fields=tuple(Field(property=name, column=name) for name in properties),
    )
    local = LocalFile(path=str(file), name=file.name, size=file.stat().st_size, modified=str(file.stat().st_mtime_ns))
    model, temp = ProfileModel(properties=properties), folder / "temp"
    opened = (
        open_database_store(
            DatabasePlace(url=store, schema="bench", folder=folder, beside=folder / "x"),
            model,
            temp=temp,
            report=Silent(),
        )
        if "://" in store
        else open_store(Path(store), model, temp=temp, report=Silent())
    )
    with opened as profiles:
        stamp = RunStamp(connection="benchmark", run=run, at=datetime.now(UTC))
        job = ImportJob(work=work, files=[local], stamp=stamp, rejects=folder / "rejects.jsonl")
        done = profiles.import_files(job)
    return {name: count for name, count in done.counts.as_dict().items() if count}


def read_server_cpu(postmaster: int) -> float:
    """Return the seconds that the server's processes, those that ended among them, have worked."""
    total = 0.0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            facts = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(folder.name) == postmaster:
            total += sum(map(int, facts[11:15]))
        elif int(facts[1]) == postmaster:
            total += sum(map(int, facts[11:13]))
    return total / TICKS


def measure(postmaster: int, *arguments: str) -> tuple[Cost, dict[str, int]]:
    """Run this module anew with *arguments*; return what that took and the counters."""
    before, started = read_server_cpu(postmaster), time.perf_counter()
    command = [sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    time.sleep(0.2)  # the server counts a process once it is gone
    server = read_server_cpu(postmaster) - before
    cost = Cost(seconds=seconds, client=usage.ru_utime + usage.ru_stime, server=server, mib=usage.ru_maxrss / 1024)
    return cost, json.loads(said)


def write_others(folder: Path, rows: int) -> None:
    """Write the other files. COPY takes no row that lacks a value, so such rows get one that is as wrong."""
    path = folder / "import.csv"
    lines = [line if line.count(",") == len(PROPERTIES) - 1 else line.rstrip("\n") + ",maybe\n" for line in path.open()]
    path.write_text("".join(lines))
    people.write_changed(folder / "stored.csv", folder / "daily.csv", part=0.05)
    with path.open() as source:
        (folder / "delta.csv").write_text("".join(islice(source, min(DELTA, rows) + 1)))


def compare(url: str, rows: int, repeat: int, folder: Path) -> bool:
    """Measure each case in turns with COPY and the embedded store, print, and return whether the goals are met."""
    truth = generate(rows, folder, ordered=False)
    write_others(folder, rows)
    with psycopg.connect(url, autocommit=True) as admin:
        row = admin.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        postmaster = int(Path(f"/proc/{row[0]}/stat").read_text().rpartition(") ")[2].split()[1])
        for name in (TRIAL, BASE):
            admin.execute(f"DROP DATABASE IF EXISTS {name}".encode())
        admin.execute(f"CREATE DATABASE {BASE} TEMPLATE template0 ENCODING 'UTF8'".encode())
        base, trial = _with_database(url, BASE), _with_database(url, TRIAL)
        run_import(base, folder / "stored.csv", 1, folder)
        embedded = folder / "base" / "profiles.duckdb"
        run_import(str(embedded), folder / "stored.csv", 1, folder)
        with psycopg.connect(base, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")

        def begin_anew() -> None:
            admin.execute(f"DROP DATABASE IF EXISTS {TRIAL}".encode())
            admin.execute(f"CREATE DATABASE {TRIAL} TEMPLATE {BASE}".encode())
            shutil.rmtree(folder / "trial", ignore_errors=True)
            shutil.copytree(embedded.parent, folder / "trial")
            admin.execute("CHECKPOINT")

        holds = [
            _compare_one(case, folder / name, folder, trial, postmaster, repeat, begin_anew, truth if not at else None)
            for at, (case, name) in enumerate(zip(GOALS, ("import.csv", "daily.csv", "delta.csv"), strict=True))
        ]
        for name in (TRIAL, BASE):
            admin.execute(f"DROP DATABASE IF EXISTS {name}".encode())
    return all(holds)


def _compare_one(
    case: str,
    file: Path,
    folder: Path,
    trial: str,
    postmaster: int,
    repeat: int,
    begin_anew: Callable[[], None],
    truth: dict[str, int] | None,
) -> bool:
    found: dict[str, list[Cost]] = {"COPY": [], "PostgreSQL": [], "DuckDB": []}
    for _ in range(repeat):
        begin_anew()
        found["COPY"].append(measure(postmaster, "benchmarks.copy_rows", trial, str(file))[0])
        counters = []
        for name, store in (("PostgreSQL", trial), ("DuckDB", str(folder / "trial" / "profiles.duckdb"))):
            cost, counts = measure(
                postmaster, "benchmarks.import_postgresql", "--import", store, str(file), str(folder)
            )
            found[name].append(cost)
            counters.append(counts)
        if counters[0] != counters[1] or (truth is not None and counters[0] != truth):
            raise SystemExit(f"the counters are {counters}, and should be {truth}")
    print(f"{case}: {counters[0]}")
    print(f"{'':12}{'seconds':>10}{'client':>10}{'server':>10}{'CPU s':>10}{'MiB':>8}")
    for name, costs in found.items():
        values = [statistics.median(getattr(one, what) for one in costs) for what in ("seconds", "client", "server")]
        cpu, mib = (statistics.median(getattr(one, what) for one in costs) for what in ("cpu", "mib"))
        print(f"{name:12}" + "".join(f"{value:10.2f}" for value in (*values, cpu)) + f"{mib:8.0f}")

    def ratio(what: str, other: str) -> float:
        pairs = zip(found["PostgreSQL"], found[other], strict=True)
        return float(statistics.median(getattr(one, what) / getattr(two, what) for one, two in pairs))

    wall, cpu, beside = ratio("seconds", "COPY"), ratio("cpu", "COPY"), ratio("cpu", "DuckDB")
    print(
        f"{cpu:.1f} times the CPU of COPY and {wall:.1f} its time, of {GOALS[case]:g}; {beside:.1f} times the embedded",
        flush=True,
    )
    return max(wall, cpu) <= GOALS[case] and beside <= EMBEDDED


def _with_database(url: str, name: str) -> str:
    place, _, query = url.partition("?")
    return f"{place.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", nargs="?")
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3, help="how often each side is measured; the median counts")
    parser.add_argument("--import", nargs=3, metavar=("STORE", "FILE", "FOLDER"), dest="job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        store, file, folder = arguments.job
        print(json.dumps(run_import(store, Path(file), 2, Path(folder))))
    else:
        with tempfile.TemporaryDirectory(prefix="import-postgresql-") as folder:
            sys.exit(0 if compare(arguments.url, arguments.rows, arguments.repeat, Path(folder)) else 1)


if __name__ == "__main__":
    main()
