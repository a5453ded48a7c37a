"""The address of a PostgreSQL store. Errors repeat no part of an address, because it has a password."""

from __future__ import annotations

import re

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from asyncsched._core.errors import ConfigurationError

_FORM = "give postgresql://user:password@host:port/database"
_QUOTE = "write each of %, @, :, /, ?, # and blanks in a user name or password as urllib.parse.quote does"

_BEFORE_QUOTES = re.compile(r'(?:"[=:/\]]"|[^"])*')
"""The part of a libpq error before libpq repeats, in quotes, a part of the URL."""


def conninfo(url: str, timeout: float) -> str:
    """Return the connection text of a store's URL, with the settings that detect a dead network in time.

    Raises:
        ConfigurationError: the URL cannot be read.

    """
    _, found, rest = url.partition("://")
    if not found:
        raise ConfigurationError(f"store: that is no URL; {_FORM}")
    _check_signs(rest)
    given: dict[str, str | int | None] = {}
    fault = ""
    try:
        given = dict(conninfo_to_dict(f"postgresql://{rest}"))
    except psycopg.ProgrammingError as error:
        # The error is raised only below: a traceback of chained exceptions would show the password.
        fault = _without_quotes(str(error))
    if fault:
        raise ConfigurationError(f"store: PostgreSQL cannot read the URL: {fault}; {_FORM}, and {_QUOTE}")
    _check_ports(str(given.get("port") or ""))
    defaults: dict[str, str | int | None] = {
        "connect_timeout": max(2, round(timeout)),  # the least that libpq accepts
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": int(timeout * 1000),
        "target_session_attrs": "read-write",  # of several servers, the one that can be written to
    }
    # The client encoding overrides the URL, so that text is sent and received unchanged.
    return make_conninfo("", **{**defaults, **given, "client_encoding": "UTF8"})


def place_of(conninfo: str) -> str:
    """Return the server and the database of a connection text, without user and password."""
    given = conninfo_to_dict(conninfo)
    host, port = given.get("host") or given.get("hostaddr") or "", given.get("port") or ""
    return f"{host}{port and ':'}{port}/{given.get('dbname') or ''}"


def _check_signs(rest: str) -> None:
    """Refuse a password with a sign that ends it: libpq would take its rest for a host, and show that."""
    before, at, after = rest.partition("@")
    too_early = "?" not in before if "/" in before else "@" in after.partition("?")[0]
    if at and too_early:
        raise ConfigurationError(
            f'store: the URL has "@" or "/" where the user name or password ends too early; {_QUOTE}'
        )


def _check_ports(ports: str) -> None:
    for port in filter(None, ports.split(",")):
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise ConfigurationError(
                f"store: the port in the URL is no number from 1 to 65535; {_FORM}, and {_QUOTE}"
            )


def _without_quotes(text: str) -> str:
    found = _BEFORE_QUOTES.match(text)
    words = " ".join(found[0].split()) if found else ""
    return words.rstrip(": ").removesuffix(" found in") or "it is malformed"
