"""
Rows that did not become profiles, one JSON line for each reason: `rejects.jsonl`.

A line has `line` (the record's number in its file, the header counted as the first: what an editor shows unless a
record spans lines or an empty line stands before it), `key` (what the row calls its profile), `field` (the property),
`stage`, `code`, `message`, `value` and `file`. Values of personal properties are masked: the first and the last
character and the length. Invalid and ambiguous rows are offered again by the next run; the others stand here so that
a person can see which they were.

    stage     code                                  counted as
    parse     too-few-columns, too-many-columns,    invalid
              bad-quoting, bad-json, too-deep,
              too-long (the record as a whole),
              formula-error, binary-column
    validate  missing-key, wrong-type, too-long,    invalid
              nul
    match     ambiguous, identifier-taken           ambiguous
    match     duplicate                             duplicate
    match     not-found                             not_found
    consent   no-consent, erased                    consent_blocked
    write     overflow                              invalid
    write     what the partner calls it             rejected

The last one is of exports: rows that the partner refused. Their `line` counts the rows of the file from 1, without a
header; `key` is all identifiers of the profile.
"""

from __future__ import annotations

from pathlib import Path

from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text
from connrunner.profiles.temporary_files import open_private


def create_rejects(session: StoreSession) -> None:
    """Make the empty temporary table `rejects`."""
    session.execute("""
        CREATE OR REPLACE TEMP TABLE rejects (
            file VARCHAR, part INTEGER, line BIGINT, key VARCHAR, field VARCHAR, stage VARCHAR, code VARCHAR,
            message VARCHAR, value VARCHAR)""")


def write_rejects(session: StoreSession, path: Path) -> int:
    """Write what `rejects` holds to *path*, readable by its owner only, and return how many lines there are."""
    count = int(session.one("SELECT count(*) FROM rejects"))
    if count:
        open_private(path).close()
        session.execute(f"""
            COPY (
                SELECT line, key, field, stage, code, message, value, file FROM rejects
                ORDER BY part, line, field, code
            ) TO {quote_text(str(path))} (FORMAT json, USE_TMP_FILE false)""")
    return count
