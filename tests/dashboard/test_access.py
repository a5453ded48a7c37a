"""The page is closed unless it was opened, and no other site's page can act through it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, Header, HTTPException
from fastapi.security import OAuth2PasswordBearer
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request

from asyncsched import ConfigurationError, Scheduler
from asyncsched.dashboard import (
    Access,
    Dashboard,
    any_of,
    backend,
    basic,
    bearer,
    dependency,
    from_scope_user,
)
from tests.dashboard.conftest import WRITES, Look

pytestmark = pytest.mark.anyio

TOKEN = "a-token-that-is-long-enough"


def by_basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def some_job(scheduler: Scheduler) -> None:
    @scheduler.interval(hours=1)
    async def hourly() -> None: ...


async def test_without_auth_a_caller_on_this_machine_comes_in(scheduler: Scheduler, look: Look) -> None:
    some_job(scheduler)
    async with scheduler, look(scheduler) as client:
        answer = await client.get("/")
        assert answer.status_code == 200
        assert "hourly" in answer.text


@pytest.mark.parametrize(
    "given",
    [
        {"client": ("10.0.0.7", 5000)},
        {"host": "evil.example:8000"},
        {"headers": {"X-Forwarded-For": "10.0.0.7"}},
        {"headers": {"Forwarded": "for=10.0.0.7"}},
        {"host": "127.0.0.1.evil.example"},
    ],
)
async def test_without_auth_every_other_caller_is_told_what_to_set(
    scheduler: Scheduler, look: Look, given: dict[str, Any]
) -> None:
    some_job(scheduler)
    async with scheduler, look(scheduler, **given) as client:
        for path in ("/", "/events", "/nothing"):
            answer = await client.get(path)
            assert answer.status_code == 403
            assert "auth" in answer.text
            assert "hourly" not in answer.text
        assert (await client.post("/api/v1/schedules/hourly/run")).status_code == 403
        assert await scheduler.runs() == []


async def test_basic_asks_for_name_and_password(scheduler: Scheduler, look: Look) -> None:
    some_job(scheduler)
    auth = basic("anna", "s3cret-ü")
    async with scheduler, look(scheduler, auth=auth, client=("10.0.0.7", 1)) as client:
        answer = await client.get("/")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        for wrong in (by_basic("anna", "other"), by_basic("eve", "s3cret-ü"), {"Authorization": "Basic %%%"}):
            assert (await client.get("/", headers=wrong)).status_code == 401
        assert (await client.get("/", headers=by_basic("anna", "s3cret-ü"))).status_code == 200


async def test_a_reader_sees_no_buttons_and_is_refused_all_the_same(scheduler: Scheduler, look: Look) -> None:
    some_job(scheduler)
    async with scheduler, look(scheduler, auth=lambda request: Access("read", user="rita")) as client:
        page = await client.get("/")
        assert "data-post" not in page.text
        answer = await client.post("/api/v1/schedules/hourly/run")
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"
        assert "'operate'" in answer.json()["detail"]
        assert await scheduler.runs() == []


async def test_an_operator_may_run_and_not_remove(scheduler: Scheduler, look: Look) -> None:
    some_job(scheduler)
    async with scheduler, look(scheduler, auth=lambda request: Access("operate", user="otto")) as client:
        assert (await client.post("/api/v1/schedules/hourly/run")).status_code == 202
        assert (await client.post("/api/v1/schedules/hourly/remove")).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "http://evil.example"},
        {"X-Asyncsched": ""},
    ],
)
async def test_a_write_from_another_site_is_refused(
    scheduler: Scheduler, look: Look, headers: dict[str, str]
) -> None:
    some_job(scheduler)
    sent = {name: value for name, value in {**WRITES, **headers}.items() if value}
    async with scheduler, look(scheduler) as client:
        for name in WRITES:
            if name not in sent:
                del client.headers[name]
        answer = await client.post("/api/v1/schedules/hourly/run", headers=sent)
        assert answer.status_code == 403
        assert await scheduler.runs() == []


async def test_nothing_is_done_by_get(scheduler: Scheduler, look: Look) -> None:
    some_job(scheduler)
    async with scheduler, look(scheduler) as client:
        assert (await client.get("/api/v1/schedules/hourly/run")).status_code in (404, 405)
        assert await scheduler.runs() == []


async def test_a_program_with_a_token_needs_no_browser_headers(scheduler: Scheduler, look: Look) -> None:
    some_job(scheduler)
    auth = any_of(basic("anna", "s3cret"), bearer(TOKEN))
    async with scheduler, look(scheduler, auth=auth) as client:
        for name in WRITES:
            del client.headers[name]
        right, wrong = (
            {"Authorization": f"Bearer {TOKEN}"},
            {"Authorization": "Bearer another-token-of-that-length"},
        )
        assert (await client.post("/api/v1/schedules/hourly/run", headers=right)).status_code == 202
        assert (await client.post("/api/v1/schedules/hourly/run", headers=wrong)).status_code == 401
        assert (
            await client.post("/api/v1/schedules/hourly/run", headers=by_basic("anna", "s3cret"))
        ).status_code == 403


class Gate(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        name = conn.headers.get("x-user")
        return (
            None if name is None else (AuthCredentials(["ops"] if name == "otto" else []), SimpleUser(name))
        )


async def test_a_starlette_backend_gives_rights_by_scope(scheduler: Scheduler, look: Look) -> None:
    some_job(scheduler)
    async with scheduler, look(scheduler, auth=backend(Gate(), operate="ops")) as client:
        assert (await client.get("/")).status_code == 403
        assert (await client.get("/", headers={"x-user": "rita"})).status_code == 200
        run = "/api/v1/schedules/hourly/run"
        assert (await client.post(run, headers={"x-user": "rita"})).status_code == 403
        assert (await client.post(run, headers={"x-user": "otto"})).status_code == 202


async def test_the_users_of_starlettes_middleware_have_rights_by_scope(
    scheduler: Scheduler, look: Look
) -> None:
    some_job(scheduler)
    auth = from_scope_user(operate="ops", login="Sign in at /login")
    app = Starlette(middleware=[Middleware(AuthenticationMiddleware, backend=Gate())])
    app.mount("/scheduler", Dashboard(scheduler, auth=auth))
    inside = AsyncClient(transport=ASGITransport(app), base_url="http://test/scheduler")
    async with scheduler, look(scheduler, auth=auth) as outside, inside as client:
        # Without the middleware there is no user, and nobody comes in.
        assert "Sign in at /login" in (await outside.get("/")).text
        for name, page, run in ((None, 403, 403), ("rita", 200, 403), ("otto", 200, 202)):
            headers = {**WRITES, **({} if name is None else {"x-user": name})}
            assert (await client.get("/", headers=headers)).status_code == page
            answer = await client.post("/api/v1/schedules/hourly/run", headers=headers)
            assert answer.status_code == run


closed: list[str] = []


async def session(x_tenant: Annotated[str, Header()]) -> AsyncIterator[str]:
    yield x_tenant
    closed.append(x_tenant)


async def current_user(
    tenant: Annotated[str, Depends(session)], token: Annotated[str, Depends(OAuth2PasswordBearer("token"))]
) -> str:
    if token == "expired":
        raise HTTPException(403, "The session is over.")
    return f"{token}@{tenant}"


async def test_a_dependency_of_fastapi_gives_rights(scheduler: Scheduler, look: Look) -> None:
    some_job(scheduler)
    auth = dependency(current_user, lambda user: Access("operate" if user == "otto@one" else "read", user))
    async with scheduler, look(scheduler, auth=auth) as client:
        run = "/api/v1/schedules/hourly/run"

        def by(name: str) -> dict[str, str]:
            return {"x-tenant": "one", "authorization": f"Bearer {name}"}

        refused = await client.get("/", headers={"x-tenant": "one"})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        refused = await client.get("/api/v1/status", headers=by("expired"))
        assert (refused.status_code, refused.json()["detail"]) == (403, "The session is over.")
        refused = await client.get("/", headers={"authorization": "Bearer otto"})
        assert (refused.status_code, "x-tenant is missing" in refused.text) == (403, True)
        assert (await client.get("/", headers=by("rita"))).status_code == 200
        assert (await client.post(run, headers=by("rita"))).status_code == 403
        assert (await client.post(run, headers=by("otto"), json={"note": "now"})).status_code == 202
        (done,) = await scheduler.activity(action="run_now", by="otto@one")
        assert done.note == "now"
    assert set(closed) == {"one"}


async def test_every_answer_has_the_headers_that_protect_it(scheduler: Scheduler, look: Look) -> None:
    async with scheduler, look(scheduler) as client:
        for path in ("/", "/nothing", "/static/none.js"):
            headers = (await client.get(path)).headers
            assert "require-trusted-types-for 'script'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in headers


async def test_an_auth_that_returns_nonsense_opens_nothing(scheduler: Scheduler, look: Look) -> None:
    some_job(scheduler)

    def broken(request: Request) -> Any:
        return True

    async with scheduler, look(scheduler, auth=broken) as client:
        answer = await client.get("/")
        assert answer.status_code == 422
        assert "hourly" not in answer.text


def test_wrong_arguments_are_refused_at_the_mount() -> None:
    with pytest.raises(ConfigurationError, match="Scheduler"):
        Dashboard("sqlite:///jobs.db")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="auth"):
        Dashboard(Scheduler(), auth="secret")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="16 characters"):
        bearer("short")
    with pytest.raises(ConfigurationError, match="not empty"):
        basic("anna", "")


@pytest.mark.parametrize(
    "password, why",
    [
        ("admin", "among the first that are tried"), ("Password123!", "among the first that are tried"), ("123456789012", "first"),
        ("anna-2026", "is like the name"), ("ANNA", "is like the name"), ("s3cret", "less than 12 characters"),
    ],
)  # fmt: skip
def test_a_password_that_is_easily_guessed_is_warned_of(
    password: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    basic("anna", password, "operate")
    (record,) = caplog.records
    assert why in record.getMessage()
    assert "secrets.token_urlsafe(12)" in record.getMessage()
    assert password not in record.getMessage()  # the log is no place for it


def test_a_good_password_is_not(caplog: pytest.LogCaptureFixture) -> None:
    basic("anna", "a good password")
    basic("ann", "joanna goes for a walk")
    assert caplog.records == []
