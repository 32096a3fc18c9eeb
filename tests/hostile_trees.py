"""Trees that a branch may hold, and the commands that people and continuous integration type in a checkout of it.

Each tree is built around a sound workspace whose first commit is `main`. Whoever finds another one adds a line to TREES.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

NOW = "2026-11-22T07:00:00Z"
# Every command that only looks, with words that take it as far as it goes.
LOOKING: tuple[tuple[str, ...], ...] = (
    ("validate",),
    ("validate", "--format", "json"),
    ("validate", "--format", "github"),
    ("validate", "--format", "sarif"),
    ("plan",),
    ("plan", "main..branch", "--now", NOW),
    ("plan", "main...branch", "--now", NOW, "--format", "json"),
    ("plan", "branch..main", "--now", NOW, "--format", "markdown"),
    ("plan", "--base", "."),
    ("status",),
    ("status", "--format", "json"),
    ("explain", "sound"),
    ("explain", "sound", "--at", "2026-11-22T06:00:00Z"),
    ("explain", "import.match"),
    ("runs", "sound"),
    ("log", "sound"),
    ("rejects", "sound"),
    ("next",),
    ("profiles", "ann@example.com"),
    ("state", "sound"),
    ("connectors", "list"),
    ("notify", "list"),
    ("notify", "preview", "sound"),
    ("completion", "bash"),
    ("doctor",),
    ("replay", "--now", NOW),
    ("metrics",),
    ("calendar",),
    ("site", "site"),
)
# What commands do that do something; they obey the workspace, which is what they are for.
ACTING = frozenset(
    {"init", "new", "demo", "tick", "run", "stop", "undo", "approve", "decline", "reset", "install", "history", "web"}
)
# Those of them that ask git, or read what a branch brings, in different ways: enough for every change.
ASKING_GIT: tuple[tuple[str, ...], ...] = (
    ("validate",),
    ("plan", "--now", NOW),
    ("plan", "main..branch", "--now", NOW),
    ("status",),
    ("explain", "sound", "--at", "2026-11-22T06:00:00Z"),
    ("next",),
)

SOUND = 'title: Sound\nschedule: {type: days_of_week, days: [monday], time: "06:00"}\ncommand: {run: ["true"]}\n'
PROFILE = "properties: {email: {type: email, identifier: true}}\n"
AUTHOR = {f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@dataclass
class Ground:
    """A repository with a workspace in it, and what must not be touched."""

    top: Path
    mark: Path  # what a program of the branch would make: this path, and whatever begins so
    elsewhere: Path  # a folder of the user
    below: str = "ws"  # where the workspace is in the repository
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        return self.top / self.below

    def git(self, *words: str, data: bytes = b"") -> str:
        done = subprocess.run(
            ["git", "-C", str(self.top), *words],
            check=True,
            capture_output=True,
            input=data,
            env={**os.environ, **AUTHOR, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
        )
        return done.stdout.decode().strip()

    def write(self, path: str, text: str | bytes) -> Path:
        file = self.workspace / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a version")
        return self.git("rev-parse", "HEAD")

    def tree(self, *entries: tuple[str, bytes, str]) -> str:
        """Write a tree of mode, name and hash as it is given, however wrong, and return its hash."""
        raw = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(one) for mode, name, one in entries)
        return self.git("hash-object", "-t", "tree", "--literally", "-w", "--stdin", data=raw)

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", data=content)

    def branch(self, workspace_tree: str, *, checked_out: bool = False) -> None:
        """Make `branch` a commit whose workspace is the tree *workspace_tree*; HEAD too, if it is *checked_out*."""
        tree = workspace_tree
        for name in reversed(Path(self.below).parts):
            tree = self.tree(("40000", name.encode(), tree))
        made = self.git("commit-tree", tree, "-p", "main", "-m", "hostile")
        self.git("update-ref", "refs/heads/branch", made)
        if checked_out:
            self.git("symbolic-ref", "HEAD", "refs/heads/branch")

    def sound_entries(self) -> list[tuple[str, bytes, str]]:
        """Return what the tree of the sound workspace lists."""
        lines = self.git("ls-tree", f"main:{self.below}").splitlines()
        parts = [line.replace("\t", " ").split(" ", 3) for line in lines]
        return [(mode.lstrip("0"), name.encode(), one) for mode, _, one, name in parts]


def lay_ground(folder: Path, *, source: str = "git") -> Ground:
    """Make a repository whose branch `main` is a sound workspace, and a folder of the user beside it."""
    ground = Ground(top=folder / "clone", mark=folder / "marks" / "mark", elsewhere=folder / "home")
    for each in (ground.top, ground.mark.parent, ground.elsewhere):
        each.mkdir(parents=True)
    (ground.elsewhere / "authorized_keys").write_text("mine\n")
    ground.git("init", "--quiet", "--initial-branch", "main")
    ground.write("connrunner.yaml", f"version: 1\nsource: {source}\ntimezone: UTC\n")
    ground.write("profile.yaml", PROFILE)
    ground.write("connections/sound.yaml", SOUND)
    ground.write(".gitignore", ".connrunner/\n")
    ground.commit()
    ground.git("checkout", "--quiet", "-b", "branch")
    return ground


# --- settings that name a program --------------------------------------------------------------------------------

_NAMES_A_PROGRAM = re.compile(
    r"\.(?:cmd|\w*command|program|clean|smudge|process|driver|textconv|fsmonitor|editor|pager|askpass|helper|sshcommand"
    r"|gitproxy|vcs|uploadpack|receivepack|packobjectshook|tocmd|cccmd|external|\w*tool|\w*browser|\w*keycommand)$"
    r"|^(?:alias|pager)\.",
    re.IGNORECASE,
)
# What `git help --config` leaves out, from gitattributes(5), git-config(1) and githooks(5).
_MORE = (
    "filter.<driver>.process",
    "core.fsmonitor",
    "core.sshCommand",
    "gpg.<format>.program",
    "interactive.diffFilter",
)


@cache
def settings_with_programs() -> tuple[str, ...]:
    """Return every setting that names a program, as this machine's git lists them, placeholders filled in."""
    listed = subprocess.run(["git", "help", "--config"], capture_output=True, text=True, check=False).stdout.split()
    names = dict.fromkeys([*filter(_NAMES_A_PROGRAM.search, listed), *_MORE])
    filled = {"driver": "evil", "name": "evil", "tool": "evil", "cmd": "show", "format": "ssh"}
    found = [
        re.sub(r"<(\w+)>", lambda match: filled.get(match[1], "evil"), name.replace("*", "show")) for name in names
    ]
    return tuple(name for name in found if "<" not in name)


