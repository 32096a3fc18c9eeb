"""What a checkout, or a copied state, can make a command load or show that only looks: nothing.

Two tables: each file of a state folder filled with what Python would run on loading it, and each kind of link of a
workspace to what is no configuration; times the commands that look.
"""

from __future__ import annotations

import ast
import marshal
import os
import pickle
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

import connrunner
from connrunner.config import compiled, load, schema, seal
from connrunner.config.versions.version import MovingError
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
    if path.parent == place.state.compiled and path.name in (compiled.NAME, "version"):
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
def test_no_file_of_a_state_is_run_and_none_is_a_bug(lived: Place, tmp_path: Path) -> None:
    """All files at once, so that each command meets all that it reads."""
    mark = tmp_path / "mark"
    names = files(lived)
    for wanted in ("compiled/seal", "compiled/version", "compiled/workspace", "format", "journal.jsonl"):
        assert wanted in names
    for command in LOOKING:
        assert lived.run(*command, check=None).code in (0, 1), command
    copy = shutil.copytree(lived.state.root, tmp_path / "copy")
    for payload in list(payloads(mark).values())[:3]:
        for name in names:
            if name != "format":  # which ends everything
                filled(lived, name, payload)
        assert not idle.nothing_to_do(["--workspace", str(lived.folder)])
        for command in LOOKING:
            done = lived.run(*command, check=None)
            assert done.code != 4, (command, payload, done)
        shutil.rmtree(lived.state.root)
        shutil.copytree(copy, lived.state.root)
    assert not mark.exists()


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
        filled(place, "compiled/version", payload)
        done = place.run("status", check=75)
        assert "it moves" in done.err
    assert not (tmp_path / "mark").exists()


@pytest.mark.slow
@pytest.mark.thorough
def test_each_file_of_a_state_by_itself_is_no_bug(lived: Place, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    copy = shutil.copytree(lived.state.root, tmp_path / "copy")
    for name in files(lived):
        for kind, payload in payloads(mark).items():
            filled(lived, name, payload)
            for command in LOOKING:
                done = lived.run(*command, check=None)
                assert done.code != 4, (name, kind, command, done)
            shutil.rmtree(lived.state.root)
            shutil.copytree(copy, lived.state.root)
    assert not mark.exists()
