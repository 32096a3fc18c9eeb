"""
Who was erased and must not come back: a keyed digest of each of their identifiers, in the table `erased`.

A plain hash of an e-mail address is guessed in no time, so the digests are HMAC-SHA-256 (RFC 2104) with a key of 32
random bytes. It lies beside the store in a file of its own, for its owner only; the store alone tells nobody who was
erased. `about` knows the digest of a fixed text, so that a key that is not this store's is noticed.
"""

from __future__ import annotations

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

from connrunner.core.model import PropertyType
from connrunner.errors import RunError
from connrunner.profiles import stored_tables, values
from connrunner.profiles.session import StoreSession
from connrunner.profiles.sql_fragments import quote_text
from connrunner.text.files import replace_file
from connrunner.text.words import plural

KEY_FILE = "erasure.key"
CHECK = "erasure_check"  # the row of `about`
_CHECKED = b"connrunner"
_LENGTH = 32  # bytes
_BLOCK = 64  # bytes: of SHA-256


def find_key(store: Path) -> Path:
    """Return where the key of the store in the file *store* is."""
    return store.with_name(KEY_FILE)


def read_key(store: Path) -> bytes | None:
    """Return the key; None when there is none. RunError when its file cannot be read or holds something else."""
    path = find_key(store)
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _key_error(f"{path} cannot be read: {error.strerror}") from error
    if len(key) != _LENGTH:
        raise _key_error(f"{path} holds {plural(len(key), 'byte')} and not {_LENGTH}")
    return key


def make_key(store: Path) -> bytes:
    """Return the key, made and brought to the disk when there is none."""
    key = read_key(store)
    if key is None:
        key = secrets.token_bytes(_LENGTH)
        replace_file(find_key(store), key, suffix="new")
    os.chmod(find_key(store), 0o600)  # noqa: PTH101 - not through a link: it has just been read or made
    return key


def compute_check(key: bytes) -> str:
    """Return what `about` knows of *key*."""
    return hmac.new(key, _CHECKED, sha256).hexdigest()


def has_tombstones(session: StoreSession) -> bool:
    """Tell whether anybody was erased; a store of an earlier version has no table for it."""
    return (
        stored_tables.has_stored_table(session.connection, "erased")
        and session.one("SELECT 1 FROM store.erased LIMIT 1") is not None
    )


def require_key(session: StoreSession) -> bytes:
    """Return the key of a store that has tombstones; RunError without it, for erased people would come back."""
    key = read_key(session.path)
    if key is None:
        raise _key_error(f"{find_key(session.path)} is gone")
    known = session.one("SELECT value FROM store.about WHERE key = ?", [CHECK])
    if known is not None and not hmac.compare_digest(str(known), compute_check(key)):
        raise _key_error(f"{find_key(session.path)} is the key of another store")
    return key


def load_pads(session: StoreSession, key: bytes) -> None:
    """Make the temporary table `pads` of one row: the *key* as HMAC takes it. It stands in no statement's text."""
    block = key.ljust(_BLOCK, b"\0")
    inner, outer = bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)
    session.execute("CREATE OR REPLACE TEMP TABLE pads (inside BLOB, outside BLOB)")
    session.execute("INSERT INTO pads VALUES (?, ?)", [inner, outer])


def digest_value(name: str, kind: PropertyType, value: str) -> str:
    """Return the expression, over `pads k`, of the digest of *value*, an expression, of the property *name*."""
    return digest_text(quote_text(name), values.format_value(kind, value))


def digest_text(name: str, text: str) -> str:
    """Return the expression, over `pads k`, of the digest of the one text form of a value; both are expressions."""
    return f"sha256(k.outside || unhex(sha256(k.inside || encode({name} || chr(0) || {text}))))"


def _key_error(what: str) -> RunError:
    return RunError(
        f"people were erased from this profile store, and nobody can tell whom: {what}",
        hint=f"put {KEY_FILE} back from a backup of the state folder; nothing is imported without it",
        code="erasure-key",
    )
