"""Which path is which screen."""

from __future__ import annotations

from connrunner.answers.status import check_health
from connrunner.answers.workspace_view import WorkspaceView
from connrunner.web.pages.links import ServerLinks
from connrunner.web.pages.rendering import render_template
from connrunner.web.pages.request import PageRequest, RenderedPage


def render_page(view: WorkspaceView, request: PageRequest) -> RenderedPage:
    """Return the page of `request.path`; with status 404 and the nearest name when there is none.

    *view* may be used again for other requests while the workspace and its journal are the same.
    """
    links = ServerLinks(request.root)
    health = check_health(view)
    html = render_template("plain.html.j2", links, title="Connections", lines=health.complaints or ["all is well"])
    return RenderedPage(200 if request.path == "/" else 404, html)


def render_sign_in(*, root: str = "", form_token: str = "", back: str = "/", refused: str = "") -> str:
    """Return the page that asks for a token: a form that posts `password` to /sign-in, with `token` and `back`.

    *refused* says why the last try was not accepted.
    """
    values = {"form_token": form_token, "back": back, "refused": refused}
    return render_template("sign_in.html.j2", ServerLinks(root), title="Sign in", lines=[], **values)


def render_refusal(status: int, title: str, what: str, remedy: str = "", *, root: str = "") -> str:
    """Return the page that says why a request was refused, and what to do."""
    return render_template("plain.html.j2", ServerLinks(root), title=f"{title} ({status})", lines=[what, remedy])
