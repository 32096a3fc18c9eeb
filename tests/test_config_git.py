"""`source: git`: what is obeyed is one commit, whatever happens in the folder meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from connrunner.config import stamps
from connrunner.config.load import list_uncommitted, load, open_templates
from connrunner.config.place import declared_state
from connrunner.config.versions import git, last_good, version
from connrunner.config.versions.commit import repository
from connrunner.config.versions.git import VersionError
from connrunner.config.versions.version import MovingError
from connrunner.errors import WorkspaceError

pytestmark = pytest.mark.slow
CONNECTION = "connections/one.yaml"


class Repository:
    """A workspace in a git repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "-q")
        self.write("connrunner.yaml", "version: 1\nsource: git\n")
        self.write(CONNECTION, program("first"))

    def git(self, *arguments: str) -> str:
        settings = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"]
        done = subprocess.run(["git", *settings, *arguments], cwd=self.folder, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "--message", "a version")
        return self.git("rev-parse", "HEAD")


def program(title: str) -> str:
    return f'title: "{title}"\nschedule: {{type: manual}}\ncommand: {{run: ["true"]}}\n'


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "workspace")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "compiled"


def titles(folder: Path, cache: Path | None = None) -> dict[str, str]:
    return {name: one.title for name, one in load(folder, cache=cache).connections.items()}


def test_the_commit_is_obeyed_and_not_the_folder(repo: Repository, cache: Path) -> None:
    first = repo.commit()
    repo.write(CONNECTION, program("not committed"))
    repo.write("connections/two.yaml", program("new"))

    for _ in range(2):
        assert titles(repo.folder, cache) == {"one": "first"}
        assert load(repo.folder, cache=cache).commit == first
    assert list_uncommitted(load(repo.folder)) == [CONNECTION, "connections/two.yaml"]

    second = repo.commit()
    assert titles(repo.folder, cache) == {"one": "not committed", "two": "new"}
    assert load(repo.folder, cache=cache).commit == second
    assert list_uncommitted(load(repo.folder)) == []


def test_what_is_written_is_checked_as_it_is_written(repo: Repository) -> None:
    repo.commit()
    repo.write(CONNECTION, "x")
    assert load(repo.folder).problems == ()
    assert [problem.path for problem in load(repo.folder, as_written=True).problems] == [CONNECTION]


def test_every_kind_of_file_comes_from_the_commit(repo: Repository) -> None:
    repo.write("profile.yaml", "properties: {email: {type: email, identifier: true}}\n")
    repo.write("schedules/often.yaml", "type: times_per_day\ntimes: 4\n")
    repo.write("notifications/team.yaml", "email: [a@example.com]\n")
    repo.write("templates/run.txt.j2", "committed")
    repo.write("templates/parts/more.j2", "more")
    repo.write(CONNECTION, program("x").replace("{type: manual}", "often") + "notify: [{to: team, when: always}]\n")
    repo.commit()
    before = load(repo.folder)
    for path in ("profile.yaml", "schedules/often.yaml", "notifications/team.yaml", "templates/run.txt.j2"):
        repo.write(path, "other: [")

    now = load(repo.folder)

    assert now == before
    assert now.connections["one"].notify[0].to[0].to == ("a@example.com",)
    with open_templates(now) as folder:
        assert (folder / "templates/run.txt.j2").read_text() == "committed"
        assert (folder / "templates/parts/more.j2").read_text() == "more"
    assert not folder.exists()


def test_a_workspace_further_down_in_its_repository(tmp_path: Path) -> None:
    repo = Repository(tmp_path / "all")
    shutil.copytree(repo.folder, tmp_path / "copy", ignore=shutil.ignore_patterns(".git"))
    shutil.copytree(tmp_path / "copy", repo.folder / "teams/crm")
    repo.write("teams/crm/connections/one.yaml", program("further down"))
    repo.commit()
    repo.write("teams/crm/connections/one.yaml", program("not committed"))

    workspace = load(repo.folder / "teams/crm")

    assert workspace.connections["one"].title == "further down"
    assert list_uncommitted(workspace) == [CONNECTION]


