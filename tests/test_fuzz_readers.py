"""Damaged and invented files: every reader answers, none breaks; see tests/fuzz.py."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest

from connrunner.profiles.exporting import writers
from connrunner.profiles.readers import csv, excel, jsonlines, parquet
from tests import fuzz

DIFFERENTIAL = (
    "csv beside a parser of RFC 4180",
    "json beside the json module",
    "excel beside openpyxl",
    "parquet beside pyarrow",
    "round trips",
)
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
    *DIFFERENTIAL,
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


@pytest.mark.parametrize("name", DIFFERENTIAL)
@pytest.mark.thorough
def test_the_product_reads_what_another_reader_reads(tmp_path: Path, name: str) -> None:
    assert found(tmp_path, name, 1000) == []


BENT = [
    # of which target, the function that is bent, and how
    ("csv beside a parser of RFC 4180", csv, "_list_cells", lambda real, *given: [c and str(c).lower() for c in real(*given)]),
    ("json beside the json module", jsonlines, "encode_exactly", lambda real, value: real(value).replace(".10", ".1")),
    ("excel beside openpyxl", excel, "format_cell", lambda real, *given: real(*given).strip()),
    ("parquet beside pyarrow", parquet, "_format_float", lambda real, value: f"({value}::FLOAT)::VARCHAR"),
    ("round trips", writers, "SEPARATOR", lambda real: ","),
]  # fmt: skip


@pytest.mark.parametrize(("name", "module", "what", "bend"), BENT, ids=[one[0] for one in BENT])
@pytest.mark.thorough
def test_a_value_that_is_bent_is_found(
    tmp_path: Path, name: str, module: Any, what: str, bend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A negative control."""
    real = getattr(module, what)
    monkeypatch.setattr(module, what, functools.partial(bend, real) if callable(real) else bend(real))
    (target,) = [target for target in fuzz.targets(tmp_path) if target.name == name]
    assert next(fuzz.findings(target, inputs=20_000, seed=1), "")


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
