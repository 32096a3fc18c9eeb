"""Programs of others in environments of their own: made once, by a command, pinned."""

from __future__ import annotations

import json
import os
import stat
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from filelock import FileLock

from connrunner.cli.connectors import connectors_command
from connrunner.connectors import RunContext, singer
from connrunner.connectors.bridge import environments
from connrunner.connectors.bridge.environments import Package
from connrunner.errors import RunError
from connrunner.processes import tree as process_tree

NOWHERE = Path("/nowhere")  # a workspace without locks
LONG = pytest.mark.skipif(not os.environ.get("CONNRUNNER_LONG_TESTS"), reason="CONNRUNNER_LONG_TESTS is not set")

TAP = """
import json, sys
def main():
    if "--discover" in sys.argv:
        print(json.dumps({"streams": [{"stream": "people"}]}))
    else:
        print(json.dumps({"type": "RECORD", "stream": "people", "record": {"python": sys.executable}}))
"""


# An interpreter that plays its part in an instant.
FAKE = f"""#!{sys.executable} -IS
import json, os, shutil, sys, time
what, pins = sys.argv[2], sys.argv[3:]
if what == "venv":
    os.makedirs(pins[0] + "/bin")
    shutil.copy(__file__, pins[0] + "/bin/python")
elif what == "pip" and "slow" in pins[-1]:
    time.sleep(60)
elif what == "pip" and "none" in pins[-1]:
    print("Looking in links", flush=True)
    sys.exit(f"ERROR: No matching distribution found for {{pins[-1]}}")
elif what == "pip":
    open(os.path.dirname(__file__) + "/tap", "w").close()
    print("Successfully installed")
else:
    print(json.dumps(dict(python="3.11.0", programs=["tap"], packages=["tap==1"])))
"""


class Log:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(text)

    def progress(self, stage: str, done: int, of: int | None = None) -> None: ...


