"""Feed every reader of files with damaged and invented ones: `python -m tests.fuzz --inputs 100000 --seed 7`.

Whatever stands in a file, a reader answers with what it found or with a problem that names the file and the line. An
exception that is not for people is a finding, and so is a reader that takes long; each is shown with the seed that
repeats it.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connrunner.config import compiled, load
from connrunner.core import instant
from connrunner.errors import StateError, WorkspaceError
from connrunner.scheduler import idle
from connrunner.state import journal_segments, requests, run_files
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal

SLOW = 60.0  # seconds of processor time: an input that takes so long would take any time, on whatever machine
EXAMPLES = Path(__file__).parent.parent / "examples"
AT = "2026-11-22T06:00:00Z"
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1 << 70, 1e308, float("inf"), float("nan"), "", "x", "\u2028", "2026-13-45T99:00:00Z", AT, [], {}, [[]], {"": None},
    [[[[[[[[]]]]]]]], "a" * 300, "../../etc/passwd", "\ud800",
)  # fmt: skip
WORDS = [
    word.encode("utf-8", "surrogatepass")
    for word in (
        "null true no off 1:30 08 0o17 0x1F .inf .nan 1e999 1_000 2026-11-22 <<: *a &a !!python/object !x | > - : # ? { } [ ] , \" ' "
        "% @ ` --- ... \\x00 \\uD800 ${x} env:A file:/x {{x}} 00:00 24:00 31 last fifth"
    ).split()
] + [
    b"\n",
    b"\t",
    b"\0",
    b"\r",
    b"  ",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\xc2\x85",
    b"\n---\n",
    b"\x1b[2J",
    b"[" * 3000,
]

# --- making inputs ---------------------------------------------------------------------------------------------------


def mutated(dice: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return a good file with some damage, or, now and then, nothing like one."""
    if dice.random() < 0.05:
        return dice.randbytes(dice.randrange(200))
    if dice.random() < 0.05:
        return b"".join(dice.choice(WORDS) + dice.choice((b" ", b"\n", b"")) for _ in range(dice.randrange(40)))
    data = dice.choice(seeds)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        at = dice.randrange(len(data) + 1)
        to = min(len(data), at + dice.choice((1, 1, 2, 5, 30)))
        match dice.randrange(8):
            case 0:
                data = data[:at] + data[to:]
            case 1:
                data = data[:at] + dice.choice(WORDS) + data[at:]
            case 2:
                data = data[:at] + dice.choice(WORDS) + data[to:]
            case 3:
                data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
            case 4:
                data = data[:at]
            case 5:
                other = dice.choice(seeds)
                data = data[:at] + other[dice.randrange(len(other) + 1) :]
            case 6:
                data = data[:to] + data[at:to] * dice.choice((1, 2, 50)) + data[to:]
            case 7:
                lines = data.split(b"\n")
                first, second = dice.randrange(len(lines)), dice.randrange(len(lines))
                lines[first], lines[second] = lines[second], lines[first]
                data = b"\n".join(lines)
    return data


