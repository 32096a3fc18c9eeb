"""What an S3 server, or the way to it, says went wrong, for the person who can act."""

from __future__ import annotations

import html
import re
import socket
import ssl

from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import one_line

LONGEST = 300  # characters of a server's own words


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Operation:
    """What was tried when it went wrong."""

    verb: str  # read, write, list, move, delete
    what: str  # s3://bucket/key
    bucket: str
    host: str  # of the server, with its port
    allow: str  # the permission that it takes, like s3:GetObject


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorFacts:
    """The facts in an error: what a server answered, or why none did."""

    status: int | None = None
    code: str = ""  # S3's word, like NoSuchKey
    message: str = ""  # in the server's own words
    region: str = ""  # the one that the server says is right
    tries: int = 1
    transport: str = ""  # why there was no answer, when there was none
    sent: bool = True  # False when there was not even a connection
    clocks: str = ""  # both clocks, when they differ too much
    moved: bool = False  # redirected elsewhere, without saying where
    asked: str = ""  # the host that it is about; it may be one that gives keys

    @property
    def changed(self) -> bool:
        """True when the object is not the one that was asked for any more."""
        return self.status == 412

    @property
    def busy(self) -> bool:
        """True when another write to the same object was under way."""
        return self.code == "ConditionalRequestConflict"

    @property
    def unknown_end(self) -> bool:
        """True when the request went out and no answer came: it may have been done."""
        return self.sent and self.transport in (_SILENT, _BROKEN)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ErrorReason:
    code: str
    found: str
    hint: str
    waits: bool = False


_NEW_TOKEN = "get new ones, and give `session_token` with them"  # noqa: S105
_KEY = _ErrorReason(
    code="wrong-credentials",
    found="{host} does not know the access key",
    hint="correct the access key that the connection, its profile or the environment names",
)
_EXPIRED = _ErrorReason(code="expired-credentials", found="the temporary keys have expired", hint=_NEW_TOKEN)
_TOKEN = _ErrorReason(code="wrong-credentials", found="the session token does not fit the access key", hint=_NEW_TOKEN)
_REGION = _ErrorReason(code="wrong-region", found="the bucket is in another region{region}", hint="set {right}")
_CLOCK = _ErrorReason(
    code="clock",
    found="the clock of this machine is more than 15 minutes off{clocks}",
    hint="set the clock, best by NTP",
)
_DENIED = _ErrorReason(code="access-denied", found="access denied", hint="allow {allow} to the keys in use{missing}")
_BUSY = _ErrorReason(
    code="server-error", found="{host} cannot answer now", hint="try again later, and less at a time", waits=True
)
_REASONS = {
    "NoSuchBucket": _ErrorReason(
        code="no-bucket", found="there is no bucket {bucket!r} at {host}", hint="correct `bucket`, or make it"
    ),
    "NoSuchKey": _ErrorReason(code="no-files", found="it is not there", hint="correct `path`", waits=True),
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "InvalidAccessKeyId": _KEY,
    "InvalidClientTokenId": _KEY,
    "SignatureDoesNotMatch": _ErrorReason(
        code="wrong-credentials",
        found="the secret access key does not belong to the access key",
        hint="correct the secret; nothing may be cut off or added",
    ),
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "InvalidToken": _TOKEN,
    "UnrecognizedClientException": _TOKEN,
    "RequestTimeTooSkewed": _CLOCK,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "InvalidObjectState": _ErrorReason(
        code="archived", found="it is in an archive and cannot be read there", hint="restore it first"
    ),
    "EntityTooLarge": _ErrorReason(
        code="too-large", found="it is larger than {host} takes in one piece", hint="write less, or compress it"
    ),
    "NoSuchUpload": _ErrorReason(
        code="server-error", found="{host} gave up the upload, or ended it without a word", hint="try again", waits=True
    ),
    "InternalError": _BUSY,
    "RequestTimeout": _BUSY,
    "ServiceUnavailable": _BUSY,
    "SlowDown": _BUSY,
    "Throttling": _BUSY,
}
_CERTIFICATE = "its certificate cannot be trusted"
_NAME = "no address is known by that name"
_REFUSED = "the connection was refused"
_SILENT = "it gave no answer in time"
_BROKEN = "the connection broke"
_MEANINGS = {
    # in the errors of obstore and what it is made of; the first one counts
    "InvalidCertificate": _CERTIFICATE,
    "dns error": _NAME,
    "ConnectionRefused": _REFUSED,
    "TimedOut": _SILENT,
    "Timeout": _SILENT,
    "HttpError": _BROKEN,
    "reqwest": _BROKEN,
}


