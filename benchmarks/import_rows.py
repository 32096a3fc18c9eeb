"""How long does an import take, next to DuckDB merely reading the same file?

    python benchmarks/import_rows.py [ROWS] [--repeat N] [--identifiers] [--ordered]

A store holds most of the people of a CSV file of ROWS rows (1,000,000) and 12 columns already: of the rows, 70 % change
nothing, 20 % change something, 8 % are new and 2 % are flawed. The rows come in an order of their own, as exports of other
systems do; with --ordered they come in the order in which the store has them. Each figure is of a fresh process, with its start. The
counters of the import must be what the generator says they are. The promise is at most 3 times the reading into a table
of texts, in at most 700 MiB.
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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import people
from connrunner.core.model import Field, Format, Import, LocalFile, ProfileModel, Property, PropertyType
from connrunner.core.report import Level
from connrunner.profiles.jobs import ImportJob, RunStamp
from connrunner.profiles.stores.duckdb import open_store

MOST_TIMES = 3.0
MOST_MIB = 700

PROPERTIES = (
    Property(name="customer_id", identifier=True, personal=False),
    Property(name="email", type=PropertyType.EMAIL),
    Property(name="first_name"),
    Property(name="last_name"),
    Property(name="phone"),
    Property(name="city"),
    Property(name="country", personal=False),
    Property(name="birthday", type=PropertyType.DATE),
    Property(name="signed_up", type=PropertyType.DATETIME),
    Property(name="lifetime_value", type=PropertyType.DECIMAL),
    Property(name="orders", type=PropertyType.INTEGER),
    Property(name="active", type=PropertyType.BOOLEAN),
)


class Silent:
    """A report that nobody reads."""

    def message(self, text: str, *, level: Level = "info", **facts: object) -> None:
        pass

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took."""

    seconds: float
    cpu: float
    mib: float


def generate(rows: int, folder: Path, *, ordered: bool) -> dict[str, int]:
    """Write `stored.csv` and `import.csv` of *rows* rows to *folder*; return the counters that the import must have."""
    people.write_stored(folder / "stored.csv", rows)
    people.write_import(folder / "import.csv", rows, ordered=ordered)
    return {"read": rows, "checked": rows, **people.count_kinds(rows)}


def run_import(store: Path, file: Path, run: int, *, unique_email: bool) -> dict[str, int]:
    """Import *file* and return the counters that are not zero."""
    properties = {one.name: one for one in PROPERTIES}
    if unique_email:
        properties["email"] = Property(name="email", type=PropertyType.EMAIL, identifier=True)
    work = Import(
        source={},
        format=Format(),
        match=(("customer_id",),),
        fields=tuple(Field(property=name, column=name) for name in properties),
    )
    status = file.stat()
    local = LocalFile(path=str(file), name=file.name, size=status.st_size, modified=str(status.st_mtime_ns))
    model = ProfileModel(properties=properties)
    with open_store(store, model, temp=store.parent / "temp", report=Silent()) as opened:
        stamp = RunStamp(connection="benchmark", run=run, at=datetime.now(UTC))
        rejects = store.parent / "rejects.jsonl"
        done = opened.import_files(ImportJob(work=work, files=[local], stamp=stamp, rejects=rejects))
    return {name: count for name, count in done.counts.as_dict().items() if count}


def run_read(file: Path) -> int:
    """Read *file* into a table of texts, as DuckDB does it best, and return how many rows there are."""
    import duckdb

    connection = duckdb.connect()
    columns = ", ".join(f"{one.name}: 'VARCHAR'" for one in PROPERTIES)
    connection.execute(
        f"CREATE TABLE texts AS SELECT * FROM read_csv('{file}', auto_detect = false, header = true, delim = ',',"
        f" quote = '\"', escape = '\"', strict_mode = false, null_padding = true, columns = {{{columns}}})"
    )
    found = connection.execute("SELECT count(*) FROM texts").fetchone()
    connection.close()
    assert found is not None
    return int(found[0])


def measured(*arguments: str) -> tuple[Cost, str]:
    """Run this script anew with *arguments* and return what that took, and what it printed."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with status {process.returncode}")
    cost = Cost(
        seconds=time.perf_counter() - started,
        cpu=usage.ru_utime + usage.ru_stime,
        mib=usage.ru_maxrss / 1024,
    )
    return cost, said


def compare(rows: int, repeat: int, *, unique_email: bool, ordered: bool, folder: Path) -> bool:
    """Measure, print both sides and return whether the promise holds."""
    truth = generate(rows, folder, ordered=ordered)
    store, again = folder / "store" / "profiles.duckdb", ["--identifiers"] if unique_email else []
    run_import(store, folder / "stored.csv", 1, unique_email=unique_email)
    pairs = list(_pairs(store, folder, repeat, again, truth))
    print(f"{rows:,} rows x {len(PROPERTIES)} columns, {(folder / 'import.csv').stat().st_size / 2**20:.0f} MiB")
    print(f"{'':12}{'seconds':>10}{'CPU s':>10}{'peak MiB':>10}")
    for name, costs in (("read", [one for one, _ in pairs]), ("import", [one for _, one in pairs])):
        print(f"{name:12}{_middle(costs, 'seconds'):10.2f}{_middle(costs, 'cpu'):10.2f}{_middle(costs, 'mib'):10.0f}")
    times = statistics.median(there.seconds / here.seconds for here, there in pairs)
    work = statistics.median(there.cpu / here.cpu for here, there in pairs)
    peak = max(there.mib for _, there in pairs)
    holds = times <= MOST_TIMES and peak <= MOST_MIB
    print(f"{times:.2f} times the reading (CPU {work:.2f}), of at most {MOST_TIMES:g}; {peak:.0f} of {MOST_MIB} MiB")
    print("counters: " + ", ".join(f"{name} {count:,}" for name, count in truth.items()))
    return holds


def _pairs(
    store: Path, folder: Path, repeat: int, again: list[str], truth: dict[str, int]
) -> Iterator[tuple[Cost, Cost]]:
    for _ in range(repeat):
        read, count = measured("--read", str(folder / "import.csv"))
        if int(count) != truth["read"]:
            raise SystemExit(f"DuckDB read {count} rows of {truth['read']}")
        copy = folder / "copy" / store.name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(store, copy)
        done, counters = measured("--import", str(copy), str(folder / "import.csv"), *again)
        if json.loads(counters) != truth:
            raise SystemExit(f"the counters are {counters.strip()}, and should be {json.dumps(truth)}")
        yield read, done


def _middle(costs: list[Cost], name: str) -> float:
    return float(statistics.median(getattr(one, name) for one in costs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3, help="how often each side is measured; the median counts")
    parser.add_argument("--identifiers", action="store_true", help="e-mail addresses are unique, too")
    parser.add_argument("--ordered", action="store_true", help="the file's rows stand in the order of the store")
    parser.add_argument("--read", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--import", nargs=2, metavar=("STORE", "FILE"), dest="store_and_file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(run_read(Path(arguments.read)))
    elif arguments.store_and_file:
        store, file = map(Path, arguments.store_and_file)
        print(json.dumps(run_import(store, file, 2, unique_email=arguments.identifiers)))
    else:
        with tempfile.TemporaryDirectory(prefix="import-rows-") as folder:
            holds = compare(
                arguments.rows,
                arguments.repeat,
                unique_email=arguments.identifiers,
                ordered=arguments.ordered,
                folder=Path(folder),
            )
        sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
