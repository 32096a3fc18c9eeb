"""What a checkout, or a copied state, can make a command load or show that only looks: nothing.

Two tables: each file of a state folder filled with what Python would run on loading it, and each kind of link of a
workspace to what is no configuration; times the commands that look.
"""

from __future__ import annotations

import ast
import marshal
import os
import pickle
import resource
import shutil
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import duckdb
import pytest

import connrunner
from connrunner.config import compiled, load, schema, seal
from connrunner.config.versions.version import MovingError
from connrunner.core.model import ProfileModel, Property
from connrunner.core.report import NullReport
from connrunner.profiles.stores.duckdb import DuckDBStore, open_store
from connrunner.scheduler import idle
from tests.conftest import Place

PACKAGE = Path(connrunner.__file__).parent
NOW = "2026-11-22T09:15:00Z"
LOOKING = (
    ("status",), ("next",), ("runs", "hello"), ("log", "hello"), ("log", "hello", "1"), ("explain", "hello"),
    ("explain", "hello", "--at", NOW), ("rejects", "people"), ("state", "people"), ("metrics",), ("calendar",),
    ("doctor",), ("profiles",), ("profiles", "a@example.com"), ("notify", "list"), ("notify", "preview", "hello"),
    ("replay", "--now", NOW, "--state", ".connrunner"), ("connectors", "list"), ("validate",), ("tick",),
)  # fmt: skip


# --- nothing that is read is code --------------------------------------------------------------------------------


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(given.value) for given in node.args if isinstance(given, ast.Constant))


def test_nothing_imports_what_makes_objects_of_bytes() -> None:
    unwanted = {
        "cloudpickle",
        "copyreg",
        "dbm",
        "dill",
        "joblib",
        "jsonpickle",
        "marshal",
        "pickle",
        "_pickle",
        "shelve",
    }
    found = {path: unwanted & set(imported(ast.parse(path.read_bytes()))) for path in PACKAGE.rglob("*.py")}
    assert len(found) > 200
    assert {path.name: names for path, names in found.items() if names} == {}
    assert set(imported(ast.parse("import pickle.x\nfrom marshal import y\n__import__('dill')"))) == {
        "pickle",
        "marshal",
        "dill",
    }


class Mark:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.mark}'",)


@pytest.fixture
def lived(place: Place) -> Place:
    """A workspace whose state has each kind of file: two runs, refused rows, mail, profiles, caches, a segment."""
    notify = "notify: [{to: a@example.com, when: always}]\n"
    place.command("hello", "print('hello')", schedule="{type: times_per_day, times: 1}", more=notify)
    place.write("in/people.csv", "id,email,age\n1,a@example.com,1\n2,b@example.com,x\n")
    source = "{type: files, path: in/*.csv}"
    fields = "{id: id, email: email, age: age}"
    place.write(
        "connections/people.yaml",
        f"schedule: {{type: times_per_day, times: 1}}\nimport: {{from: {source}, match: [id], fields: {fields}}}\n{notify}",
    )
    place.run("tick")
    return place


def files(place: Place) -> list[str]:
    found = (path for path in place.state.root.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(place.state.root)) for path in found)


def filled(place: Place, name: str, payload: bytes) -> None:
    """Put *payload* into the file *name* of the state, with header, seal and sum where such a file has them."""
    path = place.state.root / name
    if path.parent == place.state.compiled and path.name == compiled.NAME:
        compiled.write_file(path, compiled.signature(schema.folder()), payload)
        assert compiled.read_file(path, compiled.signature(schema.folder())) == payload
    elif path.parent == place.state.compiled and path.name == "quiet":
        sealed = seal.make_seal(path.parent)
        assert sealed
        path.write_bytes(sealed + zlib.crc32(payload).to_bytes(4, "big") + payload)
    else:
        path.write_bytes(payload)


