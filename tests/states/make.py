"""
Make a state folder with every kind of record, by the code of some commit, for `tests/test_old_states.py`.

    git archive --prefix=old/ 6469139 | tar x -C /tmp
    unshare --uts sh -c 'hostname runner-1; python tests/states/make.py /tmp/old tests/states/0.1'

The interpreter needs the packages that this commit depends on. Every process of connrunner gets a clock that stands
where the script puts it (a `sitecustomize`), so nothing in the state is of the day on which it was made. Workspace and
state are made in /srv/customers, for paths stand in some records, and moved to the folder that is named.

It knows the commands and some functions of commit 6469139. A state of a later release needs a script of its own, or a
branch in this one; the states that there are stay as they were made.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PLACE = Path("/srv/customers")
SMTP, HTTP = 25250, 25251  # ports on the loopback, which the workspace names

# The clock of a process stands at CLOCK and goes on from there; its children inherit how far it is off.
CLOCK = """
import datetime as module
import os
import time

real, off = time.time, float(os.environ["CLOCK_OFF"])
time.time = lambda: real() + off
known = module.datetime


class Kind(type):
    def __instancecheck__(cls, one):
        return isinstance(one, known)


class datetime(known, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)


datetime.__module__, datetime.__qualname__ = "datetime", "datetime"
module.datetime = datetime
"""

# How one process of connrunner starts another: the arguments, the run's mark, and what it hands over.
OVERHEARD = """
import io
import json
import sys