LINKS: list[tuple[str, Callable[[Path], object], str]] = [
    ("a link", lambda path: path.symlink_to("/etc/passwd"), "a link, which a commit cannot follow"),
    ("a link inside", lambda path: path.symlink_to("one.yaml"), "a link, which a commit cannot follow"),
    ("large", lambda path: path.write_bytes(b"#" * (300 * 1024)), "larger than 256 KiB"),
]


@pytest.mark.parametrize(("make", "said"), [row[1:] for row in LINKS], ids=[row[0] for row in LINKS])
def test_only_regular_files_of_a_commit_are_configuration(
    repo: Repository, make: Callable[[Path], object], said: str
) -> None:
    make(repo.folder / "connections/two.yaml")
    repo.commit()
    workspace = load(repo.folder)
    assert list(workspace.connections) == ["one"]
    assert said in workspace.broken["two"][0].message


def test_a_submodule_is_no_connection(repo: Repository) -> None:
    first = repo.commit()
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{first},connections/two.yaml")
    repo.git("commit", "-q", "--message", "x")
    assert "a submodule" in load(repo.folder).broken["two"][0].message


def test_a_folder_of_connections_that_is_a_link_is_refused(repo: Repository) -> None:
    repo.commit()
    shutil.move(repo.folder / "connections", repo.folder / "elsewhere")
    (repo.folder / "connections").symlink_to("elsewhere")
    repo.commit()
    with pytest.raises(WorkspaceError, match="connections cannot be read"):
        load(repo.folder)


def test_source_itself_is_obeyed_once_it_is_committed(repo: Repository, cache: Path) -> None:
    repo.write("connrunner.yaml", "version: 1\n")
    repo.commit()
    repo.write("connrunner.yaml", "version: 1\nsource: git\n")
    repo.write(CONNECTION, program("second"))
    assert titles(repo.folder, cache) == {"one": "second"}  # still the folder
    repo.commit()
    assert load(repo.folder, cache=cache).repository
    repo.write("connrunner.yaml", "version: 1\n")
    repo.write(CONNECTION, program("third"))
    assert titles(repo.folder, cache) == {"one": "second"}  # taking it out is not committed either
    repo.commit()
    assert titles(repo.folder, cache) == {"one": "third"}
    repo.write(CONNECTION, program("fourth"))
    assert titles(repo.folder, cache) == {"one": "fourth"}  # the folder again


