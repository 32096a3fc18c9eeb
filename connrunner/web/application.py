"""From a request to an answer: which path is what, who may, and what every answer carries (ASGI)."""

from __future__ import annotations

import gzip
import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connrunner.answers.status import find_last_tick
from connrunner.core import instant
from connrunner.errors import ConnrunnerError
from connrunner.text.nesting import parse_json
from connrunner.text.words import one_line
from connrunner.web import actions, downloads, interface
from connrunner.web.actions import AskedFor
from connrunner.web.interface import as_response
from connrunner.web.log_stream import SharedLogs
from connrunner.web.openapi import describe_interface
from connrunner.web.origin import RequestHead, check_origin
from connrunner.web.pages import PageRequest, render_page, static_files
from connrunner.web.problem import RefusedError, as_page, as_problem, refuse_error
from connrunner.web.rights import (
    LONGEST_NAME,
    SESSION,
    AccessRules,
    Knock,
    Visitor,
    find_right,
    identify,
    is_form_token,
    make_form_token,
    make_session,
)
from connrunner.web.site import Call, Site

CALENDAR = "/calendar.ics"
COOKIE = "connrunner_session"
SIGN_IN = "sign-in"  # what the form of somebody is bound to who has not signed in
LARGEST_BODY = 16 * 1024  # bytes
LONGEST_TARGET = 4096  # bytes of path and query
MOST_FIELDS = 30  # of a form or a query
BODY_PATIENCE = 10.0  # seconds in which a body has to come
FRESH = 180  # seconds since the last tick, for /healthz
FOR_GOOD = "public, max-age=31536000, immutable"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
METHODS = ("GET", "HEAD", "POST")

# Every answer has these. Nothing may be loaded from elsewhere, nothing inline is run, nobody may frame it.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}

Answerer = Callable[[Call], Response]
Action = Callable[[Call], AskedFor]

log = logging.getLogger("connrunner.web")
access = logging.getLogger("connrunner.web.access")


def make_application(site: Site) -> ASGIApp:
    """Return the application that serves *site*."""
    answering = Answering(site)
    logs = SharedLogs(site)

    def answer_log(call: Call) -> Response:
        return interface.answer_log(call, logs)

    api, run = interface.ROOT, "/connections/{name}/runs/{number}"
    read: dict[str, Answerer] = {
        f"{api}/status": interface.answer_status,
        f"{api}/connections": interface.answer_connections,
        f"{api}/connections/{{name}}": interface.answer_connection,
        f"{api}/connections/{{name}}/runs": interface.answer_runs,
        f"{api}{run}": interface.answer_run,
        f"{api}{run}/log": answer_log,
        f"{api}{run}/rejects": interface.answer_rejects,
        f"{api}/queue": interface.answer_queue,
        f"{api}/next": interface.answer_next,
        f"{api}/notifications": interface.answer_notifications,
        f"{run}/log.txt": downloads.download_text_log,
        f"{run}/log.jsonl": downloads.download_log,
        f"{run}/rejects.csv": downloads.download_rejects,
        "/metrics": downloads.answer_metrics,
        CALENDAR: downloads.answer_calendar,
    }
    act: dict[str, Action] = {
        "/connections/{name}/run": actions.act_run,
        "/connections/{name}/stop": actions.act_stop,
        "/connections/{name}/remove": actions.act_remove,
        "/connections/{name}/approve": actions.act_approve,
        "/connections/{name}/decline": actions.act_decline,
        "/notifications/{id}/retry": actions.act_retry,
    }
    routes = [
        Route("/healthz", answering.answer_health),
        Route("/openapi.json", answering.answer_openapi),
        Route("/static/{file}", answering.answer_static),
        Route("/sign-in", answering.sign_in, methods=["POST"]),
        Route("/sign-in", answering.show_sign_in),
        Route("/sign-out", answering.sign_out, methods=["POST"]),
        *(Route(path, answering.reading(answer)) for path, answer in read.items()),
        *(Route(f"{api}{path}", answering.by_json(action), methods=["POST"]) for path, action in act.items()),
        *(Route(path, answering.by_form(action), methods=["POST"]) for path, action in act.items()),
        Route("/{path:path}", answering.reading(answering.show_page)),
    ]
    handlers: dict[Any, Any] = {HTTPException: answering.answer_http_error}
    return RequestGate(site, Starlette(routes=routes, exception_handlers=handlers))


