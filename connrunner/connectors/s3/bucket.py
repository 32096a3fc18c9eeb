"""One bucket of an S3 server: what connrunner does there, each error told in words."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from connrunner.connectors import Settings
from connrunner.connectors.matching import NameBudget
from connrunner.connectors.quota import FetchQuota
from connrunner.connectors.s3 import keys, odd_names
from connrunner.connectors.s3.errors import ErrorFacts, S3Operation, explain_s3_error, parse_error_facts
from connrunner.connectors.s3.role import Provider
from connrunner.core import instant
from connrunner.errors import RunError
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.text.words import plural

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Credential, S3Store

CONNECT = 10.0  # seconds to get a connection
READ = 60.0  # seconds without a byte of an answer
LISTING = 900.0  # seconds until all that is right in one folder is listed
COPY = 600.0  # seconds until a server has copied an object
PART = 8 << 20  # bytes of a large file that are sent together
PARTS = 4  # on their way at once, so many are in memory
SEND = 100.0  # seconds for one part
SLOWEST = 256 << 10  # bytes in a second that we wait for, when a file is sent in one piece
MOST_PARTS = 9_000  # S3 takes 10,000
ONE_PIECE = 5 << 30  # bytes that S3 takes, or copies, in one piece
RETRIES = 5
RETRY = 600.0  # seconds after which sending is not tried again
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 1.0, 30.0, 3  # seconds between tries: by chance, up to a limit that grows


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Object:
    """An object, in the version that was seen."""

    key: str
    size: int  # bytes
    stamp: str  # of this version: its ETag, or when it was written where a server gives none
    etag: str | None  # as the server writes it, when a request can be tied to it


class ObjectChangedError(Exception):
    """An object is not any more the one that was seen."""


class ObjectExistsError(Exception):
    """There is another object by that name already."""


class Bucket:
    """The bucket that *settings* name; *session* is how a token service calls us when they name a role."""

    def __init__(self, settings: Settings, *, session: str) -> None:
        who = keys.identity(settings, os.environ, session=session)
        self.name = str(settings["bucket"])
        self._region = who.region
        self._endpoint = keys.endpoint(settings, os.environ, region=who.region)
        self._provider = who.provider
        if who.provider is not None:
            who.provider()  # so that what is wrong with the keys is said by us, before anything else
        self._names = NameBudget()
        self.left_out: set[str] = set()
        """Keys that were listed and cannot be taken."""
        self._reader = self._store(answer=READ, whole=timedelta(days=30).total_seconds())

    def address(self, key: str) -> str:
        """Return how people call the object *key*."""
        return f"s3://{self.name}/{key}"

    # --- looking -------------------------------------------------------------------------------------------------

    async def folder(self, folder: str) -> tuple[list[S3Object], list[str]]:
        """Return the objects right in *folder* (`daily/`, or empty for the top), and the folders in it."""
        import obstore
        from obstore.exceptions import InvalidPathError

        with self._explained("list", folder, allow="s3:ListBucket"):
            try:
                # It gives nothing before the last page has come.
                async with asyncio.timeout(LISTING):
                    answer = await obstore.list_with_delimiter_async(self._reader, folder.rstrip("/") or None)
            except TimeoutError:
                raise RunError(
                    f"the listing of {self.address(folder)} does not end",
                    hint="narrow `path` to one folder, or have what was read moved away: `after: move`",
                    code="too-large",
                ) from None
            except InvalidPathError:
                if self._provider is None:
                    raise
                return await self._list_ourselves(folder, deep=False)
        self._names.take(len(answer["objects"]) + len(answer["common_prefixes"]), self.address(folder))
        # A folder that somebody made by hand is an empty object; obstore gives it the folder's name.
        objects = [_found(each) for each in answer["objects"] if each["path"] != folder.rstrip("/")]
        return objects, [f"{prefix}/" for prefix in answer["common_prefixes"] if prefix]

    async def everything(self, folder: str) -> AsyncIterator[S3Object]:
        """Yield the objects in *folder* and in the folders inside it, of any depth."""
        import obstore
        from obstore.exceptions import InvalidPathError

        with self._explained("list", folder, allow="s3:ListBucket"):
            try:
                async for page in obstore.list(self._reader, folder.rstrip("/") or None, chunk_size=1000):
                    self._names.take(len(page), self.address(folder))
                    for each in page:
                        yield _found(each)
            except InvalidPathError:
                if self._provider is None:
                    raise
            else:
                return
        # Those before it come once more: a key is taken once.
        for found in (await self._list_ourselves(folder, deep=True))[0]:
            yield found

    async def _list_ourselves(self, folder: str, *, deep: bool) -> tuple[list[S3Object], list[str]]:
        """Return what is in *folder* but for what has a name that cannot be taken: that goes to `left_out`."""
        assert self._provider is not None
        keys, url = self._provider(), f"{self._endpoint.rstrip('/')}/{self.name}"

        def pages() -> tuple[list[odd_names.ListedKey], list[str]]:
            objects, folders = [], []
            for some, inside in odd_names.list_keys(url, folder, keys, self._region, deep=deep):
                self._names.take(len(some) + len(inside), self.address(folder))
                objects += some
                folders += inside
            return objects, folders

        try:
            objects, folders = await asyncio.to_thread(pages)
        except odd_names.ListingError as error:
            raise self._error(error.fact, "list", folder, allow="s3:ListBucket") from None
        self.left_out |= {key for key in (*(one.key for one in objects), *folders) if odd_names.is_odd(key)}
        found = [_found_ourselves(one) for one in objects if one.key not in self.left_out and one.key[-1:] != "/"]
        return found, [one for one in folders if one not in self.left_out]

    async def look(self, key: str, *, verb: str = "read") -> S3Object | None:
        """Return the object *key*, or None when there is none; *verb* says what for."""
        import obstore
        from obstore.exceptions import BaseError

        try:
            with self._explained(verb, key, allow="s3:GetObject"):
                try:
                    return _found(await obstore.head_async(self._reader, key))
                except (BaseError, FileNotFoundError) as error:
                    if not 400 <= (parse_error_facts(str(error)).status or 0) < 500:
                        raise
                    # A refusal of HEAD is only a number; GET tells why.
                    return _found((await obstore.get_async(self._reader, key)).meta)
        except RunError as error:
            if error.code == "no-files":
                return None
            raise

    # --- reading and writing -------------------------------------------------------------------------------------

    async def read(self, seen: S3Object, path: Path, quota: FetchQuota) -> S3Object:
        """Write the bytes of the object *seen* to *path*; Changed when it is another one by now."""
        import obstore

        with self._explained("read", seen.key, allow="s3:GetObject"):
            answer = await obstore.get_async(self._reader, seen.key, options={"if_match": seen.etag})
            found = _found(answer.meta)
            quota.expect(found.size, self.address(seen.key))
            written = 0
            with path.open("wb") as file:
                async for piece in answer.stream(min_chunk_size=1 << 20):
                    quota.take(len(piece), self.address(seen.key))
                    written += file.write(piece)
        if written != found.size:
            raise RunError(
                f"cannot read {self.address(seen.key)}: {written:,} of {plural(found.size, 'byte')} came",
                hint="try again",
                code="cut-off",
                waiting_helps=True,
            )
        return found

    async def write(self, key: str, path: Path) -> None:
        """Make the file *path* the object *key*, in the place of one that is there."""
        import obstore

        with self._explained("write", key, allow="s3:PutObject"):
            part = max(PART, -(-path.stat().st_size // MOST_PARTS))
            store = self._store(answer=SEND, whole=SEND)
            await obstore.put_async(store, key, path, chunk_size=part, max_concurrency=PARTS)

    async def write_new(self, key: str, path: Path) -> None:
        """Make the file *path* the object *key*; Taken when another one is there.

        The same bytes count as written: it may have been us, and only the answer got lost.
        """
        size = path.stat().st_size
        if size > ONE_PIECE:
            raise RunError(
                f"cannot write {self.address(key)}: S3 takes at most {ONE_PIECE:,} bytes in one piece, "
                f"as `overwrite: never` needs, and these are {size:,}",
                hint="compress it, as .csv.gz does, or let `path` name each run's file by {run} and leave "
                "`overwrite` out",
                code="too-large",
            )
        limit, tries = FIRST_PAUSE, 1
        while fact := await self._create(key, path, size):
            if tries > RETRIES or not (fact.busy or fact.unknown_end):
                break
            await asyncio.sleep(random.uniform(0, limit))  # noqa: S311
            limit, tries = min(LONGEST_PAUSE, limit * GROWTH), tries + 1
        else:
            return
        if fact.status in (409, 412):
            there = await self.look(key)
            if there is None or there.size != size or there.stamp != _md5(path):
                raise ObjectExistsError
            return
        raise self._error(replace(fact, tries=max(tries, fact.tries)), "write", key, allow="s3:PutObject")

    async def _create(self, key: str, path: Path, size: int) -> ErrorFacts | None:
        """Try to write it in one piece; return what the server said against it."""
        import obstore
        from obstore.exceptions import BaseError

        store = self._store(answer=SEND + size / SLOWEST, whole=SEND + size / SLOWEST)
        with path.open("rb") as file:
            # Mapped, a large file does not have to fit into memory; an empty one cannot be mapped.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        try:
            await obstore.put_async(store, key, content, mode="create")
        except (BaseError, FileNotFoundError) as error:
            return parse_error_facts(str(error))
        return None

    async def copy(self, seen: S3Object, key: str) -> None:
        """Make a copy of the object *seen* under *key*; the server does it."""
        import obstore

        with self._explained("copy", seen.key, allow=f"s3:GetObject and s3:PutObject ({key})"):
            await obstore.copy_async(self._store(answer=COPY, whole=COPY), seen.key, key)
        there = await self.look(key)
        if there is None or there.size != seen.size:
            raise RunError(
                f"the copy of {self.address(seen.key)} as {self.address(key)} did not arrive whole",
                hint="look at both",
                code="cut-off",
            )

    async def delete(self, key: str) -> None:
        """Delete the object *key*."""
        import obstore

        with self._explained("delete", key, allow="s3:DeleteObject"):
            await obstore.delete_async(self._reader, key)

    # --- the way there -------------------------------------------------------------------------------------------

    def _store(self, *, answer: float, whole: float) -> S3Store:
        """Return obstore's client that waits *answer* seconds for a byte of an answer, and *whole* for all of it.

        Where it sends, *answer* runs from the first byte of the question: that is why the times differ.
        """
        try:
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ImportError:
            raise RunError(
                "the connector s3 needs its extra", hint="pip install 'connrunner[s3]'", code="missing-extra"
            ) from None
        try:
            # What is said here, the environment cannot say otherwise: not where to, and not how strictly.
            return S3Store(
                self.name,
                region=self._region,
                aws_endpoint_url_s3=self._endpoint,
                virtual_hosted_style_request=False,
                disable_bulk_delete=True,  # which not every compatible store has
                credential_provider=None if self._provider is None else _as_obstore_wants(self._provider),
                client_options={
                    "allow_http": self._endpoint.startswith("http:"),
                    "allow_invalid_certificates": False,
                    "connect_timeout": timedelta(seconds=CONNECT),
                    "read_timeout": timedelta(seconds=answer),
                    "timeout": timedelta(seconds=whole),
                },
                retry_config={
                    "max_retries": RETRIES,
                    # From the first try on, so that a download of an hour may be resumed too.
                    "retry_timeout": timedelta(seconds=max(whole, RETRY)),
                    "backoff": {
                        "init_backoff": timedelta(seconds=FIRST_PAUSE),
                        "max_backoff": timedelta(seconds=LONGEST_PAUSE),
                        "base": GROWTH,
                    },
                },
            )
        except (BaseError, ValueError) as error:
            why = str(error).partition("\n")[0]
            raise RunError(
                f"cannot use S3: {why}", hint="correct the AWS_ variables of the environment", code="bad-settings"
            ) from None

    @contextmanager
    def _explained(self, verb: str, key: str, *, allow: str) -> Iterator[None]:
        """Turn an error of obstore into one for people, or into Changed."""
        from obstore.exceptions import BaseError, InvalidPathError

        try:
            yield
        except InvalidPathError as error:
            raise self._untakable(str(error), verb, key) from None
        except (BaseError, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and error.errno is not None:
                raise  # a file of this machine
            fact = parse_error_facts(str(error))
            if fact.changed and verb == "read":
                raise ObjectChangedError from None
            raise self._error(fact, verb, key, allow=allow) from None

    def _error(self, fact: ErrorFacts, verb: str, key: str, *, allow: str) -> RunError:
        if fact.moved and not fact.region:
            fact = replace(fact, region=self._right_region())
        host = urlsplit(self._endpoint).netloc
        return explain_s3_error(
            fact, S3Operation(verb=verb, what=self.address(key), bucket=self.name, host=host, allow=allow)
        )

    def _untakable(self, text: str, verb: str, key: str) -> RunError:
        found = re.search(r'path: ("(?:[^"\\]|\\.)*")', text)
        return self.odd_name_error(found[1] if found else "(unknown)", verb, key)

    def odd_name_error(self, shown: str, verb: str, key: str) -> RunError:
        """Return the error for an object whose name, as *shown*, cannot be taken."""
        return RunError(
            f"cannot {verb} {self.address(key)}: an object has the name {shown}; "
            "connrunner takes none with empty parts (//), . or .. as a part, or control characters",
            hint="rename or delete it, or choose another folder in `path`",
            code="bad-name",
        )

    def _right_region(self) -> str:
        """Ask the server where the bucket is; it tells without keys. Empty when it does not."""
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        kind = HTTPSConnection if self._endpoint.startswith("https:") else HTTPConnection
        connection = kind(urlsplit(self._endpoint).netloc, timeout=CONNECT)
        try:
            connection.request("HEAD", f"{urlsplit(self._endpoint).path.rstrip('/')}/{self.name}")
            return connection.getresponse().headers.get("x-amz-bucket-region", "")
        except (OSError, HTTPException):
            return ""
        finally:
            connection.close()


def _as_obstore_wants(provider: Provider) -> Callable[[], S3Credential]:
    def credential() -> S3Credential:
        given = provider()
        return {
            "access_key_id": given.access_key_id,
            "secret_access_key": given.secret_access_key,
            "token": given.session_token,
            "expires_at": given.expires_at,
        }

    return credential


def _found(meta: ObjectMeta) -> S3Object:
    etag = meta["e_tag"] or ""
    return S3Object(
        key=meta["path"],
        size=meta["size"],
        stamp=etag.replace('"', "") or instant.text(meta["last_modified"]),
        etag=etag if etag.startswith('"') else None,  # no request can be tied to a weak one
    )


def _found_ourselves(one: odd_names.ListedKey) -> S3Object:
    return S3Object(
        key=one.key,
        size=one.size,
        stamp=one.etag.replace('"', "") or one.modified,
        etag=one.etag if one.etag.startswith('"') else None,
    )


def _md5(path: Path) -> str:
    """Return what S3 takes for the ETag of a file that came in one piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
