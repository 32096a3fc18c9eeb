"""Which files a version of the workspace uses beside its YAML: those that settings name, and those that these name.

A program is named by its arguments; what it runs or reads in turn is named in its text: `import lib`, `. ./lib.sh`,
`include rules.mk`. So each used file is read, and its words that name a file of the workspace, or with a slash at the
end a folder, are followed. A folder that a command runs in or names counts as a whole, but for data. What a program
puts together while it runs is not found.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from connrunner.config import secret_words
from connrunner.config.versions.git import VersionError
from connrunner.config.versions.trail import WorkspaceFiles, follow
from connrunner.core.model import Connection, Workspace

DATA = frozenset({"path", "table", "query", "move_to", "done"})  # keys that name what is read and written, not how
MOST_WORDS = 5_000  # of one connection, and of one file
MOST_FOLDERS = 20  # that a program may go to before it starts another
MOST_STEPS = 40  # names in one path
MOST_READ = 400  # files
MOST_LOOKED = 200_000  # paths
MOST_BELOW = 2_000  # files of one folder
LONGEST = 256 * 1024  # bytes of one file that are read

# What programs read without being told, in the folder that they run in.
_UNTOLD = {
    "make": ("Makefile", "makefile", "GNUmakefile"),
    "just": ("justfile", "Justfile", ".justfile"),
    "task": ("Taskfile.yml", "Taskfile.yaml"),
    "rake": ("Rakefile",),
    "npm": ("package.json", "package-lock.json"),
    "npx": ("package.json", "package-lock.json"),
    "yarn": ("package.json", "yarn.lock"),
    "pnpm": ("package.json", "pnpm-lock.yaml"),
    "uv": ("pyproject.toml", "uv.lock"),
    "poetry": ("pyproject.toml", "poetry.lock"),
    "docker": ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml", "Dockerfile"),
    "docker-compose": ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml", "Dockerfile"),
    "podman": ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml", "Dockerfile"),
    "meltano": ("meltano.yml",),
    "dbt": ("dbt_project.yml", "profiles.yml", "packages.yml", "models/", "macros/", "seeds/", "snapshots/", "tests/"),
}
_DATA_SUFFIXES = (
    ".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".gz", ".zst", ".zip", ".log", ".db", ".sqlite",
    ".duckdb", ".pyc", ".tmp", ".part",
)  # fmt: skip
_CONFIGURATION = frozenset({"connections", "schedules", "notifications", "templates", ".git"})  # looked at elsewhere
_WORD = re.compile(r"[^\s\"'`$(){}\[\]<>|&;,*?!#\\:=\0]+")
_QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")
_BEHIND_VARIABLE = re.compile(r"\$(?:\w+|\{[^}\n]*\}|\([^)\n]*\))/([^\s\"'`$(){}<>|&;,*?#\\]+)")  # `. "$DIR/lib.sh"`
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<whole>[.\w]+)[ \t]+import[ \t]+(?P<parts>\([^)]*|[^\n;#]*)"
    r"|(?:import|require|require_relative|use|load|include|source|\.)[ \t]*[ \t(\"'][ \t\"']*(?P<names>[^\n;#\"')]*))",
    re.MULTILINE,
)


def find_used_files(workspace: Workspace, files: WorkspaceFiles) -> set[str]:
    """Return the path of each of *files* that a connection of *workspace* uses. VersionError when git cannot say."""
    found = _Search(files)
    for connection in workspace.connections.values():
        found.add_connection(connection)
    found.follow_all()
    return found.used


class _Search:
    """The files that are used, as they are found."""

    def __init__(self, files: WorkspaceFiles) -> None:
        self._files = files
        self._looked: set[tuple[str, bool]] = set()
        self._folders: set[str] = set()
        self._waiting: deque[tuple[str, str]] = deque()  # files to be read, and the folder in which they run
        self._read: set[str] = set()
        self.used: set[str] = set()

    def add_connection(self, connection: Connection) -> None:
        document = connection.document
        command = document.get("command") or {}
        start = _normal(str(command.get("folder") or ""))
        self._add_folder(start, start)
        for part in (command, (document.get("import") or {}).get("from"), (document.get("export") or {}).get("to")):
            for path in dict.fromkeys(_named(part or {}, start)):
                self._add(path, start, folders=True)

    def follow_all(self) -> None:
        while self._waiting and len(self._read) < MOST_READ:
            path, start = self._waiting.popleft()
            if path in self._read:
                continue
            self._read.add(path)
            content = self._files.read(path, LONGEST)
            if b"\0" in content:
                continue
            for named in dict.fromkeys(_named_in(content.decode("utf-8", "replace"), path, start)):
                self._add(named, start, folders=named.endswith("/"), data=False)

    def _add(self, path: str, start: str, *, folders: bool, data: bool = True) -> None:
        """Add what stands at *path*, if anything does."""
        name = path.rstrip("/")
        if not name or name.partition("/")[0] in _CONFIGURATION or (not data and name.endswith(_DATA_SUFFIXES)):
            return
        if (name, folders) in self._looked or len(self._looked) >= MOST_LOOKED:
            return
        self._looked.add((name, folders))
        found = follow(self._files, name)
        if found.links or found.kind == "file":
            self.used.add(name)
        if found.kind == "file":
            self._waiting.append((found.path, start))
        elif found.kind == "folder" and folders:
            self._add_folder(found.path, start)

    def _add_folder(self, folder: str, start: str) -> None:
        """Add what is in *folder* and below but for data; nothing when that is the whole workspace."""
        if not folder or folder in self._folders or folder.partition("/")[0] in _CONFIGURATION:
            return
        self._folders.add(folder)
        for path in self._list(folder):
            steps = path.split("/")
            if "__pycache__" not in steps and not any(step.startswith(".") for step in steps):
                self._add(path, start, folders=False, data=False)

    def _list(self, folder: str) -> list[str]:
        try:
            return list(islice(self._files.below(folder), MOST_BELOW))
        except VersionError:
            return []


# --- what settings name ------------------------------------------------------------------------------------------


def _named(settings: Mapping[str, Any], start: str) -> Iterator[str]:
    """Yield each path that may be a file, or a folder, which *settings* name. Most are none."""
    words: list[str] = []
    for text in _texts(settings):
        words.append(text)
        words += _WORD.findall(text)
        words += (one or other for one, other in _QUOTED.findall(text))
    folders = dict.fromkeys(("", start, *(word.rstrip("/") for word in words if "." not in word and len(word) < 64)))
    before = ""
    for word in words[:MOST_WORDS]:
        yield from _spelt(word, start)
        if before == "-m" and _MODULE.fullmatch(word):
            yield from _modules(word, [start])
        if "." in word or "/" in word:  # `cd jobs && ./load.sh`
            for folder in list(folders)[:MOST_FOLDERS]:
                yield from filter(None, [_normal(f"{folder}/{word}")])
        for name in _UNTOLD.get(word.rpartition("/")[2], ()):
            yield from filter(None, (_normal(f"{folder}/{name}") for folder in list(folders)[:MOST_FOLDERS]))
        before = word


def _spelt(word: str, start: str) -> Iterator[str]:
    """Yield *word* from the folder in which it runs, and each end of it: a program may stand with its whole path."""
    if here := _normal(f"{start}/{word}"):  # what `python FOLDER` runs
        yield f"{here}/__main__.py"
    if "/" not in word:
        yield from filter(None, dict.fromkeys((_normal(f"{start}/{word}"), _normal(word))))
        return
    steps = word.split("/")
    yield from filter(None, [_normal(f"{start}/{word}")])
    for first in range(min(len(steps), MOST_STEPS)):
        yield from filter(None, [_normal("/".join(steps[first:]))])


def _normal(path: str) -> str:
    """Return *path* without steps that go nowhere; empty when it leads out or is too long for a name."""
    steps: list[str] = []
    for step in path.split("/"):
        if step == "..":
            if not steps:
                return ""
            steps.pop()
        elif step not in ("", "."):
            steps.append(step)
    whole = "/".join(steps)
    if steps[:1] == [".git"]:
        return ""
    return whole if len(whole) < 1024 and "\0" not in whole and "\n" not in whole else ""


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of *value* that can name a file: no data, no secret, of a URL the values of its query."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in DATA:
                yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str) and not secret_words.is_reference(value):
        if "://" in value and not any(char.isspace() for char in value):
            try:
                yield from (item for _, item in parse_qsl(urlsplit(value).query))
            except ValueError:
                return
        else:
            yield value


# --- what files name ---------------------------------------------------------------------------------------------


def _named_in(text: str, path: str, start: str) -> Iterator[str]:
    """Yield each path that may be a file which *text*, of the file *path*, names; with a slash at the end, a folder."""
    folder, _, own = path.rpartition("/")
    suffix = own[own.rfind(".") :] if "." in own[1:] else ""
    places = list(dict.fromkeys((folder, start, "")))
    words = dict.fromkeys(_WORD.findall(text))
    words |= dict.fromkeys((*(one or other for one, other in _QUOTED.findall(text)), *_BEHIND_VARIABLE.findall(text)))
    for word in islice((word for word in words if "." in word or "/" in word), MOST_WORDS):
        for place in places:
            if found := _normal(f"{place}/{word}"):
                yield f"{found}/" if word.endswith("/") else found
                if "/" in word:
                    yield f"{found}{suffix}"
    for names in islice(_IMPORT.finditer(text), MOST_WORDS):
        yield from _imported(names, places, suffix)


def _imported(names: re.Match[str], places: Collection[str], suffix: str) -> Iterator[str]:
    """Yield the paths that one line may mean which takes another file in."""
    whole = names["whole"]
    if whole is not None:
        parts = re.findall(r"[A-Za-z_]\w*", names["parts"])
        above = len(whole) - len(whole.lstrip("."))
        within = [f"{place}/{'../' * (above - 1)}" for place in places] if above else list(places)
        module = whole.lstrip(".")
        for one in (module, *(f"{module}.{part}".lstrip(".") for part in parts)):
            if _MODULE.fullmatch(one):
                yield from _modules(one, within)
        return
    for name in re.findall(r"[\w./-]+", names["names"])[:MOST_FOLDERS]:
        if _MODULE.fullmatch(name):
            yield from _modules(name, places)
        yield from filter(None, (_normal(f"{place}/{name}{end}") for place in places for end in ("", suffix)))


def _modules(name: str, places: Collection[str]) -> Iterator[str]:
    """Yield the files that Python runs for the module *name*, looked for in *places*."""
    steps = name.split(".")
    for place in places:
        for count in range(1, len(steps)):
            yield from filter(None, [_normal("/".join([place, *steps[:count], "__init__.py"]))])
        whole = "/".join([place, *steps])
        yield from filter(None, map(_normal, (f"{whole}.py", f"{whole}/__init__.py", f"{whole}/__main__.py")))
