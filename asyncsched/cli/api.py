"""Requests to the JSON API of a running app's page, with the standard library's client in a thread."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit

import anyio.to_thread

from asyncsched._core.errors import NotFound, UnknownJob, UnknownSchedule
from asyncsched.cli.faults import BAD, NOT_FOUND, REFUSED, UNREACHABLE, USAGE, Fault, one_line
from asyncsched.cli.output import iso

_PATIENCE = 15
"""Seconds for one answer."""

_SIGN_IN = "give a token by ASYNCSCHED_TOKEN or --token, or NAME:PASSWORD@ in the address"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect to be told: a token is not sent to another address, and a POST is not made a GET."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


class Api:
    """The JSON API below an address.

    Args:
        url: the address where the page is mounted; a name and password in it are sent as Basic.
        token: is sent as a bearer token.

    Raises:
        Fault: the address is none of http or https.

    """

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Fault(USAGE, f"{url!r} is no address of a page", "write http://127.0.0.1:8000/scheduler")
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        place = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
        self.signed_in = token is not None or parts.username is not None
        self._headers = {"Accept": "application/json", "X-Asyncsched": "1", "X-Asyncsched-Via": "cli"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        elif parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._opener = urllib.request.build_opener(_NoRedirect)

    async def get(self, path: str, id: str = "", query: Mapping[str, Any] | None = None) -> Any:
        """Return what the API answers; ``{id}`` in the path is the id."""
        told = {
            name: iso(value) if isinstance(value, datetime) else value
            for name, value in (query or {}).items()
            if value is not None
        }
        return await self._asked(path, id, f"?{urlencode(told)}" if told else "", None)

    async def post(self, path: str, id: str, body: Mapping[str, Any]) -> Any:
        """Do something by the API, and return its answer."""
        return await self._asked(path, id, "", json.dumps(body).encode())

    async def _asked(self, path: str, id: str, query: str, body: bytes | None) -> Any:
        address = f"{self.url}/api/v1{path.replace('{id}', quote(id, safe=''))}{query}"
        request = urllib.request.Request(address, body, self._headers, method="POST" if body else "GET")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        status, kind, content = await anyio.to_thread.run_sync(self._answer, request)
        found = _json(kind, content)
        if 200 <= status < 300 and found is not None:
            return found
        raise self._fault(status, found, path, id)

    def _answer(self, request: urllib.request.Request) -> tuple[int, str, bytes]:
        try:
            with self._opener.open(request, timeout=_PATIENCE) as answer:
                return answer.status, answer.headers.get("content-type", ""), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                kind = error.headers.get("content-type", "")
                return (
                    error.code,
                    error.headers.get("location", kind) if 300 <= error.code < 400 else kind,
                    error.read(),
                )
        except urllib.error.URLError as error:
            raise self._away(error.reason) from None
        except (OSError, HTTPException) as error:
            raise self._away(error) from None

    def _away(self, reason: object) -> Fault:
        told = reason.strerror if isinstance(reason, OSError) else ""
        text = told or str(reason) or type(reason).__name__
        if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLCertVerificationError):
            text = f"{text}; is it http:// there?"
        return Fault(
            UNREACHABLE,
            f"{self.url} cannot be reached: {text}",
            "is the app running, and is this its address?",
        )

    def _fault(self, status: int, problem: Any, path: str, id: str) -> Exception:
        """Return what an answer that is none of 2xx means."""
        if not isinstance(problem, dict) or "title" not in problem:
            return Fault(
                REFUSED if status in (401, 403) else NOT_FOUND if status < 500 else UNREACHABLE,
                f"there is no page of asyncsched at {self.url} (status {status})",
                "name the address where the Dashboard is mounted, such as http://127.0.0.1:8000/scheduler",
            )
        detail = one_line(str(problem["detail"] or problem.get("title", "")))
        if status in (401, 403):
            return Fault(REFUSED, detail, _SIGN_IN if status == 401 or not self.signed_in else "")
        if status == 404:
            return _missing(path, id, detail)
        if status == 409:
            return Fault(REFUSED, detail)
        if status in (400, 413, 422):
            return Fault(USAGE, detail)
        return Fault(UNREACHABLE if status == 503 else BAD, detail)


def _missing(path: str, id: str, detail: str) -> Exception:
    kinds: dict[str, type[NotFound]] = {"/schedules/": UnknownSchedule, "/jobs/": UnknownJob}
    for start, kind in kinds.items():
        if path.startswith(start) and id:
            return kind(id)
    return Fault(NOT_FOUND, detail)


def _json(kind: str, content: bytes) -> Any:
    if "json" not in kind:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return None
