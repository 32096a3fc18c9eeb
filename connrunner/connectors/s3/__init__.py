"""Objects in a bucket of Amazon S3, or of any store that speaks its language.

Import:

    import:
      from: {type: s3, bucket: crm-exports, path: "daily/members-*.csv.gz", region: eu-west-1}

`path` is the key of an object, or a pattern: `*`, `?` and `[..]` match within a name, `**` matches folders of any
depth, and none of them a dot at the beginning of a name. What stands before the first wildcard should be a folder, for
only that is listed. The objects are taken in the order of their keys, so let a key carry its date. An object that was
imported is not read again while its ETag stays the same; the version of a versioned bucket does not count, for a
listing does not tell it, and what has the same ETag and size has the same bytes. `when_none` says what a run without an
object is: `succeed`, the default once the connection has read one, or `fail`. An object that is overwritten while it is
read is read again, so that no run mixes two versions. Keys with an empty part (`//`), with `.` or `..` as a part or
with control characters cannot be taken: they are left out with a warning. When nothing else is there, or with keys of a
web identity, container or instance, they are an error in the folder they are in. A run fetches `max_bytes` (10GB) at
most, and never more than half of the room that is free here.

`after: leave` lets the objects stay where they are. `after: delete` deletes them, and `after: move` moves them under
`move_to` ("done/"), once their rows are in the profiles. One that was overwritten meanwhile stays for the next run. In
`move_to` nothing is overwritten (the number of the run is added to the name), or imported. An object of more than 5 GiB
cannot be moved. An object with rows that were refused stays: they are offered again by the next run.

Export:

    export:
      to: {type: s3, bucket: partner-drop, path: "audience-{run}.csv.gz", region: eu-west-1}

`{date}` is the day on which the run started, in UTC, `{run}` its number, `{connection}` its connection. The object
appears whole or not at all. One that is there already is replaced; with `overwrite: never` that is an error, also when
somebody writes it at the same moment (If-None-Match), as long as the store knows such conditions, which Amazon's does;
the object then goes in one piece, of 5 GiB at most. Otherwise a large one goes in parts. A run that is killed in the
middle leaves parts behind that nobody sees and somebody pays for: let a rule of the bucket abort incomplete multipart
uploads.

Where and who:

`endpoint_url` is for compatible stores: https://, or http:// on this machine. The bucket stands in the path of the
address, not in the host. Certificates are always checked, against those that the system trusts; SSL_CERT_FILE names a
file with others.

The keys come from `access_key_id` and `secret_access_key` (and `session_token`), as references; or from `profile`; or,
without these, as for AWS's own tools: from the environment, a web identity (AWS_WEB_IDENTITY_TOKEN_FILE), the profile
AWS_PROFILE or default, a container (ECS, EKS), the instance. `role` (and `external_id`) assumes a role with keys of the
settings, the environment or a profile; it does not with those of a web identity, container or instance. A profile may
have keys, or role_arn with source_profile, or, with the extra `aws`, SSO (log in with `aws sso login`) or a
credential_process; MFA is not known here.

It takes s3:ListBucket and s3:GetObject to import, s3:DeleteObject to delete, s3:PutObject too to move, and s3:PutObject
to export.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from connrunner.connectors import FetchResult, Known, NoFilesError, RunContext, SendResult, Settings, matching
from connrunner.connectors.naming import fill
from connrunner.connectors.quota import FetchQuota
from connrunner.core.model import Format, LocalFile
from connrunner.errors import RunError
from connrunner.text.words import plural

if TYPE_CHECKING:
    from connrunner.connectors.s3.bucket import Bucket, S3Object

LONGEST_KEY = 1024  # bytes, S3's limit
VERSIONS = 3  # of an object that are tried when each is overwritten while it is read


def fetch(settings: Settings, context: RunContext, *, known: Known, mark: Any) -> FetchResult:  # noqa: ARG001
    """Bring the objects that `path` names into the spool, in the order of their keys, and let known ones be."""
    # In a loop, so that a signal ends a transfer at once; obstore's blocking calls would not let it through.
    return asyncio.run(_fetch(settings, context, known))


def settle(settings: Settings, context: RunContext, fetched: FetchResult) -> None:
    """Move or delete the objects whose rows are durable, when `after` says so."""
    if settings.get("after", "leave") != "leave":
        asyncio.run(_settle(settings, context, fetched))


def form(settings: Settings, wanted: Format) -> Format:  # noqa: ARG001
    """Return *wanted*: an object may hold rows in any form."""
    return wanted


def target(settings: Settings, context: RunContext) -> str:
    """Return the address of the object, its placeholders filled in; RunError when none can be written there.

    It looks there, for a wrong bucket, key or region is better known before the work than after it.
    """
    key = _key_to_write(settings, context)
    bucket = _bucket(settings, context)
    try:
        there = asyncio.run(bucket.look(key, verb="write"))
    except RunError as error:
        if error.code != "access-denied":  # keys that may write need not be allowed to look
            raise
        there = None
    if there is not None and settings.get("overwrite") == "never":
        raise _taken(bucket.address(key))
    return bucket.address(key)


def deliver(settings: Settings, context: RunContext, local: Path) -> SendResult:
    """Make the file *local* the object that `path` names; the object appears whole or not at all."""
    from connrunner.connectors.s3.bucket import ObjectExistsError

    key = _key_to_write(settings, context)
    bucket = _bucket(settings, context)
    write = bucket.write_new if settings.get("overwrite") == "never" else bucket.write
    try:
        asyncio.run(write(key, local))
    except ObjectExistsError:
        raise _taken(bucket.address(key)) from None
    context.report.message(f"wrote {bucket.address(key)} ({plural(local.stat().st_size, 'byte')})")
    return SendResult(where=bucket.address(key))


def probe(settings: Settings, context: RunContext, *, writes: bool) -> str:
    """Return the bucket and the keys' answer: what can be listed, or the place where an object may go."""
    if writes:
        return f"{target(settings, context)}: the bucket is there, and the keys are known"
    bucket = _bucket(settings, context)
    folder, _ = _split(_key(settings["path"]))
    asyncio.run(bucket.folder(folder))
    return f"{bucket.address(folder)} may be listed"


