"""Temporary keys of a role, by AssumeRole of the Security Token Service (STS)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

from connrunner.connectors.s3 import errors, signature
from connrunner.connectors.s3.signature import RequestScope, SigningKeys
from connrunner.core import instant
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, replace

TRIES = 4
PAUSE = 2.0  # seconds; before the second try at most, doubled for each further one
EARLY = timedelta(minutes=6)  # before the end of keys; obstore asks for new ones five minutes before it


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
        headers = sign_request(
            self._service.endpoint, body, self._base(), region=self._service.region, now=datetime.now(UTC)
        )
        answer, fact = signature.ask(self._service.endpoint, body, headers)
        return answer.decode(errors="replace"), fact

    def _doing(self) -> errors.S3Operation:
        host = urlsplit(self._service.endpoint).netloc
        return errors.S3Operation(
            verb="assume", what=f"the role {self._arn}", bucket="", host=host, allow="sts:AssumeRole"
        )


def sign_request(url: str, body: bytes, keys: SigningKeys, *, region: str, now: datetime) -> dict[str, str]:
    """Return the headers that sign a POST of the form *body* to *url*, that of a token service."""
    more = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    return signature.sign(url, body, keys, RequestScope(region=region, service="sts"), more, now)
