"""What a commit holds, read from the object database: no checkout can change it while it is read.

This is the only module that starts git. It never starts it in the repository: a repository's settings, attributes and
hooks can name programs, and a branch can bring files that git takes for a repository. It starts it in an empty one of
our own making, which borrows the objects and the names of branches and tags.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from connrunner.config.documents import workspace_file
from connrunner.config.versions import commit as commits
from connrunner.config.versions.commit import RepositoryPlace
from connrunner.errors import WorkspaceError
from connrunner.lazy_dataclasses import dataclass
from connrunner.processes.temporary_folders import temporary_folder
from connrunner.text.words import escape

PATIENCE = 20.0  # seconds for each thing that a load asks of git
LARGEST_TREE = 64 * 1024 * 1024  # bytes of the list of one folder; some 700,000 files
REGULAR = (b"100644", b"100755")
FOLDER = b"40000"
LINK = b"120000"

_KEPT = ("LD_LIBRARY_PATH",)  # where git finds its own libraries, on some systems
_SET = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_PAGER": "cat",
}
_POINTERS = re.compile(r"[A-Z_]*HEAD")  # ORIG_HEAD and the like: commits that people name
_SHA256 = re.compile(rb"\bobjectformat\s*=\s*\"?sha256", re.IGNORECASE)


class VersionError(WorkspaceError):
    """No whole version of the workspace can be read now; the last one that could be still holds for a while."""


class MalformedTreeError(VersionError):
    """A commit lists files as no git does: a name leads elsewhere, or stands twice."""


# --- starting git ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BorrowedRepository:
    """An empty repository of our own, with the objects and names of the one that *folder* is in."""

    folder: str
    place: RepositoryPlace
    home: Path  # a temporary folder; git's working folder and its only settings

    def ask(self, *words: str, patience: float = PATIENCE) -> subprocess.CompletedProcess[bytes]:
        """Return what `git WORDS` says. VersionError when it cannot be started, or takes *patience* seconds."""
        program, path = _find_program(self.place.top)
        try:
            return subprocess.run(  # noqa: S603 - git, with a list of arguments
                [program, *words],
                cwd=self.home,
                env=self._environment(path),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _explained("", self.folder) from None
        except OSError as error:
            raise _not_started(error.strerror or str(error)) from None

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Return the process `git WORDS`. VersionError when it cannot be started."""
        program, path = _find_program(self.place.top)
        try:
            return subprocess.Popen(  # noqa: S603 - git, with a list of arguments
                [program, *words],
                cwd=self.home,
                env=self._environment(path),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise _not_started(error.strerror or str(error)) from None

    def _environment(self, path: str) -> dict[str, str]:
        home = str(self.home)
        return {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            **_SET,
            "PATH": path,
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "GIT_DIR": home,
            "GIT_OBJECT_DIRECTORY": str(self.place.shared / "objects"),
        }


@contextmanager
def borrow(folder: str) -> Iterator[BorrowedRepository]:
    """Yield what git can be asked about the repository that *folder* is in.

    VersionError when it is in none, or when another user owns it and git was not told to trust that.
    """
    place = commits.find_repository(Path(folder))
    if place is None:
        raise _explained("not a git repository", folder)
    with ExitStack() as stack:
        try:
            home = stack.enter_context(temporary_folder())
            _furnish(home, place)
        except OSError as error:
            raise VersionError(
                f"the repository of {escape(folder)} cannot be read: {error.strerror}",
                hint="look after the temporary folder (TMPDIR) and after who may read .git",
            ) from None
        borrowed = BorrowedRepository(folder, place, home)
        if not _is_ours(place):
            _refuse_untrusted(borrowed)
        yield borrowed


def _furnish(home: Path, place: RepositoryPlace) -> None:
    """Make *home* a repository. Its settings are ours alone, the rest are links."""
    with suppress(FileNotFoundError):
        (home / "HEAD").write_bytes(_start_of(place.own / "HEAD"))
    settings = "[core]\n\trepositoryformatversion = {}\n\tbare = true\n"
    extensions = ""
    with suppress(OSError):
        if _SHA256.search(_start_of(place.shared / "config", 1 << 18)):
            extensions += "\tobjectFormat = sha256\n"
    if (place.shared / "reftable").is_dir():
        extensions += "\trefStorage = reftable\n"
    text = settings.format(1 if extensions else 0) + (f"[extensions]\n{extensions}" if extensions else "")
    (home / "config").write_text(text)
    for name in ("refs", "packed-refs", "reftable", "shallow"):
        if (place.shared / name).exists():
            (home / name).symlink_to(place.shared / name)
    if not (home / "refs").exists():
        (home / "refs").mkdir()
    (home / "logs").mkdir()
    for name, source in (("HEAD", place.own / "logs" / "HEAD"), ("refs", place.shared / "logs" / "refs")):
        if source.exists():
            (home / "logs" / name).symlink_to(source)
    for pointer in place.own.iterdir():
        if pointer.name != "HEAD" and _POINTERS.fullmatch(pointer.name):
            (home / pointer.name).symlink_to(pointer)


def _start_of(path: Path, limit: int = 4096) -> bytes:
    """Return the beginning of the file at *path*, which is not waited for when it is a pipe or a device."""
    try:
        return workspace_file.content(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), limit)
    except workspace_file.UnreadableFile:
        return b""


