"""What stands around every screen: navigation with its counts, the pulse, banners and the foot."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from connrunner import __version__
from connrunner.answers.connection_standings import find_troubles
from connrunner.answers.status import COMPLAINTS, Health
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.lazy_dataclasses import dataclass
from connrunner.web.pages.moments import Moments

STILL = timedelta(minutes=3)  # without a tick: the pulse turns into words


@dataclass(frozen=True, kw_only=True, slots=True)
class Banner:
    """Something that is worth knowing on every page."""

    style: str  # bad, warn, run or empty
    icon: str
    bold: str
    words: str = ""
    code: str = ""  # to be copied


@dataclass(frozen=True, kw_only=True, slots=True)
class NavigationItem:
    """One of the places of the page, with what it counts."""

    path: str
    name: str
    count: int = 0
    is_bad: bool = False
    counted: str = ""  # what the count is of


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """What every page has in common."""

    place: str
    navigation: tuple[NavigationItem, ...]
    pulse: str
    is_still: bool
    banners: tuple[Banner, ...]
    version: str
    commit: str


def make_frame(view: WorkspaceView, health: Health, moments: Moments) -> Frame:
    """Return the frame of a page of *view*."""
    journal_state = view.journal_state
    attention, waiting, dead = len(find_troubles(view, health)), len(journal_state.waiting), len(journal_state.dead)
    still = health.last_tick is None or health.at - health.last_tick > STILL
    return Frame(
        place=Path(view.folder).resolve().name,
        navigation=(
            NavigationItem(path="/", name="Connections", count=attention, is_bad=True, counted="need attention"),
            NavigationItem(path="/queue", name="Queue", count=waiting, counted="waiting"),
            NavigationItem(path="/timeline", name="Timeline"),
            NavigationItem(path="/notifications", name="Notifications", count=dead, is_bad=True, counted="given up"),
            NavigationItem(path="/health", name="Health"),
        ),
        pulse=f"last tick {moments.away(health.last_tick)}" if health.last_tick else "no tick yet",
        is_still=still,
        banners=tuple(_banners(view, health, moments)),
        version=__version__,
        commit=view.workspace.commit or "",
    )


def _banners(view: WorkspaceView, health: Health, moments: Moments) -> list[Banner]:
    found = []
    if health.last_tick is None and view.workspace.connections:
        words = "Nothing starts until one does; have it called every minute with `connrunner install`, or type"
        found.append(
            Banner(style="warn", icon="late", bold="No tick has come yet.", words=words, code="connrunner tick")
        )
    if health.lacks_ticks and health.last_tick:
        bold = f"No tick since {moments.hour(health.last_tick)}, {moments.away(health.last_tick)}."
        words = "Nothing starts until one comes. Is cron, or a timer, calling it?"
        found.append(Banner(style="bad", icon="late", bold=bold, words=words, code="connrunner install"))
    if health.trouble:
        good = health.standing == "last good"
        bold = (
            "The last good version of the workspace is in use."
            if good
            else f"{COMPLAINTS[health.standing].capitalize()}."
        )
        found.append(Banner(style="warn" if good else "bad", icon="broken", bold=bold, words=health.trouble))
    if view.workspace.source == "git" and view.uncommitted:
        count = len(view.uncommitted)
        bold = f"{count:,} file{'' if count == 1 else 's'} differ from the commit that ticks obey."
        found.append(Banner(style="", icon="file", bold=bold, words=", ".join(view.uncommitted[:5])))
    return found
