"""From a folder to a workspace: what a broken file breaks, and what it does not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from connrunner.config import resolved, schema
from connrunner.config.load import connection_from, load, profile_model_from
from connrunner.config.versions.commit import read_head
from connrunner.core.model import Command, Export, Import, Mail, Workspace
from connrunner.errors import WorkspaceError

SOUND = Path(__file__).parent / "cases" / "config" / "workspace"
NAMES = {"audience", "contacts", "members", "program", "shell"}
IMPORTS_AND_EXPORTS = {"audience", "contacts", "members"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(SOUND, tmp_path / "workspace")


def state(workspace: Workspace) -> tuple[set[str], dict[str, list[str]]]:
    """Return the sound names, and for the broken ones in which files their problems are."""
    assert not set(workspace.connections) & set(workspace.broken)
    assert all(workspace.broken.values())
    for problems in workspace.broken.values():
        assert set(problems) <= set(workspace.problems)
    assert list(workspace.problems) == sorted(workspace.problems)
    assert len(set(workspace.problems)) == len(workspace.problems)
    broken = {name: sorted({problem.path for problem in problems}) for name, problems in workspace.broken.items()}
    return set(workspace.connections), broken


BREAKAGES = [
    # what is written where                                       which connections break, by problems where
    ("connections/members.yaml", "x", {"members": ["connections/members.yaml"]}),
    ("connections/members.yaml", "a: [", {"members": ["connections/members.yaml"]}),
    ("connections/new.yaml", "{}", {"new": ["connections/new.yaml"]}),
    ("connections/New.yaml", "{}", {"New": ["connections/New.yaml"]}),
    ("connections/Members.yaml", "{}", {"Members": ["connections/Members.yaml"]}),
    ("connections/two words.yaml", "{}", {"two words": ["connections/two words.yaml"]}),
    ("connections/new.yml", "{}", {"new": ["connections/new.yml"]}),
    ("connections/members.yml", "{}", {}),
    ("connections/caf\u00e9.yaml", "{}", {"caf\u00e9": ["connections/caf\u00e9.yaml"]}),
    (f"connections/{'x' * 64}.yaml", "{}", {"x" * 64: [f"connections/{'x' * 64}.yaml"]}),
    ("schedules/nightly.yaml", "type: x", {"contacts": ["schedules/nightly.yaml"]}),
    ("schedules/nightly.yaml", "", {"contacts": ["schedules/nightly.yaml"]}),
    ("schedules/elsewhere.yaml", "type: manual\ntimezone: Mars", {"program": ["schedules/elsewhere.yaml"]}),
    ("schedules/unused.yaml", "x", {}),
    ("schedules/Nightly.yaml", "x", {}),
    ("schedules/nightly.yml", "x", {}),
    ("profile.yaml", "x", {name: ["profile.yaml"] for name in sorted(IMPORTS_AND_EXPORTS)}),
    ("profile.yml", "x", {}),
    ("connrunner.yml", "x", {}),
    (
        "notifications/data-team.yaml",
        "email: []",
        {name: ["notifications/data-team.yaml"] for name in ("contacts", "members", "program", "shell")},
    ),
    ("notifications/unused.yaml", "x", {}),
    (
        "connrunner.yaml",
        "version: 1\ndefaults: {notify: [{to: nobody, when: always}]}",
        {name: ["connrunner.yaml"] for name in ("members", "program", "shell")},
    ),
    ("connections/deeper/x.yaml", "{}", {}),
]


@pytest.mark.parametrize(("path", "text", "broken"), BREAKAGES, ids=lambda value: str(value)[:40])
def test_a_broken_file_breaks_what_needs_it(folder: Path, path: str, text: str, broken: dict[str, list[str]]) -> None:
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_text(text)
    workspace = load(folder)
    assert state(workspace) == (NAMES - set(broken), broken)
    assert path in {problem.path for problem in workspace.problems}


def test_files_that_are_missing(folder: Path) -> None:
    (folder / "profile.yaml").unlink()
    (folder / "schedules/nightly.yaml").unlink()
    workspace = load(folder)
    names = {name: [f"connections/{name}.yaml"] for name in IMPORTS_AND_EXPORTS}
    assert state(workspace) == ({"program", "shell"}, names)
    assert [problem.code for problem in workspace.broken["contacts"]] == ["unknown-name", "missing-profile"]
    assert workspace.profile.properties == {}

    (folder / "notifications/data-team.yaml").unlink()
    workspace = load(folder)
    assert state(workspace)[0] == set()
    assert {problem.path for problem in workspace.broken["program"]} == {"connrunner.yaml"}
    assert workspace.default_notify == ()


def test_a_workspace_without_connections(tmp_path: Path) -> None:
    (tmp_path / "connrunner.yaml").write_text("version: 1\n")
    workspace = load(tmp_path)
    assert (workspace.connections, workspace.broken, workspace.problems) == ({}, {}, ())
    assert (workspace.state, workspace.timezone, workspace.mail) == (".connrunner", "UTC", Mail())


def test_other_files_are_nobodys_business(folder: Path) -> None:
    for name in ("README.md", ".hidden.yaml", ".#members.yaml", "members.yaml~", "members.yaml.swp", "query.sql"):
        (folder / "connections" / name).write_text("x: [")
    (folder / "connections/.git").mkdir()
    assert state(load(folder)) == (NAMES, {})


def test_a_broken_top_file_stops_everything_and_hides_nothing(folder: Path) -> None:
    (folder / "connrunner.yaml").write_text("version: 2\ntimezon: UTC\n")
    (folder / "connections/members.yaml").write_text("x")
    (folder / "profile.yaml").write_text("x")
    with pytest.raises(WorkspaceError) as caught:
        load(folder)
    assert {problem.path for problem in caught.value.problems} == {
        "connrunner.yaml",
        "connections/members.yaml",
        "profile.yaml",
    }
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: (folder / "connrunner.yaml").unlink(), "has no connrunner.yaml; run `connrunner init`"),
        (lambda folder: (folder / "connrunner.yaml").rename(folder / "connrunner.yml"), "rename connrunner.yml"),
        (shutil.rmtree, "there is no folder"),
        (lambda folder: _as_file(folder / "connections"), "cannot be read"),
        (lambda folder: _as_link(folder / "connections", folder.parent / "elsewhere"), "leads out of the workspace"),
        (lambda folder: _as_link(folder / "schedules", folder.parent / "nowhere", make=False), "leads out"),
        (lambda folder: _as_link(folder / "schedules", folder / "jobs"), "what is no configuration"),
        (lambda folder: _as_link(folder / "schedules", folder / ".connrunner"), "what is no configuration"),
        (lambda folder: _as_link(folder / "schedules", folder / "connections/deeper"), "what is no configuration"),
    ],
)
def test_what_cannot_be_seen_is_not_taken_for_removed(
    folder: Path, make: Callable[[Path], object], message: str
) -> None:
    make(folder)
    with pytest.raises(WorkspaceError, match=message) as caught:
        load(folder)
    assert caught.value.problems == ()


def _as_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("")


def _as_link(path: Path, target: Path, *, make: bool = True) -> None:
    shutil.rmtree(path)
    if make:
        target.mkdir()
    path.symlink_to(target)


# --- what is no file ---------------------------------------------------------------------------------------------


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _link_to_fifo(path: Path) -> None:
    _fifo(path.parent / ".pipe")
    path.symlink_to(".pipe")


NOT_FILES = [
    (_fifo, "not-a-file"),
    (lambda path: path.mkdir(), "not-a-file"),
    (lambda path: path.symlink_to("/etc/passwd"), "outside-workspace"),
    (lambda path: path.symlink_to("/dev/zero"), "outside-workspace"),
    (lambda path: path.symlink_to("../../outside.yaml"), "outside-workspace"),
    (lambda path: path.symlink_to("nowhere.yaml"), "unreadable"),
    (lambda path: path.symlink_to(path.name), "unreadable"),
    (_link_to_fifo, "not-configuration"),
    (lambda path: path.symlink_to("../../workspace/README.md"), "not-configuration"),
    (lambda path: path.symlink_to("../query.sql"), "not-configuration"),
    (lambda path: path.symlink_to("deeper/x.yaml"), "not-configuration"),
    (lambda path: path.symlink_to("../profile.yaml/x"), "not-configuration"),
    (lambda path: path.symlink_to("../templates"), "not-configuration"),
]


@pytest.mark.parametrize(("make", "code"), NOT_FILES)
def test_only_files_of_the_workspace_are_read(folder: Path, make: Callable[[Path], object], code: str) -> None:
    (folder.parent / "outside.yaml").write_text("schedule: nightly\ncommand: {run: [x]}\n")
    path = folder / "connections/members.yaml"
    path.unlink()
    make(path)
    workspace = load(folder)
    (problem,) = workspace.broken["members"]
    assert (problem.code, problem.line, problem.column) == (code, 1, 1)
    assert set(workspace.connections) == NAMES - {"members"}


def test_a_folder_that_kubernetes_mounts(folder: Path) -> None:
    """A ConfigMap: every file is a link to ..data/NAME, and ..data a link to a folder with a date."""
    names = sorted(path.name for path in (folder / "connections").iterdir())
    (folder / "connections").rename(folder / "mounted")
    (folder / "connections").mkdir()
    (folder / "mounted").rename(folder / "connections/..2026_11_22")
    (folder / "connections/..data").symlink_to("..2026_11_22")
    for name in names:
        (folder / "connections" / name).symlink_to(f"..data/{name}")
    assert state(load(folder)) == (NAMES, {})


def test_a_workspace_that_kubernetes_mounts(folder: Path) -> None:
    """The same for the whole workspace: its files and its folders are links to what ..data has."""
    names = sorted(path.name for path in folder.iterdir())
    (folder / "..2026_11_22").mkdir()
    (folder / "..data").symlink_to("..2026_11_22")
    for name in names:
        (folder / name).rename(folder / "..2026_11_22" / name)
        (folder / name).symlink_to(f"..data/{name}")
    assert state(load(folder)) == (NAMES, {})


def test_a_link_to_another_file_of_the_configuration(folder: Path) -> None:
    (folder / "connections/twin.yaml").symlink_to("members.yaml")
    (folder / "schedules/twin.yaml").symlink_to("../schedules/nightly.yaml")
    assert state(load(folder)) == (NAMES | {"twin"}, {})


@pytest.mark.parametrize(
    "path",
    [
        "connections",
        "connections/x",
        "templates/s",
        "templates/../schedules",
        "link",
        "/notifications/s",
        "./templates",
    ],
)
def test_a_state_among_the_configuration_is_refused(folder: Path, path: str) -> None:
    """A template could include the journal then, and a file of the state could be a connection."""
    (folder / "templates").mkdir()
    (folder / "link").symlink_to("templates")
    path = f"{folder}{path}" if path.startswith("/") else path
    (folder / "connrunner.yaml").write_text(f"version: 1\nstate: {path}\n")
    with pytest.raises(WorkspaceError) as caught:
        load(folder)
    assert [problem.code for problem in caught.value.problems if problem.path == "connrunner.yaml"] == ["bad-state"]


def test_a_workspace_that_is_a_link(folder: Path) -> None:
    (folder.parent / "current").symlink_to(folder)
    workspace = load(folder.parent / "current")
    assert state(workspace) == (NAMES, {})
    assert workspace.folder == str(folder.parent / "current")


# --- resolved documents ------------------------------------------------------------------------------------------


def test_documents_hold_all_that_they_refer_to() -> None:
    connections = load(SOUND).connections
    contacts = connections["contacts"].document
    assert contacts["schedule"] == {
        "type": "days_of_week",
        "days": ["monday", "friday"],
        "time": "01:30",
        "timezone": "Europe/Amsterdam",
    }
    assert contacts["notify"] == [
        {"to": ["crm-owner@example.com", "data-team", "ops@example.com"], "when": "always"},
        {"to": "boss@example.com", "when": "failure"},
    ]
    assert connections["members"].document["notify"] == [{"to": "data-team", "when": "failure"}]
    assert connections["audience"].document["notify"] == []
    assert connections["audience"].document["schedule"] == {"type": "times_per_day", "times": 4}, "zone-free"
    assert connections["shell"].document["schedule"] == {"type": "manual"}
    assert connections["program"].document["schedule"]["timezone"] == "America/New_York"
    assert (connections["contacts"].timeout, connections["members"].timeout) == (900, 7200)
    assert connections["members"].title == "members"


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_document_survives_json_and_is_a_sound_connection_itself(name: str) -> None:
    connection = load(SOUND).connections[name]
    document = json.loads(json.dumps(connection.document))
    again = connection_from(name, document, timezone="Asia/Tokyo", targets=load(SOUND).targets)
    assert again == connection
    assert schema.check_schema("connection", document) == []


def test_the_profile_survives_json() -> None:
    workspace = load(SOUND)
    assert profile_model_from(json.loads(json.dumps(workspace.profile_document))) == workspace.profile
    assert workspace.profile.properties["interests"].many
    assert not workspace.profile.properties["lifetime_value"].personal
    assert workspace.profile.objectives["profiling"].legislation == "opt-out"


def test_what_the_connections_are() -> None:
    connections = load(SOUND).connections
    contacts, audience, program, shell = (
        connections[name].work for name in ("contacts", "audience", "program", "shell")
    )
    assert isinstance(contacts, Import)
    assert contacts.match == (("crm_id",), ("email", "serial"))
    assert contacts.format.columns == ("id", "mail", "name", "tags", "n", "no", "yes")
    assert contacts.consent == {"newsletter": "yes", "profiling": "no"}
    assert [field.column for field in contacts.fields] == ["id", "mail", "n", "name", "tags", "n"]
    assert isinstance(audience, Export)
    assert list(audience.fields.items()) == [("Email", "email"), ("LTV", "lifetime_value"), ("1", "visits")]
    assert isinstance(program, Command)
    assert program.run == ("python", "-c", "")
    assert shell == Command(run=("ls | wc -l",), shell=True)


MEANINGFUL = [
    ("title: Contacts", "title: Other"),
    ("timeout: 15m", "timeout: 16m"),
    ("when: always", "when: failure"),
    ("email: mail", "email: no"),
    ("[id, mail, name,", "[mail, id, name,"),
]


@pytest.mark.parametrize(("before", "after"), MEANINGFUL)
def test_the_fingerprint_follows_the_meaning(folder: Path, before: str, after: str) -> None:
    path = folder / "connections/contacts.yaml"
    first = load(folder).connections["contacts"].fingerprint
    path.write_text("# a comment\n" + path.read_text())
    assert load(folder).connections["contacts"].fingerprint == first
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    assert load(folder).connections["contacts"].fingerprint != first


def test_the_order_of_exported_columns_is_a_meaning() -> None:
    document = load(SOUND).connections["audience"].document
    swapped = {
        **document,
        "export": {**document["export"], "fields": dict(reversed(document["export"]["fields"].items()))},
    }
    assert resolved.fingerprint(swapped) != resolved.fingerprint(document)
    other_order = dict(reversed(list(document.items())))
    assert resolved.fingerprint(other_order) == resolved.fingerprint(document)


# --- the commit --------------------------------------------------------------------------------------------------

HASH = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({".git/HEAD": HASH}, HASH),
        ({".git/HEAD": "ref: refs/heads/main", ".git/refs/heads/main": HASH}, HASH),
        ({".git/HEAD": "ref: refs/heads/a/b", ".git/refs/heads/a/b": HASH}, HASH),
        (
            {
                ".git/HEAD": "ref: refs/heads/main",
                ".git/packed-refs": f"# pack-refs\n{'f' * 40} refs/heads/xmain\n{HASH} refs/heads/main\n^{'e' * 40}",
            },
            HASH,
        ),
        (
            {
                ".git/HEAD": "ref: refs/heads/main",
                ".git/refs/heads/main": "ref: refs/heads/b",
                ".git/refs/heads/b": HASH,
            },
            HASH,
        ),
        ({".git/HEAD": HASH * 2}, None),
        ({".git/HEAD": "a" * 64}, "a" * 64),
        ({".git/HEAD": "ref: refs/heads/none-yet"}, None),
        (
            {".git/HEAD": "ref: refs/heads/.invalid", ".git/refs/heads": "this repository uses the reftable format"},
            None,
        ),
        ({".git/HEAD": "ref: refs/heads/loop", ".git/refs/heads/loop": "ref: refs/heads/loop"}, None),
        ({".git/HEAD": "ref: refs/../../secret", "secret": HASH}, None),
        ({".git/HEAD": "\xff\x00"}, None),
        ({".git/config": ""}, None),
        ({".git": "gitdir: elsewhere/x", "elsewhere/x/HEAD": HASH}, HASH),
        (
            {
                ".git": "gitdir: main/.git/worktrees/w",
                "main/.git/worktrees/w/HEAD": "ref: refs/heads/side",
                "main/.git/worktrees/w/commondir": "../..",
                "main/.git/refs/heads/side": HASH,
            },
            HASH,
        ),
    ],
)
def test_the_commit_of_a_repository(tmp_path: Path, files: dict[str, str], found: str | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n", encoding="latin-1")
    (tmp_path / "sub/folder").mkdir(parents=True)
    assert read_head(tmp_path / "sub/folder") == found


@pytest.mark.slow
def test_the_commit_is_what_git_says(tmp_path: Path) -> None:
    def git(*arguments: str, cwd: Path = tmp_path) -> str:
        settings = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"]
        return subprocess.run(
            ["git", *settings, *arguments], cwd=cwd, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    assert read_head(tmp_path) is None
    git("commit", "-q", "--allow-empty", "-m", "one")
    assert read_head(tmp_path) == git("rev-parse", "HEAD")
    git("commit", "-q", "--allow-empty", "-m", "two")
    git("pack-refs", "--all")
    assert read_head(tmp_path) == git("rev-parse", "HEAD")
    git("worktree", "add", "-q", "-b", "side/branch", "tree")
    git("commit", "-q", "--allow-empty", "-m", "three", cwd=tmp_path / "tree")
    assert read_head(tmp_path / "tree") == git("rev-parse", "side/branch") != read_head(tmp_path)
    git("checkout", "-q", "--detach")
    assert read_head(tmp_path) == git("rev-parse", "HEAD")
