"""Started on anything but Linux, connrunner says so, and imports nothing that would fail there first."""

from __future__ import annotations

import subprocess
import sys

import pytest

ELSEWHERE = """\
import sys

class NotThere:
    def find_spec(self, name, path=None, target=None):
        ours = name.startswith("connrunner.") and name != "connrunner.__main__"
        if ours or name in ("fcntl", "grp", "pwd", "resource", "termios"):
            raise AssertionError(f"{name} was imported")

sys.platform, sys.argv = sys.argv[1], ["connrunner", *sys.argv[2:]]
sys.meta_path.insert(0, NotThere())
from connrunner.__main__ import main

sys.exit(main())
"""


def start(platform: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", ELSEWHERE, platform, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_it_says_that_it_needs_linux(platform: str) -> None:
    for arguments in (("tick",), ("--version",), ("plan",)):
        done = start(platform, *arguments)
        assert (done.returncode, done.stdout) == (69, ""), done
        assert done.stderr.startswith(f"error: connrunner needs Linux, this is {platform}; ")
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_on_linux_the_same_start_goes_on() -> None:
    assert "connrunner.cli was imported" in start("linux", "plan").stderr