# --- import ------------------------------------------------------------------------------------------------------


async def _fetch(settings: Settings, context: RunContext, known: Known) -> FetchResult:
    pattern = _key(settings["path"])
    bucket = _bucket(settings, context)
    found = sorted(await _matching(bucket, pattern), key=lambda each: each.key)
    if settings.get("after") == "move":
        moved = _folder_after(settings)
        if _split(pattern)[0].startswith(moved):
            raise RunError(
                f"`path` takes objects from {bucket.address(moved)}, and `move_to` moves them there",
                hint="set another `move_to`",
                code="bad-settings",
            )
        found = [each for each in found if not each.key.startswith(moved)]
        _check_sizes(bucket, found)
    for key in sorted(bucket.left_out):
        context.report.message(f"left out: no name that can be taken: {_shown(key)}", level="warning")
    if bucket.left_out and not found:
        raise bucket.odd_name_error(_shown(min(bucket.left_out)), "list", _split(pattern)[0])
    files = []
    quota = FetchQuota(settings, context.spool)
    for number, each in enumerate(found):
        name = bucket.address(each.key)
        if known(name, each.size, each.stamp):
            files.append(LocalFile(path="", name=name, size=each.size, modified=each.stamp))
            continue
        path = context.spool / f"{number:06}{_suffix(each.key)}"
        read = await _read(bucket, each, path, context, quota)
        if read is not None:
            context.report.message(f"fetched {name} ({plural(read.size, 'byte')})")
            files.append(LocalFile(path=str(path), name=name, size=read.size, modified=read.stamp))
    if not files:
        raise await _nothing_there(bucket, pattern)
    return FetchResult(files=tuple(files))


