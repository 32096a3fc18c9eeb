"""Whose keys sign the requests to S3: from the settings, the environment, a profile file, or of a role."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from connrunner.connectors import Settings
from connrunner.connectors.s3.role import Provider, Role, Service
from connrunner.connectors.s3.sdk_keys import SETTINGS, SdkKeys
from connrunner.connectors.s3.signature import SigningKeys
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.text.hosts import is_loopback
from connrunner.text.words import nearest

UNKNOWN = ("credential_source", "login_session", "mfa_serial", "web_identity_token_file")  # other ways to keys


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The keys that sign, and the region that they sign for."""

    provider: Provider | None  # None: obstore finds keys by a web identity, a container or an instance
    region: str


def identity(settings: Settings, environment: Mapping[str, str], *, session: str) -> Identity:
    """Return whose keys the *settings* name, else what *environment* leads to; *session* names those of a role.

    The order is the one of AWS's own tools: settings; environment; web identity; profile file; container; instance.
    """
    name = settings.get("profile") or environment.get("AWS_PROFILE") or "default"
    files = Profiles(environment)
    region = (
        settings.get("region")
        or environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or files.region(name)
        or "us-east-1"
    )
    china = ".cn" if region.startswith("cn-") else ""
    sts = _trustworthy(environment.get("AWS_ENDPOINT_URL_STS") or f"https://sts.{region}.amazonaws.com{china}")
    service = Service(endpoint=sts, region=region, session=session)
    provider = _provider(settings, environment, files, name, service)
    if settings.get("role"):
        if provider is None:
            raise RunError(
                f"cannot assume the role {settings['role']}: there are no keys to begin with",
                hint="give `access_key_id` and `secret_access_key`, or a `profile`; the role of a container or an "
                "instance is used without `role`",
                code="no-credentials",
            )
        provider = Role(settings["role"], external_id=settings.get("external_id", ""), base=provider, service=service)
    return Identity(provider=provider, region=region)


def endpoint(settings: Settings, environment: Mapping[str, str], *, region: str) -> str:
    """Return the URL of the server: what *settings* or *environment* say, else Amazon's in *region*."""
    china = ".cn" if region.startswith("cn-") else ""
    return _trustworthy(
        settings.get("endpoint_url")
        or environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
        or f"https://s3.{region}.amazonaws.com{china}"
    )


def _trustworthy(url: str) -> str:
    """Return *url* when what is sent there cannot be read on the way."""
    try:
        address = urlsplit(url)
        host, _ = address.hostname, address.port  # an impossible port raises ValueError
    except ValueError:
        host = None
    if not host or address.username is not None or address.query or address.fragment:
        raise RunError(
            f"{host or 'what `endpoint_url` says'} is not an endpoint", hint="write https://HOST", code="bad-endpoint"
        )
    if address.scheme == "https" or (address.scheme == "http" and is_loopback(host)):
        return url.rstrip("/")
    raise RunError(
        f"the endpoint {url} is not safe: everybody on the way could read along",
        hint="write https://; http:// is for this machine (localhost) only",
        code="bad-endpoint",
    )


def _provider(
    settings: Settings, environment: Mapping[str, str], files: Profiles, name: str, service: Service
) -> Provider | None:
    if settings.get("access_key_id"):
        if settings.get("profile"):
            raise RunError("there are `profile` and `access_key_id`", hint="leave one out", code="wrong-credentials")
        return _always(settings["access_key_id"], settings["secret_access_key"], settings.get("session_token"))
    if not settings.get("profile"):
        if environment.get("AWS_ACCESS_KEY_ID"):
            if not environment.get("AWS_SECRET_ACCESS_KEY"):
                raise RunError(
                    "the environment has AWS_ACCESS_KEY_ID, but no AWS_SECRET_ACCESS_KEY",
                    hint="set it where connrunner starts",
                    code="no-credentials",
                )
            return _always(
                environment["AWS_ACCESS_KEY_ID"],
                environment["AWS_SECRET_ACCESS_KEY"],
                environment.get("AWS_SESSION_TOKEN"),
            )
        if environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environment.get("AWS_ROLE_ARN"):
            return None
    if settings.get("profile") or environment.get("AWS_PROFILE") or files.has(name):
        return files.provider(name, service)
    container = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true" and not any(map(environment.get, container)):
        raise RunError(
            "there are no keys for S3: not in the connection, the environment or a profile file",
            hint="give `access_key_id` and `secret_access_key` as env: or file: references, or a `profile`",
            code="no-credentials",
        )
    return None


