"""
Lives of a workspace that imports, exports and runs a program while SIGKILL strikes at random moments.

`CONNRUNNER_CRASH_SEED=N` repeats the choices of one try (the moments depend on the machine), `CONNRUNNER_KILLS=N` says how
many kills there are in all.
"""

from __future__ import annotations

import csv
import io
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from tests.crashes import MINUTE, START, Scene, list_strangers, minutes, story, violations
from tests.test_crash_partners import compare, read_held

pytestmark = [pytest.mark.slow, pytest.mark.real_clock]

EVERY_MINUTE = '{type: cron, expression: "* * * * *"}'
PROFILE = "properties:\n  id: {type: text, identifier: true}\n  age: {type: integer}\n"
NAMES = ("people", "folder", "base", "program")
KILLS = int(os.environ.get("CONNRUNNER_KILLS", "12"))
LIVES = 2
CALM = 3  # ticks at the end that nothing disturbs: an export sends what the import of the tick before brought


@dataclass
class Life:
    """A workspace, the world around it, and what a source said so far."""

    folder: Path
    seed: int
    ages: dict[str, str] = field(default_factory=dict)  # by id, as the files of the source have them, the last one wins
    kills: int = 0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.scene = Scene(self.folder)
        self.out, self.database = self.folder / "out", self.folder / "partner.db"
        self.out.mkdir()
        with closing(sqlite3.connect(self.database)) as session:
            session.execute("CREATE TABLE audience (Id TEXT PRIMARY KEY, Age INTEGER)")
        scene = self.scene
        scene.write("profile.yaml", PROFILE)
        (scene.workspace / "in").mkdir()
        # Runs end by two clocks here, that of `--now` and the real one; the limit of mails within an hour is not judged.
        (scene.workspace / "notifications").mkdir()
        for name in NAMES:
            scene.write(f"notifications/{name}.yaml", f"email: [{name}@example.com]\nlimit: 1000\n")
        scene.command("program", EVERY_MINUTE)
        program = (scene.workspace / "connections/program.yaml").read_text()
        scene.write("connections/program.yaml", program.replace("to: program@example.com", "to: program"))
        fields = "fields: {id: id, age: age}"
        self._declare("people", f'import: {{from: {{type: files, path: "in/*.csv"}}, match: [id], {fields}}}')
        sends = "fields: {Id: id, Age: age}, rows: changed"
        self._declare("folder", f"export: {{to: {{type: files, path: '{self.out}/{{run}}.csv'}}, {sends}}}")
        to = f"{{type: sql, url: 'sqlite:///{self.database}', table: audience, mode: upsert, unique: [Id]}}"
        self._declare("base", f"export: {{to: {to}, {sends}}}")

    def _declare(self, name: str, work: str) -> None:
        notify = f"notify: [{{to: {name}, when: always}}]"
        self.scene.write(f"connections/{name}.yaml", f"schedule: {EVERY_MINUTE}\n{work}\n{notify}\n")

    def live(self, kills: int) -> datetime:
        """Tick minute by minute until there were *kills*, often several in one tick; return the last minute."""
        at, lasts = START, 0.0
        self.scene.tick(at - MINUTE)
        while self.kills < kills:
            self._offer(at)
            began = time.monotonic()
            with self._start_tick(at) as tick:
                while lasts and self._strike(tick.pid, within=lasts):
                    self.kills += 1
                tick.wait(timeout=120)
                lasts = lasts or time.monotonic() - began  # the first one tells how long one takes here
            self.scene.wait_until_alone()
            at += MINUTE
        for _ in range(CALM):
            self.scene.tick(at)
            at += MINUTE
        return at - MINUTE

    def _start_tick(self, at: datetime) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "connrunner", "tick", "--now", f"{at:%Y-%m-%dT%H:%M:%SZ}"]
        environment = self.scene.environment(CONNRUNNER_STATE=str(self.scene.state.root))
        quiet = subprocess.DEVNULL
        folder = self.scene.workspace
        return subprocess.Popen(command, cwd=folder, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)

    def _offer(self, at: datetime) -> None:
        """Let a file arrive: new people, a known one with another age, and a row that is refused."""
        new = {f"{at:%H%M}-{number}": str(self.dice.randrange(100)) for number in range(self.dice.randrange(1, 40))}
        known = {
            key: str(self.dice.randrange(100)) for key in self.dice.sample(sorted(self.ages), min(3, len(self.ages)))
        }
        rows = new | known
        self.ages |= rows
        path = self.scene.workspace / "in" / f"{at:%d%H%M}.csv"
        path.write_text("id,age\n" + "".join(f"{key},{age}\n" for key, age in rows.items()) + "refused,x\n")

    def _strike(self, tick: int, *, within: float) -> bool:
        """Kill something at some moment *within* so many seconds; False when everything has ended by then."""
        time.sleep(self.dice.random() * within)
        alive = list(self.scene.processes())
        if not alive:
            return False
        match self.dice.choice(("tick", "other", "all", "all")):
            case "all":
                self.scene.kill_everybody()
            case "tick" if tick in alive:
                os.kill(tick, signal.SIGKILL)
            case _:
                with suppress(ProcessLookupError):
                    os.kill(self.dice.choice(alive), signal.SIGKILL)
        return True

    def judge(self, last: datetime) -> list[str]:
        """Return what is untrue in history, store, partners and mail; the last ticks were undisturbed."""
        told, held = story(self.scene), read_held(self.scene)
        due = {name: minutes(START - MINUTE, last) for name in NAMES}
        wrong = violations(told, due=due, tells=dict.fromkeys(NAMES, "always")) + compare(told, held)
        with duckdb.connect(str(self.scene.state.profiles), read_only=True) as session:
            stored = dict(session.execute("SELECT id, age::VARCHAR FROM profiles").fetchall())
        with closing(sqlite3.connect(self.database)) as session:
            sent = dict(session.execute("SELECT Id, CAST(Age AS TEXT) FROM audience").fetchall())
        files: dict[str, str] = {}
        for path in sorted(self.out.glob("*.csv"), key=lambda path: int(path.stem)):
            files |= {row["Id"]: row["Age"] for row in csv.DictReader(io.StringIO(path.read_text()))}
        for what, found in (("the store", stored), ("the database", sent), ("the folder", files)):
            if found != self.ages:
                differs = sorted(key for key in found.keys() | self.ages if found.get(key) != self.ages.get(key))
                wrong.append(f"{what} differs from the source in {len(differs)} people: {differs[:3]}")
        created = sum(run["counts"].get("created", 0) for run in told.history["people"])
        if created != len(stored):
            wrong.append(f"history says {created} created, the store has {len(stored)}")
        wrong += [f"{path.name} is left half written" for path in self.out.glob(".*")]
        return wrong + [f"P11: {path} is left" for path in list_strangers(self.scene.state.root)]


@pytest.mark.long
@pytest.mark.parametrize("life", range(LIVES))
def test_lives_with_kills_at_random_moments(tmp_path: Path, life: int) -> None:
    seed = int(os.environ.get("CONNRUNNER_CRASH_SEED", time.time_ns() % 1_000_000)) + life
    one = Life(tmp_path, seed)
    last = one.live(KILLS // LIVES)
    assert one.judge(last) == [], f"CONNRUNNER_CRASH_SEED={seed - life}"
