"""Files of people, as many as asked for and the same every time: DuckDB writes ten million in seconds.

Of each 100 people 92 are stored; of these the file has 70 as they are stored, 20 with one value changed, and 2 with a
flaw. 8 are new in it.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

NAMES = (
    "customer_id", "email", "first_name", "last_name", "phone", "city",
    "country", "birthday", "signed_up", "lifetime_value", "orders", "active",
)  # fmt: skip
FIRST = "Anna Bob Carla Dirk Eva Fred Gina Hugo Iris Jan Karin Luca Mila Noor Otto Pia Quinten Rosa Sam Tess".split()
LAST = [
    *"Jansen Smith Müller García Rossi Novák Silva Kim Chen Brown O'Neil Yılmaz Kowalski Dubois".split(),
    "De Vries",
]
CITIES = "Amsterdam,Rotterdam,Utrecht,Den Haag,Eindhoven,Groningen,Tilburg,Almere,Breda,Nijmegen".split(",")
COUNTRIES = ("NL", "NL", "NL", "BE", "DE", "FR")
KINDS = {"unchanged": 70, "updated": 20, "created": 8, "invalid": 2}  # of a hundred

_KIND = "n * 37 % 100"
_PEOPLE = f"""
    SELECT n, {_KIND} AS kind, printf('C%09d', n) AS customer_id,
        concat('person.', n, '@example', n % 97, '.com') AS email, {{FIRST}}[1 + (hash(n, 1) % {len(FIRST)})::INTEGER] AS first_name,
        {{LAST}}[1 + (hash(n, 2) % {len(LAST)})::INTEGER] AS last_name, printf('+316%08d', hash(n, 3) % 100000000) AS phone,
        {{CITIES}}[1 + (hash(n, 4) % {len(CITIES)})::INTEGER] AS city, {{COUNTRIES}}[1 + (hash(n, 5) % {len(COUNTRIES)})::INTEGER] AS country,
        (DATE '1940-01-01' + (hash(n, 6) % 24000)::INTEGER)::VARCHAR AS birthday,
        replace((TIMESTAMP '2015-01-01' + to_seconds((hash(n, 7) % 350000000)::BIGINT))::VARCHAR, ' ', 'T') || 'Z'
            AS signed_up,
        printf('%d.%02d', hash(n, 8) % 1000000 // 100, hash(n, 8) % 100) AS lifetime_value,
        (hash(n, 9) % 60)::VARCHAR AS orders, CASE WHEN hash(n, 10) % 3 = 0 THEN 'false' ELSE 'true' END AS active
    FROM range({{rows}}) people(n)"""
_CHANGES = (
    ("lifetime_value", "printf('%.2f', lifetime_value::DOUBLE + 12.5)"),
    ("orders", "(orders::INTEGER + 1)::VARCHAR"),
    ("phone", "'+317' || right(phone, 7) || '1'"),
    ("city", "city || ' Noord'"),
    ("active", "CASE active WHEN 'true' THEN 'false' ELSE 'true' END"),
)
_FLAWS = {"lifetime_value": "twelve euro", "birthday": "1985-02-30", "orders": "12.7", "email": "no address"}


def count_kinds(rows: int) -> dict[str, int]:
    """Return of how many of *rows* people an import makes what; their number is divided by a hundred."""
    return {kind: share * rows // 100 for kind, share in KINDS.items()}


def write_stored(path: Path, rows: int) -> None:
    """Write the people that are there before the import."""
    _write(path, _all_people(rows), where=f"kind NOT BETWEEN 90 AND {89 + KINDS['created']}", order="n")


def write_import(path: Path, rows: int, *, ordered: bool) -> None:
    """Write the people as the import has them; in an order of their own unless they are to be *ordered* as stored."""
    flaw = {
        name: f"CASE WHEN flaw = {number} THEN '{text}' ELSE {name} END"
        for number, (name, text) in enumerate(_FLAWS.items())
    }
    changed = _change(_all_people(rows), "kind BETWEEN 70 AND 89", "n, 11")
    flawed = f"SELECT *, CASE WHEN kind >= 98 THEN n // 100 % {len(_FLAWS) + 1} END AS flaw FROM ({changed})"
    values = ", ".join(f"{flaw.get(name, name)} AS {name}" for name in NAMES)
    cut = f"flaw = {len(_FLAWS)}"
    _write(
        path, f"SELECT n, {cut} AS cut, {values} FROM ({flawed})", order="n" if ordered else "hash(n, 12)", cut="cut"
    )


def write_changed(source: Path, path: Path, *, part: float, seed: int = 0, most: int = 0) -> None:
    """Write the people of the file *source* with that *part* of them changed, in another order; *most* only that many."""
    columns = ", ".join(f"{name}: 'VARCHAR'" for name in NAMES)
    there = f"SELECT * FROM read_csv('{source}', header = true, auto_detect = false, columns = {{{columns}}})"
    if most:
        there += f" ORDER BY hash(customer_id, {seed}, 13) LIMIT {most}"
    changed = _change(there, f"hash(customer_id, {seed}, 14) % 1000 < {round(part * 1000)}", f"customer_id, {seed}, 15")
    _write(path, changed, order=f"hash(customer_id, {seed}, 16)")


def _all_people(rows: int) -> str:
    lists = {"FIRST": FIRST, "LAST": LAST, "CITIES": CITIES, "COUNTRIES": list(COUNTRIES)}
    return _PEOPLE.format(rows=rows, **{name: _quote(texts) for name, texts in lists.items()})


def _quote(texts: list[str]) -> str:
    return "[" + ", ".join("'" + text.replace("'", "''") + "'" for text in texts) + "]"


def _change(people: str, condition: str, dice: str) -> str:
    """Return the query of *people*, with one value changed of those for whom *condition* holds."""
    cases = ", ".join(
        f"CASE WHEN changed = {number} THEN {value} ELSE {name} END AS {name}"
        for number, (name, value) in enumerate(_CHANGES)
    )
    return f"""SELECT * EXCLUDE (changed) REPLACE ({cases}) FROM (
        SELECT *, CASE WHEN {condition} THEN hash({dice}) % {len(_CHANGES)} END AS changed FROM ({people}))"""


def _write(path: Path, people: str, *, order: str, where: str = "true", cut: str = "false") -> None:
    """Write *people* line by line; of a row for which *cut* holds, the last cell is left out."""
    most = ", ".join(NAMES[:-1])
    line = f"concat_ws(',', {most}) || CASE WHEN {cut} THEN '' ELSE ',' || {NAMES[-1]} END"
    new = path.with_name(path.name + ".new")
    with duckdb.connect() as connection:
        connection.execute(f"""
            COPY (SELECT {line} AS "{",".join(NAMES)}" FROM ({people}) WHERE {where} ORDER BY {order}) TO '{new}'
            (FORMAT csv, HEADER, QUOTE '', ESCAPE '', DELIMITER E'\\x01')""")
    new.replace(path)