def twisted(dice: random.Random, value: Any) -> Any:
    """Return plain data with one part of it replaced, removed or moved."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(sorted(value))
        match dice.randrange(8):
            case 0:
                return {name: item for name, item in value.items() if name != key}
            case 1:
                return {**value, key: dice.choice(ODD)}
            case _:
                return {**value, key: twisted(dice, value[key])}
    if isinstance(value, list) and value and dice.random() < 0.9:
        at = dice.randrange(len(value))
        return [*value[:at], twisted(dice, value[at]), *value[at + 1 :]]
    return dice.choice(ODD)


def checked(record: Any) -> bytes:
    """Return *record* as a line of the journal with the right checksum: damage that no checksum shows."""
    body = json.dumps(record).encode().removesuffix(b"}")
    return body + b',"crc":"%08x"}' % zlib.crc32(body)


# --- what is fed -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """One reader: *inputs* makes what it is fed, *feed* gives it one and asserts what must hold of the answer."""

    name: str
    inputs: Callable[[random.Random], bytes]
    feed: Callable[[bytes], None]


def yaml_targets(folder: Path) -> Iterator[Target]:
    """Each kind of file of a workspace, loaded and validated with sound neighbours."""
    for path in ("connrunner.yaml", "profile.yaml", "connections/x.yaml", "schedules/x.yaml", "notifications/x.yaml"):
        home = folder / path.replace("/", "-")
        for source in sorted(EXAMPLES.rglob("*.yaml")):
            kept = home / source.relative_to(EXAMPLES)
            if kept.parent.name != "connections":  # many of them only take time
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(source.read_bytes())
        kind = f"{Path(path).parent.name}/*.yaml" if "/" in path else path
        seeds = [seed.read_bytes() for seed in sorted(EXAMPLES.glob(kind))] or [b"schedule: {type: manual}\n"]
        (home / path).parent.mkdir(parents=True, exist_ok=True)

        def inputs(dice: random.Random, seeds: Sequence[bytes] = seeds) -> bytes:
            return mutated(dice, seeds)

        def feed(data: bytes, home: Path = home, path: str = path) -> None:
            (home / path).write_bytes(data)
            try:
                workspace = load.load(home)
                problems = workspace.problems
                assert "x" not in workspace.broken or problems
            except WorkspaceError as error:
                problems = error.problems
                assert problems, "a refusal without a problem"
            for problem in problems:
                assert problem.path and problem.line >= 1 and problem.column >= 1 and problem.message, problem  # noqa: PT018
                assert all(char.isprintable() for char in str(problem)), "a problem that moves the cursor"

        yield Target(f"yaml {path}", inputs, feed)


def journal_records() -> list[dict[str, Any]]:
    """Return a record of each type, as connrunner itself writes them."""
    path = Path(__file__).parent / "fuzz_journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def state_targets(folder: Path) -> Iterator[Target]:
    """Each reader of a file in the state folder."""
    state = StateFolder(folder / "state")
    state.prepare()
    records = journal_records()
    run = next(record["run"] for record in records if record["type"] == "ended")
    lines = [checked({key: value for key, value in record.items() if key != "crc"}) for record in records]

    def journal(dice: random.Random) -> bytes:
        if dice.random() < 0.5:
            return mutated(dice, [b"\n".join(lines) + b"\n", *(line + b"\n" for line in lines)])
        chosen = [dice.choice(records) for _ in range(dice.randrange(1, 6))]
        chosen[-1] = twisted(dice, chosen[-1])
        return b"".join(checked(one) + b"\n" if isinstance(one, dict) else b"%r\n" % one for one in chosen)

    def read_journal(data: bytes) -> None:
        for name in ("journal.jsonl", "journal.previous.jsonl", "journal.damaged"):
            (state.root / name).unlink(missing_ok=True)
        state.journal.write_bytes(data)
        try:
            journal_state = Journal(state).open()
        except StateError as error:
            assert str(state.journal) in str(error)  # noqa: PT017
            return
        before = Journal(state).append(records[0])
        assert set(before.numbers) >= set(journal_state.numbers), "a damaged record took others with it"

    def history(dice: random.Random) -> bytes:
        good = json.dumps(run).encode() + b"\n"
        return mutated(dice, [good * 3]) if dice.random() < 0.4 else good + json.dumps(twisted(dice, run)).encode()

    def read_history(data: bytes) -> None:
        state.history("a").parent.mkdir(parents=True, exist_ok=True)
        state.history("a").write_bytes(data)
        list(run_files.read_history(state, "a"))
        run_files.read_durations(state, "a")

    events: list[dict[str, Any]] = [
        {"at": AT, "type": "started", "connection": "a", "run": 1, "pid": 7},
        {"at": AT, "level": "info", "message": "hello"},
        {"at": AT, "type": "progress", "stage": "reading", "done": 3, "of": None},
        {"at": AT, "type": "ended", "outcome": "succeeded", "counts": {"read": 1, "checked": 1, "created": 1}, "message": ""},
    ]  # fmt: skip

    def log(dice: random.Random) -> bytes:
        told = [json.dumps(twisted(dice, event) if dice.random() < 0.3 else event).encode() for event in events]
        whole = b"\n".join(told) + b"\n"
        return mutated(dice, [whole]) if dice.random() < 0.4 else whole

    def read_log(data: bytes) -> None:
        state.log("a", 1).parent.mkdir(parents=True, exist_ok=True)
        state.log("a", 1).write_bytes(data)
        list(run_files.read_events_from(state.log("a", 1), 0))
        told = run_files.read_log_summary(state, "a", 1)
        if told.result is not None:
            instant.parse(told.ended_at)  # the next tick does

    request = {"wish": "run", "connection": "a", "asked_at": AT, "asked_by": "jo"}

    def run_requests(dice: random.Random) -> bytes:
        return (
            mutated(dice, [json.dumps(request).encode()])
            if dice.random() < 0.4
            else json.dumps(twisted(dice, request)).encode()
        )

    def read_requests(data: bytes) -> None:
        (state.requests / "run-1.json").write_bytes(data)
        requests.read_run_requests(state)

    workspace = folder / "quiet"
    workspace.mkdir()
    (workspace / "connrunner.yaml").write_text("version: 1\n")
    past = time.time() - 60
    Journal(state).append(records[0])
    with_note = state.compiled / "quiet"
    idle.write_note(str(workspace), str(state.root), {}, None, __file__, past + 1e6)
    whole_note = with_note.read_bytes()

    def notes(dice: random.Random) -> bytes:
        return mutated(dice, [whole_note])

    def read_note(data: bytes) -> None:
        with_note.write_bytes(data)
        idle.nothing_to_do(["--workspace", str(workspace), "--state", str(state.root)])

    kept = compiled.CompiledWorkspace({"a": compiled.File((1, 2), "d", compiled.pack({}))}, {})
    compiled.write_cache(state.compiled, b"s" * 32, kept)
    cache = (state.compiled / compiled.NAME).read_bytes()

    def read_cache(data: bytes) -> None:
        (state.compiled / compiled.NAME).write_bytes(data)
        assert compiled.read_cache(state.compiled, b"s" * 32).files in ({}, kept.files), "a damaged cache was believed"

    state.decisions.mkdir(exist_ok=True)
    journal_segments.add_segment(state, b"\n".join(lines) + b"\n")
    (segment,) = state.decisions.iterdir()
    packed = segment.read_bytes()

    def read_segment(data: bytes) -> None:
        segment.write_bytes(data)
        try:
            list(journal_segments.read_records(state))
            journal_segments.find_oldest_instant(state)
        except StateError as error:
            assert str(segment) in str(error)  # noqa: PT017

    yield Target("journal", journal, read_journal)
    yield Target("history", history, read_history)
    yield Target("log", log, read_log)
    yield Target("requests", run_requests, read_requests)
    yield Target("quiet note", notes, read_note)
    yield Target("compiled cache", lambda dice: mutated(dice, [cache]), read_cache)
    yield Target("decisions", lambda dice: mutated(dice, [packed]), read_segment)


def targets(folder: Path) -> list[Target]:
    return [*yaml_targets(folder), *state_targets(folder)]


def findings(target: Target, *, inputs: int, seed: int) -> Iterator[str]:
    """Feed *inputs* inputs; yield what is wrong, with what repeats it."""
    for number in range(inputs):
        data = target.inputs(random.Random(f"{target.name} {seed} {number}"))
        began = time.process_time()
        try:
            target.feed(data)
        except Exception:
            report = traceback.format_exc().strip().splitlines()
            yield f"{target.name}, seed {seed}, input {number}: {report[-3].strip()}: {report[-1]}: {data[:200]!r}"
        if time.process_time() - began > SLOW:
            yield f"{target.name}, seed {seed}, input {number}: took {time.process_time() - began:.1f} s: {data[:200]!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000, help="for each target")
    parser.add_argument("--seed", type=int, default=int(datetime.now(UTC).timestamp()))
    parser.add_argument("--target", default="", help="only those whose name contains this")
    options = parser.parse_args()
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        for target in targets(Path(folder)):
            if options.target not in target.name:
                continue
            began, here = time.process_time(), 0
            for finding in findings(target, inputs=options.inputs, seed=options.seed):
                here += 1
                sys.stdout.write(f"{finding}\n")
            seconds = time.process_time() - began
            sys.stdout.write(f"{target.name}: {options.inputs:,} inputs, {here} findings, {seconds:.0f} s\n")
            found += here
    sys.stdout.write(f"seed {options.seed}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
