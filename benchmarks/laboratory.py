"""What every row of the table is measured with: whole processes, in turns, as ratios to a Python that does nothing."""

from __future__ import annotations

import ast
import functools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent
ENVIRONMENTS = ROOT / "build" / "peers"
ROUNDS = 25


@dataclass(frozen=True, slots=True)
class Figure:
    """Values of one quantity, in *unit*: x (times the CPU of `python -c pass`), s, MiB or another."""

    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def text(self) -> str:
        """Return the median, and the least and the greatest value where they differ."""
        low, high = _rounded(min(self.values)), _rounded(max(self.values))
        said = _with_unit(_rounded(self.median), self.unit)
        return said if low == high else f"{said} ({low} to {high})"


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _with_unit(value: str, unit: str) -> str:
    return f"{value}x" if unit == "x" else f"{value} {unit}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one row came to: ours, peers by name and version on the same work, and what no program can beat, by name."""

    ours: Sequence[Figure]
    peers: Mapping[str, Sequence[Figure]] = field(default_factory=dict)
    limits: Mapping[str, Sequence[Figure]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of the table. *long* ones are measured only when asked for; *why* says what keeps it from its goal."""

    subject: str  # heading of the table that it stands in
    what: str  # unique
    goal: str
    measure: Callable[[Laboratory], Measured]
    long: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took, with all that it waited for."""

    cpu: float  # seconds
    wall: float  # seconds
    mib: float  # peak, of the largest of them


class Laboratory:
    """Starts programs, each for itself, and keeps folders to work in until it is closed."""

    def __init__(self, *, rounds: int = ROUNDS) -> None:
        self.rounds = rounds
        self.python = sys.executable
        self.connrunner = str(Path(sys.executable).with_name("connrunner"))
        # With compiled modules, as everybody has them who installed a package.
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        self._temporary = tempfile.TemporaryDirectory(prefix="connrunner-benchmark-")
        self.folder = Path(self._temporary.name)
        self._launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._launcher.communicate()
        self._temporary.cleanup()

    def measure(
        self,
        command: Sequence[str],
        folder: Path | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        codes: Sequence[int] = (0,),
    ) -> Cost:
        """Run *command* in *folder* and return what it took; RuntimeError when it ends with none of *codes*."""
        assert self._launcher.stdin is not None
        assert self._launcher.stdout is not None
        where = str(folder or self.folder)
        line = repr(([str(part) for part in command], where, {**self._environment, **(environment or {})}))
        self._launcher.stdin.write(line + "\n")
        self._launcher.stdin.flush()
        code, *took = ast.literal_eval(self._launcher.stdout.readline())
        if code not in codes:
            raise RuntimeError(f"{command} in {where} ended with {code}")
        return Cost(*took)

    def ratios(
        self,
        command: Sequence[str],
        folder: Path | None = None,
        *,
        before: Callable[[], object] = lambda: None,
        rounds: int | None = None,
        codes: Sequence[int] = (0,),
    ) -> list[Figure]:
        """Return the CPU of *command* as multiples of that of `python -c pass`, and its peak MiB.

        The two take turns, so that a machine that is busy with other things slows both; *before* is called before each
        *command* and is not measured.
        """
        found = []
        for _ in range(rounds or self.rounds):
            before()
            base = self.measure([self.python, "-c", "pass"], folder)
            found.append((self.measure(command, folder, codes=codes), base.cpu))
        return [
            Figure("x", tuple(cost.cpu / base for cost, base in found)),
            Figure("MiB", (statistics.median(cost.mib for cost, _ in found),)),
        ]

    @functools.cache  # noqa: B019 - there is one laboratory
    def peer(self, *packages: str) -> str:
        """Return the Python of an environment that has *packages*, such as `yacron==0.19.0`; pip makes it once."""
        place = ENVIRONMENTS / "+".join(sorted(packages)).replace("==", "-")
        python = place / "bin" / "python"
        if not (place / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
            (place / "ready").touch()
        return str(python)
