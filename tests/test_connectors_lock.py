"""The lock of a third-party program: what is written down is installed, and nothing else."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connrunner.cli.connectors import connectors_command
from connrunner.connectors.bridge import environments, lock_file
from connrunner.connectors.bridge.environments import Package
from connrunner.connectors.bridge.lock_file import Release
from connrunner.errors import RunError
from tests.test_connectors_environments import wheel

A, B, C = "a" * 64, "b" * 64, "c" * 64
SOUND = f"# a comment\n\ntap-csv==1.4.0 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\nThe_Rest[x,y]==2 --hash=sha256:{C}\r\n"
PINS = ("tap-csv==1.4.0",)

# Plays an interpreter with a pip whose index is a file `index` beside it: lines NAME VERSION HASH. What it is asked for
# is appended to the file `calls`.
FAKE = f"""#!{sys.executable} -IS
import json, os, shutil, sys
what, arguments = sys.argv[2], sys.argv[3:]
HOME = "HOME_FOLDER"
if what == "venv":
    os.makedirs(arguments[0] + "/bin")
    shutil.copy(__file__, arguments[0] + "/bin/python")
elif what == "pip":
    with open(HOME + "/calls", "a") as file:
        print(json.dumps(arguments), file=file)
    if "--report" in arguments:
        with open(arguments[arguments.index("--constraint") + 1]) as file:
            constraints = dict(line.split("==") for line in file.read().splitlines())
        chosen = {{}}
        for line in open(HOME + "/index"):
            name, version, sha = line.split()
            if constraints.get(name, version) == version:
                chosen[name] = dict(
                    metadata=dict(name=name, version=version),
                    download_info=dict(archive_info=dict(hashes=dict(sha256=sha)) if sha != "-" else dict()),
                )
        with open(arguments[arguments.index("--report") + 1], "w") as file:
            json.dump(dict(install=list(chosen.values())), file)
    else:
        open(os.path.dirname(__file__) + "/tap", "w").close()
else:
    print(json.dumps(dict(python="3.11.0", programs=["tap"], packages=["tap==1"])))
