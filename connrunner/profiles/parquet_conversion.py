"""CSV becomes a Parquet file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb

from connrunner.errors import ArgumentError
from connrunner.profiles.duckdb_words import describe_error
from connrunner.profiles.sql_fragments import quote_text
from connrunner.text.files import replacing


def write_parquet(rows: Iterable[str], columns: Mapping[str, str], path: Path) -> None:
    """Write *rows*, the lines of a CSV with a header, to the new or replaced file *path*, in one step.

    *columns* names each column and its type in SQL; an empty cell is no value.
    """
    types = ", ".join(f"{quote_text(name)}: {quote_text(kind)}" for name, kind in columns.items())
    with tempfile.NamedTemporaryFile(
        "w", suffix=".csv", encoding="utf-8", errors="backslashreplace", newline=""
    ) as file:
        file.writelines(rows)
        file.flush()
        how = f"columns = {{{types}}}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"'"
        try:
            with replacing(path, durable=False) as new, duckdb.connect() as database:
                database.execute(
                    f"COPY (SELECT * FROM read_csv({quote_text(file.name)}, {how}, nullstr = '', parallel = false)) "
                    f"TO {quote_text(str(new.path))} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
                )
        except OSError as error:
            raise ArgumentError(f"{path} cannot be written: {error}") from error
        except duckdb.Error as error:
            raise ArgumentError(f"{path} cannot be written: {describe_error(error)}") from None
