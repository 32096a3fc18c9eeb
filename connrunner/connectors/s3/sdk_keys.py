"""Keys of a profile that AWS's own library has to fetch: by SSO, or from a program (credential_process)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from connrunner.connectors.s3.signature import SigningKeys
from connrunner.errors import RunError

SETTINGS = ("credential_process", "sso_session", "sso_start_url")  # of a profile, that this module stands for
METHODS = ("sso", "custom-process")  # what the library calls these; no other way of finding keys is tried
TIMEOUT = 10  # seconds without an answer of the SSO service
TRIES = 3

# The library renews what has less than 10 minutes left. obstore asks again 5 minutes before the end that it is told.
LIFE = timedelta(minutes=10)


class SdkKeys:
    """The keys of the profile *name*, fetched by boto3 at the first call and renewed by it before they end.

    No message shows what a program printed or a token service answered: both hold secrets.
    """

    def __init__(self, name: str, *, setting: str, config: Path, credentials: Path) -> None:
        self._name = name
        self._setting = setting
        self._config = config
        self._credentials = credentials
        self._provider: Any = None

    def __call__(self) -> SigningKeys:
        if self._provider is None:
            self._provider = self._open()
        with self._explained():
            given = self._provider()
        return SigningKeys(
            access_key_id=given["access_key_id"],
            secret_access_key=given["secret_access_key"],
            session_token=given["token"],
            expires_at=given["expires_at"],
        )

    def _open(self) -> Any:
        try:
            import boto3.session
            import botocore.session
            from botocore.config import Config
            from obstore.auth.boto3 import Boto3CredentialProvider
        except ImportError:
            raise RunError(
                f"the profile {self._name!r} goes by {self._setting}, which needs the extra `aws`",
                hint="pip install 'connrunner[aws]'",
                code="missing-extra",
            ) from None
        with self._explained():
            inner = botocore.session.Session(profile=self._name)
            inner.set_config_variable("config_file", str(self._config))
            inner.set_config_variable("credentials_file", str(self._credentials))
            limits = Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT, retries={"total_max_attempts": TRIES})
            inner.set_default_client_config(limits)
            resolver = inner.get_component("credential_provider")
            for provider in list(resolver.providers):
                if provider.METHOD not in METHODS:
                    resolver.remove(provider.METHOD)
            return Boto3CredentialProvider(boto3.session.Session(botocore_session=inner), ttl=LIFE)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from botocore import exceptions as aws

        try:
            yield
        except (aws.SSOError, aws.TokenRetrievalError):
            raise RunError(
                f"the SSO login of the profile {self._name!r} has ended, or was never made here",
                hint=f"run `aws sso login --profile {self._name}` as the user that connrunner runs as",
                code="expired-credentials",
            ) from None
        except (aws.ConnectionError, aws.HTTPClientError):
            raise RunError(
                f"the profile {self._name!r} gives no keys: the SSO service gives no answer",
                hint="see that the network lets connrunner there, and that `sso_region` is right",
                code="unreachable",
                waiting_helps=True,
            ) from None
        except aws.ClientError as error:
            raise self._refused(error) from None
        except (aws.CredentialRetrievalError, OSError):
            raise self._no_keys("its program failed", hint=_BY_HAND) from None
        except aws.BotoCoreError as error:
            raise self._no_keys(f"{type(error).__name__} of AWS's library", hint=f"correct {self._config}") from None
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError):
            # What is not JSON, lacks a part, has one of another type, or has ended already.
            found = "what its program prints is not understood, or has expired"
            raise self._no_keys(found, hint=_BY_HAND) from None

    def _refused(self, error: Any) -> RunError:
        facts = error.response.get("Error", {})
        code = re.sub(r"[^A-Za-z]", "", str(facts.get("Code", "")))[:60]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        refused = self._no_keys(
            f"the SSO service refused with {code or status}",
            hint="see that the account and the role of the profile are right, and assigned to who logged in",
        )
        refused.waiting_helps = status == 429 or status >= 500
        return refused

    def _no_keys(self, why: str, *, hint: str) -> RunError:
        return RunError(f"the profile {self._name!r} gives no keys: {why}", hint=hint, code="bad-profile")


_BY_HAND = (
    "run the profile's credential_process by hand as the user that connrunner runs as; its words are not shown here, "
    "since they may hold a secret"
)
