"""
What DuckDB complains about, in words of ours.

Its own messages quote values, up to whole rows of a file, so none of them leaves: what is told is the kind of the
trouble, and the type or the system's reason where DuckDB names one of those that it can name.
"""

from __future__ import annotations

import re

import duckdb

from connrunner.errors import RunError

_TYPES = (
    "BOOLEAN BOOL TINYINT SMALLINT INTEGER BIGINT HUGEINT INT8 INT16 INT32 INT64 INT128 UINT8 UINT16 UINT32 UINT64 "
    "FLOAT DOUBLE DECIMAL DATE TIME TIMESTAMP INTERVAL UUID JSON BLOB BIT"
)
_TYPE = re.compile(rf"\bto (?:type )?({_TYPES.replace(' ', '|')})\b(?!.*\bto (?:type )?[A-Z])", re.DOTALL)
_REASONS = (
    "No space left on device",
    "Disk quota exceeded",
    "Permission denied",
    "Read-only file system",
    "Input/output error",
    "Too many open files",
    "Is a directory",
    "No such file or directory",
    "Not a directory",
    "Could not set lock on file",
    "not a valid DuckDB database file",
    "checksum",
    "orrupt",
    "newer version",
)
_KINDS: tuple[tuple[type[Exception], str], ...] = (
    (duckdb.ConversionException, "a value cannot be converted"),
    (duckdb.OutOfRangeException, "a number is beyond what its type can hold"),
    (duckdb.ConstraintException, "a value breaks a constraint"),
    (duckdb.OutOfMemoryException, "out of memory"),
    (duckdb.InterruptException, "it was interrupted"),
    (duckdb.IOException, "its file cannot be read or written"),
    (duckdb.SerializationException, "its file cannot be read"),
    (duckdb.FatalException, "the database gave up"),
    (duckdb.NotImplementedException, "DuckDB cannot do this with such a value"),
    (duckdb.SyntaxException, "a value is not as it should be"),
    (duckdb.InvalidInputException, "a value or a file is not as it should be"),
)


def describe_error(error: BaseException) -> str:
    """Return what is wrong, without a word that may come from data."""
    said = str(error)
    if is_wrong_encoding(error):
        return "bytes that are no UTF-8"
    kind = next((words for known, words in _KINDS if isinstance(error, known)), type(error).__name__)
    if isinstance(error, duckdb.ConversionException) and (found := _TYPE.search(said)):
        return f"{kind} to {found[1]}"
    if reason := find_reason(error):
        return f"{kind}: {reason}"
    return kind


def find_reason(error: BaseException) -> str:
    """Return what is wrong with a file, by the system or by its content; empty when DuckDB names nothing of ours."""
    if not isinstance(error, duckdb.IOException | duckdb.FatalException | duckdb.SerializationException):
        return ""
    said = str(error)
    reason = next((reason for reason in _REASONS if reason in said), "")
    return {"checksum": "damaged (checksum)", "orrupt": "damaged"}.get(reason, reason)


def is_wrong_encoding(error: BaseException) -> bool:
    """Return whether DuckDB found bytes that are no text in UTF-8."""
    said = str(error).lower()
    return "invalid unicode" in said or "not utf-8 encoded" in said or "invalid utf" in said


def unreadable_file_error(name: str, kind: str, error: BaseException) -> RunError:
    """Return the error for a data file that DuckDB cannot read as *kind*."""
    if is_wrong_encoding(error):
        return RunError(
            f"{name} is not UTF-8 throughout",
            hint="save it as UTF-8, or set `format: {encoding: ...}` to what it is",
            code="wrong-encoding",
        )
    return RunError(
        f"{name} cannot be read as {kind}: {describe_error(error)}", hint="fetch or send it again", code="damaged-file"
    )


class UnexpectedStoreError(Exception):
    """What DuckDB refused and should not have: a bug in connrunner, told without DuckDB's words."""
