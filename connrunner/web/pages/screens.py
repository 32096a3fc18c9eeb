"""Which path is which screen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connrunner.answers.active_runs import describe_progress
from connrunner.answers.status import Health, check_health
from connrunner.answers.workspace_view import WorkspaceView, open_anyway
from connrunner.core import instant
from connrunner.errors import ArgumentError, ConnrunnerError
from connrunner.lazy_dataclasses import dataclass, replace
from connrunner.web.pages.connection_screen import show_connection
from connrunner.web.pages.connections_screen import show_connections
from connrunner.web.pages.frame import make_frame
from connrunner.web.pages.health_screen import show_health
from connrunner.web.pages.links import Links, ServerLinks
from connrunner.web.pages.missing_screen import show_missing
from connrunner.web.pages.moments import Moments
from connrunner.web.pages.notifications_screen import show_notifications
from connrunner.web.pages.queue_screen import say_start, show_queue
from connrunner.web.pages.rendering import render_template
from connrunner.web.pages.request import PageRequest, RenderedPage
from connrunner.web.pages.run_screen import PER_FILE, PER_PAGE, show_run
from connrunner.web.pages.timeline_screen import show_timeline
from connrunner.web.pages.today_screen import show_today

ASKED = {
    "run": "The next tick puts the run into its queue; until then it stands among what waits.",
    "approve": "The next tick reads the source again, and does what was shown; else the run is held again.",
    "decline": "The next tick records it; nothing is changed.",
    "stop": "A run that works is asked to end, one that waits is taken out of the queue; it is seen within a minute.",
}
EXAMPLE = """\
# connections/members.yaml
title: Members
schedule: {type: times_per_day, times: 1}
import:
  from: {type: files, path: "in/members-*.csv"}
  match: [member_id]
  fields: {member_id: id, email: email}"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Screen:
    """A template and its values."""

    template: str
    title: str
    section: str  # the place in the navigation that it belongs to
    values: Mapping[str, Any]
    status: int = 200
    zone: str = ""  # of its times; that of the workspace when empty


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What every screen is made from."""

    view: WorkspaceView
    request: PageRequest
    health: Health
    moments: Moments


def render_page(view: WorkspaceView, request: PageRequest) -> RenderedPage:
    """Return the page of `request.path`; with status 404 and the nearest name when there is none.

    *view* may be used again for other requests while the workspace and its journal are the same. A state folder that
    cannot be read is a page with status 503 that says why.
    """
    links = ServerLinks(request.root)
    try:
        return render_screen(view, request, links)
    except ConnrunnerError as error:
        remedy = error.hint[:1].upper() + error.hint[1:] if error.hint else ""
        values = {"status": 503, "title": "The page cannot be shown", "what": str(error.message), "remedy": remedy}
        return RenderedPage(503, render_template("refusal.html.j2", links, **values))


def render_screen(view: WorkspaceView, request: PageRequest, links: Links) -> RenderedPage:
    """Return the page of `request.path` with addresses as *links* write them. ConnrunnerError as when it is read."""
    looked = at_instant(open_anyway(view), request.now)
    look = Look(view=looked, request=request, health=check_health(looked), moments=Moments(looked.zone(), request.now))
    screen = choose_screen(look)
    return RenderedPage(screen.status, _render(look, screen, links))


def choose_screen(look: Look) -> Screen:
    """Return the screen that the path of the request names."""
    view, asked, moments = look.view, look.request.query, look.moments
    match look.request.path.strip("/").split("/"):
        case [""] if not view.known_names() and not view.workspace.trouble:
            first = {"folder": str(view.folder), "example": EXAMPLE.splitlines()}
            return Screen(template="empty", title="Connections", section="/", values=first)
        case [""]:
            values = show_connections(view, asked, look.health, moments, combines=look.request.live)
            return Screen(template="connections", title="Connections", section="/", values=values)
        case ["queue"]:
            queue = {**show_queue(view, moments), "say_start": say_start}
            return Screen(template="queue", title="Queue", section="/queue", values=queue)
        case ["timeline"]:
            values = show_timeline(view, asked, moments)
            return Screen(template="timeline", title="Timeline", section="/timeline", values=values)
        case ["notifications"]:
            values = show_notifications(view, asked, moments)
            return Screen(template="notifications", title="Notifications", section="/notifications", values=values)
        case ["health"]:
            return Screen(template="health", title="Health", section="/health", values=show_health(view, look.health))
        case ["runs"]:
            return Screen(template="today", title="Runs of today", section="/", values=show_today(view, asked))
        case ["connections", name] if name in view.known_names():
            return _connection(look, name)
        case ["connections", name, "runs", number] if number.isascii() and number.isdigit() and len(number) < 10:
            return _run(look, name, int(number))
    return _missing(look)


def _connection(look: Look, name: str) -> Screen:
    zone = look.view.zone(name)
    values = show_connection(
        look.view, name, look.request.query, Moments(zone, look.request.now), pages_older=look.request.live
    )
    return Screen(
        template="connection",
        title=name,
        section="/",
        zone=zone,
        values={**values, "describe_progress": describe_progress},
    )


def _run(look: Look, name: str, number: int) -> Screen:
    try:
        zone = look.view.zone(name)
        values = show_run(
            look.view,
            name,
            number,
            look.request.query,
            Moments(zone, look.request.now),
            per_page=PER_PAGE if look.request.live else PER_FILE,
        )
    except ArgumentError:
        return _missing(look)
    return Screen(template="run", title=f"{name} #{number}", section="/", zone=zone, values=values)


def _missing(look: Look) -> Screen:
    values = {"status": 404, **show_missing(look.view, look.request.path)}
    return Screen(template="not_found", title="Not found", section="", status=404, values=values)


def _render(look: Look, screen: Screen, links: Links) -> str:
    request = look.request
    moments = Moments(screen.zone, request.now) if screen.zone else look.moments
    common = {
        "title": screen.title,
        "section": screen.section,
        "frame": make_frame(look.view, look.health, look.moments),
        "moments": moments,
        "live": request.live,
        "live_parts": request.live,
        "interactive": request.live,
        "forms": request.draws_forms,
        "form_token": request.form_token,
        "here": links.page(request.path, **request.query),
        "asked": describe_request(request.asked),
        "moment_of": instant.parse,
    }
    return render_template(f"{screen.template}.html.j2", links, **common, **screen.values)


def describe_request(identity: str) -> str:
    """Return what becomes of the request *identity* that was just made; empty without one."""
    kind = identity.partition("-")[0]
    return ASKED.get(kind, "The mail goes out with the next tick.") if identity else ""


def at_instant(view: WorkspaceView, now: datetime) -> WorkspaceView:
    """Return *view* at the instant *now*; what was read of it already is shared."""
    moved = replace(view, now=now)
    view.workspace, view.journal, view.unusable_histories  # noqa: B018 - read once for all requests
    if view.workspace.source == "git":
        view.uncommitted  # noqa: B018 - asked of git
    for part in ("workspace", "journal", "uncommitted", "unusable_histories"):
        if part in view.__dict__:
            moved.__dict__[part] = view.__dict__[part]
    return moved


def render_sign_in(*, root: str = "", form_token: str = "", back: str = "/", refused: str = "") -> str:
    """Return the page that asks for a token: a form that posts `password` to /sign-in, with `token` and `back`.

    *refused* says why the last try was not accepted.
    """
    values = {"form_token": form_token, "back": back, "refused": refused}
    return render_template("sign_in.html.j2", ServerLinks(root), **values)


def render_refusal(status: int, title: str, what: str, remedy: str = "", *, root: str = "") -> str:
    """Return the page that says why a request was refused, and what to do."""
    values = {"status": status, "title": title, "what": what, "remedy": remedy}
    return render_template("refusal.html.j2", ServerLinks(root), **values)