def _always(access_key_id: str, secret_access_key: str, session_token: str | None) -> Provider:
    keys = SigningKeys(
        access_key_id=access_key_id, secret_access_key=secret_access_key, session_token=session_token or None
    )
    return lambda: keys


class Profiles:
    """The profiles in ~/.aws/credentials and ~/.aws/config, or in the files that the environment names instead."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        home = Path(environment.get("HOME") or Path.home())
        self._credentials = _path(environment.get("AWS_SHARED_CREDENTIALS_FILE"), home / ".aws" / "credentials", home)
        self._config = _path(environment.get("AWS_CONFIG_FILE"), home / ".aws" / "config", home)
        self._found: dict[str, dict[str, str]] | None = None

    def has(self, name: str) -> bool:
        return name in self._all()

    def region(self, name: str) -> str:
        """Return the region of the profile *name*; empty when it says none."""
        return self._all().get(name, {}).get("region", "")

    def provider(self, name: str, service: Service, *, through: tuple[str, ...] = ()) -> Provider:
        """Return the provider of the keys of the profile *name*, also of a role; the profiles *through* led here."""
        data = self._profile(name)
        if name in through:
            chain = " -> ".join((*through, name))
            raise RunError(
                f"the profiles lead in a circle: {chain}", hint=f"correct {self._config}", code="bad-profile"
            )
        if "role_arn" in data and "source_profile" in data and "mfa_serial" not in data:
            source = data["source_profile"]
            if source == name:  # its own keys assume its role
                base = self._keys(name, data)
            else:
                base = self.provider(source, service, through=(*through, name))
            if "role_session_name" in data:
                service = replace(service, session=data["role_session_name"])
            return Role(data["role_arn"], external_id=data.get("external_id", ""), base=base, service=service)
        return self._keys(name, data)

    def _keys(self, name: str, data: Mapping[str, str]) -> Provider:
        if "aws_access_key_id" in data and "aws_secret_access_key" in data:
            return _always(data["aws_access_key_id"], data["aws_secret_access_key"], data.get("aws_session_token"))
        for setting in SETTINGS:
            if data.get(setting) and "role_arn" not in data:
                return SdkKeys(name, setting=setting, config=self._config, credentials=self._credentials)
        other = next((key for key in UNKNOWN if key in data), "")
        why = f"it goes by {other}, which connrunner cannot" if other else "it has no aws_access_key_id with its secret"
        raise RunError(
            f"the profile {name!r} gives no keys: {why}",
            hint="put keys into the environment, as `aws configure export-credentials --format env` prints them",
            code="bad-profile",
        )

    def _profile(self, name: str) -> Mapping[str, str]:
        found = self._all()
        if name not in found:
            near = nearest(name, found)
            hint = f"did you mean {near!r}?" if near else f"there is {', '.join(sorted(found)) or 'none at all'}"
            raise RunError(
                f"no profile {name!r} in {self._credentials} or {self._config}", hint=hint, code="bad-profile"
            )
        return found[name]

    def _all(self) -> dict[str, dict[str, str]]:
        if self._found is None:
            self._found = {}
            for section, data in _sections(self._config).items():
                if section == "default" or section.startswith("profile "):
                    self._found[section.removeprefix("profile ").strip()] = data
            for section, data in _sections(self._credentials).items():
                self._found[section] = {**self._found.get(section, {}), **data}
        return self._found


def _path(named: str | None, usual: Path, home: Path) -> Path:
    return home / named.removeprefix("~/") if named else usual


def _sections(path: Path) -> dict[str, dict[str, str]]:
    """Return the sections of a file, empty when there is no such file. No error shows a line: it may be a secret."""
    parser = configparser.RawConfigParser(strict=False, default_section="\0")
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, configparser.Error) as error:
        place = getattr(error, "lineno", None) or next((line for line, _ in getattr(error, "errors", [])), None)
        why = (
            error.strerror
            if isinstance(error, OSError)
            else f"line {place} is not understood"
            if place
            else "it is not text"
        )
        raise RunError(f"cannot read {path}: {why}", hint="correct it", code="bad-profile") from None
    return {section: dict(parser[section]) for section in parser.sections()}
