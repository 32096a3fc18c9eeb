"""One piece of work on rows, as a process of its own: what `benchmarks.rows` measures.

    python row_work.py read FILE | import STORE FILE RUN [email] | write STORE FILE | export STORE FILE | copy STORE FILE

`read` and `copy` are DuckDB by itself. FILE may be a folder of files; `email` makes the address an identifier that
finds profiles, too. An import prints its counters.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from benchmarks.import_rows import PROPERTIES, Silent, run_read
from connrunner.core.model import Export, Field, Format, Import, LocalFile, ProfileModel, Property, PropertyType
from connrunner.profiles.jobs import ExportJob, ImportJob, RunStamp
from connrunner.profiles.stores.duckdb import open_store

FORMATS = {".jsonl": "jsonl", ".parquet": "parquet"}


def form_of(path: Path) -> Format:
    return Format(type=FORMATS.get(path.suffix, "csv"))  # type: ignore[arg-type]


def run_import(store: Path, path: Path, run: int, *, email: bool) -> None:
    properties = {one.name: one for one in PROPERTIES}
    if email:
        properties["email"] = Property(name="email", type=PropertyType.EMAIL, identifier=True)
    work = Import(
        source={},
        format=form_of(path),
        match=(("customer_id",), ("email",)) if email else (("customer_id",),),
        fields=tuple(Field(property=name, column=name) for name in properties),
    )
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    local = [
        LocalFile(path=str(one), name=one.name, size=one.stat().st_size, modified=str(one.stat().st_mtime_ns))
        for one in files
    ]
    stamp = RunStamp(connection="benchmark", run=run, at=datetime.now(UTC))
    rejects = store.parent / "rejects.jsonl"
    model = ProfileModel(properties=properties)
    with open_store(store, model, temp=store.parent / "temp", report=Silent()) as opened:
        done = opened.import_files(ImportJob(work=work, files=local, stamp=stamp, rejects=rejects))
    print(json.dumps({name: count for name, count in done.counts.as_dict().items() if count}))


def run_export(store: Path, path: Path, *, with_ledger: bool) -> None:
    properties = {one.name: one for one in PROPERTIES}
    model = ProfileModel(properties=properties)
    with open_store(store, model, temp=store.parent / "temp", report=Silent()) as opened:
        if not with_ledger:
            opened.write(path, form_of(path))
            return
        stamp = RunStamp(connection="benchmark-export", run=1, at=datetime.now(UTC))
        work = Export(destination={}, format=form_of(path), fields={name: name for name in properties})
        opened.export(ExportJob(work=work, path=path, stamp=stamp))
        opened.confirm_export(stamp)


def run_copy(store: Path, path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{store}' AS store (READ_ONLY)")
        options = "FORMAT parquet" if path.suffix == ".parquet" else "FORMAT csv, HEADER"
        names = ", ".join(f'"{one.name}"' for one in PROPERTIES)
        connection.execute(f"COPY (SELECT {names} FROM store.profiles) TO '{path}' ({options})")


def main() -> None:
    what, *more = sys.argv[1:]
    match what:
        case "read":
            print(run_read(Path(more[0])))
        case "import":
            run_import(Path(more[0]), Path(more[1]), int(more[2]), email="email" in more)
        case "copy":
            run_copy(Path(more[0]), Path(more[1]))
        case "write" | "export":
            run_export(Path(more[0]), Path(more[1]), with_ledger=what == "export")


if __name__ == "__main__":
    main()