arguments = sys.orig_argv[1:]
if len(arguments) > 2 and arguments[2] in ("connrunner.worker", "connrunner.deliver", "connrunner.beat"):
    path = os.path.join(os.environ["HOME"], f"{time.monotonic_ns()}.started")
    heard = {"arguments": arguments, "mark": os.environ.get("CONNRUNNER_RUN_ID", ""), "stdin": ""}

    class Ear(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            data = os.read(0, len(buffer))
            buffer[: len(data)] = data
            heard["stdin"] += data.decode()
            self.note()
            return len(data)

        def note(self):
            with open(path, "w") as file:
                json.dump(heard, file)

    ear = Ear()
    ear.note()
    sys.stdin = io.TextIOWrapper(io.BufferedReader(ear))
"""

SETTINGS = f"""\
version: 1
timezone: Europe/Amsterdam
state: state
mail: {{server: "smtp+plain://127.0.0.1:{SMTP}", from: "Connections <connections@example.com>"}}
heartbeat: {{url: "http://127.0.0.1:{HTTP}/ping/workspace", every: 5m}}
blackout:
  - {{dates: ["2026-01-14"], from: "11:00", to: "13:00", reason: the warehouse moves}}
defaults:
  timeout: 10m
  keep: {{runs: 20}}
  notify: [{{to: operations, when: failure}}]
"""
PROFILE = """\
properties:
  id: {type: text, identifier: true}
  email: {type: email, identifier: true}
  name: {type: text}
  interests: {type: text, many: true}
  points: {type: integer, personal: false}
  born: {type: date}
objectives:
  newsletter: {title: The weekly letter}
"""
TARGETS = {
    "operations": 'email: [ops@example.com]\ndigest: {type: daily, time: "07:30"}\n',
    "data-team": "email: [data@example.com]\ncc: [lead@example.com]\nreply_to: data-support@example.com\n",
    "few": "email: [few@example.com]\nlimit: 1\n",
}


def cron(expression: str) -> str:
    return f'schedule: {{type: cron, expression: "{expression}"}}\n'


def program(text: str) -> str:
    return f"command: {{run: {json.dumps(['/bin/sh', '-c', text])}}}\n"


MANUAL = "schedule: {type: manual}\n"
# Of Python texts in a program the state says nothing, so /bin/sh is enough.
CONNECTIONS = {
    "nightly": "title: Nightly checks\nowner: operations\n"
    + cron("0 6 * * *")
    + "keep: {runs: 2}\n"
    + "notify: [{to: few, when: always}]\n"
    + program('echo checked; echo \'{"counts": {"read": 3, "checked": 3, "unchanged": 3}}\''),
    "members": "title: Members of the shops\n"
    + cron("10 6 * * *")
    + f'heartbeat: {{url: "http://127.0.0.1:{HTTP}/ping/members"}}\n'
    + """\
notify: [{to: data-team, when: failure}]
import:
  from: {type: files, path: "in/members-*.csv"}
  match: [id, email]
  fields:
    id: id
    email: email
    name: name
    interests: {from: interests, write: add}
    points: {from: points, write: increment}
    born: born
  consent: {newsletter: letter}
""",
    "contacts": cron("20 6 * * *")
    + f"""\
notify: [{{to: [contacts@example.com], when: change, partial: false}}]
import:
  from:
    type: http
    url: "http://127.0.0.1:{HTTP}/contacts"
    rows: data
    watermark: {{field: updated_at, parameter: since}}
  match: [id]
  fields: {{id: id, points: points}}
""",
    "audience": cron("30 6 * * *")
    + """\
notify: [{to: few, when: always}]
export:
  to: {type: files, path: "out/audience-{run}.csv"}
  objectives: [newsletter]
  deleted: send
  fields: {Email: email, Name: name, Points: points}
""",
    "crm": cron("40 6 * * *")
    + f"""\
notify: [{{to: few, when: always}}]
export:
  to:
    type: http
    url: "http://127.0.0.1:{HTTP}/crm"
    batch: 50
    body: {{wrap: people}}
    refused: {{path: errors, index: index, message: message, code: code}}
  fields: {{Id: id, Points: points}}
""",
    "segments": "owner: data-team\n"
    + cron("0 6,9,12 * * *")
    + "notify: [{to: data-team, when: change, after: 2, reminder: 3h}]\n"
    + program('test -e jobs/repaired && exit 0; echo "no route to crm.example.com" >&2; exit 3'),
    "retried": MANUAL
    + "retry: {times: 3, delay: 1s}\nnotify: [{to: [gone@example.com], when: always}]\n"
    + program('test -e "$CONNRUNNER_WORKSPACE/second" && exit 0; touch "$CONNRUNNER_WORKSPACE/second"; exit 75'),
    "warehouse": cron("0 12 * * *") + "notify: []\n" + program("exit 0"),
    "quick": cron("0 5 * * *") + "start_within: 30m\n" + program("exit 0"),
    "typo": cron("0 7 * * *") + program("exit 0"),
    "paused": MANUAL + "notify: []\n" + program("exit 0"),
    "former": MANUAL + "notify: []\n" + program("echo as long as it lasts"),
    "slow": "lane: main\n"
    + cron("50 11,12,13 15 1 *")
    + program("test -e jobs/quick && exit 0; echo at work; sleep 600"),
    "waits": "lane: main\n"
    + cron("50 11,12 15 1 *")
    + "notify: [{to: data-team, when: failure, late_after: 30m}]\n"
    + program("echo at last"),
    "halfway": "lane: half\n"
    + cron("50 11 15 1 *")
    + "notify: [{to: [half@example.com], when: always}]\n"
    + program('echo \'{"counts": {"read": 2, "checked": 2, "created": 2}}\'; sleep 3'),
    "between": "lane: between\n"
    + cron("50 11 15 1 *")
    + "notify: [{to: [half@example.com], when: always}]\n"
    + program("echo ended"),
    "aside": "lane: aside\n"
    + cron("50 11 15 1 *")
    + "notify: [{to: [owed@example.com], when: always}]\n"
    + program("exit 0"),
    "wish": MANUAL + "notify: []\n" + program("exit 0"),
    "letters": MANUAL
    + "notify: [{to: [gone@example.com, full@example.com, never@example.com, there@example.com], when: always}]\n"
    + program("exit 0"),
}
MEMBERS = {
    "2026-01-12": """\
id,email,name,interests,points,born,letter
1,ann@example.com,Ann Lee,tea;chess,10,1980-02-29,yes
2,bob@example.com,Bob Roe,,20,1990-12-31,no
3,cem@example.com,Cem Oz,tea,many,,yes
4,dee@example.com,Dee Poe,,40,2001-02-30,yes
5,eve@example.com,Eve Fox,golf,50,,yes
""",
    "2026-01-13": """\
id,email,name,interests,points,born,letter
6,fay@example.com,Fay Low,,60,,yes
1,ann@example.com,Ann Lee,go,1,,yes
""",
    "2026-01-14": """\
id,email,name,interests,points,born,letter
5,eve@example.com,Eve Fox,,0,,no
""",
}


class Mailbox(socketserver.StreamRequestHandler):
    """A mail server that knows who is gone, and whose mailbox is full."""

    def handle(self) -> None:
        self.say("220 mail.example.com")
        while line := self.rfile.readline().decode().strip():
            word = line.partition(" ")[0].upper()
            if word == "RCPT" and "gone@" in line:
                self.say("550 5.1.1 no such mailbox")
            elif word == "RCPT" and ("full@" in line or "never@" in line):
                self.say("452 4.2.2 the mailbox is full")
            elif word == "DATA":
                self.say("354 go on")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                self.say("250 taken")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 mail.example.com")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Partner(BaseHTTPRequestHandler):
    """A partner with contacts, of which it hands over what is new; it takes people, but not number 2. And pings."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        since = self.path.partition("since=")[2]
        contacts = [
            {"id": "1", "points": 5, "updated_at": "2026-01-12T10:00:00Z"},
            {"id": "7", "points": "a few", "updated_at": "2026-01-12T11:00:00Z"},
        ]
        self.answer({"data": contacts if not since else []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        errors = []
        if self.path == "/crm":
            people = json.loads(body)["people"]
            errors = [
                {"index": place, "message": "number 2 is blocked", "code": "blocked"}
                for place, one in enumerate(people)
                if one["Id"] == "2"
            ]
        self.answer({"errors": errors})

    def answer(self, data: Any) -> None:
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


class Scene:
    """The workspace, and the commands that somebody types in it at some instant."""

    def __init__(self, checkout: Path, tools: Path) -> None:
        self.state, self.tools = PLACE / "state", tools
        (tools / "sitecustomize.py").write_text(CLOCK + OVERHEARD)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{tools}:{checkout}",
            "HOME": str(tools),
            "SUDO_USER": "alex",
            "LC_ALL": "C.UTF-8",
        }

    def write(self, path: str, text: str) -> None:
        file = PLACE / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self, at: str, words: str) -> None:
        """Commit the workspace; a commit bears the instant at which it was made."""
        more = {f"GIT_{who}_{what}": said for who in ("AUTHOR", "COMMITTER") for what, said in self.author(at)}
        for command in (["add", "--all"], ["commit", "--quiet", "--message", words]):
            subprocess.run(["git", *command], cwd=PLACE, check=True, env={**self.environment, **more})

    def author(self, at: str) -> list[tuple[str, str]]:
        return [("NAME", "Alex"), ("EMAIL", "alex@example.com"), ("DATE", at)]

    def at(self, instant: str) -> dict[str, str]:
        """Return the environment of a process that begins at *instant*; the last tick before was a minute ago."""
        off = datetime.fromisoformat(instant).timestamp() - time.time()
        return {**self.environment, "CLOCK_OFF": repr(off)}

    def quiet_until(self, instant: str) -> None:
        """Do what the quiet ticks do that come each minute: say that one looked."""
        seconds = datetime.fromisoformat(instant).timestamp() - 60
        os.utime(self.state / "last-tick", (seconds, seconds))

    def type(self, instant: str, *arguments: str, fails: bool = False, looked: bool = True) -> str:
        if looked and (self.state / "last-tick").exists():
            self.quiet_until(instant)
        command = [sys.executable, "-P", "-m", "connrunner", *arguments]
        done = subprocess.run(command, cwd=PLACE, env=self.at(instant), capture_output=True, text=True, check=False)
        sys.stdout.write(f"--- {instant} {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        if "Traceback" in done.stderr or (done.returncode != 0) != fails:
            raise SystemExit(f"it ended with {done.returncode}")
        return done.stdout

    def start(self, instant: str, *arguments: str) -> subprocess.Popen[bytes]:
        sys.stdout.write(f"--- {instant} {' '.join(arguments)} &\n")
        self.quiet_until(instant)
        command = [sys.executable, "-P", "-m", "connrunner", *arguments]
        return subprocess.Popen(command, cwd=PLACE, env=self.at(instant), start_new_session=True)

    def python(self, instant: str, text: str) -> None:
        """Run a Python text with connrunner's code, for what no command does at will."""
        head = f"from pathlib import Path\nroot = Path({str(self.state)!r})\n"
        subprocess.run(
            [sys.executable, "-P", "-c", head + textwrap.dedent(text)], cwd=PLACE, env=self.at(instant), check=True
        )

    def rotate(self, instant: str) -> None:
        """Rotate the journal however short it is."""
        self.python(
            instant,
            f"""
            from connrunner.state import locks
            from connrunner.state.folder import StateFolder
            from connrunner.state.journal import Journal
            state = StateFolder(root)
            with locks.changing(state):
                assert Journal(state).rotate({instant!r}, size=1)
            """,
        )

    def log(self, name: str, number: int) -> str:
        path = self.state / "runs" / name / str(number) / "log.jsonl"
        return path.read_text() if path.exists() else ""

    def worker(self, name: str, number: int) -> int:
        return int(json.loads(self.log(name, number).splitlines()[0])["pid"])

    def is_recorded(self, kind: str, name: str) -> bool:
        records = map(json.loads, (self.state / "journal.jsonl").read_text().splitlines())
        return any(kind == record["type"] and name in json.dumps(record) for record in records)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("it does not come")
        time.sleep(0.05)


def with_descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in with_descendants(int(child)))]


