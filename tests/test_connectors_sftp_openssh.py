"""OpenSSH's own server as source and destination, from the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Place
from tests.servers import openssh

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.skipif(bool(openssh.missing()), reason=f"there is no {openssh.missing()} (Debian: openssh-server)"),
]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openssh.Server]:
    with openssh.running(tmp_path_factory.mktemp("openssh")) as server:
        yield server


@pytest.fixture
def here(place: Place, sshd: openssh.Server, tmp_path: Path) -> Place:
    """A workspace whose server has a folder of the test's own."""
    (sshd.root / tmp_path.name / "in").mkdir(parents=True)
    place.write("key", sshd.key)
    (place.folder / "key").chmod(0o600)
    return place


def connect(place: Place, sshd: openssh.Server, name: str, direction: str, path: str, **more: str) -> None:
    end = {"import": "from", "export": "to"}[direction]
    settings = {
        "type": "sftp",
        "host": "127.0.0.1",
        "port": sshd.port,
        "username": sshd.username,
        "key": f"file:{place.folder / 'key'}",
        "host_key": sshd.host_key,
        "path": path,
        **more,
    }
    match = "  match: [id]\n" if direction == "import" else ""
    place.write(
        f"connections/{name}.yaml",
        f"schedule: {{type: manual}}\n{direction}:\n  {end}: {json.dumps(settings)}\n{match}  fields: {{id: id, name: name}}\n",
    )


def run(place: Place, name: str, code: int = 0) -> dict[str, Any]:
    return dict(json.loads(place.run("run", name, "--format", "json", check=code).out))


def test_files_are_read_once_and_moved_and_an_odd_name_blocks_no_other(here: Place, sshd: openssh.Server) -> None:
    top = sshd.root / here.folder.parent.name
    (top / "done").mkdir()
    (top / "in/a.csv").write_text("id,name\n1,Ann\n2,Zoë\n")
    (top / "in/b.csv").write_text("id,name\n3,Cy\n")
    (top / "in" / os.fsdecode(b"Zo\xeb.csv")).write_text("id,name\n4,Di\n")
    connect(here, sshd, "people", "import", f"{top.name}/in/*.csv", after="move", move_to=f"{top.name}/done")

    first = run(here, "people")
    (top / "in" / os.fsdecode(b"Zo\xeb.csv")).unlink()
    again = run(here, "people")

    assert (first["outcome"], first["counts"]["created"]) == ("succeeded", 3)
    assert "Zo" in here.run("log", "people", "1").out, "the one that was left out is named"
    assert sorted(path.name for path in (top / "done").iterdir()) == ["a.csv", "b.csv"]
    assert (again["outcome"], again["counts"]["read"], again["attempts"]) == ("succeeded", 0, 1)


@pytest.mark.parametrize("write", ["rename", "direct"])
def test_a_file_arrives_whole_in_the_place_of_a_longer_one(here: Place, sshd: openssh.Server, write: str) -> None:
    top = sshd.root / here.folder.parent.name
    (top / "in/a.csv").write_text("id,name\n1,Ann\n")
    connect(here, sshd, "people", "import", f"{top.name}/in/*.csv")
    connect(here, sshd, "audience", "export", f"{top.name}/out/all.csv", folders="create", write=write)
    (top / "out").mkdir()
    (top / "out/all.csv").write_text("x" * 10_000)
    run(here, "people")

    assert run(here, "audience")["outcome"] == "succeeded"
    assert (top / "out/all.csv").read_text() == "id,name\n1,Ann\n"
    assert [path.name for path in (top / "out").iterdir()] == ["all.csv"], "nothing else is left there"


def test_another_host_key_and_another_key_are_refused(here: Place, sshd: openssh.Server) -> None:
    connect(here, sshd, "people", "import", "in/*.csv", host_key="SHA256:" + "A" * 43)
    assert run(here, "people", 1)["code"] == "changed-host-key"
    connect(here, sshd, "people", "import", "in/*.csv", username="stranger")
    assert run(here, "people", 1)["code"] == "login-refused"
    connect(here, sshd, "people", "import", "gone/*.csv")
    assert run(here, "people", 1)["code"] == "no-folder"