def parse_error_facts(text: str) -> ErrorFacts:
    """Return the facts in *text*, the error of a library or the body of an answer."""
    status = re.search(r"status code: (\d{3})", text)
    tries = re.search(r"after (\d+) retries", text)
    inside = re.search(r"External AWS credential provider: (?:\w+: )?(.*)", text)
    clocks = [one_line(tag(text, name), LONGEST) for name in ("RequestTime", "ServerTime")]
    code = one_line(tag(text, "Code"), LONGEST)
    moved = "redirect without LOCATION" in text
    answered = status or code or moved or inside
    transport = "" if answered else _transport(text)
    asked = re.search(r"Error performing \w+ (?:https?://([^/\s?]+)\S*|REDACTED) in", text)
    message = inside[1] if inside else tag(text, "Message")
    if not (answered or transport):
        message = text.partition("\n")[0]
    return ErrorFacts(
        status=int(status[1]) if status else None,
        code=code,
        message=one_line(message, LONGEST),
        region=one_line(tag(text, "Region"), LONGEST),
        tries=1 + int(tries[1]) if tries else 1,
        transport=transport,
        sent="kind: Connect" not in text,
        clocks=f" ({clocks[0]} here, {clocks[1]} there)" if all(clocks) else "",
        moved=moved or (status is not None and status[1] in ("301", "302", "307", "308")),
        asked=(asked[1] or "a token service") if asked else "",
    )


def explain_no_answer(error: Exception) -> ErrorFacts:
    """Return why a request of Python's own got no answer."""
    reason = getattr(error, "reason", error)
    match reason:
        case ssl.SSLCertVerificationError():
            return ErrorFacts(transport=f"{_CERTIFICATE} ({reason.verify_message})")
        case socket.gaierror():
            return ErrorFacts(transport=_NAME)
        case ConnectionRefusedError():
            return ErrorFacts(transport=_REFUSED)
        case TimeoutError():
            return ErrorFacts(transport=_SILENT)
    return ErrorFacts(transport=_BROKEN)


def explain_s3_error(fact: ErrorFacts, doing: S3Operation) -> RunError:
    """Return the error that says in words what *fact* means for what was being done."""
    trying = f"cannot {doing.verb} {doing.what}"
    times = f" ({fact.tries} tries)" if fact.tries > 1 else ""
    reason = _reason(fact, doing)
    if fact.asked and _host(fact.asked) != _host(doing.host):
        return _without_keys(fact, trying, times, waits=bool(fact.transport) or reason is _BUSY)
    if fact.transport:
        return _unreachable(fact, f"{trying}: {doing.host}: {fact.transport}", times)
    if reason is None:
        found = ": ".join(part for part in (_words(fact.status, fact.code), fact.message) if part)
        return RunError(f"{trying}: {doing.host} answered {found}{times}", code="refused")
    return _refused(reason, fact, doing, trying, times)


def _without_keys(fact: ErrorFacts, trying: str, times: str, *, waits: bool) -> RunError:
    why = fact.transport or _words(fact.status, fact.code, fact.message)
    return RunError(
        f"{trying}: no keys came from {fact.asked}: {why}{times}",
        hint="give `access_key_id` and `secret_access_key` as references, or a `profile`, or let the container or "
        "instance have a role",
        code="no-credentials",
        waiting_helps=waits,
    )


def _unreachable(fact: ErrorFacts, message: str, times: str) -> RunError:
    if fact.transport.startswith(_CERTIFICATE):
        hint = "for a certificate of your own authority, set SSL_CERT_FILE to a file with the authority's"
        return RunError(message, hint=hint, code="bad-certificate")
    hint = "see that `endpoint_url` and `region` are right and that the network lets connrunner there"
    return RunError(f"{message}{times}", hint=hint, code="unreachable", waiting_helps=True)


def _refused(reason: _ErrorReason, fact: ErrorFacts, doing: S3Operation, trying: str, times: str) -> RunError:
    facts = {
        "host": doing.host,
        "bucket": doing.bucket,
        "allow": doing.allow,
        "region": f": {fact.region}" if fact.region else "",
        "right": f"`region: {fact.region}`" if fact.region else "`region` to the bucket's",
        "clocks": fact.clocks,
        "missing": "; where s3:ListBucket is not, this is also said of what is missing" if doing.verb == "read" else "",
    }
    found = reason.found.format_map(facts)
    own = {_DENIED: _words(fact.message), _BUSY: _words(fact.status, fact.message)}.get(reason, "")
    return RunError(
        f"{trying}: {found}{f': {own}' if own else ''}{times}",
        hint=reason.hint.format_map(facts),
        code=reason.code,
        waiting_helps=reason.waits,
    )


def _words(*parts: object) -> str:
    return " ".join(str(part) for part in parts if part)


def _reason(fact: ErrorFacts, doing: S3Operation) -> _ErrorReason | None:
    if fact.code in _REASONS:
        return _REASONS[fact.code]
    if fact.moved:
        return _REGION
    match fact.status:
        case 401 | 403 if not fact.code:  # the answer to HEAD has no body
            return _DENIED
        case 404 if not fact.code and doing.verb != "list":
            return _REASONS["NoSuchKey"]
        case 408 | 429 | 500 | 502 | 503 | 504:
            return _BUSY
    return None


def _host(address: str) -> str:
    """Return *address* as it can be compared: without the port that goes without saying."""
    return re.sub(":(80|443)$", "", address.lower())


def _transport(text: str) -> str:
    """Return why there was no answer; empty when there was one, and it is not understood."""
    found = next((meaning for mark, meaning in _MEANINGS.items() if mark in text), "")
    flaw = re.search(r"InvalidCertificate\(\s*(\w+)", text)
    return f"{found} ({flaw[1]})" if flaw else found


def tag(text: str, name: str) -> str:
    """Return what stands in the XML element *name* of *text*; empty when there is none."""
    found = re.search(f"<{name}>([^<]*)</{name}>", text)
    return html.unescape(found[1]) if found else ""
