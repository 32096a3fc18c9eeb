"""How much work is done, counted and not timed: modules, system calls, files opened, bytes read and written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from connrunner.config import resolved
from connrunner.config.versions import version
from connrunner.core.model import Connection, ProfileModel
from connrunner.profiles import checkpoints
from connrunner.scheduler import idle
from connrunner.state import run_files
from tests.conftest import Place
from tests.test_profiles_open import Shelf, import_of, properties

pytestmark = pytest.mark.slow

NEVER = "{type: manual}"
COMMAND = 'command: {run: ["true"]}\n'
# Told by audit hooks: every module that was imported, and every file that was opened.
WATCH = """
import json, os, sys
opened = []
def hear(event, arguments):
    if event == "open" and not isinstance(arguments[0], int):
        opened.append(os.fsdecode(arguments[0]))
sys.addaudithook(hear)
sys.argv = ["connrunner", *sys.argv[1:]]
from connrunner.__main__ import main
code = main()
sys.stdout.flush()
print(json.dumps([code, sorted(sys.modules), opened]), file=sys.stderr)
"""


def watched(folder: Path, *arguments: str) -> tuple[set[str], list[str]]:
    """Return the modules that a command imported, and the files that Python opened for it."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", WATCH, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    code, modules, opened = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done
    return set(modules), [path for path in opened if not path.endswith((".py", ".pyc", ".so"))]


def many(place: Place, count: int) -> None:
    for number in range(count):
        place.write(f"connections/c{number:03}.yaml", f"schedule: {NEVER}\n{COMMAND}")


