"""Whose state is it? Two workspaces on one state folder, and one that moves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from connrunner.errors import StateError
from connrunner.state import owner
from connrunner.state.folder import StateFolder
from tests.conftest import Place
from tests.test_cli import typed

EVERY_MINUTE = '{type: cron, expression: "* * * * *", timezone: UTC}'
WRITES = [
    ["tick"],
    ["run", "a"],
    ["run", "a", "--detach"],
    ["stop", "a"],
    ["reset", "a", "--yes"],
    ["notify", "retry", "--all"],
]


def workspace(folder: Path, state: Path) -> Place:
    place = Place(folder)
    place.write("connrunner.yaml", f"version: 1\nstate: {state}\n")
    place.command("a", "pass", schedule=EVERY_MINUTE)
    return place


@pytest.fixture
def shared(tmp_path: Path) -> tuple[Place, Place, Path]:
    """Two workspaces that name the same state, which the first has used."""
    state = tmp_path / "state"
    first, second = workspace(tmp_path / "first", state), workspace(tmp_path / "second", state)
    first.run("tick", "--now", "2026-12-01T10:00:00Z")
    return first, second, state


def records(state: Path) -> bytes:
    return (state / "journal.jsonl").read_bytes() + (state / "workspace.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("words", WRITES, ids=" ".join)
def test_nothing_of_another_workspace_is_written(shared: tuple[Place, Place, Path], words: list[str]) -> None:
    first, second, state = shared
    before, names = records(state), sorted(path.name for path in (state / "requests").iterdir())

    said = second.run(*words, check=74).err

    assert f"the state folder {state} belongs to the workspace {first.folder}, and this is {second.folder}" in said
    assert "`connrunner tick --moved`" in said
    assert (records(state), sorted(path.name for path in (state / "requests").iterdir())) == (before, names)
    first.run("tick", "--now", "2026-12-01T10:00:30Z")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_state_that_is_named_elsewhere_has_an_owner_too(make_place: object, tmp_path: Path, way: str) -> None:
    state = tmp_path / "state"
    first, second = workspace(tmp_path / "first", Path("own")), workspace(tmp_path / "second", Path("own"))
    words = ["--state", str(state)] if way == "option" else []
    env = {} if way == "option" else {"CONNRUNNER_STATE": str(state)}

    first.run("tick", *words, env=env)

    assert "belongs to the workspace" in second.run("tick", *words, env=env, check=74).err


@pytest.mark.slow
def test_a_person_says_that_it_is_the_same_workspace(shared: tuple[Place, Place, Path]) -> None:
    first, second, state = shared

    said = second.run("tick", "--moved", "--now", "2026-12-01T10:01:00Z").err
    quiet = second.run("tick", "--now", "2026-12-01T10:01:30Z").err

    assert said == f"{state} was the state of the workspace {first.folder}; it is that of {second.folder} from now on\n"
    assert quiet == ""
    assert "belongs to the workspace" in first.run("tick", check=74).err
    assert [run["due_at"] for run in second.runs("a")] == ["2026-12-01T10:01:00Z", "2026-12-01T10:00:00Z"]


@pytest.mark.slow
def test_doctor_and_status_show_the_owner(shared: tuple[Place, Place, Path], tmp_path: Path) -> None:
    first, second, _ = shared

    assert first.run("status", "--check", "--now", "2026-12-01T10:00:30Z").out.startswith("all is well")
    seen = second.run("status", "--check", "--now", "2026-12-01T10:00:30Z", check=1).out
    assert seen == "not well: ticks refuse the workspace\n"
    assert f"belongs to the workspace {first.folder}" in second.run("status", "--now", "2026-12-01T10:00:30Z").out
    assert f"the workspace {first.folder}" in first.run("doctor", check=None).out
    assert f"is the state of the workspace {first.folder}: nothing" in second.run("doctor", check=1).out
    third = workspace(tmp_path / "third", tmp_path / "empty")
    StateFolder(tmp_path / "empty").prepare()
    assert "is new: nothing is recorded in it" in third.run("doctor", check=None).out


@pytest.mark.parametrize("arguments", [("reset", "a"), ("reset", "--profiles")])
def test_nobody_is_asked_about_the_state_of_another_workspace(
    shared: tuple[Place, Place, Path], arguments: tuple[str, ...]
) -> None:
    _, second, _ = shared
    code, out, err = typed(second, *arguments)
    assert (code, out) == (74, "")
    assert "belongs to the workspace" in err


def folder_of(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "connrunner.yaml").write_text("version: 1\n")
    return path


def test_a_workspace_that_moved_goes_on(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    assert owner.claim(state, folder_of(tmp_path / "old")) == ""
    shutil.move(tmp_path / "old", tmp_path / "new")

    owner.refuse_other(state, tmp_path / "new")
    words = owner.claim(state, tmp_path / "new")

    assert (
        words == f"{state.root} was the state of the workspace {tmp_path}/old; it is that of {tmp_path}/new from now on"
    )
    assert owner.claim(state, tmp_path / "new") == ""


@pytest.mark.parametrize("way", [shutil.move, shutil.copytree])
def test_a_workspace_that_moved_with_its_state_goes_on(tmp_path: Path, way: object) -> None:
    """A copy of both is a workspace with a state of its own."""
    state = StateFolder(folder_of(tmp_path / "old") / ".connrunner")
    state.prepare()
    owner.claim(state, tmp_path / "old")
    way(tmp_path / "old", tmp_path / "new")  # type: ignore[operator]
    new = StateFolder(tmp_path / "new" / ".connrunner")

    owner.refuse_other(new, tmp_path / "new")
    words = owner.claim(new, tmp_path / "new")

    assert f"the workspace {tmp_path}/old, in {tmp_path}/old/.connrunner; it is that of {tmp_path}/new" in words


@pytest.mark.slow
def test_a_run_in_a_workspace_that_moved_says_so_and_runs(tmp_path: Path) -> None:
    old = Place(folder_of(tmp_path / "old"))
    old.command("job", "print('done')")
    old.run("run", "job")
    shutil.move(old.folder, tmp_path / "new")
    done = Place(tmp_path / "new").run("run", "job")
    assert f"it is that of {tmp_path}/new" in done.err
    assert "succeeded" in done.out


@pytest.mark.parametrize("is_entered", [False, True], ids=["named", "entered"])
def test_a_link_to_releases_stays_one_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_entered: bool
) -> None:
    """The shell goes by PWD into a link; the system names only what is behind it."""
    current, state = tmp_path / "current", StateFolder(tmp_path / "state")
    state.prepare()
    for release in ("1", "2"):
        current.unlink(missing_ok=True)
        current.symlink_to(folder_of(tmp_path / "releases" / release))
        folder = current
        if is_entered:
            (current / "connections").mkdir()
            monkeypatch.chdir(current / "connections")
            monkeypatch.setenv("PWD", f"{current}/connections")
            folder = Path.cwd().parent
        owner.refuse_other(state, folder)
        assert owner.claim(state, folder) == ""
    assert owner.read_owner(state) == owner.Owner(workspace=str(current), state=str(state.root))
    monkeypatch.delenv("PWD")
    with pytest.raises(StateError, match="belongs to the workspace"):
        owner.refuse_other(state, tmp_path / "releases" / "1")
    owner.refuse_other(state, tmp_path / "releases" / "2")


@pytest.mark.parametrize("content", [b"", b"\0\0", b"[]", b'{"workspace": "/x"}', b"\xff"])
def test_an_owner_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    state.owner.write_bytes(content)

    owner.refuse_other(state, folder_of(tmp_path / "here"))
    assert owner.claim(state, tmp_path / "here") == ""
    assert owner.read_owner(state) == owner.Owner(workspace=f"{tmp_path}/here", state=str(state.root))