async def _matching(bucket: Bucket, pattern: str) -> list[S3Object]:
    """Return the objects that match."""
    folder, parts = _split(pattern)
    if not parts:
        there = await bucket.look(pattern)
        return [there] if there is not None else []
    # By key: one with a / in front looks to obstore like the one without.
    return list({each.key: each async for each in _walk(bucket, folder, parts)}.values())


def _split(pattern: str) -> tuple[str, list[str]]:
    """Return the folder before the first wildcard, and the parts of the pattern behind it; none without a wildcard."""
    folder, parts = matching.split(pattern)
    return "" if folder == "." else f"{folder}/", parts if matching.WILDCARD.search(pattern) else []


async def _walk(bucket: Bucket, folder: str, parts: Sequence[str]) -> AsyncIterator[S3Object]:
    """Yield what matches *parts* in *folder*; a folder is listed only when something in it can match."""
    part, *rest = parts
    if part == "**":
        async for each in bucket.everything(folder):
            if _fits(each.key.removeprefix(folder).split("/"), parts):
                yield each
        return
    if rest and not matching.WILDCARD.search(part):
        async for each in _walk(bucket, f"{folder}{part}/", rest):
            yield each
        return
    objects, folders = await bucket.folder(folder)
    if not rest:
        for each in objects:
            if _fits([each.key.removeprefix(folder)], parts):
                yield each
        return
    for inner in folders:
        if _fits([inner.removeprefix(folder).rstrip("/")], [part]):
            async for each in _walk(bucket, inner, rest):
                yield each


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Tell whether a key, its *names* of folders and of the object, matches the *parts* of a pattern.

    All ways are followed at once, name by name: no key can make this take long.
    """
    end = len(parts)
    reached = {0}  # how many parts may be behind us
    for place, name in enumerate(names):
        for each in range(end - 1):
            if each in reached and parts[each] == "**":
                reached.add(each + 1)  # it may stand for no folder at all
        further = set()
        for each in reached - {end}:
            if parts[each] != "**":
                if _fits_part(name, parts[each]):
                    further.add(each + 1)
            elif not name.startswith("."):
                further.add(end if each == end - 1 and place == len(names) - 1 else each)
        reached = further
    return end in reached


def _fits_part(name: str, part: str) -> bool:
    return name == part or matching.fits(name, part)


async def _read(bucket: Bucket, seen: S3Object, path: Path, context: RunContext, quota: FetchQuota) -> S3Object | None:
    """Bring the object *seen* to *path*, or the one that took its place; None when there is none left."""
    from connrunner.connectors.s3.bucket import ObjectChangedError

    name = bucket.address(seen.key)
    for _ in range(VERSIONS):
        try:
            return await bucket.read(seen, path, quota)
        except ObjectChangedError:
            context.report.message(f"{name} was overwritten while it was read; it is read again", level="warning")
        except RunError as error:
            if error.code != "no-files":
                raise
        path.unlink(missing_ok=True)
        now = await bucket.look(seen.key)
        if now is None:
            if seen.size:  # an empty one is a folder that somebody made by hand
                context.report.message(f"left out: {name} is gone since it was listed", level="warning")
            return None
        seen = now
    raise RunError(
        f"{name} was overwritten each of the {VERSIONS} times it was read",
        hint="let its sender give each version a key of its own, or import when nobody writes it",
        code="changing",
        waiting_helps=True,
    )


async def _nothing_there(bucket: Bucket, pattern: str) -> RunError:
    """Return the error for a pattern that finds no object, with what is there instead."""
    folder, parts = _split(pattern)
    wanted = parts[-1] if parts else pattern.removeprefix(folder)
    try:
        objects, folders = await bucket.folder(folder)
    except RunError:  # it may be allowed to read, and not to list
        objects, folders = [], []
    names = [each.removeprefix(folder) for each in (*(found.key for found in objects), *folders)]
    where = bucket.address(folder)
    advice = matching.instead(wanted, names, where=where, nothing=f"nothing can be seen in {where}; correct `path`")
    return NoFilesError(f"no object {bucket.address(pattern)}", hint=advice)


def _shown(key: str) -> str:
    """Return *key* in quotes, as text that can be written anywhere."""
    return json.dumps(key)


def _suffix(key: str) -> str:
    """Return the suffixes of *key* for the name of a file here, when they are plain: .csv.gz"""
    found = re.search(r"(\.[A-Za-z0-9]{1,10}){1,2}$", PurePosixPath(key).name)
    return found[0] if found else ""


# --- after an import ---------------------------------------------------------------------------------------------


async def _settle(settings: Settings, context: RunContext, fetched: FetchResult) -> None:
    bucket = _bucket(settings, context)
    pattern = _key(settings["path"])
    for file in fetched.files:
        key = file.name.removeprefix(bucket.address(""))
        there = await bucket.look(key)
        if there is None:
            context.report.message(f"{file.name} is gone already")
        elif there.stamp != file.modified:
            context.report.message(f"{file.name} was overwritten since it was read; it stays", level="warning")
        elif settings["after"] == "delete":
            await bucket.delete(key)
            context.report.message(f"deleted {file.name}")
        else:
            place = _folder_after(settings) + key.removeprefix(_split(pattern)[0])
            place = await _move(bucket, there, place, run=context.run)
            context.report.message(f"moved {file.name} to {bucket.address(place)}")


async def _move(bucket: Bucket, seen: S3Object, place: str, *, run: int) -> str:
    """Move the object *seen* to *place*, or beside what is there already; return where it is."""
    there = await bucket.look(place)
    if there is not None and there.stamp != seen.stamp:
        folder, _, name = place.rpartition("/")
        stem, dot, suffixes = name.partition(".")
        place = f"{folder}/{stem}-{run}{dot}{suffixes}"
        there = None
    if there is None:  # else a run before this one came so far
        await bucket.copy(seen, place)
    await bucket.delete(seen.key)
    return place


def _folder_after(settings: Settings) -> str:
    return f"{_key(settings['move_to'].rstrip('/'), setting='move_to')}/"


def _check_sizes(bucket: Bucket, found: Sequence[S3Object]) -> None:
    """Refuse what could not be moved, before it is imported."""
    from connrunner.connectors.s3.bucket import ONE_PIECE

    for each in found:
        if each.size > ONE_PIECE:
            raise RunError(
                f"{bucket.address(each.key)} has {plural(each.size, 'byte')}, and S3 moves at most {ONE_PIECE:,}",
                hint="set `after: leave` or `after: delete`",
                code="too-large",
            )


# --- both --------------------------------------------------------------------------------------------------------


def _bucket(settings: Settings, context: RunContext) -> Bucket:
    from connrunner.connectors.s3.bucket import Bucket

    return Bucket(settings, session=f"connrunner-{context.connection}"[:64])


def _key_to_write(settings: Settings, context: RunContext) -> str:
    return _key(fill(settings["path"], connection=context.connection, run=context.run, at=context.at))


def _key(text: str, *, setting: str = "path") -> str:
    """Return *text* when it can be the key of an object, or a pattern for keys."""
    parts = text.split("/")
    if text.startswith("s3://"):
        wrong, hint = "begins with s3://", "leave it and the bucket out"
    elif text.startswith("/"):
        wrong, hint = "begins with a slash", "leave it out: a key begins with a name"
    elif any(part in ("", ".", "..") for part in parts):
        wrong, hint = "has an empty part, or . or .. as one", "name an object, with one / between its folders"
    elif not text.isprintable():
        wrong, hint = "has a control character", "take it out"
    elif len(text.encode()) > LONGEST_KEY:
        wrong, hint = f"is longer than {LONGEST_KEY} bytes", "shorten it"
    else:
        return text
    raise RunError(f"`{setting}` {text!r} {wrong}", hint=hint, code="bad-name")


def _taken(address: str) -> RunError:
    return RunError(
        f"{address} is there already, and `overwrite: never` keeps it",
        hint="name each run's object by {run} or {date} in `path`, or leave `overwrite` out",
        code="already-there",
    )
