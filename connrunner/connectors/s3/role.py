"""Temporary keys of a role, by AssumeRole of the Security Token Service (STS)."""

from __future__ import annotations

import hashlib
import hmac
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

from connrunner.connectors.s3 import errors
from connrunner.core import instant
from connrunner.errors import RunError

TIMEOUT = 10.0  # seconds without an answer
TRIES = 4
LARGEST = 1 << 20  # bytes of an answer
PAUSE = 2.0  # seconds; before the second try at most, doubled for each further one
EARLY = timedelta(minutes=6)  # before the end of keys; obstore asks for new ones five minutes before it


@dataclass(frozen=True, kw_only=True, slots=True)
class SigningKeys:
    """Keys that sign a request; temporary ones have a token and an end."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


Provider = Callable[[], SigningKeys]


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The token service to ask, and the name to ask under."""

    endpoint: str  # https://host
    region: str
    session: str  # what its logs call us


class Role:
    """Keys of the role *arn*, got with the keys of *base* and renewed before they end."""

    def __init__(self, arn: str, *, external_id: str, base: Provider, service: Service) -> None:
        self._arn = arn
        self._external_id = external_id
        self._base = base
        self._service = service
        self._keys: SigningKeys | None = None

    def __call__(self) -> SigningKeys:
        keys = self._keys
        if keys is None or (keys.expires_at is not None and keys.expires_at - datetime.now(UTC) < EARLY):
            keys = self._keys = self._assume()
        return keys

    def _assume(self) -> SigningKeys:
        form = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": self._arn,
            "RoleSessionName": self._service.session,
        }
        if self._external_id:
            form["ExternalId"] = self._external_id
        answer = self._ask(urlencode(form).encode())
        found = [errors.tag(answer, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")]
        try:
            ends = instant.parse(found[3])
        except ValueError:
            ends = None
        if ends is None or not all(found):
            raise RunError(
                f"cannot assume the role {self._arn}: {self._service.endpoint} does not answer like a token service",
                hint="correct AWS_ENDPOINT_URL_STS",
                code="refused",
            )
        return SigningKeys(access_key_id=found[0], secret_access_key=found[1], session_token=found[2], expires_at=ends)

    def _ask(self, body: bytes) -> str:
        """Return what the service answers; RunError after the last try."""
        for attempt in range(1, TRIES + 1):
            answer, fact = self._send(body)
            if fact is None:
                return answer
            error = errors.explain_s3_error(replace(fact, tries=attempt), self._doing())
            if attempt == TRIES or not error.waiting_helps:
                break
            time.sleep(random.uniform(0, PAUSE * 2 ** (attempt - 1)))  # noqa: S311
        raise error

    def _send(self, body: bytes) -> tuple[str, errors.ErrorFacts | None]:
        """Return the answer of the service, and what went wrong."""
        import http.client
        import ssl
        from urllib import request
        from urllib.error import HTTPError

        class NoRedirect(request.HTTPRedirectHandler):
            def redirect_request(self, *_: object) -> None:
                return None

        headers = sign_request(
            self._service.endpoint, body, self._base(), region=self._service.region, now=datetime.now(UTC)
        )
        trusted = request.HTTPSHandler(context=ssl.create_default_context())
        asked = request.Request(self._service.endpoint, data=body, headers=headers, method="POST")  # noqa: S310
        try:
            with request.build_opener(NoRedirect, trusted).open(asked, timeout=TIMEOUT) as answer:
                return answer.read(LARGEST).decode(errors="replace"), None
        except HTTPError as error:
            with error:
                text = error.read(LARGEST).decode(errors="replace")
            return text, errors.parse_error_facts(f"status code: {error.code}: {text}")
        except (OSError, http.client.HTTPException) as error:
            return "", errors.explain_no_answer(error)

    def _doing(self) -> errors.S3Operation:
        host = urlsplit(self._service.endpoint).netloc
        return errors.S3Operation(
            verb="assume", what=f"the role {self._arn}", bucket="", host=host, allow="sts:AssumeRole"
        )


def sign_request(url: str, body: bytes, keys: SigningKeys, *, region: str, now: datetime) -> dict[str, str]:
    """Return the headers that sign a POST of the form *body* to *url*: AWS Signature Version 4, service sts."""
    day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    address = urlsplit(url)
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "host": address.netloc,
        "x-amz-date": moment,
    }
    if keys.session_token:
        headers["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            "POST",
            address.path or "/",
            "",
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/sts/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{keys.secret_access_key}".encode()
    for part in (day, region, "sts", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signed = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"{keys.access_key_id}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signed}"
    return headers