def declare(scene: Scene) -> None:
    scene.write("connrunner.yaml", SETTINGS)
    scene.write("profile.yaml", PROFILE)
    scene.write(".gitignore", "state/\nout/\nsecond\n")
    scene.write("templates/failing.subject.j2", "{{ connection.name }} fails: please look\n")
    for name, text in TARGETS.items():
        scene.write(f"notifications/{name}.yaml", text)
    for name, text in CONNECTIONS.items():
        scene.write(f"connections/{name}.yaml", text)
    receive_members(scene, "2026-01-12")


def receive_members(scene: Scene, day: str) -> None:
    scene.write(f"in/members-{day}.csv", MEMBERS[day])
    seconds = datetime.fromisoformat(f"{day}T04:00:00Z").timestamp()
    os.utime(PLACE / f"in/members-{day}.csv", (seconds, seconds))


def first_days(scene: Scene) -> None:
    """Runs of every kind and outcome, alarms, reminders, digests, a storm, blackouts, a broken file."""
    subprocess.run(["git", "init", "--quiet"], cwd=PLACE, check=True, env=scene.environment)
    scene.commit("2026-01-12T11:00:00Z", "Add the connections")
    scene.type("2026-01-12T12:00:00Z", "tick")
    scene.write("connections/wish.yaml", "title: [no text]\n" + CONNECTIONS["wish"])
    scene.type("2026-01-12T12:10:00Z", "tick")
    scene.write("connections/wish.yaml", CONNECTIONS["wish"])
    scene.type("2026-01-12T12:20:00Z", "tick")
    scene.type("2026-01-12T15:00:00Z", "run", "former")
    scene.type("2026-01-12T15:10:00Z", "run", "former")

    scene.type("2026-01-13T05:45:00Z", "tick")  # all that is nightly; too many mails to `few` within an hour
    scene.type("2026-01-13T08:00:30Z", "tick")  # segments fails again: an alarm. A digest; the folded mails
    scene.type("2026-01-13T11:01:00Z", "tick")  # and again: a reminder
    scene.type("2026-01-13T13:00:00Z", "run", "retried")
    scene.type("2026-01-13T13:10:00Z", "run", "letters")
    scene.type("2026-01-13T13:20:00Z", "notify", "retry", "letters.1", "--to", "gone@example.com")
    scene.type("2026-01-13T13:21:00Z", "notify", "drop", "letters.1", "--to", "never@example.com")

    # What waits behind a long run: stopped, switched off, asked for in vain.
    watched = scene.start("2026-01-13T14:00:00Z", "run", "slow")
    wait_for(lambda: "at work" in scene.log("slow", 1))
    for name in ("wish", "paused"):
        scene.type("2026-01-13T14:01:00Z", "run", name, "--detach")
    scene.type("2026-01-13T14:02:00Z", "tick")
    scene.type("2026-01-13T14:03:00Z", "stop", "wish", "--reason", "it was for tomorrow")
    scene.write("connections/paused.yaml", f"enabled: false\n{CONNECTIONS['paused']}")
    scene.commit("2026-01-13T14:04:00Z", "Switch paused off")
    scene.type("2026-01-13T14:05:00Z", "tick")
    scene.type("2026-01-13T14:06:00Z", "stop", "slow", "--reason", "it takes too long")
    watched.wait(60)

    (PLACE / "connections/former.yaml").unlink()
    scene.write("connections/typo.yaml", CONNECTIONS["typo"].replace("schedule:", "shedule:"))
    scene.commit("2026-01-13T18:00:00Z", "Remove former, edit typo")
    receive_members(scene, "2026-01-13")
    scene.type("2026-01-14T06:05:00Z", "tick")  # refused rows come again, known files do not; typo is skipped
    scene.type("2026-01-14T07:10:00Z", "notify", "preview", "nightly", "1")
    scene.type("2026-01-14T11:30:00Z", "tick")  # the warehouse's noon was left out
    archive = PLACE.parent / "customers-archive.tar.gz"
    scene.type("2026-01-14T12:00:00Z", "history", "archive", "former", "--to", str(archive), "--before", "2026-01-14")
    archive.unlink()


