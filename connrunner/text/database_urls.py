"""What the URL of a database may say: to which host it may lead without a look at its certificate, and which keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from connrunner.lazy_dataclasses import dataclass, field
from connrunner.text.hosts import is_loopback
from connrunner.text.words import listed, one_line

POSTGRES = ("postgresql", "postgres")
MYSQL = ("mysql", "mariadb")
ODBC = ("pyodbc", "aioodbc")
POSTGRES_KEYS = (
    *("user", "host", "port", "dbname", "application_name", "options", "target_session_attrs"),
    *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl"),
)
VERIFIED = ("verify-full", "verify-ca")  # the values of `sslmode` that look at a certificate

# Each names no host, no file of settings, no program, and lets no server read a file of this machine. What a driver
# does with a key that is not here, nobody has looked at.
_KEYS = {
    **dict.fromkeys(MYSQL, ("charset", "collation", "program_name", "unix_socket", "use_unicode")),
    "sqlite": ("check_same_thread", "timeout"),
    "mssql": ("charset", "appname", "tds_version"),
    "oracle": ("service_name",),
}
_ODBC_KEYS = ("driver", "encrypt", "trustservercertificate", "applicationintent", "app", "autocommit", "charset")
_ODBC_VALUE = re.compile(r"[A-Za-z0-9 ._()-]{1,100}")  # no path of a library, and no second key behind a `;`
_ORACLE_NAME = re.compile(r"[A-Za-z0-9_.$#-]*")  # no description with another address in it
_PORT = re.compile(r":[0-9]*$")
_PARTS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9_+]*)://(?P<place>[^/?]*)(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?", re.DOTALL
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseUrl:
    """The parts of a URL that say where a database is."""

    backend: str  # in small letters: mysql
    driver: str = ""  # pymysql, empty for the one that the library chooses
    host: str | None = None
    database: str | None = None
    keys: Mapping[str, str] = field(default_factory=dict)  # of its query


class DatabaseUrlFlaw(NamedTuple):
    """Why a database must not be asked."""

    message: str
    hint: str
    code: str


def parse_database_url(text: str) -> DatabaseUrl | None:
    """Return the parts of *text*, or None when it is not the URL of a database."""
    found = _PARTS.fullmatch(text.strip())
    if found is None:
        return None
    backend, _, driver = found["scheme"].lower().partition("+")
    place = found["place"].rpartition("@")[2]
    host = place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]
    if backend in POSTGRES:  # libpq takes a list of hosts, and what is quoted
        host = ",".join(unquote(_PORT.sub("", each)).strip("[]") for each in place.split(","))
    keys = dict(parse_qsl(found["query"] or "", keep_blank_values=True))
    return DatabaseUrl(
        backend="postgresql" if backend in POSTGRES else backend,
        driver=driver,
        host=host or None,
        database=found["database"],
        keys=keys,
    )


def list_passwords(text: str) -> list[str]:
    """Return the passwords that *text*, the URL of a database, holds: as they are written, and decoded."""
    place, _, query = text.strip().partition("://")[2].partition("?")
    user = place.rpartition("@")[0]
    written = [user.partition(":")[2], *re.findall(r"(?:^|&)\w*pass\w*=([^&]*)", query)]
    return list(dict.fromkeys(one for each in written if each for one in (each, unquote(each))))


def is_database_here(host: str | None) -> bool:
    """Return whether *host* is this machine: none at all, the folder of a Unix socket, or a loopback address."""
    return not host or host.startswith(("/", "@")) or is_loopback(host)


def find_flaw(url: DatabaseUrl) -> DatabaseUrlFlaw | None:
    """Return why the database at *url* must not be asked, or None when it may be."""
    if url.backend == "postgresql":
        return _of_postgres(url)
    return _of_keys(url) or _of_names(url) or _of_way(url)


def _of_postgres(url: DatabaseUrl) -> DatabaseUrlFlaw | None:
    strange = sorted(url.keys.keys() - set(POSTGRES_KEYS))
    if strange:
        return _unknown_key(strange[0], POSTGRES_KEYS[4:])
    mode = url.keys.get("sslmode")
    hosts = str(url.keys.get("host") or url.host or "").split(",")
    if mode is None or all(map(is_database_here, hosts)):
        return None
    if mode not in VERIFIED:
        return DatabaseUrlFlaw(
            f"`url` sets sslmode={one_line(mode, 40)}, which verifies no certificate",
            "leave it out, or write verify-full, or verify-ca with sslrootcert",
            "bad-url",
        )
    if mode == "verify-ca" and "sslrootcert" not in url.keys:
        return DatabaseUrlFlaw(
            "`url` sets sslmode=verify-ca without sslrootcert: any public authority's certificate would do",
            "add sslrootcert=/path/of/your/authority.pem",
            "bad-url",
        )
    return None


def _of_keys(url: DatabaseUrl) -> DatabaseUrlFlaw | None:
    is_odbc = url.driver in ODBC
    known = _ODBC_KEYS if is_odbc else _KEYS.get(url.backend, ())
    for key, value in url.keys.items():
        if (key.lower() if is_odbc else key) not in known:  # ODBC takes its keys in any letters
            return _unknown_key(key, known)
        if is_odbc and not _ODBC_VALUE.fullmatch(value):
            return _strange_value(key, "letters, digits, spaces and ._()- only")
        if key == "unix_socket" and not (value.startswith("/") and is_database_here(url.host)):
            return _strange_value(key, "the path of a socket, in a URL without a host")
        if url.backend == "oracle" and not _ORACLE_NAME.fullmatch(value):
            return _strange_value(key, "the name of a service")
    return None


def _of_names(url: DatabaseUrl) -> DatabaseUrlFlaw | None:
    """Return the flaw of a URL whose name of a host or a database stands for something else."""
    if url.driver in ODBC and not (url.host and url.database):
        message = "`url` has no host with a database: to ODBC it is the name of a data source, which may lead anywhere"
        return DatabaseUrlFlaw(message, "write it like mssql+pyodbc://user@127.0.0.1/database?driver=...", "bad-url")
    if url.backend == "oracle" and not _ORACLE_NAME.fullmatch(url.database or ""):
        return DatabaseUrlFlaw("`url` has no name of a database behind its host", "correct it", "bad-url")
    return None


def _of_way(url: DatabaseUrl) -> DatabaseUrlFlaw | None:
    if is_database_here(url.host) or (url.backend in MYSQL and url.driver == "pymysql"):
        return None
    if url.backend == "sqlite":
        return None  # it has no host; who opens it says so
    name = f"{url.backend}+{url.driver}" if url.driver else url.backend
    return DatabaseUrlFlaw(
        f"connrunner cannot make sure that {name} verifies the certificate of {one_line(url.host or '', 100)}",
        "use PostgreSQL, MySQL or MariaDB (mysql+pymysql://), or a tunnel that begins on this machine (127.0.0.1)",
        "unverified",
    )


def _unknown_key(key: str, known: tuple[str, ...]) -> DatabaseUrlFlaw:
    may = f"it may set {listed(known)}" if known else "it may set nothing behind a `?`"
    return DatabaseUrlFlaw(f"`url` sets {one_line(key, 60)}", may, "bad-url")


def _strange_value(key: str, wanted: str) -> DatabaseUrlFlaw:
    return DatabaseUrlFlaw(f"`url` sets {one_line(key, 60)} to what it cannot be", f"write {wanted}", "bad-url")