def payloads(mark: Path) -> dict[str, bytes]:
    return {
        "pickle": pickle.dumps(Mark(mark)),
        "marshal": marshal.dumps(({}, {}, {"x": compile(f"open({str(mark)!r}, 'w')", "x", "exec")})),
        "other JSON": b'{"v": 1, "type": "started", "run": [[[]]]}\n[1, 2]\n"x"\nnull\n',
        "old pickle": pickle.dumps(Mark(mark), protocol=0),
        "a length of gigabytes": b"s\xff\xff\xff\x7f",
        "rubbish": bytes(range(256)),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind == "pickle" else pytest.mark.thorough) for kind in payloads(Path())],
)
def test_no_file_of_a_state_is_run_and_none_is_a_bug(lived: Place, tmp_path: Path, kind: str) -> None:
    """All files at once, so that each command meets all that it reads."""
    mark = tmp_path / "mark"
    names = files(lived)
    for wanted in ("compiled/seal", "compiled/workspace", "format", "journal.jsonl"):
        assert wanted in names
    for name in names:
        if name != "format":  # which ends everything
            filled(lived, name, payloads(mark)[kind])
    assert not idle.nothing_to_do(["--workspace", str(lived.folder)])
    for command in LOOKING:
        done = lived.run(*command, check=None)
        assert done.code != 4, (command, done)
    assert not mark.exists()


@pytest.mark.slow
@pytest.mark.thorough
def test_each_command_looks_at_a_sound_state(lived: Place) -> None:
    for command in LOOKING:
        assert lived.run(*command, check=None).code in (0, 1), command