def _find_program(top: Path) -> tuple[str, str]:
    """Return git, and a PATH without folders that are relative or lie in *top*: a branch can fill those."""
    entries = [
        entry
        for entry in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if entry.startswith("/") and not workspace_file.inside(str(top), entry)
    ]
    path = os.pathsep.join(entries)
    program = shutil.which("git", path=path) if entries else None
    if program is None:
        raise _not_started("there is none on the PATH")
    return program, path


def _is_ours(place: RepositoryPlace) -> bool:
    """Tell whether git would look into the repository without being told to trust it: who asks owns it."""
    mine = {os.geteuid()}
    if os.geteuid() == 0 and os.environ.get("SUDO_UID", "").isdecimal():
        mine.add(int(os.environ["SUDO_UID"]))
    try:
        return all(path.stat().st_uid in mine for path in (place.top, place.own, place.shared))
    except OSError:
        return False


def _refuse_untrusted(borrowed: BorrowedRepository) -> None:
    """Ask git itself, with the settings of the user and of the machine, whether the repository is to be trusted."""
    top = borrowed.place.top
    program, path = _find_program(top)
    own = {name: os.environ[name] for name in ("HOME", "XDG_CONFIG_HOME") if name in os.environ}
    environment = {**_SET, **own, "PATH": path}
    del environment["GIT_CONFIG_GLOBAL"], environment["GIT_CONFIG_NOSYSTEM"]
    try:
        done = subprocess.run(  # noqa: S603 - git, with a list of arguments
            [program, "-c", "safe.bareRepository=explicit", "rev-parse", "--git-dir"],
            cwd=top,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _explained("", borrowed.folder) from None
    except OSError as error:
        raise _not_started(error.strerror or str(error)) from None
    if done.returncode:
        raise _explained(done.stderr.decode("utf-8", "replace"), borrowed.folder)


def _not_started(why: str) -> VersionError:
    hint = "install git, or take `source: git` out of connrunner.yaml"
    return VersionError(f"git cannot be started: {why}", hint=hint)


def describe(repository: BorrowedRepository, commit: str, form: str, *, patience: float) -> list[str] | None:
    """Return the parts of *form* (placeholders of `git show`, with %x00 between them) for *commit*; None without it."""
    words = ("show", "--no-patch", "--no-show-signature", "--no-notes", f"--format={form}", "--end-of-options")
    done = repository.ask(*words, f"{commit}^{{commit}}", patience=patience)
    parts = done.stdout.decode("utf-8", "replace").strip("\n").split("\0")
    return parts if done.returncode == 0 and len(parts) == form.count("%x00") + 1 else None


# --- objects -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One name in a folder of a commit."""

    mode: bytes  # as git writes it: 100644 a file, 120000 a link, 160000 a submodule, 40000 a folder
    identity: str  # the hash of its content


class GitObjects:
    """The object database of the repository that a folder is in, asked through one process of git."""

    def __init__(self, repository: BorrowedRepository, process: subprocess.Popen[bytes]) -> None:
        self.folder = repository.folder
        self._prefix = repository.place.prefix
        self._process = process
        self._asked_at: float | None = None  # monotonic seconds; None while no answer is awaited

    def lose_patience(self, is_over: threading.Event) -> None:
        """End git once an answer has taken `PATIENCE`, however many were asked for and however busy the machine is."""
        while not is_over.wait(PATIENCE / 4):
            asked_at = self._asked_at
            if asked_at is not None and time.monotonic() - asked_at > PATIENCE:
                self._process.kill()
                return

    def find(self, name: str, limit: int, kind: bytes = b"") -> tuple[str, bytes] | None:
        """Return the hash of the object that *name* means, and its first *limit* bytes; None when there is none.

        VersionError when git cannot say, because the object is damaged, say, or when it is not of *kind*.
        """
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        assert "\n" not in name, "one line is one question"
        self._asked_at = time.monotonic()
        try:
            asked.write(os.fsencode(name) + b"\n")
            asked.flush()
            head = answers.readline()
            if head.endswith((b" missing\n", b" ambiguous\n")):
                return None
            identity, found, size = head.split()
            left = int(size)
            content = answers.read(min(left, limit))
            left -= len(content)
            while left and (more := answers.read(min(left, 1 << 16))):
                left -= len(more)
            if left or answers.read(1) != b"\n":
                raise self._broken()
        except (OSError, ValueError):
            raise self._broken() from None
        finally:
            self._asked_at = None
        if kind and found != kind:
            raise VersionError(
                f"a commit of {escape(self.folder)} is damaged: {identity.decode()[:12]} should be a {kind.decode()}"
                f" and is a {found.decode()}",
                hint="`git fsck` says more",
            )
        return identity.decode(), content

    def entries(self, name: str, where: str = "") -> dict[str, TreeEntry] | None:
        """Return what the folder *name* (a hash, or `COMMIT^{tree}`) holds; None when there is none.

        VersionError, which begins with *where*, for a list that no git makes and that would lead elsewhere.
        """
        found = self.find(name, LARGEST_TREE, b"tree")
        if found is None:
            return None
        entries: dict[str, TreeEntry] = {}
        try:
            for file, entry in _entries(found[1], width=len(found[0]) // 2):
                if why := _refused(file, entries):
                    raise _hostile(where or name, file, why)
                entries[file] = entry
        except ValueError:
            raise self._broken() from None
        return entries

    def workspace(self, identity: str) -> dict[str, TreeEntry] | None:
        """Return what the commit *identity* has in the folder asked about; None when it has no such folder."""
        where = f"commit {identity[:12]}"
        found = self.entries(f"{identity}^{{tree}}", where)
        for name in self._prefix:
            entry = (found or {}).get(name)
            if entry is None or entry.mode != FOLDER:
                return None
            where = f"{where}, {escape(name)}" if "," not in where else f"{where}/{escape(name)}"
            found = self.entries(entry.identity, where)
        return found

    def read(self, identity: str, path: str, limit: int) -> bytes | None:
        """Return the first *limit* bytes of the regular file *path* of the workspace at a commit; None without one."""
        *folders, name = path.split("/")
        found = self.workspace(identity)
        for folder in folders:
            entry = (found or {}).get(folder)
            if entry is None or entry.mode != FOLDER:
                return None
            found = self.entries(entry.identity, f"commit {identity[:12]}, {escape(folder)}")
        entry = (found or {}).get(name)
        if entry is None or entry.mode not in REGULAR:
            return None
        content = self.find(entry.identity, limit, b"blob")
        return None if content is None else content[1]

    def _broken(self) -> VersionError:
        """What git complained of on its way out."""
        self._process.kill()
        assert self._process.stderr is not None
        said = self._process.stderr.read(4096).decode("utf-8", "replace")
        return _explained(said, self.folder)


@contextmanager
def opened(folder: str) -> Iterator[GitObjects]:
    """Yield the objects of the repository that *folder* is in. VersionError when git cannot be started."""
    with borrow(folder) as repository:
        process = repository.start("cat-file", "--batch")
        objects, is_over = GitObjects(repository, process), threading.Event()
        watch = threading.Thread(target=objects.lose_patience, args=(is_over,), daemon=True)
        watch.start()
        try:
            yield objects
        finally:
            is_over.set()
            watch.join()
            process.kill()
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe is not None
                with suppress(BrokenPipeError):  # what git did not read any more
                    pipe.close()
            process.wait()


def _entries(tree: bytes, width: int) -> Iterator[tuple[str, TreeEntry]]:
    """Yield what a tree object lists: `MODE NAME NUL HASH`, the hash as bytes."""
    position = 0
    while position < len(tree):
        space, end = tree.index(b" ", position), tree.index(b"\0", position)
        identity = tree[end + 1 : end + 1 + width].hex()
        if len(identity) != 2 * width:
            raise ValueError
        yield os.fsdecode(tree[space + 1 : end]), TreeEntry(tree[position:space], identity)
        position = end + 1 + width


def _refused(name: str, others: dict[str, TreeEntry]) -> str:
    """Return why a tree may not list *name* beside *others*; empty when it may."""
    if not name or "/" in name or name in (".", ".."):
        return "which is no name but a way to elsewhere"
    if name.casefold() == ".git":
        return "which only a repository itself may have"
    return "twice" if name in others else ""


def _hostile(where: str, name: str, why: str) -> MalformedTreeError:
    shown = escape(name[:100])
    hint = "no git makes such a list of files: do not check it out, ask who made it"
    return MalformedTreeError(f"{where} lists {shown!r} {why}", hint=hint)


def _explained(said: str, folder: str) -> VersionError:
    """Return what git's complaint means to the person who can act."""
    shown = escape(folder)
    if "dubious ownership" in said:
        message = f"git does not trust {shown}, for another user owns it"
        hint = f"as the user who runs connrunner, type `git config --global --add safe.directory {shown}`"
        return VersionError(message, hint=hint)
    if "not a git repository" in said:
        return VersionError(
            f"{shown} is in no git repository", hint="repair its .git, clone it there, or take `source: git` out"
        )
    lines = [escape(line.strip()) for line in said.splitlines() if line.strip()]
    why = f": {lines[0][:300]}" if lines else ": git gave no answer in time"
    return VersionError(f"git cannot read the commit of {shown}{why}", hint="`git fsck` says what is damaged")
