"""The Starlette app: routes, access, headers, and errors as pages or problem+json."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from asyncsched._core.errors import AsyncSchedError, ConfigurationError
from asyncsched._scheduler.audit import via
from asyncsched._scheduler.scheduler import Scheduler
from asyncsched.dashboard.access import Access, Auth, access_of, foreign_write, local_only
from asyncsched.dashboard.actions import JOB_ACTIONS, RUN_ACTIONS, SCHEDULE_ACTIONS, Action, Asked
from asyncsched.dashboard.api import READS, Read, query_of
from asyncsched.dashboard.bodies import checked
from asyncsched.dashboard.bulk import BULK, EVERYTHING, BatchStream, batch_of
from asyncsched.dashboard.headers import ProtectingHeaders
from asyncsched.dashboard.jsons import Answer, loads
from asyncsched.dashboard.links import checked_links
from asyncsched.dashboard.live import EventStream, Streams, View, Views
from asyncsched.dashboard.openapi import document
from asyncsched.dashboard.pages.activity import activity
from asyncsched.dashboard.pages.failures import failures
from asyncsched.dashboard.pages.instances import instances
from asyncsched.dashboard.pages.job import job
from asyncsched.dashboard.pages.overview import overview
from asyncsched.dashboard.pages.runs import run, runs
from asyncsched.dashboard.pages.schedule import schedule
from asyncsched.dashboard.pages.timeline import timeline
from asyncsched.dashboard.problems import Problem, in_time, problem_of
from asyncsched.dashboard.progress import RunStream
from asyncsched.dashboard.site import REDACTED, Context, Page, Site
from asyncsched.dashboard.words import iso

logger = logging.getLogger("asyncsched.dashboard")

PageOf = Callable[[Site, Context], Awaitable[Page]]

PAGES: tuple[tuple[str, PageOf], ...] = (
    ("/", overview),
    ("/runs", runs),
    ("/runs/{id}", run),
    ("/failures", failures),
    ("/timeline", timeline),
    ("/instances", instances),
    ("/activity", activity),
    ("/schedules/{id:path}", schedule),
    ("/jobs/{id:path}", job),
)


class Dashboard(Starlette):
    """The page and the JSON API of a scheduler, to be mounted in its app.

    Args:
        scheduler: the scheduler; it may be started later.
        auth: a function from a request to an :class:`Access`. Without one, only callers on this machine come in,
            and none that a proxy stands before.
        title: the app's name in the header.
        redact: a pattern of argument names whose values are not shown.
        links: addresses that a run's page links to, by name, such as
            ``{"Trace": "https://jaeger.example.com/trace/{trace_id}", "Logs": "https://logs.example.com/?q={run_id}"}``;
            ``{job}`` and ``{schedule}`` are filled in, too.

    Raises:
        ConfigurationError: Jinja2 is missing, or an argument is wrong.

    Example:
        >>> app.mount("/scheduler", Dashboard(scheduler, auth=basic("admin", password)))

    """

    def __init__(
        self, scheduler: Scheduler, *, auth: Auth | None = None, title: str = "",
        redact: str | re.Pattern[str] = REDACTED, links: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(scheduler, Scheduler):
            raise ConfigurationError(f"Dashboard: give it the Scheduler, not {type(scheduler).__name__}")
        if auth is not None and not callable(auth):
            raise ConfigurationError('Dashboard: auth must be a function, such as basic("name", "password")')
        pattern = re.compile(redact, re.IGNORECASE) if isinstance(redact, str) else redact
        self.site = Site(scheduler, title or scheduler.namespace, pattern, checked_links(links))
        self._auth = auth or local_only
        self._views, self._streams = Views(), Streams()
        super().__init__(routes=self._routes(), exception_handlers={404: self._nothing, 405: self._nothing})
        self.router.redirect_slashes = False
        self.add_middleware(ProtectingHeaders)

    def _routes(self) -> list[Route]:
        routes = [
            Route("/static/{name}", self._static, methods=["GET"]),
            Route("/events", self._events, methods=["GET", "HEAD"]),
        ]
        routes.append(Route("/api/v1/runs/{id}/events", self._run_events, methods=["GET", "HEAD"]))
        routes.append(Route("/api/v1/openapi.json", self._openapi, methods=["GET"]))
        reads, acts = self.endpoints()
        for method, endpoints in (("POST", acts), ("GET", reads)):
            for path, endpoint in endpoints.items():
                routes.append(
                    Route(f"/api/v1{path.replace('{id}', '{id:path}')}", endpoint, methods=[method])
                )
        routes += [Route(path, partial(self._page, page), methods=["GET"]) for path, page in PAGES]
        return routes

    def endpoints(self) -> tuple[dict[str, partial[Any]], dict[str, partial[Any]]]:
        """Return the endpoints of the JSON API by their paths: those that read, and those that act."""
        acts = {"/bulk": partial(self._act, BULK), "/everything/{id}": partial(self._act, EVERYTHING)}
        for kind, actions in (("schedules", SCHEDULE_ACTIONS), ("runs", RUN_ACTIONS), ("jobs", JOB_ACTIONS)):
            for name, action in actions.items():
                acts[f"/{kind}/{{id}}/{name}"] = partial(self._act, action)
        return {read.path: partial(self._read, read) for read in READS}, acts

    # ── pages ────────────────────────────────────────────────────────────────────────────────

    async def _page(self, draw: PageOf, request: Request) -> Response:
        root = _root(request)
        try:
            access = await self._enter(request, "read")
            if request.url.path.rstrip("/") == root and not request.scope["path"].endswith("/"):
                return RedirectResponse(f"{root}/")
            view = self._view(draw, request, access, dict(request.path_params))
            with in_time():
                page = await view.look()
                context = await self._context(request, access, {})
        except (Problem, AsyncSchedError) as error:
            return self._refusal(request, error)
        page.key = _key(request)
        document = self.site.document(page, context, request.cookies.get("asyncsched-theme", ""))
        return HTMLResponse(document, headers={"cache-control": "no-store"})

    def _view(self, draw: PageOf, request: Request, access: Access, path: Mapping[str, str]) -> View:
        query = {
            name: value[:500] for name, value in request.query_params.items() if name not in ("page", "since")
        }

        async def drawn() -> Page:
            snapshot = await self.site.watch.snapshot()
            return await draw(self.site, Context(root, access, query, path, snapshot, self.site.redact))

        root = _root(request)
        key = (draw, root, access.role, tuple(sorted(path.items())), tuple(sorted(query.items())))
        return self._views.view(key, drawn)

    async def _context(self, request: Request, access: Access, path: Mapping[str, str]) -> Context:
        snapshot = await self.site.watch.snapshot()
        return Context(_root(request), access, request.query_params, path, snapshot, self.site.redact)

    async def _events(self, request: Request) -> Response | ASGIApp:
        try:
            access = await self._enter(request, "read")
            self._streams.check()
            view = self._view_of(request, access)
        except (Problem, AsyncSchedError) as error:
            return _as_problem(error).response()
        since = request.headers.get("last-event-id") or request.query_params.get("since", "")
        return EventStream(view, since, self._streams)

    async def _run_events(self, request: Request) -> Response | ASGIApp:
        try:
            await self._enter(request, "read")
            self._streams.check()
            run = await self.site.scheduler.run(request.path_params["id"])
        except (Problem, AsyncSchedError) as error:
            return _as_problem(error).response(_challenge(error))
        return RunStream(self.site, run.id, self._streams)

    def _view_of(self, request: Request, access: Access) -> View:
        """Return the view of the page that a stream names by its address below the mount."""
        address = request.query_params.get("page", "/")[:2000]
        path, _, query = address.partition("?")
        scope = {
            **request.scope,
            "query_string": query.encode(),
            "path": _root(request) + path,
            "type": "http",
            "method": "GET",
        }
        for route in self.routes:
            assert isinstance(route, Route)
            found, child = route.matches(scope)
            if (
                found.name == "FULL"
                and isinstance(route.endpoint, partial)
                and route.endpoint.func == self._page
            ):
                inner = Request({**scope, **child})
                return self._view(route.endpoint.args[0], inner, access, dict(inner.path_params))
        raise Problem(404, "Not found", f"there is no page {path!r}")

    async def _static(self, request: Request) -> Response:
        found = self.site.static.get(request.path_params["name"])
        if found is None:
            return Problem(404, "Not found", "there is no such file").response()
        content, kind = found
        return Response(
            content, headers={"content-type": kind, "cache-control": "public, max-age=31536000, immutable"}
        )

    # ── the API ──────────────────────────────────────────────────────────────────────────────

    async def _read(self, read: Read, request: Request) -> Response:
        try:
            access = await self._enter(request, "read")
            query = query_of(read.parameters, request.query_params)
            with in_time():
                context = await self._context(request, access, dict(request.path_params))
                answer = await read.answer(self.site, context, query)
        except (Problem, AsyncSchedError) as error:
            return _as_problem(error).response(_challenge(error))
        return Answer(answer)

    async def _openapi(self, request: Request) -> Response:
        try:
            await self._enter(request, "read")
        except Problem as refused:
            return refused.response(_challenge(refused))
        # From the host's root: tools that were given the document as a file resolve no "." in it.
        servers = [{"url": f"{_root(request)}/api/v1"}]
        return Answer({**document(self.site.title), "servers": servers})

    # ── acting ───────────────────────────────────────────────────────────────────────────────

    async def _act(self, action: Action, request: Request) -> Response | ASGIApp:
        try:
            access = await self._enter(request, action.role)
            if refused := foreign_write(request, access):
                raise Problem(403, "Cross-site request", refused)
            body = checked(action.body, await _json(request, action.limit))
            asked = Asked(self.site, request.path_params.get("id", ""), body, access)
            said = request.headers.get("x-asyncsched-via")
            way = said if said in ("page", "cli") else "api"
            if action is BULK and "application/x-ndjson" in request.headers.get("accept", ""):
                return BatchStream(await batch_of(asked), way, self._changed)
            with via(way):
                done = await action.perform(asked)
        except (Problem, AsyncSchedError) as error:
            return _as_problem(error).response(_challenge(error))
        self._changed()
        return Answer(_plain(done), action.status)

    def _changed(self) -> None:
        """Look anew at the next request: something was done."""
        self.site.watch.forget()
        self._views.forget()

    # ── who comes in, and what goes wrong ────────────────────────────────────────────────────

    async def _enter(self, request: Request, role: str) -> Access:
        access = await access_of(self._auth, request)
        if access.may(role):
            return access
        if access.role == "none":
            raise Problem(401 if access.challenge else 403, "Sign in" if access.challenge else "Closed", access.reason,
                          challenge=access.challenge)  # fmt: skip
        raise Problem(
            403,
            "Not allowed",
            f"this needs the right {role!r}, and {access.user or 'this account'} has {access.role!r}",
        )

    def _refusal(self, request: Request, error: Problem | AsyncSchedError) -> Response:
        problem = _as_problem(error)
        headers = {"cache-control": "no-store"}
        if challenge := problem.more.get("challenge"):
            headers["www-authenticate"] = str(challenge)
        theme = request.cookies.get("asyncsched-theme", "")
        html = self.site.refused(_root(request), problem.status, problem.title, problem.detail, theme)
        return HTMLResponse(html, problem.status, headers)

    async def _nothing(self, request: Request, error: Exception) -> Response:
        """Answer where there is no route, or none for the method."""
        try:
            await self._enter(request, "read")
        except Problem as refused:
            return self._refusal(request, refused)
        api = "/api/" in request.url.path
        if isinstance(error, HTTPException) and error.status_code == 405:
            wrong = Problem(405, "Method not allowed", f"{request.method} is not possible here")
            return wrong.response(dict(error.headers or {})) if api else self._refusal(request, wrong)
        missing = Problem(404, "Not found", f"there is nothing at {_key(request)[:200]!r}")
        return missing.response() if api else self._refusal(request, missing)


def _challenge(error: Exception) -> dict[str, str] | None:
    """Return the header that tells a browser to ask for name and password, where that is the answer."""
    challenge = error.more.get("challenge") if isinstance(error, Problem) else None
    return {"www-authenticate": str(challenge)} if challenge else None


def _as_problem(error: Problem | AsyncSchedError) -> Problem:
    return error if isinstance(error, Problem) else problem_of(error)


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _key(request: Request) -> str:
    """Return a page's address below the mount."""
    path: str = request.scope["path"]
    root = _root(request)
    below = path[len(root) :] if path.startswith(root) else path
    return below + (f"?{request.url.query}" if request.url.query else "")


async def _json(request: Request, limit: int) -> Any:
    """Return the body as JSON; an empty one is an empty object.

    Raises:
        Problem: it is too long, or no JSON.

    """
    too_long = Problem(413, "Body too long", f"at most {limit} bytes are read")
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said[:12]) > limit:
        raise too_long
    content = bytearray()
    try:
        async with aclosing(request.stream()) as parts:
            async for part in parts:
                content += part
                if len(content) > limit:
                    raise too_long
    except ClientDisconnect:
        raise Problem(400, "Incomplete", "the client went away") from None
    if not content.strip():
        return {}
    try:
        return loads(bytes(content))
    except ValueError as error:
        raise Problem(400, "No JSON", f"the body is no JSON: {str(error)[:200]}") from None


def _plain(done: Mapping[str, Any]) -> dict[str, Any]:
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in done.items()}
