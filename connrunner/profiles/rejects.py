"""
Rows that did not become profiles, one JSON line for each reason: `rejects.jsonl`.

A line has `line` (the record's number in its file, the header counted as the first: what an editor shows unless a
record spans lines or an empty line stands before it), `key` (what the row calls its profile), `field` (the property),
`stage`, `code`, `message`, `value`, `file` and, where there is any, `profile` and `finds`. Values of personal
properties are masked: the first and the last character and the length. `finds` says which identifiers of an ambiguous
row found a profile, and its number in the store; `profile` is the number of an exported profile: numbers tell nobody
anything. Invalid and ambiguous rows are offered again by the next run; the others stand here so that a person can see
which they were.

    stage     code                                  counted as
    parse     too-few-columns, too-many-columns,    invalid
              bad-quoting, bad-json, too-deep,
              too-long (the record as a whole),
              formula-error, binary-column, not-a-number
    validate  missing-key, wrong-type, too-long,    invalid
              nul
    match     ambiguous, identifier-taken           ambiguous
    match     duplicate                             duplicate
    match     not-found                             not_found
    consent   no-consent, erased                    consent_blocked
    write     overflow                              invalid
    write     what the partner calls it             rejected

The last one is of exports: rows that the partner refused. Their `line` counts the rows of the file from 1, without a
header; `key` is all identifiers of the profile. Profiles that consent keeps back stand in no file and have no line.
"""

from __future__ import annotations

from pathlib import Path

from connrunner.profiles.session import StoreSession
from connrunner.profiles.temporary_files import open_private

ROWS_AT_ONCE = 10_000


def create_rejects(session: StoreSession) -> None:
    """Make the empty temporary table `rejects`."""
    session.execute("""
        CREATE OR REPLACE TEMP TABLE rejects (
            file VARCHAR, part INTEGER, line BIGINT, key VARCHAR, field VARCHAR, stage VARCHAR, code VARCHAR,
            message VARCHAR, value VARCHAR, profile BIGINT, finds JSON)""")


def write_rejects(session: StoreSession, path: Path) -> int:
    """Write what `rejects` holds to *path*, readable by its owner only, and return how many lines there are."""
    count = int(session.one("SELECT count(*) FROM rejects"))
    if count:
        # Not by DuckDB's COPY: its JSON has a member for each column, and `profile` and `finds` stand where they say
        # something only; its CSV puts quotes around whatever has a comment sign.
        found = session.execute("""
            SELECT left(one, length(one) - 1) || coalesce(',"profile":' || profile, '')
                || coalesce(',"finds":' || finds, '') || '}'
            FROM (SELECT *, to_json({line: line, key: key, field: field, stage: stage, code: code,
                message: message, value: value, file: file})::VARCHAR AS one FROM rejects)
            ORDER BY part, line, field, code, profile""")
        with open_private(path) as file:
            while rows := found.fetchmany(ROWS_AT_ONCE):
                file.write("".join(f"{row}\n" for (row,) in rows).encode())
    return count
