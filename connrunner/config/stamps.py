"""Which files a workspace consists of, and when each changed; imports nothing, for the tick with nothing to do."""

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILES = ("connrunner.yaml", "connrunner.yml", "profile.yaml", "profile.yml")
FOLDERS = ("connections", "schedules", "notifications")
SUFFIXES = (".yaml", ".yml")
MAX_LINKS = 5


def stamps(
    folder: str | os.PathLike[str],
    repository: tuple[str, str] | None = None,
    seen: "Mapping[str, os.stat_result | None] | None" = None,
) -> dict[str, int]:
    """Return the time of the last change (ctime, in ns) of each file and folder of the workspace, by relative path.

    ctime shows every kind of edit, also those that keep size and mtime. What cannot be looked at has stamp 0. A
    workspace that is read from the commits of *repository* (the folder of its HEAD, the folder that its worktrees
    share) has the stamps of what says which commit that is, and of connrunner.yaml, which says where the state is.
    *seen* is what `scan` found a moment ago.
    """
    if repository is not None:
        return _stamps_of_head(os.fspath(folder), *repository)
    found = scan(folder) if seen is None else seen
    return {path: 0 if status is None else status.st_ctime_ns for path, status in found.items()}


def _stamps_of_head(folder: str, own: str, shared: str) -> dict[str, int]:
    paths = [f"{folder}/{FILES[0]}", f"{shared}/packed-refs", f"{shared}/reftable/tables.list", f"{own}/HEAD"]
    for _ in range(MAX_LINKS):  # HEAD names a branch, and a branch may name another
        try:
            descriptor = os.open(paths[-1], os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                content = os.read(descriptor, 4096) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
            finally:
                os.close(descriptor)
        except OSError:
            break
        if content[:4] != b"ref:":
            break
        paths.append(f"{shared}/{os.fsdecode(content[4:].strip())}")
    return {path: max(0, _stamp_of(path)) for path in paths}


def compact(folder: str, seen: "Mapping[str, int]") -> tuple[str, bytes]:
    """Return the names of the files that *seen*, stamps of *folder*, are of, and what `look_again` finds while all is
    the same.

    A part for each of `FOLDERS`: it and the files in it. No name has a slash, so one stands between two names, and two
    between two parts.
    """
    inside: dict[str, list[str]] = {name: [name] for name in FOLDERS if name in seen}
    for path in seen:
        above, slash, name = path.partition("/")
        if slash:
            inside[above].append(name)
    found = [seen.get(name, -1) for name in (*FILES, *FOLDERS)]
    for above, names in inside.items():
        found += (
            seen[above],
            os.stat(f"{folder}/{above}").st_ino,
            *(seen[f"{above}/{name}"] for name in names[1:]),
        )
    return "//".join("/".join(names) for names in inside.values()), _digest(found)


def look_again(folder: str, names: str) -> bytes:
    """Return what differs from what `compact` returned with *names* whenever `stamps` of *folder* would differ.

    While a folder has the same stamp and inode, it has the same files: none is listed. By their short names, each is
    looked at without a walk along its path. OSError when a folder cannot be entered.
    """
    found = [_stamp_of(f"{folder}/{name}") for name in (*FILES, *FOLDERS)]
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in names.split("//") if names else ():
            above, *inside = part.split("/")
            os.chdir(f"{folder}/{above}")
            status = os.stat(".")
            found += (status.st_ctime_ns, status.st_ino)
            look = os.stat
            try:
                found += [look(name).st_ctime_ns for name in inside]
            except OSError:  # a link that leads nowhere, say
                found += [max(0, _stamp_of(name)) for name in inside]
    finally:
        os.fchdir(here)
        os.close(here)
    return _digest(found)


def _digest(found: list[int]) -> bytes:
    # The sum shows any one change for certain, the hash (of numbers the same in every process) any other; text or bytes
    # of them all would take as long as half of the looking.
    return b"%d %d %d" % (len(found), sum(found), hash(tuple(found)))


def _stamp_of(path: str) -> int:
    """Return the stamp of *path*: 0 when it cannot be looked at, -1 when nothing is there."""
    found = _look(path)
    return -1 if not found else 0 if found[0] is None else found[0].st_ctime_ns


def scan(folder: str | os.PathLike[str]) -> dict[str, os.stat_result | None]:
    """Return the status of each file and folder of the workspace, by relative path; None when it cannot be seen."""
    return dict(_look_at_all(os.fspath(folder)))


def _look_at_all(top: str) -> "Iterator[tuple[str, os.stat_result | None]]":
    for name in FILES:
        for status in _look(f"{top}/{name}"):
            yield name, status
    for name in FOLDERS:
        for status in _look(f"{top}/{name}"):
            yield name, status
            try:
                descriptor = os.open(f"{top}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                yield name, None
                continue
            try:
                yield from _look_into(name, descriptor)
            finally:
                os.close(descriptor)


def _look_into(folder: str, descriptor: int) -> "Iterator[tuple[str, os.stat_result | None]]":
    # By names and a descriptor: a third cheaper than os.scandir, which walks the path again for each of its entries.
    try:
        files = os.listdir(descriptor)
    except OSError:
        yield folder, None
        return
    for file in files:
        if file[0] == ".":
            continue
        status: os.stat_result | None
        try:
            status = os.stat(file, dir_fd=descriptor)
        except OSError:
            status = None
        if file.lower().endswith(SUFFIXES) or (status is not None and stat.S_ISDIR(status.st_mode)):
            yield f"{folder}/{file}", status


def _look(path: str) -> tuple[os.stat_result | None, ...]:
    """Return the status of *path*, alone; None alone when it cannot be looked at; nothing when nothing is there."""
    try:
        return (os.stat(path),)
    except FileNotFoundError:
        return (None,) if os.path.islink(path) else ()
    except OSError:
        return (None,)
