"""Whole runs of one connection in this process: the work of a worker, and what must hold of each run."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connrunner.config import load
from connrunner.core.model import Outcome
from connrunner.profiles.stores.duckdb import open_store
from connrunner.state.folder import StateFolder
from connrunner.worker import process

AT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
PROFILE = {
    "properties": {
        "id": {"type": "text", "identifier": True},
        "name": {"type": "text"},
        "age": {"type": "integer"},
    }
}
MANUAL = {"title": "", "schedule": {"type": "manual"}, "notify": [], "timeout": "1h"}


class Log:
    """Keeps what a run says; *on_text* hears each line of it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.stages: list[str] = []
        self.on_text: Callable[[str], None] = lambda text: None

    def message(self, text: str, *, level: str = "info", **facts: Any) -> None:
        self.texts.append(f"{level}: {text} {facts or ''}".rstrip())
        self.on_text(text)

    def progress(self, stage: str, done: int, of: int | None = None) -> None:
        if self.stages[-1:] != [stage]:
            self.stages.append(stage)


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a run ended; of its counters, those that are not 0."""

    outcome: Outcome
    counts: dict[str, int]
    message: str
    code: str


@dataclass
class Runs:
    """A workspace and its profiles; *secret* must not show in anything that a run leaves."""

    folder: Path
    secret: str = ""
    log: Log = field(default_factory=Log)
    number: int = 0
    profile: Mapping[str, Any] = field(default_factory=lambda: PROFILE)

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.folder / ".connrunner")

    def job(self, work: Mapping[str, Any], name: str = "people") -> process.Job:
        self.number += 1
        return process.Job(
            workspace=self.folder,
            state=self.state,
            connection=load.connection_from(name, {**MANUAL, **work}, timezone="UTC"),
            model=load.profile_model_from(self.profile),
            run=self.number,
            started_at=AT,
        )

    def run(self, work: Mapping[str, Any], name: str = "people") -> Ran:
        """Do the *work* of the connection *name*: the part `import` or `export` of its file."""
        job = self.job(work, name)
        job.rejects.parent.mkdir(parents=True)
        try:
            result = process.perform(job, self.log)
        finally:
            self.check(job)
        self.keep_secret(result.message)
        counts = {key: number for key, number in result.counts.as_dict().items() if number} if result.counts else {}
        return Ran(outcome=result.outcome, counts=counts, message=result.message, code=result.code)

    def check(self, job: process.Job) -> None:
        """Fail the test when the run *job* left what it must not leave."""
        assert not job.spool.exists(), "what was on its way is removed"
        self.keep_secret("\n".join(self.log.texts))
        if job.rejects.exists():
            self.keep_secret(job.rejects.read_text())

    def keep_secret(self, text: str) -> None:
        if self.secret:
            for form in (self.secret, base64.b64encode(self.secret.encode()).decode()):
                assert form not in text

    def store_is(self, content: bytes) -> None:
        """Make *content*, that of another store's file, the profile store."""
        self.state.profiles.parent.mkdir(parents=True, exist_ok=True)
        self.state.profiles.write_bytes(content)

    def people(self) -> dict[str, str]:
        """Return the names in the profile store, by `id`."""
        model = load.profile_model_from(PROFILE)
        if not self.state.profiles.exists():
            return {}
        self.folder.joinpath("temporary").mkdir(exist_ok=True)
        with open_store(self.state.profiles, model, temp=self.folder / "temporary", report=self.log) as store:
            return {one["id"]: one["name"] for one in store.select(["id", "name"])}
