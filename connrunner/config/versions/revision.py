"""The workspace at a commit, and what git knows of it: read through `git`, for commands that people type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connrunner.config.versions import git
from connrunner.config.versions.git import BorrowedRepository, VersionError
from connrunner.errors import ArgumentError
from connrunner.lazy_dataclasses import dataclass
from connrunner.text.words import nearest

PATIENCE = 60.0  # seconds for one call of git


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
    with _asked(folder) as repository:
        words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        done = repository.ask(*words, patience=PATIENCE)
        if done.returncode == 0:
            return done.stdout.decode().strip()
        names = _answer(repository, "for-each-ref", "--format=%(refname:short)").decode(errors="replace").split()
        meant = nearest(revision, names)
        hint = f"did you mean {meant!r}?" if meant else "`git log --oneline` lists what there is"
        if _answer(repository, "rev-parse", "--is-shallow-repository").strip() == b"true":
            hint += " (this clone is shallow: fetch the whole history, with `fetch-depth: 0` in a GitHub workflow)"
    raise ArgumentError(f"there is no commit {revision!r}", hint=hint)


def fork(folder: Path, base: str, head: str) -> str:
    """Return the newest commit that two commits have in common, as `base...head` means it."""
    with _asked(folder) as repository:
        done = repository.ask("merge-base", base, head, patience=PATIENCE)
    if done.returncode != 0:
        raise ArgumentError(
            f"{base[:12]} and {head[:12]} have no commit in common", hint="write base..head, with two dots"
        )
    return done.stdout.decode().strip()


def describe_commit(folder: Path, revision: str) -> CommitSummary | None:
    """Return what git knows of *revision*; None when it does not know it, or when there is no repository."""
    try:
        with git.borrow(str(folder)) as repository:
            parts = git.describe(repository, revision, "%H%x00%an%x00%cI%x00%s", patience=PATIENCE)
    except VersionError:
        return None
    return None if parts is None else CommitSummary(hash=parts[0], author=parts[1], at=parts[2], subject=parts[3])


def read_file_at(folder: Path, commit: str, relative: str) -> str | None:
    """Return the file at *relative* (to the workspace) as *commit* has it; None when it has none."""
    try:
        with git.opened(str(folder)) as objects:
            found = objects.read(commit, relative, git.LARGEST_TREE)
    except VersionError:
        return None
    return None if found is None else found.decode(errors="replace")


@contextmanager
def _asked(folder: Path) -> Iterator[BorrowedRepository]:
    """Yield the repository of *folder* to ask about; an ArgumentError says why there is none."""
    try:
        with git.borrow(str(folder)) as repository:
            yield repository
    except VersionError as error:
        hint = error.hint
        if "is in no git repository" in error.message:
            hint = "compare with a folder: --base DIR"
        elif "cannot be started" in error.message:
            hint = "install git, or compare folders with --base"
        raise ArgumentError(error.message, hint=hint) from None


def _answer(repository: BorrowedRepository, *words: str) -> bytes:
    done = repository.ask(*words, patience=PATIENCE)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no word"]
        raise ArgumentError(f"git could not answer: {said[0].removeprefix('fatal: ')}", hint="see `git status`")
    return done.stdout
