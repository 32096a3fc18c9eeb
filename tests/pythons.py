"""Run the tests on every supported Python that is to be had: `python -m tests.pythons [3.13 ...]`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
ROOT = Path(__file__).parent.parent
ENVIRONMENTS = ROOT / "build" / "pythons"
PATIENCE = 300  # seconds that uv has for a download
_VERSION = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


def candidates(version: str) -> Iterator[Path]:
    """Yield the places of a Python *version*, like 3.13: those on PATH, of pyenv, of uv, and what uv downloads."""
    name = f"python{version}"
    yield from (Path(folder) / name for folder in os.get_exec_path() if folder)
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"), reverse=True)
    if uv := shutil.which("uv"):
        for arguments in (["find"], ["install"], ["find"]):
            said = _output([uv, "python", *arguments, version], PATIENCE)
            if said and arguments == ["find"]:
                yield Path(said)


def find(version: str) -> tuple[Path, str] | None:
    """Return the first Python *version* that starts, and its full version: what pyenv puts on PATH need not."""
    for path in candidates(version):
        full = _output([str(path), "-c", _VERSION], 20)
        if full.startswith(f"{version}."):
            return path, full
    return None


def environment(version: str, python: Path) -> Path | None:
    """Return the interpreter of an environment with connrunner and all that its tests need; None when it cannot be."""
    folder = ENVIRONMENTS / version
    inside, ready = folder / "bin" / "python", folder / ".ready"
    project = ROOT / "pyproject.toml"
    if (
        ready.exists()
        and ready.stat().st_mtime >= project.stat().st_mtime
        and _output([str(inside), "-c", _VERSION], 20)
    ):
        return inside
    pip = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", f"{ROOT}[dev]"]
    for command in ([str(python), "-m", "venv", "--clear", str(folder)], pip):
        if subprocess.run(command, check=False).returncode:
            return None
    ready.touch()
    return inside


def main(versions: Sequence[str], jobs: str) -> int:
    """Test on each of *versions*; return 1 when a suite failed, or there was none."""
    results: list[tuple[str, str, bool]] = []
    for version in versions:
        found = find(version)
        if found is None:
            results.append((version, "not found: not on PATH, nor with pyenv or uv", True))
            continue
        path, full = found
        _say(f"\n=== Python {full}: {path}\n")
        inside = environment(version, path)
        if inside is None:
            results.append((full, "FAILED: its packages cannot be installed", False))
            continue
        began = time.monotonic()
        tests = [str(inside), "-m", "pytest", "--numprocesses", jobs, "-m", "not long and not thorough"]
        passed = subprocess.run(tests, cwd=ROOT, check=False).returncode == 0
        results.append((full, f"{'passed' if passed else 'FAILED'} in {time.monotonic() - began:.0f} s", passed))
    _say("\n=== Pythons\n")
    for name, said, _ in results:
        _say(f"{name:8} {said}")
    tested = [passed for name, _, passed in results if name not in versions]
    return 0 if tested and all(tested) else 1


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _output(command: Sequence[str], patience: float) -> str:
    """Return what *command* prints, or an empty text when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or SUPPORTED, os.environ.get("JOBS") or "auto"))
