"""What the codes of Salesforce mean, and what helps: of requests, of sign-ins, and of single rows.

The codes of requests and rows are those of the page "Status Codes and Error Responses" of the REST API Developer Guide
and of "StatusCode" of the SOAP API Developer Guide; those of Bulk API 2.0, without underscores, of its own guide.
"""

from __future__ import annotations

from typing import Any

from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import one_line

LOCKED = "UNABLE_TO_LOCK_ROW"
_ROW_HINTS = {
    "REQUIRED_FIELD_MISSING": "a required field is empty",
    "DUPLICATE_VALUE": "another record has this value in a unique field, or two rows have one external id",
    "DUPLICATE_EXTERNAL_ID": "several records have this external id, and none was changed",
    "DUPLICATES_DETECTED": "a duplicate rule of the org refuses it",
    "INVALID_EMAIL_ADDRESS": "the address is not valid there",
    "STRING_TOO_LONG": "a text is longer than its field",
    "INVALID_TYPE_ON_FIELD_IN_RECORD": "a value is not of its field's type",
    "NUMBER_OUTSIDE_VALID_RANGE": "a number does not fit its field",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": "a value is not in the restricted picklist",
    "MALFORMED_ID": "an id is not one of Salesforce",
    "INVALID_CROSS_REFERENCE_KEY": "an id names no record, or one of another object",
    "ENTITY_IS_DELETED": "the record is deleted",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "a validation rule of the org refuses it",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "a trigger or flow of the org failed",
    "INVALID_FIELD": "no parent has this external id",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "the user may not write a field",
    "INSUFFICIENT_ACCESS_OR_READONLY": "the user may not change the record",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": "the user may not use the parent record",
    "MISSING_ARGUMENT": "there is no external id",
    LOCKED: "other changes held the record or its parent each time",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestMeaning:
    """What a refused request amounts to."""

    code: str
    hint: str
    waiting_helps: bool = False
    again: bool = False  # the same request may succeed in a moment


_LIMIT = "the calls of the last 24 hours are used up; let it run later or less often, or ask Salesforce for more"
_RIGHT = "give the user of the app the permission that the message names"
_OURS = "see the connection's file; if nothing is wrong there, please report it"
_BUSY = RequestMeaning(code="server-busy", hint="it is tried again by the next run", waiting_helps=True, again=True)
_MEANINGS = {
    "INVALID_SESSION_ID": RequestMeaning(
        code="unauthorized", hint="see that the app and its user are active and may use the API"
    ),
    "API_DISABLED_FOR_ORG": RequestMeaning(code="forbidden", hint="the edition of the org, or the user, has no API"),
    "INSUFFICIENT_ACCESS": RequestMeaning(code="forbidden", hint=_RIGHT),
    "INSUFFICIENT_ACCESS_OR_READONLY": RequestMeaning(code="forbidden", hint=_RIGHT),
    "FEATURENOTENABLED": RequestMeaning(code="forbidden", hint="have the Bulk API enabled for the org and the user"),
    "INVALID_FIELD": RequestMeaning(code="bad-query", hint="correct `fields`, `where` or `soql`"),
    "INVALID_TYPE": RequestMeaning(code="no-object", hint="correct `object`, or let the user see it"),
    "MALFORMED_QUERY": RequestMeaning(code="bad-query", hint="correct `where` or `soql`; try it in the org's console"),
    "QUERY_TIMEOUT": RequestMeaning(code="bad-query", hint="ask for less: narrow `where`", waiting_helps=True),
    "INVALIDENTITY": RequestMeaning(code="no-object", hint="Bulk API 2.0 does not know this object"),
    "INVALIDJOB": RequestMeaning(code="refused", hint=_OURS),
    "INVALIDJOBSTATE": RequestMeaning(code="refused", hint=_OURS),
    "CLIENTINPUTERROR": RequestMeaning(code="refused", hint=_OURS),
    "EXCEEDEDQUOTA": RequestMeaning(
        code="limit-exceeded", hint="the jobs of the last 24 hours are used up; let it run later", waiting_helps=True
    ),
    "NOT_FOUND": RequestMeaning(code="not-found", hint="it may be older than 7 days"),
    "SERVER_UNAVAILABLE": _BUSY,
    "UNKNOWN_EXCEPTION": _BUSY,
}


def explain_request(status: int, code: str, message: str) -> RequestMeaning:
    """Return what an answer with *status* and the vendor's *code* (empty when it has none) and *message* amounts to."""
    if code == "REQUEST_LIMIT_EXCEEDED":
        if "concurrent" in message.lower():
            return RequestMeaning(
                code="throttled", hint="too many long requests at once", waiting_helps=True, again=True
            )
        return RequestMeaning(code="limit-exceeded", hint=_LIMIT, waiting_helps=True)
    if code in _MEANINGS:
        return _MEANINGS[code]
    if status == 410:
        return RequestMeaning(code="not-found", hint="this version of the API is retired; write a newer `api_version`")
    if status == 403:
        return RequestMeaning(code="forbidden", hint=_RIGHT)
    if status == 404:
        return RequestMeaning(code="not-found", hint="correct `login_url`")
    if status == 429 or status >= 500:
        return _BUSY
    return RequestMeaning(code="refused", hint=_OURS)


def read_errors(data: Any) -> tuple[str, str]:
    """Return code and message of the body of a refused request, both empty when it has none.

    It is a list of `{errorCode, message, fields?}`, of the sign-in a mapping of `error` and `error_description`.
    """
    first = data[0] if isinstance(data, list) and data else data
    if not isinstance(first, dict):
        return "", ""
    code = first.get("errorCode") or first.get("error") or ""
    message = first.get("message") or first.get("error_description") or ""
    return one_line(str(code), 80), str(message)


_SIGN_INS = (
    # what the description says, the hint; the first that fits
    ("approved this consumer", "pre-authorise the user for the app: its policy, and a profile or permission set"),
    ("audience", "set `audience`: https://login.salesforce.com, or https://test.salesforce.com for a sandbox"),
    ("expired", "set the clock of this machine: what is signed is good for minutes only"),
    ("assertion", "see that `private_key` belongs to the certificate of the app"),
    ("not supported on this domain", "write the My Domain of the org into `login_url`, like https://acme.my.salesforce.com"),
    ("no client credentials user", "choose a user to run as, in the client credentials flow of the app"),
    ("scope", "give the app the scope `api`"),
    ("inactive", "activate the user, or choose another one"),
    ("ip restricted", "let this machine's address through: trusted ranges, or the app's policy"),
)  # fmt: skip
_SIGN_IN_CODES = {
    "invalid_client": "correct `client_secret`, or the app's certificate",
    "invalid_client_id": "correct `client_id`: the consumer key of the app",
    "invalid_app_access": "let the user use the app: a profile or permission set",
    "invalid_grant": "see the user and the policies of the app in the org",
    "unsupported_grant_type": "enable this way of signing in for the app",
    "inactive_org": "the org is locked or closed; ask its administrator",
}


def explain_sign_in(code: str, description: str) -> str:
    """Return what helps against a refused sign-in."""
    lower = description.lower()
    found = next((hint for words, hint in _SIGN_INS if words in lower), "")
    return found or _SIGN_IN_CODES.get(code, "see the app and its user in the org")


def split_row_error(text: str) -> tuple[str, str]:
    """Return code and message of `sf__Error`: `CODE:message:fields --`. The code stands before the first colon."""
    code, colon, rest = text.partition(":")
    code = code.strip()
    if not colon or not code.replace("_", "").isalnum() or not code.isupper():
        return "", text.strip()
    message, _, fields = rest.rpartition(":")
    fields = fields.removesuffix("--").strip()
    if not message:
        return code, rest.removesuffix("--").strip()
    return code, f"{message.strip()} ({fields})" if fields else message.strip()


def row_words(code: str, message: str) -> str:
    """Return what a person reads of a refused row: the vendor's code, its words, and what they mean."""
    meaning = _ROW_HINTS.get(code)
    said = f"{code}: {message}" if code else message
    return f"{said}; {meaning}" if meaning else said


def row_code(code: str) -> str:
    """Return the vendor's code as a word of ours."""
    return code.lower().replace("_", "-") or "refused"