def trouble(scene: Scene) -> None:
    """A day without ticks, a journal with damage, and its rotation."""
    receive_members(scene, "2026-01-14")
    scene.type("2026-01-15T08:10:00Z", "tick", looked=False)
    journal = scene.state / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    harmless = max(number for number, line in enumerate(lines) if b'"type":"delivered"' in line and b'"few@' in line)
    lines[harmless] = lines[harmless].replace(b'"result":"sent"', b'"result":"s#nt"')
    journal.write_bytes(b"".join(lines) + b'{"v":1,"type":"plan')  # a bit that flipped, and a crash in a write
    scene.write("state/requests/run-torn.json", '{"wish": "run", "connection": "wi')
    scene.type("2026-01-15T08:20:00Z", "tick")
    scene.rotate("2026-01-15T08:30:00Z")
    # A quiet note. Its files are too young to be believed by a clock of January.
    scene.python(
        "2026-01-15T08:40:00Z",
        f"""
        from connrunner import quiet, tick
        from connrunner.state.folder import StateFolder
        quiet.RACY = -1e12
        tick.tick(Path({str(PLACE)!r}), StateFolder(root), say=print)
        assert (root / "compiled/quiet").exists()
        """,
    )


def last_hours(scene: Scene, mail: Callable[[], None]) -> None:
    """What a machine leaves that dies at work."""
    note = (scene.state / "compiled/quiet").read_bytes()
    scene.type("2026-01-15T09:00:00Z", "run", "letters")
    # The worker of `halfway` outlives the tick, and its log alone says how it ended.
    tick = scene.start("2026-01-15T10:50:10Z", "tick")
    wait_for(lambda: "at work" in scene.log("slow", 2) and "created" in scene.log("halfway", 1))
    wait_for(lambda: all(scene.is_recorded("ended", f'"{name}"') for name in ("aside", "between")))
    os.kill(tick.pid, signal.SIGKILL)
    tick.wait()
    wait_for(lambda: '"ended"' in scene.log("halfway", 1))
    # As if it had died a moment earlier: of `between`, history has the end and the journal has not.
    journal = scene.state / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"ended"' not in line or b'"between"' not in line))
    # Another tick looks meanwhile: one slot merges into the run that works, another into the one that waits.
    mail()
    scene.type("2026-01-15T11:50:20Z", "replay")
    worker = scene.worker("slow", 2)
    scene.python(
        "2026-01-15T11:50:20Z",
        f"""
        from connrunner import tick
        from connrunner.state.folder import StateFolder
        tick.Tick(Path({str(PLACE)!r}), StateFolder(root), say=print).take_in()
        """,
    )
    for pid in with_descendants(worker):
        os.kill(pid, signal.SIGKILL)
    scene.type("2026-01-15T11:52:00Z", "stop", "slow", "--reason", "the machine is slow", "--detach")
    scene.type("2026-01-15T11:53:00Z", "run", "wish", "--detach")
    # A number that was taken and never recorded.
    scene.python(
        "2026-01-15T11:54:00Z",
        """
        from connrunner.state import runs
        from connrunner.state.folder import StateFolder
        runs.create_run(StateFolder(root), "nightly", after=0)
        """,
    )
    # No newest version of the workspace could be read: the last good one held.
    scene.python(
        "2026-01-15T11:55:00Z",
        """
        from connrunner.config import compiled, kept, schema
        from connrunner.config.git import VersionError
        cache = root / "compiled"
        assert kept.fall_back(cache, compiled.signature(schema.folder()), VersionError("git is at work")).trouble
        """,
    )
    (scene.state / "compiled/quiet").write_bytes(note)