def rest(place: Place) -> None:
    """Do a tick that believes every time stamp, however young the file is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idle, "RACY", float("-inf"))
        patch.setattr(version, "RACY_NS", -(10**18))
        place.run("tick")


@pytest.fixture
def settled(place: Place) -> Place:
    """Return a workspace in which a tick finds nothing to do."""
    many(place, 20)
    rest(place)
    assert idle.nothing_to_do(["--workspace", str(place.folder)])
    return place


def yaml_files(opened: list[str]) -> list[str]:
    return [Path(path).name for path in opened if path.endswith((".yaml", ".yml"))]


def test_a_quiet_tick_opens_the_settings_and_the_note(settled: Place) -> None:
    """connrunner.yaml says where the state is; no file is parsed."""
    modules, opened = watched(settled.folder, "tick")
    # What Python itself imports differs between versions; ours are counted.
    assert len([name for name in modules if name.startswith("connrunner")]) <= 12
    assert yaml_files(opened) == ["connrunner.yaml"]
    assert len(opened) <= 4  # and the folders of the caches and of where it is


HEAVY = {"jsonschema", "jinja2", "duckdb", "click", "filelock", "logging", "importlib.metadata", "dateutil", "asyncio",
         "dataclasses", "inspect"}  # fmt: skip


def test_a_tick_after_an_edit_reads_the_edited_file(settled: Place) -> None:
    settled.write("connections/c007.yaml", f"title: another\nschedule: {NEVER}\n{COMMAND}")
    modules, opened = watched(settled.folder, "tick")
    assert modules & HEAVY == set()
    assert "yaml" in modules
    assert [path for path in opened if path.endswith("history.jsonl")] == [], "none of these connections ever ran"
    assert [name for name in yaml_files(opened) if name != "connrunner.yaml"] == ["c007.yaml"]


def built(place: Place, *command: str) -> set[str]:
    """Return the connections that *command* builds out of the cache."""
    asked: set[str] = set()

    def build(name: str, *rest: Any) -> Connection:
        asked.add(name)
        return resolved.built(name, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("connrunner.config.load.built", build)
        place.run(*command)
    return asked


def test_connections_that_nobody_asks_for_are_not_built(place: Place) -> None:
    many(place, 20)
    daily = 'schedule: {type: days_of_week, days: [monday], time: "03:00"}\n'
    place.write("connections/c008.yaml", f"{daily}{COMMAND}")
    rest(place)
    place.write("connections/c007.yaml", f"title: another\nschedule: {NEVER}\n{COMMAND}")
    assert built(place, "tick") == set(), "the edited one was read anew"
    assert built(place, "status") == {"c008"}, "which is promised"
    assert built(place, "next", "c003") == {"c003"}
    assert built(place, "explain", "c003") == {"c003"}


def test_the_worker_of_a_program_imports_what_it_uses() -> None:
    code = "import connrunner.worker.process, json, sys; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout))
    assert modules & {*HEAVY, "yaml", "tempfile", "uuid", "secrets", "traceback"} == set()
    of_workspaces = {"load", "check", "schema", "source_file", "documents.document", "versions.git"}
    assert modules & {f"connrunner.config.{name}" for name in of_workspaces} == set()
    assert modules & {"connrunner.state.journal", "connrunner.profiles.session"} == set()


def test_help_imports_no_command(place: Place) -> None:
    modules, opened = watched(place.folder, "--help")
    ours = {name for name in modules if name.startswith("connrunner.")}
    assert ours <= {"connrunner.__main__", "connrunner.cli", "connrunner.cli.command_line", "connrunner.errors",
                    "connrunner.lazy_dataclasses", "connrunner.text", "connrunner.text.words"}  # fmt: skip
    assert yaml_files(opened) == []


def test_a_quiet_tick_looks_at_each_file_once(settled: Place) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace counts the system calls (Debian: apt-get install strace)")
    few = calls(settled.folder)
    many(settled, 120)
    rest(settled)
    assert calls(settled.folder) - few == pytest.approx(100, abs=10)


def calls(folder: Path) -> int:
    """Return how many system calls a tick makes, once everything is compiled."""
    command = ["strace", "-f", "-o", "/dev/stderr", sys.executable, "-P", "-m", "connrunner", "tick"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COVERAGE"))}
    found = 0
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=environment)
        called = re.findall(r"^\d+ +(\w+)\(", done.stderr, re.MULTILINE)
        assert not {"clone", "clone3", "fork", "vfork"} & {*called}
        found = len(called)
    if not found:
        pytest.skip("strace may not look here")
    return found


def test_what_an_edit_writes_to_the_journal_does_not_grow_with_the_others(place: Place) -> None:
    grew = []
    for count in (5, 50):
        many(place, count)
        place.run("tick")
        size = place.state.journal.stat().st_size
        daily = 'schedule: {type: days_of_week, days: [monday], time: "03:00"}\n'
        place.write("connections/c003.yaml", f"{daily}title: number {count}\n{COMMAND}".replace("03:00", f"03:{count}"))
        place.run("tick")
        grew.append(place.state.journal.stat().st_size - size)
    assert min(grew) > 0
    assert max(grew) < 1000


def test_the_newest_runs_are_read_from_the_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.command("hello", "")
    place.run("run", "hello")
    path = place.state.history("hello")
    line = path.read_text().splitlines()[0]
    before, behind = line.split('"run":1,', 1)
    with path.open("w") as file:
        file.writelines(f'{before}"run":{number},{behind}\n' for number in range(1, 50_001))
    taken: list[int] = []
    pread = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        data = pread(descriptor, size, offset)
        taken.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counted)
    assert [run.run for run in run_files.read_recent(place.state, "hello", 20)] == list(range(50_000, 49_980, -1))
    assert sum(taken) <= 64 << 10
    taken.clear()
    found = run_files.read_run(place.state, "hello", 25_000)
    assert found is not None
    assert found.run == 25_000
    assert sum(taken) <= 4 << 20


def write_numbers(numbers: Iterable[int], city: str) -> str:
    return "id,name,city\n" + "".join(f"{number},somebody {number},{city}\n" for number in numbers)


def test_what_a_delta_writes_does_not_grow_with_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither into its file nor into its log: a tick for each minute must not write a third of it each time."""
    counters = Path("/proc/self/io")
    if not counters.exists():
        pytest.skip("the kernel does not count what a process writes")
    monkeypatch.setattr(checkpoints, "LARGE", 1 << 16)
    model = ProfileModel(properties=properties(id="text!", name="text", city="text"))
    work = import_of("id", "name", "city")
    written = []
    for count in (4_000, 40_000):
        (folder := tmp_path / str(count)).mkdir()
        shelf = Shelf(folder, model=model)
        shelf.take(work, write_numbers(range(count), "Utrecht"))
        delta = shelf.file(write_numbers(range(0, count, count // 40), "Delft"))
        before = counters.read_text()
        assert shelf.take(work, delta).counts.updated == 40
        after = counters.read_text()
        written.append(int(after.split()[3]) - int(before.split()[3]))
    assert written[1] <= 2 * written[0]
    assert max(written) < 50_000


# --- caches: whatever happened to them, the answer is the same --------------------------------------------------------


def removed(path: Path) -> None:
    path.unlink()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes() or b"?")
    data[-len(data) // 3] ^= 4
    path.write_bytes(data)


def another_seal(path: Path) -> None:
    (path.parent / "seal").unlink()
    (path.parent / "seal").touch(mode=0o600)


def everybodys(path: Path) -> None:
    path.parent.chmod(0o777)


def a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def another_version(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"connrunner compiled 3", b"connrunner compiled 2").replace(b"5 0.", b"4 0."))


DAMAGES: tuple[Callable[[Path], None], ...] = (
    removed, truncated, emptied, garbage, one_bit, another_seal, everybodys, a_link, another_version,
)  # fmt: skip


@pytest.mark.parametrize("name", ["quiet", "workspace", "seal"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_a_damaged_cache_changes_no_answer(settled: Place, name: str, damage: Callable[[Path], None]) -> None:
    """Neither what is known nor what is due: the tick after it sees the edit that was made meanwhile."""
    settled.write("connections/c001.yaml", f"schedule: {{type: day_of_month, day: 31, time: '03:07'}}\n{COMMAND}")
    settled.write("connections/c002.yaml", "schedule: [")
    path = settled.state.compiled / name
    damage(path)
    assert not idle.nothing_to_do(["--workspace", str(settled.folder)])
    done = settled.run("tick")
    assert "connections/c002.yaml:2:1:" in done.err
    shown = json.loads(settled.run("explain", "c001", "--format", "json").out)
    assert "31" in shown["schedule"]
    assert "03:07" in shown["schedule"]


def test_a_stale_note_is_no_reason_to_be_quiet(settled: Place) -> None:
    note = settled.state.compiled / "quiet"
    before = note.read_bytes()
    settled.write("connections/c001.yaml", f"title: another name\nschedule: {NEVER}\n{COMMAND}")
    settled.run("tick")
    note.write_bytes(before)
    assert not idle.nothing_to_do(["--workspace", str(settled.folder)])
