"""Who may see and do what: closed by default, roles, and no write that another site's page has sent.

``auth`` is any function, plain or async, from a request to an :class:`Access`. This module has the usual ones.
Without any, only callers on this machine come in, and none that a proxy may stand before.
"""

from __future__ import annotations

import base64
import binascii
import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from starlette.authentication import AuthenticationBackend, AuthenticationError
from starlette.requests import HTTPConnection, Request

from asyncsched._core.errors import ConfigurationError

logger = logging.getLogger("asyncsched.dashboard")

SHORT = 12
"""The characters that a password should have at least: the page answers every guess at once."""

_FIRST_GUESSES = frozenset((
    "admin", "administrator", "asyncsched", "changeme", "default", "demo", "guest", "letmein", "pass", "password",
    "passw0rd", "root", "scheduler", "secret", "test", "user", "welcome",
))  # fmt: skip

Role = Literal["none", "read", "operate", "admin"]

RANKS: dict[str, int] = {"none": 0, "read": 1, "operate": 2, "admin": 3}


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller may do: nothing, ``read``, ``operate`` (run, pause, cancel …) or ``admin`` (remove, reschedule …).

    Attributes:
        role: the right.
        user: the name that stands in the record of what people did.
        by_token: the right came in a header that no browser adds by itself, so no other site's page can use it.
        challenge: for ``none``: the WWW-Authenticate header of a 401; without it the answer is a 403.
        reason: for ``none``: a line for the person, which says what to set.

    """

    role: Role
    user: str = ""
    by_token: bool = False
    challenge: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.role not in RANKS:
            raise ConfigurationError(f"Access: role must be one of {', '.join(RANKS)}, not {self.role!r}")

    def may(self, role: str) -> bool:
        """Whether this right includes another."""
        return RANKS[self.role] >= RANKS[role]


Auth = Callable[[Request], Access | Awaitable[Access]]

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

_CLOSED = (
    "This page is open to this machine only, because it was mounted without auth. "
    'Give it one, for example Dashboard(scheduler, auth=basic("name", "password")).'
)


def local_only(request: Request) -> Access:
    """Let in the callers on this machine, unless a proxy may stand before them; this is the default.

    A proxy on this machine makes every caller look local, so its headers close the page; and the ``Host`` header
    must name this machine, so that a foreign name that was made to lead here does not open it.
    """
    host = request.headers.get("host", "").lower()
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    proxied = any(header in request.headers for header in _PROXY_HEADERS)
    if proxied or name not in _LOCAL_NAMES or not _is_loopback(request):
        return Access("none", reason=_CLOSED)
    return Access("admin", user="local")


def _is_loopback(request: Request) -> bool:
    if request.client is None:
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _same(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


def basic(user: str, password: str, role: Role = "admin") -> Auth:
    """Return an ``auth`` that asks for one name and password, which the browser then keeps.

    The log warns of a password that is easily guessed: one that is short, common, or like the name.

    Raises:
        ConfigurationError: the name or the password is empty.

    """
    if not user or not password:
        raise ConfigurationError("basic: give a name and a password that are not empty")
    if weakness := _weakness(user, password):
        logger.warning(
            "basic: the password of %r %s, and it gives the right %r on the page; make one with "
            "secrets.token_urlsafe(12)", user, weakness, role,
        )  # fmt: skip
    refused = Access(
        "none",
        challenge='Basic realm="asyncsched", charset="UTF-8"',
        reason="Sign in with name and password.",
    )

    def auth(request: Request) -> Access:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return refused
        try:
            name, _, word = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return refused
        # Both are compared in any case, so that the time tells nothing about the name.
        right = _same(name, user) & _same(word, password)
        return Access(role, user=user) if right else refused

    return auth


def _weakness(user: str, password: str) -> str:
    """Return why a password is easily guessed, or ``""``."""
    plain = password.casefold().rstrip("0123456789!.?-_")
    if plain in _FIRST_GUESSES or not plain:
        return "is among the first that are tried"
    if plain == user.casefold():
        return "is like the name"
    if len(password) < SHORT:
        return f"has less than {SHORT} characters"
    return ""


def bearer(token: str, role: Role = "operate", user: str = "token") -> Auth:
    """Return an ``auth`` that wants ``Authorization: Bearer …``: for programs, such as the command line.

    Raises:
        ConfigurationError: the token has less than 16 characters.

    """
    if len(token) < 16:
        raise ConfigurationError(
            "bearer: give a token of at least 16 characters, such as secrets.token_urlsafe() makes"
        )
    refused = Access("none", challenge="Bearer", reason="Send a valid token as Authorization: Bearer.")

    def auth(request: Request) -> Access:
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(value.strip(), token):
            return Access(role, user=user, by_token=True)
        return refused

    return auth


def from_scope_user(
    *, read: str | None = None, operate: str | None = None, admin: str | None = None, login: str = ""
) -> Auth:
    """Return an ``auth`` that asks the app's own sign-in, by Starlette's ``AuthenticationMiddleware``.

    Args:
        read, operate, admin: the scope, of ``request.auth.scopes``, that gives each right. Without ``read``,
            every signed-in user may read.
        login: what a person is told to do, such as ``"Sign in at /login"``.

    """

    def auth(request: Request) -> Access:
        if "user" not in request.scope or not request.user.is_authenticated:
            return Access("none", reason=login or "Sign in to this app first.")
        return _of_scopes(
            request.user.display_name, request.auth.scopes, read=read, operate=operate, admin=admin
        )

    return auth


def backend(
    backend: AuthenticationBackend,
    *,
    read: str | None = None,
    operate: str | None = None,
    admin: str | None = None,
) -> Auth:
    """Return an ``auth`` that asks any Starlette ``AuthenticationBackend``; the scopes as in ``from_scope_user``."""

    async def auth(request: Request) -> Access:
        try:
            found = await backend.authenticate(HTTPConnection(request.scope))
        except AuthenticationError:
            found = None
        if found is None:
            return Access("none", reason="Sign in first.")
        credentials, user = found
        return _of_scopes(user.display_name, credentials.scopes, read=read, operate=operate, admin=admin)

    return auth


def _of_scopes(
    user: str, scopes: list[str], *, read: str | None, operate: str | None, admin: str | None
) -> Access:
    for role, scope in (("admin", admin), ("operate", operate), ("read", read)):
        if scope is not None and scope in scopes:
            return Access(role, user=user)  # type: ignore[arg-type]
    if read is None:
        return Access("read", user=user)
    return Access("none", reason=f"Your account lacks the scope {read!r}.")


def any_of(*auths: Auth) -> Auth:
    """Return an ``auth`` that lets in whom one of several lets in: basic for people and bearer for programs, say."""
    if not auths:
        raise ConfigurationError("any_of: give at least one auth")

    async def auth(request: Request) -> Access:
        first: Access | None = None
        for one in auths:
            found = await access_of(one, request)
            if found.role != "none":
                return found
            first = first or found
        assert first is not None
        return first

    return auth


async def access_of(auth: Auth, request: Request) -> Access:
    """Return what ``auth`` says of a request.

    Raises:
        ConfigurationError: it returned something else.

    """
    found = auth(request)
    if inspect.isawaitable(found):
        found = await found
    if not isinstance(found, Access):
        raise ConfigurationError(f"auth must return an Access, not {type(found).__name__}")
    return found


def foreign_write(request: Request, access: Access) -> str:
    """Return why a write is refused because another site's page may have sent it; ``""`` if it is not refused.

    A browser says with every write where it comes from. A program that says nothing of the kind must add the
    header that no other site's page can add.
    """
    if access.by_token:
        return ""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site != "same-origin":
        return "A page of another site has sent this request."
    if site is None and origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        return "A page of another site has sent this request."
    if request.headers.get("x-asyncsched") != "1":
        return "The header X-Asyncsched: 1 is missing."
    return ""