def test_the_environment_leads_git_nowhere_else(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit()
    other = Repository(tmp_path / "other")
    other.write(CONNECTION, program("of another repository"))
    other.commit()
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    assert titles(repo.folder) == {"one": "first"}


def test_no_hook_runs(repo: Repository, tmp_path: Path) -> None:
    repo.commit()
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    repo.git("config", "core.fsmonitor", str(hook))
    repo.write(CONNECTION, program("edited"))
    assert list_uncommitted(load(repo.folder)) == [CONNECTION]
    assert not (tmp_path / "ran").exists()


# --- a repository that cannot be read ----------------------------------------------------------------------------


def damage(repo: Repository, name: str) -> None:
    identity = repo.git("rev-parse", name)
    path = repo.folder / ".git/objects" / identity[:2] / identity[2:]
    path.chmod(0o600)
    path.write_bytes(b"damaged")


TROUBLES: list[tuple[str, Callable[[Repository], object], str]] = [
    ("a damaged file", lambda repo: damage(repo, f"HEAD:{CONNECTION}"), f"lacks {CONNECTION}"),
    ("a damaged folder", lambda repo: damage(repo, "HEAD:connections"), "lacks connections"),
    ("a damaged commit", lambda repo: damage(repo, "HEAD"), "git cannot read the commit"),
    ("a damaged top", lambda repo: damage(repo, "HEAD^{tree}"), "git cannot read the commit"),
    ("an empty HEAD", lambda repo: (repo.folder / ".git/HEAD").write_text(""), "in no git repository"),
    ("no branch", lambda repo: repo.git("symbolic-ref", "HEAD", "refs/heads/none"), "has no commit yet"),
    ("no repository", lambda repo: shutil.rmtree(repo.folder / ".git"), "in no git repository"),
    ("no git", lambda _: None, "git cannot be started"),
    ("git hangs", lambda _: None, "no answer in time"),
]


@pytest.mark.parametrize(("trouble", "said"), [row[1:] for row in TROUBLES], ids=[row[0] for row in TROUBLES])
def test_the_last_good_version_goes_on_for_a_day(
    repo: Repository,
    cache: Path,
    trouble: Callable[[Repository], object],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    good = repo.commit()
    load(repo.folder, cache=cache)
    repo.write(CONNECTION, program("second"))
    repo.commit()
    trouble(repo)
    if "no git" in request.node.name:
        monkeypatch.setenv("PATH", str(tmp_path))
    if "git hangs" in request.node.name:
        slow = tmp_path / "git"
        slow.write_text("#!/bin/sh\nexec sleep 60\n")
        slow.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setattr(git, "PATIENCE", 0.2)

    workspace = load(repo.folder, cache=cache)

    assert workspace.commit == good
    assert workspace.connections["one"].title == "first"
    assert said in workspace.trouble
    with pytest.raises(VersionError):
        load(repo.folder)  # nothing is kept without a cache
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + last_good.HOLDS)
    with pytest.raises(VersionError):
        load(repo.folder, cache=cache)


def test_after_the_trouble_the_day_begins_anew(repo: Repository, cache: Path) -> None:
    repo.commit()
    load(repo.folder, cache=cache)
    head = repo.folder / ".git/HEAD"
    before = head.read_text()
    head.write_text("")
    assert load(repo.folder, cache=cache).trouble
    assert (cache / last_good.TROUBLE).exists()
    head.write_text(before)
    assert not load(repo.folder, cache=cache).trouble
    assert not (cache / last_good.TROUBLE).exists()


def test_a_lock_that_git_left_behind_is_no_trouble(repo: Repository) -> None:
    first = repo.commit()
    (repo.folder / ".git/index.lock").write_text("")
    assert load(repo.folder).commit == first


@pytest.mark.skipif(os.getuid() != 0, reason="giving a folder to another user takes root")
def test_a_repository_of_another_user_says_how_to_trust_it(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit()
    monkeypatch.setenv("HOME", str(tmp_path))
    os.chown(repo.folder, 12345, 12345)
    with pytest.raises(VersionError, match=r"another user owns it; .*safe\.directory"):
        load(repo.folder)
    (tmp_path / ".gitconfig").write_text(f"[safe]\n\tdirectory = {repo.folder}\n")
    assert load(repo.folder).connections


# --- what a quiet tick looks at ----------------------------------------------------------------------------------


def test_the_stamps_of_a_commit_change_with_the_commit_only(repo: Repository) -> None:
    repo.commit()
    where = repository(repo.folder)

    def seen() -> dict[str, int]:
        return stamps.stamps(repo.folder, where)

    before = seen()
    repo.write(CONNECTION, program("edited"))
    assert seen() == before
    for change in (
        repo.commit,
        lambda: repo.git("pack-refs", "--all"),
        lambda: repo.git("checkout", "-q", "-b", "side"),
        repo.commit,
        lambda: repo.git("checkout", "-q", "--detach"),
        repo.commit,
    ):
        before = seen()
        change()
        assert seen() != before


# --- files that change while they are read -----------------------------------------------------------------------


def mixed(found: dict[str, str]) -> bool:
    return len(set(found.values())) > 1


def checkouts(repo: Repository, files: int) -> Callable[[], None]:
    """Make two commits that differ in each of many files, and return what checks out one after the other."""
    for title in ("a", "b"):
        for number in range(files):
            repo.write(f"connections/c{number}.yaml", program(title))
        repo.write(CONNECTION, program(title))
        repo.write(
            "connrunner.yaml", f"version: 1\nsource: git\ntimezone: {'UTC' if title == 'a' else 'Europe/Paris'}\n"
        )
        repo.commit()
        repo.git("branch", title)

    def check_out() -> None:
        for title in ("a", "b"):
            repo.git("checkout", "-q", title)

    return check_out


def reads_that_mix(repo: Repository, cache: Path, *, reads: int, files: int) -> int:
    check_out = checkouts(repo, files)
    stop = threading.Event()
    seen: set[str] = set()

    def go_on() -> None:
        while not stop.is_set():
            check_out()

    thread = threading.Thread(target=go_on)
    thread.start()
    bad = 0
    try:
        for _ in range(reads):
            workspace = load(repo.folder, cache=cache)
            found = {name: one.title for name, one in workspace.connections.items()}
            zone = {"UTC": "a", "Europe/Paris": "b"}[workspace.timezone]
            bad += len(found) != files + 1 or mixed({**found, "": zone})
            seen.add(zone)
    finally:
        stop.set()
        thread.join()
    assert seen == {"a", "b"}, "the checkouts were never seen"
    return bad


def test_no_read_mixes_two_commits(repo: Repository, cache: Path) -> None:
    assert reads_that_mix(repo, cache, reads=50, files=20) == 0


@pytest.mark.long
def test_a_thousand_reads_mix_no_two_commits(repo: Repository, cache: Path) -> None:
    assert reads_that_mix(repo, cache, reads=1000, files=300) == 0


def changing(monkeypatch: pytest.MonkeyPatch, repo: Repository, times: int) -> list[int]:
    """Let a file change right after each of the first *times* readings of the folder."""
    done: list[int] = []
    is_whole = version.FolderVersion.is_whole

    def edit_first(self: version.FolderVersion) -> bool:
        if len(done) < times:
            done.append(1)
            repo.write(CONNECTION, program(f"edit {len(done)}"))
        return is_whole(self)

    monkeypatch.setattr(version.FolderVersion, "is_whole", edit_first)
    monkeypatch.setattr("connrunner.config.load.TRIES", (0, 0, 0, 0))
    return done


def test_a_folder_that_changes_meanwhile_is_read_again(
    repo: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write("connrunner.yaml", "version: 1\n")
    changing(monkeypatch, repo, times=2)
    assert titles(repo.folder, cache) == {"one": "edit 2"}


def test_a_folder_that_never_rests_leaves_the_last_good_version(
    repo: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write("connrunner.yaml", "version: 1\n")
    load(repo.folder, cache=cache)
    repo.write(CONNECTION, program("second"))
    done = changing(monkeypatch, repo, times=99)

    workspace = load(repo.folder, cache=cache)

    assert len(done) == 4
    assert workspace.connections["one"].title == "first"
    assert "change while they are read" in workspace.trouble
    with pytest.raises(MovingError) as raised:
        load(repo.folder)
    assert raised.value.exit_code == 75


def test_a_folder_is_not_read_while_git_writes_it(
    repo: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write("connrunner.yaml", "version: 1\n")
    monkeypatch.setattr("connrunner.config.load.TRIES", (0, 0))
    load(repo.folder, cache=cache)
    lock = repo.folder / ".git/index.lock"
    lock.write_text("")
    now = time.time()
    os.utime(lock, (now, now))
    repo.write(CONNECTION, program("half a checkout"))
    assert titles(repo.folder, cache) == {"one": "first"}
    os.utime(lock, (1, 1))  # left behind long ago
    assert titles(repo.folder, cache) == {"one": "half a checkout"}


def test_a_moment_without_connrunner_yaml_begins_no_other_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "connrunner.yaml"
    path.write_text("")

    def write(_: float) -> None:
        path.write_text("version: 1\nstate: /var/lib/elsewhere\n")

    monkeypatch.setattr("connrunner.config.place.time.sleep", write)
    assert declared_state(str(tmp_path)) == "/var/lib/elsewhere"
