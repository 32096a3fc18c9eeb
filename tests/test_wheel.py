"""What is released works without its source: the wheel, built from the source archive, in an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import connrunner

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

ROOT = Path(__file__).parent.parent
LIBRARIES = sysconfig.get_path("purelib")  # where the packages are that connrunner needs

# Let no process of the environment open a file of the checkout; its own packages may lie in there.
GUARD = f"""\
import sys

def refuse(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and arguments and isinstance(arguments[0], str):
        path = arguments[0]
        if path.startswith({str(ROOT)!r}) and not path.startswith({LIBRARIES!r}):
            raise PermissionError(13, "out of reach", path)

sys.addaudithook(refuse)
"""

TYPES = """\
import json
import sample_connector
from connrunner.connectors import Destination, Source

source: Source = sample_connector
destination: Destination = sample_connector
other: Source = json  # type: ignore[assignment]
"""


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive, and from it the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, folder=ROOT)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source = folder / f"connrunner-{connrunner.__version__}"
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, folder=source)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a new environment; return the folder of its programs."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", "env", folder=folder)
    programs = folder / "env" / "bin"
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, folder=folder)
    site = Path(
        run(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    )
    # Of a folder that a .pth names no .pth is read, so the editable checkout stays out.
    (site / "libraries.pth").write_text(LIBRARIES + "\n")
    (site / "sitecustomize.py").write_text(GUARD)
    return programs


def test_the_wheel_names_its_license_and_knows_no_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        assert not [name for name in names if str(ROOT).encode() in archive.read(name)]
    assert "\nLicense-Expression: Apache-2.0\nLicense-File: LICENSE\n" in metadata
    assert {Path(name).parts[0] for name in names} == {"connrunner", f"connrunner-{connrunner.__version__}.dist-info"}


def test_the_checkout_is_out_of_reach(programs: Path, tmp_path: Path) -> None:
    script = "import connrunner, sys; print(connrunner.__file__, *sys.path)"
    file, *path = run(programs / "python", "-c", script, folder=tmp_path).split()
    assert Path(file).is_relative_to(programs.parent)
    assert str(ROOT) not in path
    with pytest.raises(AssertionError, match="out of reach"):
        run(programs / "python", "-c", f"open({str(ROOT / 'README.md')!r})", folder=tmp_path)


def test_its_command_works(programs: Path, tmp_path: Path) -> None:
    assert run(programs / "connrunner", "--version", folder=tmp_path) == f"connrunner {connrunner.__version__}\n"

    run(programs / "connrunner", "init", "crm", folder=tmp_path)  # examples and schemas
    assert "all sound" in run(programs / "connrunner", "validate", "--workspace", "crm", folder=tmp_path)
    assert (tmp_path / "crm" / ".schemas" / "connection.json").is_file()

    said = run(programs / "connrunner", "demo", "demo", folder=tmp_path)  # worker, store, templates of mail
    assert "Not accepted, the first 10 of 14" in said


def test_a_connector_of_another_package_is_checked_against_its_types(programs: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "outside_connector" / "sample_connector.py", tmp_path)
    (tmp_path / "check.py").write_text(TYPES)

    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", programs / "python", "--config-file", "")
    said = run(*mypy, "--cache-dir", tmp_path / "cache", "check.py", "sample_connector.py", folder=tmp_path)

    assert said == "Success: no issues found in 2 source files\n"
