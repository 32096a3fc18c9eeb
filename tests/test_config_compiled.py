"""The compiled workspace: it saves work, and never changes an answer."""

from __future__ import annotations

import json
import marshal
import os
import pickle
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connrunner.config import compiled, schema, seal, stamps
from connrunner.config.documents import document, workspace_file
from connrunner.config.load import load
from connrunner.config.versions import version
from connrunner.core.model import Workspace
from connrunner.errors import WorkspaceError

SOUND = Path(__file__).parent / "cases" / "config" / "workspace"
FILES = 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(SOUND, tmp_path / "workspace")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "state" / "compiled"


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, parsed and checked, in the order of the work."""
    done: list[str] = []

    def counted(name: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            done.append(name)
            return function(*arguments)

        return call

    monkeypatch.setattr(workspace_file, "read_workspace_file", counted("read", workspace_file.read_workspace_file))
    monkeypatch.setattr(document, "parse", counted("parse", document.parse))
    monkeypatch.setattr(schema, "check_schema", counted("check", schema.check_schema))
    return done


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is old enough for its stamp to be trusted."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10 * version.RACY_NS)


def did(work: list[str]) -> dict[str, int]:
    counts = {name: work.count(name) for name in sorted(set(work))}
    work.clear()
    return counts


@pytest.mark.usefixtures("later")
def test_an_unchanged_workspace_costs_nothing(folder: Path, cache: Path, work: list[str]) -> None:
    first = load(folder, cache=cache)
    assert did(work) == {"read": FILES, "parse": FILES, "check": FILES}
    written = (cache / "workspace").stat()
    second = load(folder, cache=cache)
    assert did(work) == {}
    assert second == first == load(folder)
    assert (cache / "workspace").stat().st_ino == written.st_ino, "it is not written again"
    assert stat.S_IMODE(written.st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert sorted(path.name for path in cache.iterdir()) == ["seal", "workspace"]


def test_a_young_file_is_read_again_but_not_parsed_again(
    folder: Path, cache: Path, work: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = [stamp for path, stamp in stamps.stamps(folder).items() if path.endswith(".yaml")]
    monkeypatch.setattr(time, "time_ns", lambda: min(changed) + version.RACY_NS)
    load(folder, cache=cache)
    did(work)
    load(folder, cache=cache)
    assert did(work) == {"read": FILES}
    monkeypatch.setattr(time, "time_ns", lambda: max(changed) + version.RACY_NS + 1)
    load(folder, cache=cache)
    assert did(work) == {"read": FILES}
    load(folder, cache=cache)
    assert did(work) == {}


PATH = "connections/members.yaml"


def _write_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(path.read_bytes().replace(b"06:00", b"07:00"))


def _rename_over(path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes().replace(b"06:00", b"07:00"))
    new.replace(path)


def _copy_with_times(path: Path) -> None:
    """`cp -p` of a file of the same size: neither mtime nor size nor inode show it."""
    before = path.stat()
    _write_in_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _rename_over_with_old_times(path: Path) -> None:
    _rename_over(path)
    os.utime(path, ns=(0, 0))


def _rename_over_with_the_same(path: Path) -> None:
    _rename_over(path)
    path.write_bytes((SOUND / PATH).read_bytes())


EDITS = {
    "in place": _write_in_place,
    "rename": _rename_over,
    "cp -p": _copy_with_times,
    "rename with old times": _rename_over_with_old_times,
}


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_every_kind_of_edit_is_seen(folder: Path, cache: Path, work: list[str], edit: Callable[[Path], object]) -> None:
    before = load(folder, cache=cache)
    seen = stamps.stamps(folder)
    did(work)
    edit(folder / PATH)
    after = load(folder, cache=cache)
    assert did(work) == {"read": 1, "parse": 1, "check": 1}
    assert before.connections["members"].document["schedule"]["time"] == "06:00"
    assert after.connections["members"].document["schedule"]["time"] == "07:00"
    assert stamps.stamps(folder) != seen
    assert stamps.stamps(folder)[PATH] != seen[PATH]


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    "touch",
    [
        lambda path: path.chmod(0o600),
        lambda path: path.touch(),
        _rename_over_with_the_same,
    ],
)
def test_a_false_alarm_is_only_read(
    folder: Path, cache: Path, work: list[str], touch: Callable[[Path], object]
) -> None:
    load(folder, cache=cache)
    did(work)
    touch(folder / PATH)
    load(folder, cache=cache)
    assert did(work) == {"read": 1}
    load(folder, cache=cache)
    assert did(work) == {}


@pytest.mark.usefixtures("later")
def test_another_copy_of_the_workspace_is_not_parsed(folder: Path, cache: Path, work: list[str]) -> None:
    """A fresh clone: every stamp is new, no content is."""
    load(folder, cache=cache)
    did(work)
    clone = shutil.copytree(folder, folder.parent / "clone")
    assert load(clone, cache=cache).connections == load(clone).connections
    assert work[:FILES] == ["read"] * FILES


# What is changed                     and how often files are read, parsed and checked by the next load
NEIGHBOURS = [
    ("schedules/elsewhere.yaml", b"23:59", b"23:58", 1),
    ("notifications/data-team.yaml", b"ops@", b"all@", 1),
    ("connrunner.yaml", b"Amsterdam", b"Brussels", 1),
    ("connrunner.yaml", b"2h", b"3h", 1),
    ("profile.yaml", b"visits: {type: integer}", b"visits: {type: decimal}", 1),
]


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(("path", "old", "new", "parsed"), NEIGHBOURS)
def test_a_change_of_a_shared_file_reaches_the_connections(
    folder: Path, cache: Path, work: list[str], path: str, old: bytes, new: bytes, parsed: int
) -> None:
    first = load(folder, cache=cache)
    did(work)
    content = (folder / path).read_bytes()
    assert old in content
    (folder / path).write_bytes(content.replace(old, new))
    second = load(folder, cache=cache)
    assert did(work) == dict.fromkeys(("check", "parse", "read"), parsed)
    assert second == load(folder)
    assert second != first


def _break(folder: Path, path: str, text: str = "x") -> None:
    (folder / path).write_text(text)


def _fifo_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a connection breaks": lambda folder: _break(folder, "connections/members.yaml"),
    "a connection goes": lambda folder: (folder / "connections/members.yaml").unlink(),
    "a connection comes": lambda folder: shutil.copy(folder / PATH, folder / "connections/new.yaml"),
    "a connection is renamed": lambda folder: (folder / PATH).rename(folder / "connections/renamed.yaml"),
    "a schedule breaks": lambda folder: _break(folder, "schedules/nightly.yaml"),
    "a schedule goes": lambda folder: (folder / "schedules/nightly.yaml").unlink(),
    "a schedule comes": lambda folder: _break(folder, "schedules/new.yaml", "type: manual"),
    "a target breaks": lambda folder: _break(folder, "notifications/data-team.yaml"),
    "a target goes": lambda folder: (folder / "notifications/data-team.yaml").unlink(),
    "the profile breaks": lambda folder: _break(folder, "profile.yaml"),
    "the profile goes": lambda folder: (folder / "profile.yaml").unlink(),
    "a property goes": lambda folder: _break(folder, "profile.yaml", "properties: {email: {identifier: true}}"),
    "a default target goes": lambda folder: _break(
        folder, "connrunner.yaml", "version: 1\ndefaults: {notify: [{to: x, when: always}]}"
    ),
    "a file cannot be read": lambda folder: _fifo_instead(folder / PATH),
    "two connections change places": lambda folder: (
        (folder / "connections/shell.yaml").rename(folder / "connections/x.yaml"),
        (folder / "connections/program.yaml").rename(folder / "connections/shell.yaml"),
        (folder / "connections/x.yaml").rename(folder / "connections/program.yaml"),
    ),
}


@pytest.mark.parametrize("settle", [True, pytest.param(False, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_cache_never_changes_an_answer(
    folder: Path, cache: Path, request: pytest.FixtureRequest, settle: bool, change: Callable[[Path], object]
) -> None:
    if settle:
        request.getfixturevalue("later")
    load(folder, cache=cache)
    change(folder)
    for _ in range(3):
        assert load(folder, cache=cache) == load(folder)
    shutil.rmtree(folder)
    shutil.copytree(SOUND, folder)
    for _ in range(2):
        assert load(folder, cache=cache) == load(folder)


@pytest.mark.usefixtures("later")
def test_files_with_problems_are_not_kept(folder: Path, cache: Path, work: list[str]) -> None:
    (folder / PATH).write_text("x")
    load(folder, cache=cache)
    did(work)
    assert [problem.path for problem in load(folder, cache=cache).problems] == [PATH]
    assert did(work) == {"read": 1, "parse": 1, "check": 1}


@pytest.mark.usefixtures("later")
def test_a_problem_among_files_is_explained_again(folder: Path, cache: Path, work: list[str]) -> None:
    """The file by itself is sound and known; it is parsed for its lines, and not checked."""
    (folder / PATH).write_text((folder / PATH).read_text().replace("birthday:", "shoe_size:"))
    first = load(folder, cache=cache)
    did(work)
    assert load(folder, cache=cache) == first
    assert did(work) == {"parse": 1, "read": 1}
    assert [(problem.line, problem.column) for problem in first.problems] == [(5, 26)]


def test_a_broken_top_file_keeps_the_others(folder: Path, cache: Path, work: list[str]) -> None:
    (folder / "connrunner.yaml").write_text("version: 2")
    for _ in range(2):
        with pytest.raises(WorkspaceError):
            load(folder, cache=cache)


def _damage(at: int) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)

    return damage


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "magic": _damage(0),
    "python": _damage(len(compiled.MAGIC) + 7),
    "signature": _damage(len(compiled.MAGIC) + 8),
    "seal": _damage(len(compiled.MAGIC) + 8 + 32),
    "checksum": _damage(len(compiled.MAGIC) + 8 + 32 + seal.SIZE),
    "payload": _damage(-5),
    "a folder": _folder_instead,
    "unreadable bytes": lambda path: path.write_bytes(os.urandom(1000)),
}


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cache_is_as_good_as_none(
    folder: Path, cache: Path, work: list[str], damage: Callable[[Path], object]
) -> None:
    first = load(folder, cache=cache)
    damage(cache / "workspace")
    did(work)
    assert load(folder, cache=cache) == first
    assert did(work) == {"read": FILES, "parse": FILES, "check": FILES}


@pytest.mark.parametrize(
    "payload", [(), ({}, {}, {}), ({"x": ()}, {}, ""), ({}, {"x": (1,)}, ""), 5, None, ([], [], "")]
)
def test_a_sound_checksum_of_something_else(cache: Path, payload: Any) -> None:
    for written in (compiled.pack(payload), marshal.dumps(payload), pickle.dumps(payload)):
        compiled.write_file(cache / "workspace", b"s" * 32, written)
        assert compiled.read_file(cache / "workspace", b"s" * 32) == written
        assert compiled.read_cache(cache, b"s" * 32) == compiled.CompiledWorkspace()


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a copy": lambda cache: _copied(cache, preserve=False),
    "a copy with its times": lambda cache: _copied(cache, preserve=True),
    "a seal of another time": lambda cache: (cache / "seal").touch(),
    "a seal that is another file": lambda cache: _again(cache / "seal"),
    "no seal": lambda cache: (cache / "seal").unlink(),
    "a seal that is a link": lambda cache: _linked(cache / "seal"),
    "a seal for others": lambda cache: (cache / "seal").chmod(0o644),
    "a folder for others": lambda cache: cache.chmod(0o755),
    "a folder that is a link": lambda cache: _linked(cache),
}


def _copied(cache: Path, *, preserve: bool) -> None:
    copy = cache.with_name("copy")
    shutil.copytree(cache, copy, copy_function=shutil.copy2 if preserve else shutil.copy)
    shutil.rmtree(cache)
    copy.rename(cache)


def _again(path: Path) -> None:
    """The same content under the same name, with as much of the old file as can be kept: all but its inode."""
    before = path.stat()
    new = path.with_name("new")
    new.touch(0o600)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_a_cache_that_could_come_from_elsewhere_is_not_read(
    folder: Path, cache: Path, work: list[str], change: Callable[[Path], object]
) -> None:
    first = load(folder, cache=cache)
    time.sleep(0.02)  # the clock of a file system goes in steps
    change(cache)
    did(work)
    assert load(folder, cache=cache) == first
    assert did(work) == {"read": FILES, "parse": FILES, "check": FILES}
    if not cache.is_symlink():
        assert load(folder, cache=cache) == first
        assert did(work) == {}


def test_nothing_is_written_or_removed_behind_a_link(folder: Path, cache: Path) -> None:
    elsewhere = cache.parent / "elsewhere"
    elsewhere.mkdir(parents=True)
    for name in ("trouble", "workspace.1.tmp", "seal"):
        (elsewhere / name).write_text("mine")
    cache.symlink_to(elsewhere)
    load(folder, cache=cache)
    assert {path.name: path.read_text() for path in elsewhere.iterdir()} == dict.fromkeys(
        ("trouble", "workspace.1.tmp", "seal"), "mine"
    )


def test_a_cache_of_another_schema_or_version_is_not_used(
    folder: Path, cache: Path, work: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load(folder, cache=cache)
    did(work)
    schemas = shutil.copytree(schema.folder(), tmp_path / "schemas")
    (schemas / "schedule.json").write_text((schemas / "schedule.json").read_text() + "\n")
    monkeypatch.setattr(schema, "folder", lambda: schemas)
    load(folder, cache=cache)
    assert did(work)["parse"] == FILES
    monkeypatch.setattr("connrunner.__version__", "99")
    load(folder, cache=cache)
    assert did(work)["parse"] == FILES
    monkeypatch.setattr(sys, "hexversion", 1)
    load(folder, cache=cache)
    assert did(work)["parse"] == FILES
    load(folder, cache=cache)
    assert "parse" not in did(work)


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert load(folder, cache=tmp_path / "file" / "compiled") == load(folder)
    assert load(folder, cache=Path("/proc/compiled")) == load(folder)


def test_what_a_killed_process_left_behind_is_swept(folder: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "workspace.1.tmp").write_bytes(b"half")
    load(folder, cache=cache)
    assert sorted(path.name for path in cache.iterdir()) == ["seal", "workspace"]


def test_a_zone_that_the_database_lost(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(folder, cache=cache)
    from connrunner.config import zones
    from connrunner.core.schedules import zone

    known = zone.list_zones()
    zone.load_zone.cache_clear()
    monkeypatch.setattr(zone, "list_zones", lambda: known - {"America/New_York"})
    monkeypatch.setattr(zones, "describe", lambda: ("another database",))
    workspace = load(folder, cache=cache)
    zone.load_zone.cache_clear()
    assert [problem.code for problem in workspace.broken["program"]] == ["bad-schedule"]
    assert "America/New_York" in workspace.broken["program"][0].message


@pytest.mark.slow
def test_a_warm_load_imports_little(folder: Path, cache: Path) -> None:
    program = (
        "import sys, json, pathlib\n"
        "from connrunner.config.load import load\n"
        f"workspace = load(pathlib.Path({str(folder)!r}), cache=pathlib.Path({str(cache)!r}))\n"
        "print(json.dumps([len(workspace.connections), sorted(sys.modules)]))"
    )
    seen = []
    for _ in range(2):
        output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
        connections, modules = json.loads(output)
        assert connections == 5
        seen.append({module.partition(".")[0] for module in modules})
    heavy = {"yaml", "jsonschema", "referencing", "click", "jinja2", "dateutil", "duckdb", "filelock"}
    assert "yaml" in seen[0]
    assert "jsonschema" not in seen[0], "which is for the words about what is wrong"
    assert not seen[1] & heavy


@pytest.mark.slow
def test_stamps_import_nothing() -> None:
    program = (
        "import os, sys\nbefore = set(sys.modules)\nfrom connrunner.config.stamps import stamps\n"
        "stamps('.')\nprint(*sorted(set(sys.modules) - before))"
    )
    output = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n{program}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert output.split() == ["connrunner", "connrunner.config", "connrunner.config.stamps"]


def test_stamps_name_every_file_that_matters(folder: Path) -> None:
    (folder / "connections/.hidden.yaml").write_text("")
    (folder / "connections/notes.md").write_text("")
    (folder / "connections/deeper").mkdir()
    (folder / "schedules/old.yml").write_text("")
    (folder / "connections/lost.yaml").symlink_to("nowhere")
    (folder / "templates").mkdir()
    taken = stamps.stamps(folder)
    connections = [f"connections/{name}.yaml" for name in ("audience", "contacts", "members", "program", "shell")]
    others = ["connrunner.yaml", "profile.yaml", "notifications/data-team.yaml"]
    schedules = ["schedules/elsewhere.yaml", "schedules/nightly.yaml", "schedules/old.yml"]
    folders = ["connections", "schedules", "notifications", "connections/deeper"]
    assert sorted(taken) == sorted([*connections, *others, *schedules, *folders, "connections/lost.yaml"])
    assert taken["connections/lost.yaml"] == 0
    assert all(stamp > 0 for path, stamp in taken.items() if path != "connections/lost.yaml")
    assert stamps.stamps(str(folder)) == taken
    assert stamps.stamps(folder / "nowhere") == {}


def test_a_document_in_the_workspace_is_plain(folder: Path, cache: Path) -> None:
    load(folder, cache=cache)
    workspace: Workspace = load(folder, cache=cache)
    for connection in workspace.connections.values():
        assert type(connection.document) is dict
        json.dumps(connection.document)
