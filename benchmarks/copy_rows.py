"""Plain COPY of a CSV file into a new table of texts, and nothing else: what `import_postgresql` is measured against."""

from __future__ import annotations

import json
import sys

import psycopg


def main() -> None:
    """`python -m benchmarks.copy_rows URL FILE`: print how many rows there were."""
    url, path = sys.argv[1:]
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor, open(path, "rb") as file:  # noqa: PTH123
        names = file.readline().decode().strip().split(",")
        columns = ", ".join(f"{name} text" for name in names)
        cursor.execute(f"DROP TABLE IF EXISTS texts; CREATE TABLE texts ({columns})".encode())
        with cursor.copy(b"COPY texts FROM STDIN (FORMAT csv)") as copy:
            while chunk := file.read(1 << 18):
                copy.write(chunk)
        print(json.dumps({"read": cursor.rowcount}))


if __name__ == "__main__":
    main()