def hostile_config(ground: Ground, names: Sequence[str]) -> str:
    """Return a `config` in which each of *names* is a program that leaves a mark, and that makes git ask for it."""
    lines = ["[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = .\n\thooksPath = hooks\n"]
    lines.append(
        "[log]\n\tshowSignature = true\n[gpg]\n\tformat = ssh\n[diff]\n\texternal = true\n[protocol]\n\tallow = always\n"
    )
    lines.append('[extensions]\n\tpartialClone = evil\n[remote "evil"]\n\tpromisor = true\n')
    lines.append(f'\turl = "ext::sh -c touch% {ground.mark}-remote"\n')
    for name in names:
        section, _, key = name.rpartition(".")
        head, dot, inner = section.partition(".")
        mark = f"{ground.mark}-{name}"
        lines.append(
            f"[{head}{f' {chr(34)}{inner}{chr(34)}' if dot else ''}]\n\t{key} = \"sh -c 'touch {mark}; cat'\"\n"
        )
    return "".join(lines)


def _inner_repository(ground: Ground) -> None:
    """The workspace's folder looks like a repository: all of it are ordinary files for git and for every forge."""
    ground.write("HEAD", "ref: refs/heads/evil\n")
    subprocess.run(
        ["cp", "-r", f"{ground.top}/.git/objects", f"{ground.top}/.git/refs", str(ground.workspace)], check=True
    )
    (ground.workspace / "refs/heads/evil").write_text(ground.git("rev-parse", "HEAD") + "\n")
    subprocess.run(["cp", f"{ground.top}/.git/index", str(ground.workspace)], check=True)
    ground.write("config", hostile_config(ground, settings_with_programs()))
    ground.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    _hooks(ground, ground.workspace / "hooks")
    ground.write("connections/sound.yaml", SOUND.replace("Sound", "Edited"))
    ground.git("add", "--all", "--force")
    ground.git("commit", "--quiet", "--message", "a repository")