def wheel(folder: Path, name: str, version: str, programs: list[str], needs: str = "") -> None:
    """Write a package that brings *programs*."""
    module = name.replace("-", "_")
    about = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": TAP,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\n" + "".join(f"{each} = {module}:main\n" for each in programs),
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as file:
        for path, content in files.items():
            file.writestr(path, content)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    wheel(folder, "tap-tiny", "1.0", ["tap-tiny", "tiny-tool"])
    wheel(folder, "airbyte-source-tiny", "2.0", ["source-tiny"])
    wheel(folder, "tap-needy", "1.0", ["tap-needy"], needs="Requires-Dist: nowhere-to-be-found>=3\n")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _offline(packages: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(packages))
        yield


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which tap-tiny is installed, with a second package beside it."""
    folder = tmp_path_factory.mktemp("state") / "connectors"
    environments.install(TINY, folder, Log())
    return folder


@pytest.fixture
def fake(tmp_path: Path) -> str:
    path = tmp_path / "python-fake"
    path.write_text(FAKE)
    path.chmod(0o700)
    return str(path)


TINY = Package(pin="tap-tiny==1.0", more=("airbyte-source-tiny==2.0",))
SETTINGS = {"package": "tap-tiny==1.0", "with": ["airbyte-source-tiny==2.0"], "stream": "people"}

PINS = [
    ("tap-csv==1.4.0", "tap-csv"),
    ("Tap_CSV.folder[s3,sftp]==0.0.1a1", "tap-csv-folder"),
    ("tap-csv==1!2.0+local.1", "tap-csv"),
    ("tap-csv", None),
    ("tap-csv>=1.4", None),
    ("tap-csv==1.*", None),
    ("tap-csv==1.4.0,<2", None),
    ("tap-csv==1.4.0 --index-url=http://x", None),
    ("-r==1", None),
    ("git+https://example.com/tap-csv==1", None),
    ("tap-csv==1\n--pre", None),
]


@pytest.mark.parametrize(("pin", "name"), PINS)
def test_a_package_is_pinned_to_one_version(pin: str, name: str | None) -> None:
    if name is None:
        for settings in ({"package": pin}, {"package": "tap-csv==1.4.0", "with": [pin]}):
            with pytest.raises(RunError, match="is not pinned to one version; write NAME==VERSION"):
                environments.package(settings, NOWHERE)
    else:
        found = environments.package({"package": pin}, NOWHERE)
        assert found is not None
        assert found.name == name
        assert found.folder.startswith(f"{name}-")


def test_the_folder_says_what_is_in_it() -> None:
    base = {"package": "tap-csv==1.4.0"}
    others: list[dict[str, Any]] = [
        base,
        {"package": "tap-csv==1.4.1"},
        {**base, "with": ["a==1", "b==1"]},
        {**base, "with": ["a==1"]},
        {**base, "python": "python3.12"},
    ]
    folders = {found.folder for each in others if (found := environments.package(each, NOWHERE))}
    assert len(folders) == len(others)
    assert environments.package({**base, "with": ["b==1", "a==1"]}, NOWHERE).folder in folders  # type: ignore[union-attr]
    assert environments.package({"command": ["./tap"]}, NOWHERE) is None
    with pytest.raises(RunError, match="it names no program"):
        environments.package({}, NOWHERE)


@pytest.mark.thorough
@pytest.mark.slow
def test_what_was_installed_is_found_and_runs(programs: Path, tmp_path: Path) -> None:
    place = programs / TINY.folder
    assert environments.is_installed(TINY, programs)
    made = json.loads((place / "installed.json").read_text())
    assert {"tap-tiny==1.0", "airbyte-source-tiny==2.0"} <= set(made["packages"])
    assert made["programs"] == ["tap-tiny", "tiny-tool"]
    (tmp_path / "spool").mkdir()
    context = RunContext(
        connection="people",
        run=1,
        at=datetime.now(UTC),
        workspace=tmp_path,
        spool=tmp_path / "spool",
        programs=programs,
        report=Log(),
    )
    fetched = singer.fetch(SETTINGS, context, known=lambda *_: False, mark=None)
    row = json.loads(Path(fetched.files[0].path).read_text())
    assert Path(row["python"]).is_relative_to(place), "it runs in its own environment"


@pytest.mark.slow
@pytest.mark.thorough
def test_which_program_is_meant(programs: Path) -> None:
    def found(name: str) -> str:
        return environments.program(TINY, name, programs, connection="people").name

    assert found("") == "tap-tiny"  # it is called like its package
    assert found("tiny-tool") == "tiny-tool"
    assert found("source-tiny") == "source-tiny"  # what stands beside it can be run too
    with pytest.raises(RunError, match="has no program 'tap-huge'; set `program` to one of tap-tiny, tiny-tool"):
        found("tap-huge")


def test_a_package_whose_only_program_has_another_name(fake: str, tmp_path: Path) -> None:
    wanted = Package(pin="airbyte-tap==2.0", python=fake)
    environments.install(wanted, tmp_path, Log())
    assert environments.program(wanted, "", tmp_path, connection="x").name == "tap"


@pytest.mark.slow
@pytest.mark.thorough
def test_installing_again_changes_nothing(programs: Path) -> None:
    before = (programs / TINY.folder / "installed.json").stat()
    log = Log()
    environments.install(TINY, programs, log)
    assert (programs / TINY.folder / "installed.json").stat() == before
    assert log.texts == []


def test_a_half_made_one_is_made_anew(fake: str, tmp_path: Path) -> None:
    wanted = Package(pin="tap==1.0", python=fake)
    left = tmp_path / wanted.folder / "bin" / "left"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    assert not environments.is_installed(wanted, tmp_path)
    log = Log()
    place = environments.install(wanted, tmp_path, log)
    assert environments.is_installed(wanted, tmp_path)
    assert not left.exists()
    assert log.texts == [
        f"tap==1.0: making an environment with {fake}",
        "Successfully installed",
        '{"python": "3.11.0", "programs": ["tap"], "packages": ["tap==1"]}',
        f"tap==1.0: installed in {place}, 1 package",
    ]
    made = json.loads((place / "installed.json").read_text())
    assert (made["package"], made["interpreter"], made["programs"]) == ("tap==1.0", fake, ["tap"])


def test_one_whose_interpreter_is_gone_is_not_installed(tmp_path: Path) -> None:
    place = tmp_path / TINY.folder
    (place / "bin").mkdir(parents=True)
    (place / "installed.json").write_text("{}")
    (place / "bin" / "python").symlink_to("/nowhere/python3.8")
    assert not environments.is_installed(TINY, tmp_path)
    with pytest.raises(RunError) as caught:
        environments.program(TINY, "", tmp_path, connection="people")
    assert str(caught.value) == "tap-tiny==1.0 is not installed; type `connrunner connectors install people`"


def test_what_cannot_be_installed_leaves_nothing(fake: str, tmp_path: Path) -> None:
    wanted = Package(pin="tap-none==9.9", python=fake)
    with pytest.raises(RunError) as caught:
        environments.install(wanted, tmp_path, Log())
    assert str(caught.value) == (
        "cannot install tap-none==9.9: No matching distribution found for tap-none==9.9; "
        "if there is no wheel of it for this machine, `build` may name it; `--verbose` shows all that was said"
    )
    assert caught.value.code == "cannot-install"
    assert not (tmp_path / wanted.folder).exists()


@pytest.mark.slow
@LONG
@pytest.mark.parametrize(
    ("pin", "message"),
    [
        ("tap-tiny==9.9", "cannot install tap-tiny==9.9: .*No matching distribution found"),
        ("tap-needy==1.0", "cannot install tap-needy==1.0: .*nowhere-to-be-found"),
    ],
)
def test_what_pip_cannot_install(pin: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=message):
        environments.install(Package(pin=pin), tmp_path, Log())


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no program 'python2\.9' on the PATH; correct `python`"):
        environments.install(Package(pin="tap-tiny==1.0", python="python2.9"), tmp_path, Log())


def test_two_at_once(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / f".{TINY.folder}.lock"),
        pytest.raises(RunError, match=r"another connrunner is installing tap-tiny==1\.0; wait until it is done"),
    ):
        environments.install(TINY, tmp_path, Log())


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    (tmp_path / "connectors").write_text("a file in the way")
    with pytest.raises(RunError, match=r"cannot make .*; make room, or repair the state folder"):
        environments.install(TINY, tmp_path / "connectors", Log())


def test_an_installation_that_stalls(fake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "PATIENCE", 0.3)
    monkeypatch.setattr(process_tree, "GRACE", 0.3)
    wanted = Package(pin="tap-slow==1.0", python=fake)
    with pytest.raises(RunError, match="stalled"):
        environments.install(wanted, tmp_path, Log())
    assert not (tmp_path / wanted.folder).exists()


# --- the command -------------------------------------------------------------------------------------------------


CONNECTIONS = {
    "people": "import: {from: {type: singer, package: tap-tiny==1.0, with: [airbyte-source-tiny==2.0], stream: people}",
    "visits": "import: {from: {type: airbyte, package: tap-tiny==1.0, with: [airbyte-source-tiny==2.0], stream: v}",
    "mine": "import: {from: {type: singer, command: [./tap], stream: people}",
    "files": "import: {from: {type: files, path: in/*.csv}",
    "audience": "export: {to: {type: singer, package: target-none==1.0, stream: people}",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / "connections").mkdir(parents=True)
    (folder / "connrunner.yaml").write_text("version: 1\n")
    (folder / "profile.yaml").write_text("properties: {id: {type: text, identifier: true}}\n")
    for name, work in CONNECTIONS.items():
        more = "match: [id], fields: {id: id}}" if "import" in work else "fields: {id: id}}"
        (folder / f"connections/{name}.yaml").write_text(f"schedule: {{type: manual}}\n{work}, {more}\n")
    (folder / "connections/broken.yaml").write_text("schedule: {type: manual}\n")
    return folder


def type_in(workspace: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(connectors_command, [*arguments, "--workspace", str(workspace)])
    text = f"{done.output}{done.exception if done.exception and not isinstance(done.exception, SystemExit) else ''}"
    return done.exit_code, text


def use(programs: Path, workspace: Path) -> None:
    """Let the workspace have what is installed already."""
    state = workspace / ".connrunner"
    state.mkdir(mode=0o700)
    (state / "connectors").symlink_to(programs)


@pytest.mark.slow
@pytest.mark.thorough
def test_list_shows_what_is_there(programs: Path, workspace: Path) -> None:
    use(programs, workspace)
    (programs / "tap-old-0123456789").mkdir(exist_ok=True)
    code, text = type_in(workspace, "list")
    lines = {line.split()[0]: " ".join(line.split()) for line in text.splitlines()}
    assert code == 0
    assert lines["people"] == "people tap-tiny==1.0 installed"
    assert lines["visits"] == "visits tap-tiny==1.0 installed"
    assert lines["mine"] == "mine ./tap is run as it stands"
    assert "not installed: type `connrunner connectors install audience`" in lines["audience"]
    assert "files" not in lines
    assert "no connection uses" in lines["-"]
    _, text = type_in(workspace, "list", "--format", "json")
    found = {each["connection"]: each for each in json.loads(text)}
    assert found["people"] == {
        "connection": "people",
        "package": "tap-tiny==1.0",
        "with": ["airbyte-source-tiny==2.0"],
        "command": None,
        "locked": False,
        "installed": True,
        "folder": str(workspace / ".connrunner" / "connectors" / TINY.folder),
    }
    assert found[None]["folder"].endswith("tap-old-0123456789")


def test_install_takes_all_or_some(fake: str, workspace: Path) -> None:
    for path in (workspace / "connections").iterdir():
        path.write_text(path.read_text().replace(", stream:", f", python: {fake}, stream:"))
    folder = workspace / ".connrunner" / "connectors"
    code, text = type_in(workspace, "install", "people")
    assert code == 0, text
    assert f"tap-tiny==1.0: installed in {folder}/tap-tiny-" in text
    assert "Successfully installed" not in text
    assert stat.S_IMODE((workspace / ".connrunner").stat().st_mode) == 0o700
    code, text = type_in(workspace, "install", "--verbose")
    assert code == 1
    assert text.count("tap-tiny==1.0: is installed") == 1
    assert "error: audience: cannot install target-none==1.0: " in text
    assert "Looking in links" in text
    assert "left out: broken, whose file has problems" in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("files", "files uses no third-party program; leave it out"),
        ("mine", "mine runs a program that is there already; leave it out"),
        ("peple", "there is no connection 'peple'; did you mean 'people'?"),
        ("broken", "broken cannot be used until its file is fixed"),
    ],
)
def test_names_that_make_no_sense(name: str, message: str, workspace: Path) -> None:
    code, text = type_in(workspace, "install", name)
    assert code != 0
    assert message in text


def test_a_workspace_without_such_connections(workspace: Path) -> None:
    for name in CONNECTIONS:
        if name != "files":
            (workspace / f"connections/{name}.yaml").unlink()
    for command in ("install", "list"):
        code, text = type_in(workspace, command)
        assert (code, text.splitlines()[0 if command == "list" else -1]) == (
            0,
            "no connection uses a third-party program",
        )