def shown(heard: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the test starts anew of the processes that were overheard: two runs, pings and mail."""
    found: dict[str, Any] = {}
    for started in heard:
        match started["arguments"][2].removeprefix("connrunner."):
            case "worker":
                job = json.loads(started["stdin"])
                name = job["connection"] if job["run"] == 1 else ""
            case "beat":
                name = "pings" if "members" in started["stdin"] else ""
            case _:
                name = "mail"
        if name in ("nightly", "members", "pings", "mail"):
            found.setdefault(name, started)
    return found


def keep(scene: Scene, folder: Path) -> None:
    """Move what was made to *folder*, as files that git keeps: folders without files are named in a list."""
    scene.python(
        "2026-01-15T11:56:00Z",
        """
        from connrunner.state import journal, standing
        from connrunner.state.folder import StateFolder
        stands = journal.Journal(StateFolder(root)).read()
        snapshot = {"type": "snapshot", "at": "2026-01-15T11:56:00Z", **standing.as_dict(stands)}
        (root.parent / "rotated.jsonl").write_bytes(journal._line(snapshot))
        """,
    )
    shutil.rmtree(PLACE / ".git")
    (PLACE / ".gitignore").unlink()
    if folder.exists():
        shutil.rmtree(folder)
    workspace = folder / "workspace"
    shutil.copytree(PLACE, workspace)
    store = workspace / "state/profiles.duckdb"
    (workspace / "rotated.jsonl").rename(folder / "rotated.jsonl")
    with gzip.GzipFile(store.with_suffix(".duckdb.gz"), "wb", mtime=0) as packed:
        packed.write(store.read_bytes())
    store.unlink()
    heard = [json.loads(path.read_text()) for path in sorted(scene.tools.glob("*.started"))]
    (folder / "started.json").write_text(json.dumps(shown(heard), indent=1) + "\n")
    empty = [path for path in workspace.rglob("*") if path.is_dir() and not any(path.iterdir())]
    (folder / "folders").write_text("".join(f"{path.relative_to(workspace)}\n" for path in sorted(empty)))
    looked = {name: (scene.state / name).stat().st_mtime for name in ("last-tick", "heartbeat")}
    looked |= {f"../in/{path.name}": path.stat().st_mtime for path in sorted((PLACE / "in").iterdir())}
    stamps = {name: datetime.fromtimestamp(at, UTC).isoformat() for name, at in looked.items()}
    (folder / "stamps.json").write_text(json.dumps(stamps, indent=1) + "\n")


def main(checkout: Path, folder: Path) -> None:
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    post = socketserver.ThreadingTCPServer(("127.0.0.1", SMTP), Mailbox)
    partner = ThreadingHTTPServer(("127.0.0.1", HTTP), Partner)
    for server in (post, partner):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    PLACE.mkdir()
    try:
        with tempfile.TemporaryDirectory() as tools:
            scene = Scene(checkout.absolute(), Path(tools))
            declare(scene)
            first_days(scene)
            trouble(scene)
            last_hours(scene, mail=post.server_close)
            keep(scene, folder)
    finally:
        shutil.rmtree(PLACE)


if __name__ == "__main__":
    os.umask(0o077)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