def test_the_last_good_version_is_data(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read when the workspace cannot be: whoever brings the state can see to that, too."""
    place.command("hello", "pass")
    place.state.prepare()
    sound = load.load(place.folder, cache=place.state.compiled)

    def moving(*_: object, **__: object) -> NoReturn:
        raise MovingError("it moves")

    monkeypatch.setattr(load, "_newest", moving)
    assert load.load(place.folder, cache=place.state.compiled) == replace(sound, trouble="it moves")
    for payload in payloads(tmp_path / "mark").values():
        filled(place, "compiled/workspace", payload)
        done = place.run("status", check=75)
        assert "it moves" in done.err
    assert not (tmp_path / "mark").exists()


@pytest.mark.slow
@pytest.mark.thorough
def test_each_file_of_a_state_by_itself_is_no_bug(lived: Place, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    copy = shutil.copytree(lived.state.root, tmp_path / "copy")
    known = payloads(mark)
    for number, name in enumerate(files(lived)):
        for kind in {list(known)[number % len(known)], "other JSON"}:
            payload = known[kind]
            filled(lived, name, payload)
            for command in LOOKING:
                done = lived.run(*command, check=None)
                assert done.code != 4, (name, kind, command, done)
            shutil.rmtree(lived.state.root)
            shutil.copytree(copy, lived.state.root)
    assert not mark.exists()


# --- links -------------------------------------------------------------------------------------------------------

CANARY = "canary0123456789"
# Each kind of file that no command may show, and how it stands in it: as a text, as YAML, as lines of JSON.
HIDDEN = {
    ".env": f"DB_PASSWORD={CANARY}\n",
    ".env.yaml": f"{CANARY}: {CANARY}\n",
    ".git/config": f"[http]\n\textraheader = {CANARY}\n",
    ".connrunner/journal.jsonl": f'{{"v": 1, "type": "{CANARY}", "note": "{CANARY}"}}\n',
    "jobs/notes.yaml": f"- {CANARY}\n- {{{CANARY}: x}}\n",
    "jobs/text.j2": f"{{% {CANARY} %}}\n{{{{ {CANARY} }}}}\n{CANARY}\n",
}
LINKS = {
    "a connection": "connections/c.yaml",
    "a schedule": "schedules/s.yaml",
    "a target": "notifications/t.yaml",
    "the profile": "profile.yaml",
    "a template": "templates/run.txt.j2",
    "a template that is included": "templates/part.j2",
    "a template that is unused": "templates/unused.txt.j2",
}
BY = ("a link", "a link to a link", "a folder that is a link", "an absolute link")
INCLUDES = """\
{% set words %}{% include "part.j2" %}{% endset %}{{ {}[words | reverse] }}
"""
SHOWING = (
    ("validate",), ("validate", "--format", "json"), ("validate", "--format", "github"), ("validate", "--format", "sarif"),
    ("status",), ("status", "--format", "json"), ("explain", "c"), ("next",), ("next", "--format", "json"), ("metrics",),
    ("calendar",), ("doctor",), ("notify", "preview", "hello"), ("notify", "preview", "hello", "--format", "json"),
)  # fmt: skip


def kinds_of_links() -> Iterator[Any]:
    """Templates are rendered by a process of their own, so most of theirs are for the finer sieve."""
    for kind, by, hidden in product(LINKS, BY, HIDDEN):
        if plant_makes_sense(kind, by):
            costs = "template" in kind and (by, hidden) != ("a link", ".git/config")
            yield pytest.param(kind, by, hidden, marks=pytest.mark.thorough if costs else ())


def plant_makes_sense(kind: str, by: str) -> bool:
    return by != "a folder that is a link" or kind in ("a connection", "a schedule", "a target", "a template")


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "by", "hidden"), list(kinds_of_links()))
def test_no_link_shows_what_is_no_configuration(place: Place, kind: str, by: str, hidden: str) -> None:
    plant(place, kind, by, hidden)
    commands = SHOWING[:1] if "template" not in kind else (SHOWING[0], SHOWING[-1])
    for command in commands:
        done = place.run(*command, check=None)
        assert CANARY not in done.out + done.err, done
        assert CANARY[::-1] not in done.out + done.err, done
        assert done.code != 4
    assert place.run("validate", check=None).code != 0


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("kind", LINKS)
def test_no_command_shows_what_a_link_leads_to(make_place: Callable[[str], Place], kind: str) -> None:
    for number, (by, hidden) in enumerate(
        (by, hidden) for by, hidden in product(BY, HIDDEN) if plant_makes_sense(kind, by)
    ):
        place = make_place(f"place-{number}")
        plant(place, kind, by, hidden)
        for command in SHOWING:
            done = place.run(*command, check=None)
            assert CANARY not in done.out + done.err, (by, hidden, command, done)
            assert CANARY[::-1] not in done.out + done.err, (by, hidden, command, done)
            assert done.code != 4, (by, hidden, command, done)


def plant(place: Place, kind: str, by: str, hidden: str) -> None:
    """Make the link of *kind*, by *by*, to the file *hidden*."""
    place.command("hello", "pass")
    for path, text in HIDDEN.items():
        place.write(path, text)
    link = place.folder / LINKS[kind]
    link.parent.mkdir(exist_ok=True)
    target = place.folder / hidden
    if kind == "a template that is included":
        place.write("templates/run.txt.j2", INCLUDES)
    if by == "a folder that is a link":
        shutil.rmtree(link.parent)
        named = target.with_name(link.name)
        named.write_bytes(target.read_bytes())
        link.parent.symlink_to(target.parent)
        return
    link.unlink(missing_ok=True)
    if by == "a link to a link":
        middle = place.folder / "middle.yaml"
        middle.symlink_to(target)
        target = middle
    link.symlink_to(target if by == "an absolute link" else os.path.relpath(target, link.parent))


WHOLES = [
    "just words",
    "5",
    "- a\n- b",
    '"quoted"',
    "'x: y'",
    "|\n  several\n  lines",
    "true",
    "DB_PASSWORD=x",
    "1.5",
    ">\n folded",
]


@pytest.mark.parametrize(
    "path", ["connections/c.yaml", "schedules/c.yaml", "notifications/c.yaml", "profile.yaml", "connrunner.yaml"]
)
@pytest.mark.parametrize("text", WHOLES)
def test_what_is_no_mapping_is_not_quoted(place: Place, path: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connrunner.config.place.GLANCES", ())  # nobody is about to write the file
    place.write(
        path, text.replace("x", CANARY).replace("words", CANARY).replace("lines", CANARY).replace("a", CANARY, 1)
    )
    for form in ("text", "json", "github", "sarif"):
        done = place.run("validate", "--format", form, check=2)
        assert CANARY not in done.out + done.err
        assert path in done.out + done.err or form != "text"


# A branch can bring a state folder of which a file is a link: to a secret in JSON, to a text, to what has no end.
ELSEWHERE = {"JSON": f'{{"{CANARY}": "{CANARY}"}}\n', "text": f"{CANARY}\n", "a device": ""}
READ = ("format", "journal.jsonl", "runs/hello/history.jsonl", "runs/hello/1/log.jsonl", "runs/people/1/rejects.jsonl")
READING = (
    ("status",), ("runs", "hello"), ("log", "hello", "1"), ("log", "hello", "1", "--format", "json"),
    ("log", "hello", "1", "--output", "saved"), ("rejects", "people", "1", "--format", "json"),
    ("rejects", "people", "1", "--output", "saved"), ("explain", "hello"), ("doctor",), ("plan", "--base", "."),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=() if kind == "JSON" else pytest.mark.thorough)
        for name, kind in product(READ, ELSEWHERE)
    ],
)
def test_no_file_of_a_state_is_a_link(lived: Place, tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / "elsewhere").write_text(ELSEWHERE[kind])
    file = lived.state.root / name
    file.unlink()
    file.symlink_to("/dev/zero" if kind == "a device" else tmp_path / "elsewhere")
    told = []
    for command in READING:
        done = lived.run(*command, check=None)
        assert CANARY not in done.out + done.err, command
        assert done.code != 4, command
        told.append("is no file but a link" in done.out + done.err)
    assert any(told), "it is named"
    assert CANARY not in "".join(path.read_text() for path in lived.folder.glob("saved"))


# --- secrets -----------------------------------------------------------------------------------------------------

LISTENING = (
    "validate",
    "plan --base .",
    "status",
    "explain hello",
    "next",
    "doctor",
    "notify preview hello",
    "metrics",
)


def test_no_secret_goes_where_a_branch_says(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks logs in nowhere: a branch names the server, and which variable or file of this machine is the password."""
    heard: list[bytes] = []

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.sendall(b"220 x ESMTP\r\n")
            while line := client.recv(4096):
                heard.append(line.upper())
                client.sendall(b"250-x\r\n250 AUTH PLAIN LOGIN\r\n" if line[:4].upper() == b"EHLO" else b"235 yes\r\n")

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    place.write(".ssh/id", CANARY)
    monkeypatch.setenv("CI_TOKEN", CANARY)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        here = f"127.0.0.1:{server.getsockname()[1]}"
        place.command("hello", "pass", more="notify: [{to: a@example.com, when: always}]\n")
        place.write(
            "connections/out.yaml",
            f"""
schedule: {{type: manual}}
import: {{from: {{type: http, url: "http://{here}/", auth: {{type: bearer, token: "env:CI_TOKEN"}}}}, match: [id], fields: {{id: id}}}}
heartbeat: {{url: "env:CI_TOKEN"}}
""",
        )
        for password in ("env:CI_TOKEN", f"file:{place.folder}/.ssh/id"):
            mail = f'mail: {{server: "smtp+plain://{here}", username: "env:CI_TOKEN", password: "{password}"}}\n'
            place.write("connrunner.yaml", f"version: 1\n{mail}")
            for command in LISTENING:
                done = place.run(*command.split(), check=None)
                assert CANARY not in done.out + done.err
        assert heard, "a server is asked whether it is there"
        assert not [line for line in heard if b"AUTH" in line], heard
        assert "the login is accepted" in place.run("doctor", "--connections", check=None).out, "a person wants it so"
        assert [line for line in heard if b"AUTH" in line]


# --- where the state is ------------------------------------------------------------------------------------------


def test_a_state_that_a_branch_names_is_looked_at_before_it_is_read(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.command("hello", "pass")
    foreign = tmp_path / "foreign"
    for path in ("runs/stranger", "compiled"):
        (foreign / path).mkdir(parents=True)
    (foreign / "journal.jsonl").write_text("")
    place.write("connrunner.yaml", f"version: 1\nstate: {foreign}\n")
    assert place.run("status").code == 0
    foreign.chmod(0o777)
    assert "every user may write into the state folder" in place.run("status", check=74).err
    foreign.chmod(0o755)
    status = os.stat
    other = place.folder.stat().st_uid + 1

    def owned(path: str | os.PathLike[str], **more: Any) -> Any:
        found = status(path, **more)
        if os.fspath(path) != str(foreign):
            return found
        values = list(found)
        values[4] = other
        return os.stat_result(values)

    monkeypatch.setattr(os, "stat", owned)
    for command in (("status",), ("runs", "stranger"), ("metrics",), ("explain", "stranger")):
        done = place.run(*command, check=74)
        assert f"another user (number {other}) owns the state folder" in done.err
        assert "stranger" not in done.out
    assert place.run("status", "--state", str(foreign)).code == 0, "a person names it"


def test_looking_writes_into_no_folder_that_is_no_state(place: Place, tmp_path: Path) -> None:
    place.command("hello", "pass")
    other = tmp_path / "other"
    (other / "compiled").mkdir(parents=True)
    (other / "compiled").chmod(0o755)
    (other / "compiled/trouble").write_text("mine")
    place.write("connrunner.yaml", f"version: 1\nstate: {other}\n")
    (other / "preview").mkdir()
    for path in (other, *other.rglob("*")):
        os.utime(path, (0, 0))
    for command in LOOKING:
        if command[0] not in ("tick", "replay"):
            place.run(*command, check=None)
    assert sorted(path.name for path in other.rglob("*")) == ["compiled", "preview", "trouble"]
    assert {path.stat().st_mtime for path in (other, *other.rglob("*"))} == {0}
    assert (other / "compiled").stat().st_mode & 0o777 == 0o755


def test_a_preview_goes_through_no_link(lived: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (lived.state.root / "preview").symlink_to(tmp_path / "elsewhere")
    assert "connrunner-preview-" in lived.run("notify", "preview", "hello").out
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (lived.state.root / "preview").unlink()
    assert f"{lived.state.root}/preview/" in lived.run("notify", "preview", "hello").out


# --- what is left of a process -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_process_with_secrets_leaves_an_image_of_its_memory(place: Place, request: pytest.FixtureRequest) -> None:
    """A program of a connection has the limit of its worker; those that send are asked before they do anything."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    request.addfinalizer(lambda: resource.setrlimit(resource.RLIMIT_CORE, before))
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    place.command("hello", "import resource; print('core', resource.getrlimit(resource.RLIMIT_CORE)[0])")
    place.run("run", "hello")
    assert "core 0" in place.run("log", "hello").out
    asked = (
        "import resource, runpy, sys; sys.argv = ['x', '.', '.']\ntry: runpy.run_module({!r}, run_name='__main__')\n"
    )
    asked += "except BaseException: pass\nprint('limit', resource.getrlimit(resource.RLIMIT_CORE)[0])"
    for module in ("messenger.mailer", "notify.channel", "notify.sandbox"):
        done = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-c", asked.format(f"connrunner.{module}")],
            cwd=place.folder, input="{}", capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.endswith("limit 0\n"), (module, done)
    tree = ast.parse((PACKAGE / "messenger/pinger.py").read_bytes())
    (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert "forbid_core_dumps()" in ast.unparse(main)


# --- the store ---------------------------------------------------------------------------------------------------

REACHING = [
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM glob('/etc/*')",
    "COPY (SELECT 1) TO '{folder}/made'",
    "ATTACH '{folder}/made.duckdb'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "INSTALL x FROM community",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET allow_community_extensions = true",
    "SET autoinstall_known_extensions = true",
    "SET lock_configuration = false",
    "SELECT * FROM 'https://127.0.0.1:9/x.csv'",
]


@pytest.mark.parametrize("statement", REACHING)
def test_no_statement_reaches_further_than_the_store(tmp_path: Path, statement: str) -> None:
    """What a condition says is checked; this is what stands behind should the check miss something."""
    (tmp_path / "hidden").write_text(CANARY)
    model = ProfileModel(properties={"id": Property(name="id", identifier=True)})
    with open_store(tmp_path / "state/store.duckdb", model, temp=tmp_path / "temp", report=NullReport()) as store:
        assert isinstance(store, DuckDBStore)
        assert store.count("id = '1'") == 0
        with pytest.raises(duckdb.Error):
            store._session.execute(statement.format(file=tmp_path / "hidden", folder=tmp_path)).fetchall()
    assert not list(tmp_path.glob("made*"))