class RequestGate:
    """What comes before every answer and stands in it, whatever the path: hosts, sizes, headers, the access log."""

    def __init__(self, site: Site, application: ASGIApp) -> None:
        self._site, self._application = site, application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = time.monotonic()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message.get("headers", ())}
                added = {"Cache-Control": "no-store", **SECURITY_HEADERS}
                extra = [(name.lower().encode(), value.encode()) for name, value in added.items()]
                message["headers"] = [*message.get("headers", ()), *(one for one in extra if one[0] not in given)]
            await send(message)

        try:
            if (refused := await self._refuse(scope)) is None:
                await self._application(scope, receive, send_with_headers)
            else:
                await _refusal(scope, refused, self._site)(scope, receive, send_with_headers)
        finally:
            # The pattern of the path: what a path, a query or a header says may be a token or a person's.
            route = scope.get("route")
            took = 1000 * (time.monotonic() - began)
            access.info("%s %s %d %.0f ms", scope["method"], getattr(route, "path", "-"), status, took)

    async def _refuse(self, scope: Scope) -> RefusedError | None:
        """Return why the request is not answered; cut the root off its path when it is."""
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_TARGET:
            return RefusedError(414, f"the address has more than {LONGEST_TARGET} characters", "ask for less at once")
        try:
            settings = await self._site.ask(lambda: self._site.settings)
        except (RefusedError, ConnrunnerError) as error:
            return error if isinstance(error, RefusedError) else refuse_error(error)
        root = settings.root
        if root and (scope["path"] == root or scope["path"].startswith(f"{root}/")):
            scope["path"] = scope["path"].removeprefix(root) or "/"
        if scope["method"] not in METHODS:
            return RefusedError(405, "the page knows GET, HEAD and POST", "use one of them")
        # Whether ticks come tells nobody anything; what looks for it asks by whatever name.
        if scope["path"] == "/healthz":
            return None
        headers = Request(scope).headers
        head = RequestHead(
            method=scope["method"],
            hosts=tuple(headers.getlist("host")),
            origin=headers.get("origin", ""),
            site=headers.get("sec-fetch-site", ""),
            mode=headers.get("sec-fetch-mode", ""),
        )
        found = check_origin(head, self._site.known_hosts())
        return RefusedError(found.status, found.what, found.remedy) if found else None


