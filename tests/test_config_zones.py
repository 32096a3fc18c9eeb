"""Of two time-zone databases the newer one counts."""

from __future__ import annotations

import email
import json
import shutil
import zoneinfo
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import policy
from pathlib import Path

import pytest

from connrunner.config import zones
from connrunner.doctor import machine
from connrunner.scheduler import idle
from tests.conftest import Place

NOW = datetime(2026, 11, 29, tzinfo=UTC)
PACKAGE = zones.find_package()
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Make a database of the system, in which Amsterdam goes by the clocks of Tokyo."""
    before = zoneinfo.TZPATH

    def make(version: str | None, *, by_hand: bool = False) -> Path:
        folder = tmp_path / "system"
        for name, of in (("Europe/Amsterdam", "Asia/Tokyo"), ("Etc/UTC", "Etc/UTC"), ("UTC", "UTC")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(f"{PACKAGE.folder}/{of}", folder / name)
        if version is not None:
            (folder / "tzdata.zi").write_text(f"# version {version}\n# more\n")
        monkeypatch.setattr(zones, "SEARCHED", (str(folder),))
        monkeypatch.setattr(zones, "CHOSEN_BY_HAND", by_hand)
        zoneinfo.reset_tzpath((str(folder),))
        start_anew()
        return folder

    def start_anew() -> None:
        zones.choose.cache_clear()
        zoneinfo.ZoneInfo.clear_cache()

    yield make
    zoneinfo.reset_tzpath(before)
    start_anew()


CASES = [
    # the system's   by hand   whose counts
    ("2020a",        False,    "package"),
    (None,           False,    "package"),  # nobody knows how old it is
    ("9999z",        False,    "system"),
    (PACKAGE.version, False,   "system"),
    ("2020a",        True,     "system"),
    (None,           True,     "system"),
]  # fmt: skip


@pytest.mark.parametrize(("version", "by_hand", "whose"), CASES)
def test_the_newer_database_is_read(install: Install, version: str | None, by_hand: bool, whose: str) -> None:
    folder = install(version, by_hand=by_hand)

    found = zones.choose()

    assert found.folder == (str(folder) if whose == "system" else PACKAGE.folder)
    assert zones.version() == (PACKAGE.version if whose == "package" else version or "")
    offset = NOW.astimezone(zoneinfo.ZoneInfo("Europe/Amsterdam")).utcoffset()
    assert offset == timedelta(hours=1 if whose == "package" else 9)


def test_without_a_database_of_the_system_ours_is_read(monkeypatch: pytest.MonkeyPatch, install: Install) -> None:
    install("9999z")
    monkeypatch.setattr(zones, "SEARCHED", ("/nowhere",))
    zones.choose.cache_clear()

    assert zones.choose() == PACKAGE
    assert zones.find_differing(["UTC"], NOW) == []


def test_a_change_of_either_database_wakes_a_quiet_tick(install: Install) -> None:
    folder = install("2020a")

    assert zones.files() == (f"{folder}/tzdata.zi", f"{PACKAGE.folder}/tzdata.zi")


def test_doctor_says_which_and_why_and_where_they_differ(install: Install) -> None:
    folder = install("2020a")

    (same,) = machine.check_zone_data(["UTC"], NOW)
    (differs,) = machine.check_zone_data(["UTC", "Europe/Amsterdam"], NOW)

    assert same.level == "ok"
    assert f"{PACKAGE.version}, {PACKAGE.folder} (of the package tzdata; that of the system is 2020a)" in same.found
    assert differs.level == "warning"
    assert "; Europe/Amsterdam: otherwise by the older one of the system" in differs.found
    assert differs.fix == f"bring {folder} up to date: the system's package tzdata"


def test_doctor_names_the_package_to_upgrade_when_that_is_the_older_one(install: Install) -> None:
    install("2999a")
    (differs,) = machine.check_zone_data(["Europe/Amsterdam"], NOW)
    assert "pip install --upgrade tzdata" in differs.fix
    assert "the system's package" not in differs.fix


@pytest.mark.skipif(PACKAGE.version < "2026", reason="the package is as old as the change")
def test_next_goes_by_the_newer_rules_of_vancouver(place: Place) -> None:
    """It stays at seven hours behind UTC in the winter of 2026."""
    place.command("a", "pass", schedule='{type: cron, expression: "30 6 * * *", timezone: America/Vancouver}')

    out = place.run("next", "a", "--now", "2026-11-29T00:00:00Z", "--format", "json", own_process=True).out

    assert json.loads(out)[0]["due_at"] == "2026-11-29T13:30:00Z"


@pytest.mark.slow
def test_a_note_is_not_believed_when_a_database_changed(
    place: Place, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "RACY", float("-inf"))
    place.command("a", "pass", schedule='{type: days_of_week, days: [monday], time: "01:30"}')
    folder = install("2020a")
    place.run("tick")
    words = ["--workspace", str(place.folder)]
    assert idle.nothing_to_do(words)

    (folder / "tzdata.zi").write_text("# version 9999z\n")

    assert not idle.nothing_to_do(words)


NEWER = "9999z"
INSTALLED = {
    # of a database in which Amsterdam goes by the clocks of Tokyo: how it comes before the one that is really there
    "package": "import sys\nsys.path.insert(0, {folder!r})\n",
    "system": "import zoneinfo\nzoneinfo.reset_tzpath(({folder!r} + '/tzdata/zoneinfo',))\n",
}


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("whose", INSTALLED)
def test_worker_and_mailer_go_by_the_newer_database(place: Place, tmp_path: Path, whose: str) -> None:
    """Processes of their own: nothing of the choice of the process that starts them reaches them."""
    folder = tmp_path / "newer"
    shutil.copytree(Path(PACKAGE.folder).parent, folder / "tzdata")
    shutil.copy(f"{PACKAGE.folder}/Asia/Tokyo", folder / "tzdata/zoneinfo/Europe/Amsterdam")
    (folder / "tzdata/__init__.py").write_text(f"IANA_VERSION = {NEWER!r}\n")
    (folder / "tzdata/zoneinfo/tzdata.zi").write_text(f"# version {NEWER}\n")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(INSTALLED[whose].format(folder=str(folder)))
    env = {"PYTHONPATH": str(tmp_path / "site")}
    place.write("profile.yaml", "properties:\n  id: {type: text, identifier: true}\n  seen: {type: datetime}\n")
    place.write("in/a.csv", "id,seen\n1,2026-07-01 10:00:00\n")
    place.write(
        "connections/people.yaml",
        "schedule: {type: manual, timezone: Europe/Amsterdam}\n"
        "import:\n  from: {type: files, path: in/a.csv}\n  format: {type: csv, timezone: Europe/Amsterdam}\n"
        "  match: [id]\n  fields: {id: id, seen: seen}\n"
        "notify: [{to: a@example.com, when: always}]\n",
    )

    place.run("run", "people", env=env, own_process=True)

    (profile,) = json.loads(place.run("profiles", "1", "--format", "json").out)
    assert profile["properties"]["seen"] == "2026-07-01T01:00:00Z"
    (mail,) = place.state.mail.glob("*.eml")
    body = email.message_from_bytes(mail.read_bytes(), policy=policy.default).get_body(("plain",))
    assert body is not None
    assert "+09:00" in body.get_content()
    found = place.run("doctor", "--format", "json", env=env, own_process=True, check=None).out
    assert f"{NEWER}, " in found
