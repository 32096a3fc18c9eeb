"""What a database's refusal means for all that was to be done with it; nothing in the words quotes a value."""

from __future__ import annotations

import re

from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.redaction import redact_library_words, redact_partner_words
from connrunner.text.words import one_line

LONGEST = 300  # characters of a database's own words
_ABOUT_VALUES = ("22", "23", "44")  # classes of SQLSTATE whose words quote the value
_QUOTES_VALUES = re.compile(r"duplicate entry|incorrect|truncated|convert|conversion", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _FailureReason:
    code: str
    hint: str
    waits: bool = False


_LOST = _FailureReason(
    code="connection-lost", hint="see the database's log for why it ended the connection", waits=True
)
_CONFLICT = _FailureReason(
    code="conflict", hint="another program changes the same rows; run it at another time", waits=True
)
_FULL = _FailureReason(code="server-busy", hint="try again later, or see that the database has room", waits=True)
_MISSING = _FailureReason(code="missing-table", hint="correct the name in `table` or `query`")
_SYNTAX = _FailureReason(code="bad-query", hint="try the query in the database's own shell")
_GRANT = _FailureReason(code="not-permitted", hint="grant it to the connection's user")
_STATES = {
    "25006": _FailureReason(
        code="read-only", hint="an import may only read; an export needs a database that is not a read-only copy"
    ),
    "57014": _FailureReason(code="timeout", hint="raise `statement_timeout`, or give the statement less to do"),
    "42P01": _MISSING,
    "3F000": _MISSING,
    "42703": _FailureReason(code="missing-column", hint="correct the name of the column"),
    "42501": _GRANT,
    "08P01": _SYNTAX,  # a query with parameters
    "28": _FailureReason(code="wrong-credentials", hint="correct `username` and `password`"),
    "08": _LOST,
    "57": _LOST,
    "40": _CONFLICT,
    "55": _CONFLICT,
    "53": _FULL,
    "42": _SYNTAX,
    "0A": _SYNTAX,  # what the database cannot do
}
_PATTERNS = (  # in the words of a client library or server that tells no state
    (r"password authentication failed|no password supplied|access denied|authentication failed", "28"),
    (r"database .* does not exist|unknown database|unable to open database file", "database"),
    (r"role .* does not exist|not permitted to log in|no pg_hba.conf entry", "28"),
    (r"not support ssl|ssl is required|doesn't support it", "no tls"),
    (r"certificate|\bssl\b|\btls\b", "tls"),
    (r"timeout expired|timed out", "silent"),
    (r"translate host name|name or service not known|nodename nor servname|name resolution|getaddrinfo", "name"),
    (r"starting up|shutting down|recovery mode|too many (?:clients|connections)|connection slots", "53"),
)
_ON_THE_WAY = {
    "database": _FailureReason(code="missing-database", hint="correct the name of the database in `url`"),
    "tls": _FailureReason(
        code="bad-certificate",
        hint="for a certificate of your own authority, name the authority: "
        "?sslrootcert=/path/authority.pem in `url` for PostgreSQL, SSL_CERT_FILE for others",
    ),
    "no tls": _FailureReason(code="no-tls", hint="switch TLS on at the server, or begin a tunnel on this machine"),
    "silent": _FailureReason(
        code="unreachable",
        hint="see that host and port are right and that the network lets connrunner there",
        waits=True,
    ),
    "name": _FailureReason(code="unreachable", hint="correct the name of the host in `url`", waits=True),
}


def explain_database_error(state: str | None, words: str, where: str) -> RunError:
    """Return the error for what the database *where* said about a statement; *state* is its SQLSTATE, if any."""
    reason = _STATES.get(state or "08") or _STATES.get((state or "08")[:2])
    quotes = (state or "")[:2] in _ABOUT_VALUES or _QUOTES_VALUES.search(words)
    words = redact_library_words(words) if quotes else redact_partner_words(words)
    told = f"{where}: {one_line(words, LONGEST)}"
    if reason is None:
        return RunError(told, code="refused")
    return RunError(told, hint=reason.hint, code=reason.code, waiting_helps=reason.waits)


def unreachable(words: str, where: str) -> RunError:
    """Return the error for a connection that was not made; no state is told then, only *words*."""
    said = one_line(words.partition("\n")[0].rpartition(" failed: ")[2], LONGEST)
    state = next((state for pattern, state in _PATTERNS if re.search(pattern, said, re.IGNORECASE)), None)
    reason = _ON_THE_WAY.get(state or "silent") or _STATES[state or "08"]
    # A server that answered and refused is not asked again and again: some lock the user out.
    waits = reason.waits and (state is not None or "FATAL" not in said)
    return RunError(f"cannot connect to {where}: {said}", hint=reason.hint, code=reason.code, waiting_helps=waits)