class Answering:
    """The answers of a site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._static = {name: (content, gzip.compress(content, 9, mtime=0)) for name, content in static_files().items()}

    # --- for everybody ---------------------------------------------------------------------------------------------

    async def answer_health(self, request: Request) -> Response:
        """200 while ticks come, else 503. It says nothing else, so everybody may ask."""
        return await self._guarded(request, lambda: self._site.ask(self._check_ticks))

    def _check_ticks(self) -> Response:
        view = self._site.live.look()
        last, now = find_last_tick(view), view.clock()
        is_fresh = last is not None and (now - last).total_seconds() < FRESH
        facts = {"healthy": is_fresh, "last_tick": instant.text(last) if last else None}
        return as_response(facts, status_code=200 if is_fresh else 503)

    async def answer_openapi(self, _request: Request) -> Response:
        """The description of the interface."""
        return as_response(describe_interface(self._site.settings.root))

    async def answer_static(self, request: Request) -> Response:
        """One of the files of the page, under a name with a hash of what it is."""
        name = request.path_params["file"]
        if name not in self._static:
            refused = RefusedError(404, "there is no such file", "load the page again")
            return _refusal(request.scope, refused, self._site)
        plain, packed = self._static[name]
        types = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
        headers = {"Cache-Control": FOR_GOOD, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=types[_suffix(name)])
        return Response(plain, headers=headers, media_type=types[_suffix(name)])

    async def show_sign_in(self, request: Request) -> Response:
        """The page that asks for a token."""

        async def answer() -> Response:
            rules = await self._site.ask(self._site.rules)
            if not rules.asks_for_token:
                raise RefusedError(404, "nobody signs in here with a token", "set `web.tokens` in connrunner.yaml")
            raise RefusedError(401, "sign in with a token", can_sign_in=True)

        return await self._guarded(request, answer)

    async def sign_in(self, request: Request) -> Response:
        """Take a token, and give a cookie that stands for it."""

        async def answer() -> Response:
            form = await _read_form(request)
            rules, now = await self._site.ask(self._site.rules), self._site.live.clock().timestamp()
            if not is_form_token(rules, SIGN_IN, form.get("token", ""), now):
                raise RefusedError(403, "the form is not one of this page, or is old", "load the page again")
            right = find_right(rules, form.get("password", "").strip())
            if right is None:
                await anyio.sleep(0.5)
                raise RefusedError(401, "the token is not one of this page", can_sign_in=True)
            name = one_line(form.get("name", ""))[:LONGEST_NAME].strip()
            response = self._go_back(form.get("back", ""))
            response.set_cookie(
                COOKIE,
                make_session(rules, right, name, now),
                max_age=SESSION,
                path=self._site.settings.root or "/",
                secure=_is_secure(request),
                httponly=True,
                samesite="strict",
            )
            return response

        return await self._guarded(request, answer)

    async def sign_out(self, _request: Request) -> Response:
        """Take the cookie back."""
        response = self._go_back("/")
        response.delete_cookie(COOKIE, path=self._site.settings.root or "/", httponly=True, samesite="strict")
        return response

    # --- for those who may -----------------------------------------------------------------------------------------

    def reading(self, answer: Answerer) -> Callable[[Request], Any]:
        """Return the endpoint of what may be seen."""

        async def endpoint(request: Request) -> Response:
            return await self._guarded(request, lambda: self._site.ask(lambda: answer(self._let_in(request))))

        return endpoint

    def by_form(self, action: Action) -> Callable[[Request], Any]:
        """Return the endpoint of what a form of a page asks for."""

        async def endpoint(request: Request) -> Response:
            async def answer() -> Response:
                form = await _read_form(request)
                done = await self._site.ask(lambda: self._act(action, request, form=form))
                return self._go_back(form.get("back", ""), asked=done.id)

            return await self._guarded(request, answer)

        return endpoint

    def by_json(self, action: Action) -> Callable[[Request], Any]:
        """Return the endpoint of what a program asks for."""

        async def endpoint(request: Request) -> Response:
            async def answer() -> Response:
                body = await _read_json(request)
                done = await self._site.ask(lambda: self._act(action, request, body=body))
                return as_response({"id": done.id, **done.facts}, status_code=202)

            return await self._guarded(request, answer)

        return endpoint

    def _act(
        self, action: Action, request: Request, *, form: dict[str, str] | None = None, body: Any = None
    ) -> AskedFor:
        call = self._let_in(request, form=form, body=body)
        if not call.reader.may_act:
            raise RefusedError(403, "you may see this page, and not act on it", "sign in with the token for acting")
        if form is not None:
            now = self._site.live.clock().timestamp()
            if not is_form_token(call.rules, call.reader.binding, form.get("token", ""), now):
                raise RefusedError(403, "the form is not one of this page, or is old", "load the page again")
        done = action(call)
        log.info("%s: %s", action.__name__.removeprefix("act_"), done.id)
        return done

    def show_page(self, call: Call) -> Response:
        """Any page that people read; the page of what there is instead for all other paths."""
        if call.path.startswith(f"{interface.ROOT}/"):
            raise RefusedError(404, "the interface has no such path", "/openapi.json lists what it has")
        now = call.view.clock()
        asked = PageRequest(
            path=call.path,
            query=call.query,
            now=now,
            may_act=call.reader.may_act,
            form_token=make_form_token(call.rules, call.reader.binding, now.timestamp()),
            root=call.root,
            asked=call.query.get("asked", ""),
        )
        page = render_page(call.view, asked)
        return HTMLResponse(page.html.encode("utf-8", "backslashreplace"), page.status)

    def _let_in(self, request: Request, *, form: dict[str, str] | None = None, body: Any = None) -> Call:
        """Return what is asked by whom; RefusedError for strangers."""
        rules, now = self._site.rules(), self._site.live.clock()
        reader = identify(rules, _knock(request, rules), now.timestamp())
        if not isinstance(reader, Visitor):
            status = 503 if rules.closed else 401
            raise RefusedError(status, reader.what, reader.remedy, can_sign_in=reader.can_sign_in)
        if body is not None and not reader.is_program and _media_type(request) != JSON:
            # A page of another site can send a body of another type without asking us first.
            raise RefusedError(415, "the body is not JSON", f"send it with Content-Type: {JSON}")
        return Call(
            site=self._site,
            rules=rules,
            reader=reader,
            view=self._site.live.look(),
            path=request.scope["path"],
            names=dict(request.path_params),
            query=_read_query(request),
            accept=request.headers.get("accept", ""),
            last_event=request.headers.get("last-event-id", ""),
            body=_fields_of(form) if form is not None else body or {},
        )

    async def _guarded(self, request: Request, answer: Callable[[], Any]) -> Response:
        """Return the *answer*; when it fails, the refusal that says why."""
        try:
            response: Response = await answer()
        except RefusedError as error:
            refused = error
        except ConnrunnerError as error:
            refused = refuse_error(error)
        except OSError as error:
            what = f"the state cannot be read: {error.strerror or type(error).__name__}"
            refused = RefusedError(503, what, "`connrunner doctor` looks at it")
        except Exception:
            log.exception("connrunner has a bug")
            refused = RefusedError(500, "connrunner has a bug", "please report it; the log of the page says more")
        else:
            return response
        return _refusal(request.scope, refused, self._site)

    async def answer_http_error(self, request: Request, error: HTTPException) -> Response:
        """A path that is there for another method, and the like."""
        words = {405: "this path is there for another method", 404: "there is no such path"}
        what = words.get(error.status_code, "the request cannot be answered")
        response = _refusal(request.scope, RefusedError(error.status_code, what), self._site)
        response.headers.update(error.headers or {})
        return response

    def _go_back(self, back: str, **query: str) -> Response:
        """Return the way back to a page of ours, and to no other site."""
        root = self._site.settings.root
        parts = urlsplit(back) if _is_path(back) else urlsplit(f"{root}/")
        fields = [(key, value) for key, value in parse_qsl(parts.query, max_num_fields=MOST_FIELDS) if key != "asked"]
        words = urlencode([*fields, *query.items()])
        address = quote(parts.path, safe="/~%") + (f"?{words}" if words else "")
        return RedirectResponse(address, 303)


def _is_secure(request: Request) -> bool:
    """Tell whether the browser came by TLS, as a proxy says. Who lies about it loses a cookie of theirs."""
    return request.headers.get("x-forwarded-proto", "").lower() == "https"


def _refusal(scope: Scope, refused: RefusedError, site: Site) -> Response:
    """Return what was refused as a program, or a person, reads it."""
    request = Request(scope)
    if _is_for_programs(scope["path"]) or scope["method"] not in METHODS:
        problem = as_problem(refused)
        if refused.status == 401 and scope["path"] == CALENDAR:  # calendars know passwords, and no other token
            problem.headers["WWW-Authenticate"] = 'Basic realm="connrunner", charset="UTF-8"'
        return problem
    if "text/html" not in request.headers.get("accept", "text/html") and JSON in request.headers.get("accept", ""):
        return as_problem(refused)
    root = site.live.known_settings.root
    sign_in = ""
    if refused.can_sign_in:
        sign_in = make_form_token(site.rules(), SIGN_IN, site.live.clock().timestamp())
    query = request.url.query
    back = f"{root}{scope['path']}" + (f"?{query}" if query else "")
    return as_page(refused, root=root, sign_in=sign_in, back=back if scope["path"] != "/sign-in" else f"{root}/")


def _is_for_programs(path: str) -> bool:
    return path.startswith(("/api/", "/metrics", "/calendar.ics", "/openapi.json", "/healthz", "/static/"))


def _knock(request: Request, rules: AccessRules) -> Knock:
    headers = request.headers
    return Knock(
        peer=request.client.host if request.client else "",
        account=request.scope.get("state", {}).get("account"),
        authorization=headers.get("authorization", ""),
        session=request.cookies.get(COOKIE, ""),
        users=tuple(headers.getlist(rules.user_header)) if rules.user_header else (),
        is_feed=request.scope["path"] == CALENDAR,
        is_forwarded=any(name in headers for name in ("forwarded", "x-forwarded-for", "x-forwarded-host", "via")),
    )


def _fields_of(form: dict[str, str]) -> dict[str, Any]:
    """Return the fields of a form as a body of JSON would have them."""
    found: dict[str, Any] = {key: form[key] for key in ("reason", "recipient") if form.get(key)}
    if number := form.get("run"):
        if not (number.isascii() and number.isdecimal() and len(number) < 16):
            raise RefusedError(400, "`run` is not the number of a run", "load the page again")
        found["run"] = int(number)
    return found


def _read_query(request: Request) -> dict[str, str]:
    try:
        pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="replace")
    except ValueError:
        raise RefusedError(400, f"the query has more than {MOST_FIELDS} parts", "ask for less at once") from None
    return dict(pairs)


async def _read_form(request: Request) -> dict[str, str]:
    if _media_type(request) != FORM:
        raise RefusedError(415, "this is for the forms of the page", f"programs use {interface.ROOT}")
    content = await _read_body(request)
    try:
        text = content.decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="replace"))
    except ValueError:
        raise RefusedError(400, "the form cannot be read", "load the page again") from None


async def _read_json(request: Request) -> dict[str, Any]:
    content = await _read_body(request)
    if not content.strip():
        return {}
    try:
        data = parse_json(content)
    except ValueError:
        raise RefusedError(400, "the body is not JSON", 'send an object, like {"reason": "..."}') from None
    if not isinstance(data, dict):
        raise RefusedError(400, "the body is not an object", 'send one, like {"reason": "..."}')
    return data


async def _read_body(request: Request) -> bytes:
    """Return the body; RefusedError when it is too large, or does not come in time."""
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said[:20]) > LARGEST_BODY:
        raise RefusedError(413, f"the body has more than {LARGEST_BODY:,} bytes", "send less")
    content = b""
    try:
        with anyio.fail_after(BODY_PATIENCE):
            async for part in request.stream():
                content += part
                if len(content) > LARGEST_BODY:
                    raise RefusedError(413, f"the body has more than {LARGEST_BODY:,} bytes", "send less")
    except TimeoutError:
        raise RefusedError(408, "the body did not come in time", "try again") from None
    return content


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_path(back: str) -> bool:
    """Tell whether *back* is a path of this site: `//host` and `/\\host` lead elsewhere."""
    return back.startswith("/") and back[1:2] != "/" and "\\" not in back and one_line(back) == back


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]
