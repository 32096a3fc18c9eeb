"""Damaged and invented files: every reader answers, none breaks; see tests/fuzz.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import fuzz

NAMES = (
    "yaml connrunner.yaml",
    "yaml profile.yaml",
    "yaml connections/x.yaml",
    "yaml schedules/x.yaml",
    "yaml notifications/x.yaml",
    "journal",
    "history",
    "log",
    "requests",
    "quiet note",
    "compiled cache",
    "decisions",
    "hostile branch",
)
SEED = int(os.environ.get("CONNRUNNER_FUZZ_SEED", "1"))


def found(folder: Path, name: str, inputs: int) -> list[str]:
    (target,) = [target for target in fuzz.targets(folder) if target.name == name]
    return list(fuzz.findings(target, inputs=inputs, seed=SEED))


def test_every_target_is_fed(tmp_path: Path) -> None:
    assert tuple(target.name for target in fuzz.targets(tmp_path)) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.thorough
def test_a_reader_answers(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, name, 40) == []


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_reader_answers_twenty_thousand_times(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, name, 20_000) == []


def test_a_reader_that_breaks_is_found() -> None:
    """A negative control."""

    def feed(data: bytes) -> None:
        if data.count(b"{") > 8:
            raise ValueError("it breaks")

    target = fuzz.Target("brittle", lambda dice: fuzz.mutated(dice, [b"{}" * 8]), feed)

    assert "it breaks" in next(fuzz.findings(target, inputs=500, seed=1))
