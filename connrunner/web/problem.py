"""What a request is refused with: a problem document (RFC 9457), or a page that says the same."""

from __future__ import annotations

import json
from http import HTTPStatus

from starlette.responses import Response

from connrunner.errors import ArgumentError, BusyError, ConnrunnerError, StateError, WorkspaceError
from connrunner.web.pages import render_refusal, render_sign_in

PROBLEM = "application/problem+json"


class RefusedError(Exception):
    """A request that is answered with a refusal: *status*, what is wrong, and what the asker can do."""

    def __init__(self, status: int, what: str, remedy: str = "", *, can_sign_in: bool = False) -> None:
        super().__init__(what)
        self.status, self.what, self.remedy, self.can_sign_in = status, what, remedy, can_sign_in

    @property
    def title(self) -> str:
        """The phrase of the status."""
        return HTTPStatus(self.status).phrase


def refuse_error(error: ConnrunnerError, *, asked_for: int = 409) -> RefusedError:
    """Return the refusal that *error* becomes; *asked_for* is the status of what cannot be, as it was asked for."""
    match error:
        case ArgumentError():
            status = asked_for
        case WorkspaceError():
            status = 409
        case StateError() | BusyError():
            status = 503
        case _:
            status = 500
    return RefusedError(status, error.message, error.hint)


def as_problem(refused: RefusedError) -> Response:
    """Return the problem document of *refused*."""
    data = {"type": "about:blank", "title": refused.title, "status": refused.status, "detail": refused.what}
    if refused.remedy:
        data["remedy"] = refused.remedy
    content = json.dumps(data, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(content, refused.status, _headers(refused), PROBLEM)


def as_page(refused: RefusedError, *, root: str, sign_in: str = "", back: str = "/") -> Response:
    """Return the page of *refused*; the one to sign in at where *sign_in*, the token of its form, is given."""
    if refused.can_sign_in and sign_in:
        page = render_sign_in(root=root, form_token=sign_in, back=back)
    else:
        page = render_refusal(refused.status, refused.title, refused.what, refused.remedy, root=root)
    content = page.encode("utf-8", "backslashreplace")
    return Response(content, refused.status, _headers(refused), "text/html; charset=utf-8")


def _headers(refused: RefusedError) -> dict[str, str]:
    match refused.status:
        case 401:
            return {"WWW-Authenticate": 'Bearer realm="connrunner"'}
        case 405:
            return {"Allow": "GET, HEAD, POST"}
        case 503:
            return {"Retry-After": "5"}
        case 408 | 413:  # what was not read of the body is not read any more
            return {"Connection": "close"}
    return {}
