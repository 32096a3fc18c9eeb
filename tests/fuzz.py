"""Feed every reader of files with damaged and invented ones: `python -m tests.fuzz --inputs 100000 --seed 7`.

Whatever stands in a file, a reader answers with what it found or with a problem that names the file and the line. An
exception that is not for people is a finding, and so is a reader that takes long; each is shown with the seed that
repeats it. Files with rows are read by another reader as well: another value, or a row more or less, is a finding
(tests/differential.py).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
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

from connrunner.answers.plan import PlanRequest, read_plan
from connrunner.answers.workspace_view import open_view
from connrunner.answers.yaml_history import read_committed
from connrunner.config import compiled, load
from connrunner.config.versions.layout import lay_out
from connrunner.core import instant
from connrunner.errors import ConnrunnerError, StateError, WorkspaceError
from connrunner.scheduler import idle
from connrunner.state import journal_segments, requests, run_files
from connrunner.state.folder import StateFolder
from connrunner.state.journal import Journal
from tests import differential
from tests.hostile_trees import SOUND, hostile_config, lay_ground, settings_with_programs

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
    share: int = 1  # one input for so many of the others: it takes as much longer


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
    idle.write_note(str(workspace), str(state.root), {}, None, (__file__,), past + 1e6)
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


MODES = ("100644", "100755", "120000", "160000", "40000", "100664", "0", "40755", "777777")
NAMES = (
    b"sound.yaml", b"a.yaml", b"a.yml", b"a$(touch x).yaml", b"..", b".", b"", b".git", b".GIT", b"../../out.yaml", b"/tmp/connrunner-evil.yaml", b"a/b.yaml",
    b"a\nb.yaml", b"\xff.yaml", b".hidden.yaml", b"connections", b"x" * 300 + b".yaml", b".gitattributes", b"config", b"HEAD", b"run.txt.j2",
)  # fmt: skip
OUTSIDE = (
    b"../../../out",
    b"/proc/net/dev",
    b"sound.yaml",
    b"../.git/config",
    b"..",
    b"/",
    b"a" * 5000,
    b"",
    b"\xff",
    b"sound.yaml\n",
)


def branch_target(folder: Path) -> Target:
    """What a branch may hold, each in a clone of its own: every command that reads a version answers, and nothing runs."""
    ground = lay_ground(folder / "branches")
    ground.write("templates/run.txt.j2", "x\n")
    ground.commit()
    ground.git("branch", "--force", "main")
    whole = folder / "branches" / "whole"
    shutil.copytree(ground.top, whole)
    objects: dict[tuple[str, bytes], str] = {}

    def stored(kind: str, content: bytes) -> str:
        """Write an object, however wrong, where git would; starting git for each takes longer than all else."""
        if (kind, content) not in objects:
            raw = b"%s %d\0" % (kind.encode(), len(content)) + content
            identity = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
            path = whole / ".git/objects" / identity[:2] / identity[2:]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(zlib.compress(raw, 1))
            objects[kind, content] = identity
        return objects[kind, content]

    def tree(entries: Sequence[tuple[str, bytes, str]]) -> str:
        return stored("tree", b"".join(m.encode() + b" " + n + b"\0" + bytes.fromhex(one) for m, n, one in entries))

    def content(dice: random.Random) -> bytes:
        return dice.choice(
            (SOUND.encode(), mutated(dice, [SOUND.encode()]), dice.choice(OUTSIDE), b"version: 1\nsource: git\n")
        )

    def entries(dice: random.Random, deep: int) -> list[tuple[str, bytes, str]]:
        made: list[tuple[str, bytes, str]] = []
        for _ in range(dice.randrange(5)):
            mode, name = dice.choice((*MODES[:3], *MODES[:3], *MODES)), dice.choice(NAMES)
            if mode == "40000" and deep:
                made.append((mode, name, tree(entries(dice, deep - 1))))
            elif dice.random() < 0.05:  # an object that is not there
                made.append((mode, name, dice.randbytes(20).hex()))
            else:
                made.append((mode, name, stored("blob", dice.choice(OUTSIDE) if mode == "120000" else content(dice))))
        return made

    def inputs(dice: random.Random) -> bytes:
        return dice.randbytes(8)

    home = whole / ground.below
    head_of_main = ground.git("rev-parse", "main").encode() + b"\n"
    kept = folder / "branches" / "kept"
    load.load(home, cache=kept)
    caches = [path.read_bytes() for path in sorted(kept.iterdir())]
    hostile = hostile_config(ground, settings_with_programs()).encode()

    def litter(dice: random.Random) -> None:
        """Put files into the checkout that git, or we ourselves, might take for more than files."""
        for name, seeds in (
            ("config", [hostile]), ("HEAD", [b"ref: refs/heads/evil\n", head_of_main]), (".gitattributes", [b"* filter=evil diff=evil\n"]),
            (".connrunner/compiled/workspace", caches), (".connrunner/compiled/quiet", caches),
            ("connections/more.yaml", [SOUND.encode()]),
        ):  # fmt: skip
            path = home / name
            path.unlink(missing_ok=True)
            if dice.random() < 0.5:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.write_bytes(dice.choice(seeds) if dice.random() < 0.6 else mutated(dice, seeds))
        for name in ("objects", "refs"):
            (home / name).unlink(missing_ok=True)
            if dice.random() < 0.5:
                (home / name).symlink_to(whole / ".git" / name)

    sound = ground.sound_entries()
    parent = ground.git("rev-parse", "main")
    ground.top = whole

    def feed(data: bytes) -> None:
        dice = random.Random(data)
        listed = [entry for entry in sound if dice.random() < 0.8]
        for name in (b"connections", b"schedules", b"notifications", b"templates", b"connrunner.yaml"):
            if dice.random() < 0.5:
                listed = [entry for entry in listed if entry[1] != name or dice.random() < 0.1]
                listed.append(
                    ("40000", name, tree(entries(dice, 2)))
                    if dice.random() < 0.8
                    else (dice.choice(MODES), name, stored("blob", content(dice)))
                )
        top = [("40000", b"ws", tree(listed))]
        if dice.random() < 0.1:
            top += entries(dice, 1)
        head = stored(
            "commit",
            f"tree {tree(top)}\nparent {parent}\nauthor x <x@example.com> 1 +0000\ncommitter x <x@example.com> 1 +0000\n\nx\n".encode(),
        )
        (whole / ".git/refs/heads/branch").write_text(head + "\n")
        litter(dice)
        _read_branch(home, parent, head, dice, folder)
        assert not list(ground.mark.parent.iterdir()), "a program ran"
        assert sorted(path.name for path in folder.iterdir()) == before, "something lies beside the repository"

    before = sorted([*(path.name for path in folder.iterdir()), "laid"])
    (folder / "laid").mkdir()
    return Target("hostile branch", inputs, feed, share=10)


def _read_branch(home: Path, parent: str, head: str, dice: random.Random, folder: Path) -> None:
    """Read the version at *head* as every command that reads one does."""
    view = open_view(home, now=instant.parse(AT))
    for reads in (
        lambda: load.load(home),
        lambda: load.load(home, as_written=True),
        lambda: view.workspace,
        lambda: load.list_uncommitted(load.load(home)),
        lambda: read_plan(view, PlanRequest(versions=f"{parent}..{head}", days=1)),
        lambda: read_committed(home, "sound", head),
    ):
        if dice.random() < 0.6:
            try:
                reads()
            except ConnrunnerError as error:
                assert str(error).isprintable(), "a refusal that moves the cursor"  # noqa: PT017
    if dice.random() < 0.6:
        with tempfile.TemporaryDirectory(dir=folder / "laid") as laid:
            try:
                lay_out(str(home), head, "templates", Path(laid) / "templates")
            except ConnrunnerError as error:
                assert str(error).isprintable(), "a refusal that moves the cursor"  # noqa: PT017
            assert not [path for path in Path(laid).rglob("*") if path.is_symlink()], "a link was laid out"
    assert not list(Path("/tmp").glob("connrunner-evil*")), "a name led out"


def data_targets(folder: Path) -> Iterator[Target]:
    """Files with rows: whatever they hold, the product and another reader find the same in them."""
    for source in differential.sources(folder):
        yield Target(source.name, source.inputs, source.feed, share=100)


def targets(folder: Path) -> list[Target]:
    return [*yaml_targets(folder), *state_targets(folder), branch_target(folder), *data_targets(folder)]


def findings(target: Target, *, inputs: int, seed: int) -> Iterator[str]:
    """Feed *inputs* inputs, or the share of them that the target takes; yield what is wrong, with what repeats it."""
    for number in range(max(1, inputs // target.share)):
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
            inputs = max(1, options.inputs // target.share)
            sys.stdout.write(f"{target.name}: {inputs:,} inputs, {here} findings, {seconds:.0f} s\n")
            found += here
    sys.stdout.write(f"seed {options.seed}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
