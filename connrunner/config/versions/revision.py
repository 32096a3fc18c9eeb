"""The workspace at a commit, and what git knows of it: read through `git`, for commands that people type."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from connrunner.errors import ArgumentError
from connrunner.text.words import nearest

PARTS = (
    "connrunner.yaml",
    "connrunner.yml",
    "profile.yaml",
    "profile.yml",
    "connections",
    "schedules",
    "notifications",
)
PATIENCE = 60  # seconds for one call of git
LINK, FILES = "120000", ("100644", "100755")


@dataclass(frozen=True, kw_only=True, slots=True)
class CommitSummary:
    """What people want to know of a commit."""

    hash: str
    author: str
    at: str  # when it was committed, RFC 3339
    subject: str


def resolve_revision(folder: Path, revision: str) -> str:
    """Return the commit that *revision* (a hash, a branch, `HEAD~1`) names in the repository that holds *folder*.

    ArgumentError, with the nearest branch or tag, when there is none.
    """
    _prefix(folder)
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    done = _git(folder, *words, check=False)
    if done.returncode == 0:
        return done.stdout.decode().strip()
    names = _git(folder, "for-each-ref", "--format=%(refname:short)").stdout.decode().split()
    meant = nearest(revision, names)
    hint = f"did you mean {meant!r}?" if meant else "`git log --oneline` lists what there is"
    if _git(folder, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
        hint += " (this clone is shallow: fetch the whole history, with `fetch-depth: 0` in a GitHub workflow)"
    raise ArgumentError(f"there is no commit {revision!r}", hint=hint)


def fork(folder: Path, base: str, head: str) -> str:
    """Return the newest commit that two commits have in common, as `base...head` means it."""
    done = _git(folder, "merge-base", base, head, check=False)
    if done.returncode != 0:
        raise ArgumentError(
            f"{base[:12]} and {head[:12]} have no commit in common", hint="write base..head, with two dots"
        )
    return done.stdout.decode().strip()


def describe_commit(folder: Path, revision: str) -> CommitSummary | None:
    """Return what git knows of *revision*; None when it does not know it, or when there is no repository."""
    try:
        done = _git(
            folder, "show", "--no-patch", "--format=%H%x00%an%x00%cI%x00%s", "--end-of-options", revision, check=False
        )
    except ArgumentError:
        return None
    parts = done.stdout.decode(errors="replace").strip("\n").split("\0")
    if done.returncode != 0 or len(parts) != 4:
        return None
    return CommitSummary(hash=parts[0], author=parts[1], at=parts[2], subject=parts[3])


def read_file_at(folder: Path, revision: str, relative: str) -> str | None:
    """Return the file at *relative* (to the workspace) as *revision* has it; None when it has none."""
    try:
        done = _git(folder, "cat-file", "blob", f"{revision}:{_prefix(folder)}{relative}", check=False)
    except ArgumentError:
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


@contextmanager
def checkout(folder: Path, revision: str, *, only: str = "") -> Iterator[Path]:
    """Give a folder, for a while, that holds the workspace's YAML as the commit *revision* has it.

    With *only*, of all connections the one of this name. Byte for byte: no filter, no attribute, no hook of the
    repository has a say. ArgumentError when the commit has no workspace there.
    """
    prefix = _prefix(folder)
    with tempfile.TemporaryDirectory(prefix="connrunner-") as name:
        top = Path(name)
        entries = _tree(folder, revision, prefix)
        if not any(path == "connrunner.yaml" for _, _, path in entries):
            where = prefix.rstrip("/") or "at its top"
            raise ArgumentError(
                f"commit {revision[:12]} has no workspace {where}",
                hint="name a commit that has a connrunner.yaml there, or another folder with --workspace",
            )
        if only:
            own = f"connections/{only}.yaml"
            entries = [entry for entry in entries if entry[2] == own or not entry[2].startswith("connections/")]
        blobs = _blobs(folder, [blob for _, blob, _ in entries])
        for mode, blob, path in entries:
            file = top / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if mode == LINK:
                file.symlink_to(os.fsdecode(blobs[blob]))
            else:
                file.write_bytes(blobs[blob])
        yield top


def _tree(folder: Path, revision: str, prefix: str) -> list[tuple[str, str, str]]:
    """Return mode, blob and path, relative to the workspace, of every file that a workspace consists of."""
    paths = [f"{prefix}{part}" for part in PARTS]
    listing = _git(folder, "ls-tree", "-r", "-z", "--full-tree", revision, "--", *paths).stdout
    found = []
    for line in filter(None, listing.split(b"\0")):
        facts, _, path = line.partition(b"\t")
        mode, kind, blob = facts.decode().split()
        relative = os.fsdecode(path).removeprefix(prefix)
        if kind == "blob" and (mode in FILES or mode == LINK) and ".." not in PurePosixPath(relative).parts:
            found.append((mode, blob, relative))
    return found


def _blobs(folder: Path, names: list[str]) -> dict[str, bytes]:
    wanted = list(dict.fromkeys(names))
    output = _git(folder, "cat-file", "--batch", data="".join(f"{name}\n" for name in wanted).encode()).stdout
    found, position = {}, 0
    for name in wanted:
        end = output.index(b"\n", position)
        size = int(output[position:end].split()[2])
        found[name] = output[end + 1 : end + 1 + size]
        position = end + 1 + size + 1
    return found


def _prefix(folder: Path) -> str:
    """Return where the workspace is in its repository: empty at the top, else with a slash at its end."""
    return os.fsdecode(_git(folder, "rev-parse", "--show-prefix").stdout).removesuffix("\n")


def _git(folder: Path, *words: str, check: bool = True, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("git")
    if program is None:
        raise ArgumentError("there is no program `git` on the PATH", hint="install git, or compare folders with --base")
    # What a repository's own configuration could run is switched off.
    safe = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-replace-objects", "--no-pager")
    env = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - git itself, with an argument list
            [program, *safe, "-C", str(folder), *words], input=data, capture_output=True, timeout=PATIENCE, env=env
        )
    except subprocess.TimeoutExpired:
        raise ArgumentError(f"git took longer than {PATIENCE} s in {folder}", hint="try `git status` there") from None
    complaint = done.stderr.decode(errors="replace")
    if "not a git repository" in complaint:
        raise ArgumentError(f"{folder} is in no git repository", hint="compare with a folder: --base DIR")
    if "dubious ownership" in complaint:
        hint = f"say that you trust it: git config --global --add safe.directory {folder}"
        raise ArgumentError(f"git refuses {folder}, which belongs to somebody else", hint=hint)
    if check and done.returncode != 0:
        said = complaint.strip().splitlines() or ["no word"]
        raise ArgumentError(f"git could not answer: {said[0].removeprefix('fatal: ')}", hint="see `git status`")
    return done