def _hooks(ground: Ground, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("post-index-change", "fsmonitor-watchman", "post-checkout", "reference-transaction", "query-watchman"):
        (folder / name).write_text(f"#!/bin/sh\ntouch {ground.mark}-hook-{name}\n")
        (folder / name).chmod(0o755)


def _own_settings(ground: Ground) -> None:
    """The settings of the repository itself: a folder that somebody unpacked brings its .git with it."""
    ground.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    ground.write("connections/sound.yaml", SOUND.replace("Sound", "Committed"))
    ground.commit()
    ground.write("connections/sound.yaml", SOUND.replace("Sound", "Edited"))
    (ground.top / ".git/info").mkdir(exist_ok=True)
    (ground.top / ".git/info/attributes").write_text("* filter=evil diff=evil\n")
    _hooks(ground, ground.top / ".git/hooks")
    config = (
        hostile_config(ground, settings_with_programs()).replace("worktree = .", "").replace("hooksPath = hooks", "")
    )
    with (ground.top / ".git/config").open("a") as file:
        file.write(config)


def _nested_submodule(ground: Ground) -> None:
    """The workspace is in a submodule, whose settings lie in the repository around it."""
    commit = ground.git("rev-parse", "HEAD")
    ground.write(
        ".gitmodules",
        f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c touch% {ground.mark}\n\tupdate = !touch {ground.mark}\n',
    )
    ground.git("add", "--all")
    ground.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{ground.below}/connections/sub.yaml")
    ground.git("commit", "--quiet", "--message", "x")


def _of_the_hook(ground: Ground) -> None:
    """git's own variables are set, as inside a hook, and lead to another repository whose settings name programs."""
    other = ground.elsewhere / "other"
    subprocess.run(["git", "init", "--quiet", str(other)], check=True)
    with (other / ".git/config").open("a") as file:
        file.write(hostile_config(ground, settings_with_programs()))
    ground.commit()
    run = f"touch {ground.mark}-environment"
    ground.environment |= {
        "GIT_DIR": str(other / ".git"), "GIT_WORK_TREE": str(other), "GIT_INDEX_FILE": str(other / "index"),
        "GIT_EXTERNAL_DIFF": run, "GIT_SSH_COMMAND": run, "GIT_PAGER": run, "GIT_EDITOR": run, "GIT_ASKPASS": run,
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": run,
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor'='{run}'", "GIT_EXEC_PATH": str(ground.workspace), "PAGER": run,
        "GIT_OBJECT_DIRECTORY": str(other / ".git/objects"), "GIT_TRACE2": f"{ground.elsewhere}/trace",
        "GIT_TRACE": f"{ground.elsewhere}/trace", "GIT_TEMPLATE_DIR": str(other),
    }  # fmt: skip


def _programs_of_its_own(ground: Ground) -> None:
    """Programs and modules with the names of those that a command starts or imports."""
    for name in ("git", "python", "python3", "sh", "bin/git", "git-cat-file", "git-rev-parse"):
        ground.write(name, f"#!/bin/sh\ntouch {ground.mark}-program\n").chmod(0o755)
    for name in ("jinja2", "connrunner", "yaml", "sitecustomize", "usercustomize", "encodings", "duckdb", "click"):
        ground.write(f"{name}.py", f"open({str(ground.mark)!r} + '-module', 'w')\n")
    ground.commit()
    places = ("", ".", "bin", str(ground.workspace), str(ground.workspace / "bin"), os.environ["PATH"])
    ground.environment |= {"PATH": os.pathsep.join(places)}


# --- links -------------------------------------------------------------------------------------------------------


def _links(ground: Ground) -> None:
    """Files that never rest or lie elsewhere, beside one that takes long to read."""
    for folder in ("connections", "schedules", "notifications"):
        ground.write(f"{folder}/keep.txt", "")
        (ground.workspace / folder / "z.yaml").symlink_to("/proc/net/dev")
        (ground.workspace / folder / "y.yaml").symlink_to(ground.elsewhere / "authorized_keys")
    ground.write("connections/large.yaml", f"description: [{'x, ' * 2_000}x]\n" + SOUND)
    ground.write("connections/sound.yaml", SOUND.replace('"true"', '"sh", "-c", "curl evil"'))
    ground.commit()


def _linked_folder(ground: Ground) -> None:
    ground.git("mv", f"{ground.below}/connections", f"{ground.below}/elsewhere")
    (ground.workspace / "connections").symlink_to("elsewhere")
    ground.commit()


def _linked_caches(ground: Ground) -> None:
    """The state folder of the checkout is one that the branch brings, with links to folders of the user."""
    ground.write(".gitignore", "")
    (ground.workspace / ".connrunner").mkdir()
    for name in ("compiled", "runs", "mail", "locks", "decisions", "requests"):
        (ground.workspace / ".connrunner" / name).symlink_to(ground.elsewhere)
    ground.commit()


# --- trees that no git makes -------------------------------------------------------------------------------------


def _listing(name: bytes, mode: str = "100644") -> Callable[[Ground], None]:
    """Return what makes a branch whose `connections` list *name*."""

    def build(ground: Ground) -> None:
        inner = ground.tree(
            (mode, name, ground.blob(SOUND.encode())), ("100644", b"z.yaml", ground.blob(SOUND.encode()))
        )
        entries = [each for each in ground.sound_entries() if each[1] != b"connections"]
        ground.branch(ground.tree(*entries, ("40000", b"connections", inner)))

    return build


def _twins(ground: Ground) -> None:
    """A link and a folder of one name: whoever makes the one and writes through it writes where the link leads."""
    link = ground.blob(str(ground.elsewhere).encode())
    inner = ground.tree(
        ("100644", b"a.yaml", ground.blob(SOUND.encode())), ("100644", b"authorized_keys", ground.blob(b"evil\n"))
    )
    entries = [each for each in ground.sound_entries() if each[1] != b"connections"]
    ground.branch(ground.tree(*entries, ("120000", b"connections", link), ("40000", b"connections", inner)))


def _obeyed_twins(ground: Ground) -> None:
    """The same, checked out: it is the commit that ticks would obey."""
    _twins(ground)
    ground.git("symbolic-ref", "HEAD", "refs/heads/branch")


def _odd_templates(name: bytes, mode: str = "100644") -> Callable[[Ground], None]:
    """Return what makes a branch, checked out, whose `templates` list *name*."""

    def build(ground: Ground) -> None:
        evil = ground.blob(b"evil\n")
        inner = ground.tree(("100644", b"a.j2", evil), (mode, name, evil))
        entries = [each for each in ground.sound_entries() if each[1] != b"templates"]
        ground.branch(ground.tree(*entries, ("40000", b"templates", inner)), checked_out=True)

    return build


def _bomb(ground: Ground) -> None:
    """A small commit that means a billion files."""
    inner = ground.tree(*(("100644", b"%d.j2" % number, ground.blob(b"x")) for number in range(10)))
    for _ in range(9):
        inner = ground.tree(*(("40000", b"%d" % number, inner) for number in range(10)))
    entries = [each for each in ground.sound_entries() if each[1] != b"templates"]
    ground.branch(ground.tree(*entries, ("40000", b"templates", inner)), checked_out=True)


@dataclass(frozen=True)
class HostileTree:
    """How to build it, and which commands have to refuse it: their exit code is not 0."""

    build: Callable[[Ground], None]
    refused_by: tuple[str, ...] = ()
    source: str = "git"


PLAN = ("plan main..branch", "plan main...branch", "plan branch..main")
ODD_NAMES = {
    "an absolute name": b"/tmp/connrunner-evil.yaml", "dots": b"..", "a way up": b"../evil.yaml", "a dot": b".",
    "a repository": b".git", "a repository in capitals": b".GIT", "a way down": b"a/b.yaml", "no name": b"", "a twin": b"z.yaml",
}  # fmt: skip
TREES: Mapping[str, HostileTree] = {
    "a repository in the workspace, source git": HostileTree(_inner_repository),
    "a repository in the workspace, source folder": HostileTree(_inner_repository, source="folder"),
    "settings of the repository, source git": HostileTree(_own_settings),
    "settings of the repository, source folder": HostileTree(_own_settings, source="folder"),
    "submodules": HostileTree(_nested_submodule, ("plan main..branch",)),
    "variables of git": HostileTree(_of_the_hook),
    "programs and modules": HostileTree(_programs_of_its_own),
    "links, source git": HostileTree(_links, PLAN),
    "links, source folder": HostileTree(_links, ("validate", *PLAN), source="folder"),
    "a folder that is a link": HostileTree(_linked_folder, PLAN),
    "a state folder with links": HostileTree(_linked_caches, source="folder"),
    "a link and a folder of one name": HostileTree(_twins, PLAN),
    "a link and a folder of one name, checked out": HostileTree(
        _obeyed_twins, (*PLAN, "validate", "status", "next", "explain sound")
    ),
    **{f"connections list {what}": HostileTree(_listing(name), PLAN) for what, name in ODD_NAMES.items()},
    **{
        f"templates list {what}": HostileTree(_odd_templates(name), PLAN)
        for what, name in {**ODD_NAMES, "a twin": b"a.j2"}.items()
    },
    "templates with a name that is too long": HostileTree(_odd_templates(b"x" * 300)),
    "templates that are a bomb": HostileTree(_bomb, PLAN),
}