"""


def read(text: str, tmp_path: Path, pins: tuple[str, ...] = PINS) -> tuple[Release, ...]:
    path = tmp_path / "locks" / "tap.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    return lock_file.read_lock(path, pins)


def test_a_lock_is_read_and_written_alike(tmp_path: Path) -> None:
    found = read(SOUND, tmp_path)
    assert found == (
        Release(name="tap-csv", extras="", version="1.4.0", hashes=(A, B)),
        Release(name="the-rest", extras="[x,y]", version="2", hashes=(C,)),
    )
    lock_file.write_lock(tmp_path / "new" / "tap.txt", found, "A title.")
    assert lock_file.read_lock(tmp_path / "new" / "tap.txt", PINS) == found


BAD = [
    ("tap-csv==1.4.0\n", 1, "is no line"),  # no hash
    (f"tap-csv>=1.4.0 --hash=sha256:{A}\n", 1, "is no line"),
    (f"tap-csv==1.4.0 --hash=md5:{A}\n", 1, "is no line"),
    (f"tap-csv==1.4.0 --hash=sha256:{A[1:]}\n", 1, "is no line"),
    (f"{SOUND}--index-url https://evil.example/\n", 7, "is no line"),
    (f"{SOUND}--extra-index-url=https://evil.example/ --hash=sha256:{A}\n", 7, "is no line"),
    (f"{SOUND}-e .\n", 7, "is no line"),
    (f"{SOUND}x @ https://evil.example/x.whl --hash=sha256:{A}\n", 7, "is no line"),
    (f"{SOUND}x==1 --hash=sha256:{A} --no-binary=x\n", 7, "is no line"),
    (f"{SOUND}x==1 --hash=sha256:{A}; python_version<'3'\n", 7, "is no line"),
    (f"{SOUND}TAP.csv==1.5 --hash=sha256:{A}\n", 7, "second time"),
    (f"{SOUND}x==1 \\", 7, "goes on, and nothing follows"),
    ("", 0, "does not hold tap-csv==1.4.0"),
    (f"tap-csv==1.4.1 --hash=sha256:{A}\n", 0, "does not hold tap-csv==1.4.0"),
    ("\x00\n", 1, "is no line"),
]


@pytest.mark.parametrize(("text", "line", "reason"), BAD)
def test_what_is_no_lock_is_refused_with_its_line(text: str, line: int, reason: str, tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        read(text, tmp_path)
    assert caught.value.code == "bad-lock"
    assert caught.value.message.startswith(f"locks/tap.txt:{line}:1: " if line else "locks/tap.txt: ")
    assert reason in caught.value.message


def test_a_lock_is_a_file_of_the_workspace(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text(SOUND)
    link = tmp_path / "link.txt"
    link.symlink_to(elsewhere)
    large = tmp_path / "large.txt"
    large.write_text(SOUND + "#" * lock_file.LARGEST)
    (tmp_path / "folder.txt").mkdir()
    for path in (link, large, tmp_path / "folder.txt"):
        with pytest.raises(RunError, match="cannot be read"):
            lock_file.read_lock(path, PINS)
    assert lock_file.read_lock(tmp_path / "none.txt", PINS) == ()


def test_another_lock_is_another_environment(tmp_path: Path) -> None:
    settings = {"package": "tap-csv==1.4.0"}
    without = environments.package(settings, tmp_path)
    assert without is not None
    folders = {without.folder}
    for text in (SOUND, SOUND.replace(B, C)):
        path = lock_file.lock_path(tmp_path, without.request)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        found = environments.package(settings, tmp_path)
        assert found is not None
        assert found.request == without.request
        folders.add(found.folder)
    assert len(folders) == 3


def test_an_old_lock_keeps_the_files_of_other_machines() -> None:
    old = (
        Release(name="a", extras="", version="1", hashes=(A,)),
        Release(name="b", extras="", version="1", hashes=(A,)),
    )
    new = (
        Release(name="a", extras="", version="1", hashes=(B,)),
        Release(name="b", extras="", version="2", hashes=(B,)),
    )
    assert [release.hashes for release in lock_file.united(new, old)] == [(A, B), (B,)]


# --- the commands ------------------------------------------------------------------------------------------------


class Workshop:
    """A workspace with a tap, and an interpreter that plays pip."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.folder = folder / "workspace"
        (self.folder / "connections").mkdir(parents=True)
        (self.folder / "connrunner.yaml").write_text("version: 1\n")
        (self.folder / "profile.yaml").write_text("properties: {id: {type: text, identifier: true}}\n")
        self.python = folder / "python-fake"
        self.python.write_text(FAKE.replace("HOME_FOLDER", str(folder)))
        self.python.chmod(0o700)
        self.index([("tap", "1.0", A), ("needed", "3.0", B)])
        self.connection("people", "tap==1.0")

    def connection(self, name: str, pin: str, more: str = "") -> None:
        source = f"{{type: singer, package: {pin}, python: {self.python}, stream: people{more}}}"
        (self.folder / f"connections/{name}.yaml").write_text(
            f"schedule: {{type: manual}}\nimport: {{from: {source}, match: [id], fields: {{id: id}}}}\n"
        )

    def index(self, releases: list[tuple[str, str, str]]) -> None:
        (self.home / "index").write_text("".join(f"{' '.join(each)}\n" for each in releases))

    def type(self, *arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(connectors_command, [*arguments, "--workspace", str(self.folder)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    @property
    def calls(self) -> list[list[str]]:
        """What pip was asked for, without what is always the same."""
        lines = (self.home / "calls").read_text().splitlines()
        return [json.loads(line)[4:] for line in lines]

    @property
    def locks(self) -> list[Path]:
        return sorted((self.folder / "locks").iterdir())


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_lock_writes_down_what_is_needed_and_install_takes_that(workshop: Workshop) -> None:
    code, text = workshop.type("lock")
    assert code == 0, text
    (path,) = workshop.locks
    assert f"tap==1.0: 2 packages locked in locks/{path.name}" in text
    assert path.read_text().splitlines()[1:] == [
        "needed==3.0 \\", f"    --hash=sha256:{B}",
        "tap==1.0 \\", f"    --hash=sha256:{A}",
    ]  # fmt: skip
    assert not list((workshop.folder / ".connrunner/connectors").glob(".lock-*")), "nothing temporary is left"

    code, text = workshop.type("install")
    assert code == 0, text
    (place,) = (place for place in (workshop.folder / ".connrunner/connectors").iterdir() if place.is_dir())
    locking, installing = workshop.calls
    assert locking[:2] == installing[:2] == ["--only-binary", ":all:"]
    assert installing[2:] == ["--require-hashes", "--requirement", str(place / "lock.txt")]
    assert lock_file.read_lock(place / "lock.txt", ["tap==1.0"]) == lock_file.read_lock(path, ["tap==1.0"])
    _, text = workshop.type("list", "--format", "json")
    assert (json.loads(text)[0]["locked"], json.loads(text)[0]["installed"]) == (True, True)


def test_without_a_lock_wheels_alone_are_installed_and_what_build_names(workshop: Workshop) -> None:
    workshop.connection("people", "tap==1.0", ", build: [Old_Thing, needed]")
    code, text = workshop.type("install")
    assert code == 0, text
    (call,) = workshop.calls
    expected = ["--only-binary", ":all:", "--no-binary", "old-thing", "--no-binary", "needed", "--", "tap==1.0"]
    assert call == expected


def test_locking_again_keeps_versions_and_adds_files_and_upgrade_does_not(workshop: Workshop) -> None:
    workshop.type("lock")
    (path,) = workshop.locks
    workshop.index([("tap", "1.0", C), ("needed", "3.0", B), ("needed", "3.1", C)])
    workshop.type("lock")
    assert [each.text for each in lock_file.read_lock(path, ["tap==1.0"])] == [
        f"needed==3.0 \\\n    --hash=sha256:{B}",
        f"tap==1.0 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{C}",
    ]
    workshop.type("lock", "people", "--upgrade")
    found = lock_file.read_lock(path, ["tap==1.0"])
    assert [(each.version, each.hashes) for each in found] == [("3.1", (C,)), ("1.0", (C,))]


def test_where_one_program_is_locked_all_have_to_be(workshop: Workshop) -> None:
    workshop.type("lock")
    workshop.connection("visits", "tap==2.0")
    code, text = workshop.type("install")
    assert code == 1
    assert "tap==1.0: installed in" in text
    assert "error: visits: tap==2.0 is not locked, and other programs of this workspace are" in text
    assert "type `connrunner connectors lock visits`, and commit what it writes" in text


def test_a_release_without_a_hash_cannot_be_locked(workshop: Workshop) -> None:
    workshop.index([("tap", "1.0", "-")])
    code, text = workshop.type("lock")
    assert code == 1
    assert "error: people: no file of tap==1.0 has a hash" in text
    assert not (workshop.folder / "locks").exists()


def test_a_lock_that_is_none_stops_the_installation(workshop: Workshop) -> None:
    workshop.type("lock")
    (path,) = workshop.locks
    path.write_text(path.read_text() + "--index-url https://evil.example/\n")
    done = CliRunner().invoke(connectors_command, ["install", "--workspace", str(workshop.folder)])
    assert isinstance(done.exception, RunError)
    assert f"locks/{path.name}:6:1: this is no line" in str(done.exception)
    assert len(workshop.calls) == 1, "pip was asked for nothing more"


# --- with the real pip -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.thorough
def test_pip_itself_refuses_another_file_of_the_same_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    wheel(packages, "tap-tiny", "1.0", ["tap-tiny"], needs="Requires-Dist: beside-it>=1\n")
    wheel(packages, "beside-it", "1.5", ["beside-it"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    folder = tmp_path / "programs"
    wanted = Package(pin="tap-tiny==1.0")
    found = environments.resolve_lock(wanted, folder, Log())
    sums = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in packages.iterdir()}
    assert [(each.name, each.version, each.hashes) for each in found] == [
        ("beside-it", "1.5", (sums["beside_it-1.5-py3-none-any.whl"],)),
        ("tap-tiny", "1.0", (sums["tap_tiny-1.0-py3-none-any.whl"],)),
    ]
    wheel(packages, "beside-it", "2.0", ["beside-it"])  # comes out later
    locked = Package(pin="tap-tiny==1.0", lock=found)
    place = environments.install(locked, folder, Log())
    assert "beside-it==1.5" in json.loads((place / "installed.json").read_text())["packages"]

    wheel(packages, "beside-it", "1.5", ["beside-it", "evil"])  # replaced on the index
    other = Package(pin="tap-tiny==1.0", lock=found, more=("beside-it==1.5",))
    with pytest.raises(RunError, match="what the index has is not what was locked"):
        environments.install(other, folder, Log())
    (packages / "beside_it-1.5-py3-none-any.whl").unlink()
    (packages / "beside_it-2.0-py3-none-any.whl").unlink()
    with pytest.raises(RunError, match="if there is no wheel of it for this machine, `build` may name it"):
        environments.install(Package(pin="tap-tiny==1.0"), folder, Log())


class Log:
    def message(self, text: str, *, level: str = "info", **facts: Any) -> None: ...
    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...
