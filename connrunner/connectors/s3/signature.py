"""AWS Signature Version 4 of a request, and the way of the few requests that we send ourselves."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from connrunner.connectors.s3 import errors
from connrunner.lazy_dataclasses import dataclass, field

TIMEOUT = 10.0  # seconds without an answer
LARGEST = 16 << 20  # bytes of an answer


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningKeys:
    """Keys that sign a request; temporary ones have a token and an end."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestScope:
    """For whom a signature counts."""

    region: str
    service: str  # sts or s3


def sign(
    url: str, body: bytes | None, keys: SigningKeys, scope: RequestScope, more: Mapping[str, str], now: datetime
) -> dict[str, str]:
    """Return the headers, those of *more* among them, that sign a POST of *body*, or a GET when there is none.

    The query of *url* has its parameters in the order of their names, each quoted but for letters, digits and -_.~
    """
    day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    address = urlsplit(url)
    headers = {**more, "host": address.netloc, "x-amz-date": moment}
    if keys.session_token:
        headers["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            "GET" if body is None else "POST",
            address.path or "/",
            address.query,
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            hashlib.sha256(body or b"").hexdigest(),
        ]
    )
    valid_in = f"{day}/{scope.region}/{scope.service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{valid_in}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{keys.secret_access_key}".encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signed = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{keys.access_key_id}/{valid_in}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signed}"
    return headers


def ask(url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[bytes, errors.ErrorFacts | None]:
    """Return the answer to a POST of *body*, or a GET when there is none, and what went wrong; it follows nowhere."""
    import http.client
    import ssl
    from urllib import request
    from urllib.error import HTTPError

    class NoRedirect(request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    trusted = request.HTTPSHandler(context=ssl.create_default_context())
    asked = request.Request(url, data=body, headers=dict(headers))  # noqa: S310 - https, or this machine
    try:
        with request.build_opener(NoRedirect, trusted).open(asked, timeout=TIMEOUT) as answer:
            return answer.read(LARGEST), None
    except HTTPError as error:
        with error:
            text = error.read(LARGEST).decode(errors="replace")
        return text.encode(), errors.parse_error_facts(f"status code: {error.code}: {text}")
    except (OSError, http.client.HTTPException) as error:
        return b"", errors.explain_no_answer(error)
