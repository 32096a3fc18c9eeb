"""What libpq is given to reach a PostgreSQL database: a host that is not this machine shows its certificate."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from connrunner.databases import CONNECT, SILENCE
from connrunner.errors import RunError
from connrunner.text.database_urls import DatabaseUrl, find_flaw, is_database_here

BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def compose_parameters(
    url: str, *, folder: Path, username: str | None = None, password: str | None = None, takes_password: bool = False
) -> dict[str, Any]:
    """
    Return the parameters for the database at *url*; paths in it start from *folder*.

    RunError when the URL is none, or asks for something that cannot be; of the parts of it only names of keys and a
    wrong `sslmode` are in the words. The URL may hold a password only when *takes_password*.
    """
    try:
        parameters: dict[str, Any] = dict(conninfo_to_dict(f"postgresql://{url.partition('://')[2]}"))
        if not re.fullmatch("[0-9,]*", str(parameters.get("port", ""))):
            raise ValueError
    except (psycopg.ProgrammingError, ValueError):
        # Its text may hold parts of the URL that were meant to be secret.
        raise RunError(
            "`url` is not the URL of a PostgreSQL database",
            hint="write it like postgresql://user@host:5432/database",
            code="bad-url",
        ) from None
    # By what libpq itself reads in the URL.
    keys = {name: str(value) for name, value in parameters.items() if not (takes_password and name == "password")}
    flaw = find_flaw(DatabaseUrl(backend="postgresql", keys=keys))
    if flaw is not None:
        raise RunError(flaw.message, hint=flaw.hint, code=flaw.code)
    if username is not None:
        parameters["user"] = username
    if password is not None:
        parameters["password"] = password
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        if name in parameters and parameters[name] != "system":
            parameters[name] = str(folder / parameters[name])
    parameters |= _trust(parameters)
    return {
        "application_name": "connrunner",
        **parameters,
        "client_encoding": "utf8",
        "connect_timeout": CONNECT,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": SILENCE * 1000,
    }


def describe_database(parameters: Mapping[str, Any]) -> str:
    """Return how people call the database, for every message."""
    host = parameters.get("host") or "this machine"
    port = parameters.get("port")
    return f"{parameters.get('dbname') or parameters.get('user')} at {host}" + (f":{port}" if port else "")


def _trust(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of TLS: a certificate is verified for every host that is not this machine."""
    mode = parameters.get("sslmode")
    if all(is_database_here(host) for host in str(parameters.get("host") or "").split(",")):
        return {"sslmode": mode or "prefer"}
    return {"sslmode": mode or "verify-full", "sslrootcert": parameters.get("sslrootcert") or _bundle()}


def _bundle() -> str:
    """Return the file with the authorities that this machine trusts."""
    # psycopg's own OpenSSL looks where it was built, not where this machine keeps them.
    known = (os.environ.get("SSL_CERT_FILE"), ssl.get_default_verify_paths().cafile, *BUNDLES)
    return next((path for path in known if path and Path(path).is_file()), "system")
