"""The power goes: what was not synced is gone. A file system of its own is cut off before each call, and recovers.

Needs root, a loop device and ext4. The state stands on the file system that is cut off; the programs' diary and the
mail are the world outside, which no power cut takes back.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connrunner.state.folder import StateFolder
from tests.crashes import Point, Scene, why_not
from tests.test_crash_points import PLOTS

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
NO_FLUSH = struct.pack("I", 2)  # EXT4_GOING_FLAGS_NOLOGFLUSH: nothing more is written, the journal neither
WITHOUT_SYNC = "os.fsync = os.fdatasync = lambda descriptor: None\n"
PARTS = 4


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")


class Disk:
    """A file system in a file, on which the power can go."""

    def __init__(self, folder: Path) -> None:
        self.image, self.path = folder / "disk.img", folder / "disk"
        with self.image.open("wb") as file:
            file.truncate(48 << 20)
        _run("mkfs.ext4", "-q", "-F", str(self.image))
        self.path.mkdir()
        self.mount()

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self.image), str(self.path))

    def unmount(self) -> None:
        _run("umount", str(self.path))

    def cut(self) -> None:
        """Lose what was not synced, and start again."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, NO_FLUSH)
        finally:
            os.close(descriptor)
        self.unmount()
        # A copy: a process in a mount namespace of its own can keep the one that was cut off alive.
        copy = self.image.with_suffix(".copy")
        _run("cp", "--sparse=always", str(self.image), str(copy))
        copy.replace(self.image)
        self.mount()


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    made = Disk(folder)
    try:
        yield made
    finally:
        made.unmount()


@functools.cache
def why_no_cut() -> str:
    if reason := why_not():
        return reason
    if os.geteuid() != 0:
        return "only root can cut the power of a file system"
    if shutil.which("mkfs.ext4") is None:
        return "there is no mkfs.ext4 on this machine"
    try:
        with tempfile.TemporaryDirectory() as folder, disk(Path(folder)) as tried:
            (tried.path / "unsynced").write_text("x")
            tried.cut()
            return "" if not (tried.path / "unsynced").exists() else "a power cut loses nothing here"
    except OSError as error:
        return f"the power of a file system cannot be cut here: {error}"


def attempt(scene: Scene, power: Disk, point: Point) -> tuple[bool, list[str]]:
    plot = PLOTS["two-due"]
    scene.reset()
    os.sync()
    struck = scene.strike(plot.command, point)
    if struck:
        power.cut()
    for moment in plot.later:
        scene.tick(moment)
    return struck, plot.judge(scene)


def stage(folder: Path, power: Disk) -> Scene:
    scene = Scene(folder)
    scene.state = StateFolder(power.path / "state")
    PLOTS["two-due"].begin(scene)
    scene.keep()
    return scene


@pytest.fixture
def power(tmp_path: Path) -> Iterator[Disk]:
    if reason := why_no_cut():
        pytest.skip(reason)
    with disk(tmp_path) as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_a_power_cut_before_every_call_of_a_tick(
    tmp_path: Path, power: Disk, part: int, record_property: Callable[[str, object], None]
) -> None:
    scene, wrong, cuts = stage(tmp_path, power), [], 0
    for call, nth in scene.calls(PLOTS["two-due"].command, "tick")[part::PARTS]:
        point = Point("tick", call, nth, everybody=True)
        struck, broken = attempt(scene, power, point)
        cuts += struck
        wrong += [f"{point}: {what}" for what in broken]
    record_property("power cuts", cuts)

    assert wrong == []
    assert cuts > 0


@pytest.mark.long
def test_without_a_sync_a_power_cut_is_found_out(tmp_path: Path, power: Disk) -> None:
    """A negative control."""
    scene = stage(tmp_path, power)
    scene.patch(WITHOUT_SYNC)

    struck, wrong = attempt(scene, power, Point("tick", "vfork", 2, everybody=True))

    assert struck
    assert wrong
