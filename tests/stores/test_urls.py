"""The address of a store: how it may be written, and that no error ever repeats a password."""

from __future__ import annotations

import traceback

import pytest

pytest.importorskip("psycopg")

from asyncsched import ConfigurationError, Scheduler
from asyncsched.stores.postgres import PostgresStore

SECRET = "geheim"


class Url:
    """As of pydantic or SQLAlchemy: no text, and its repr has all of it."""

    def __repr__(self) -> str:
        return f"Url('postgresql://u:{SECRET}@host/db')"


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("postgresql://u:geheim%zz@h/d", "invalid percent-encoded token; .* as urllib.parse.quote does"),
        ("postgresql://u:geheim x@h/d", "space.*urllib.parse.quote"),
        ("postgresql://u:geheim@[h/d", 'matching "]" in IPv6 host'),
        ("postgresql://u:x@geheim@h/d", '"@" or "/" where the user name or password ends too early'),
        ("postgresql://u:x/geheim@h/d", '"@" or "/" where the user name or password ends too early'),
        ("postgresql://u:geheim/d", "the port in the URL is no number"),
        ("postgresql://u:geheim@h:x/d", "the port in the URL is no number"),
        ("postgresql://u:geheim@h:65536/d", "from 1 to 65535"),
        ("postgresql://u@h/d?password=a&geheim", 'missing key/value separator "=" in URI query parameter'),
        ("postgresql://u@h/d?geheim=1", "invalid URI query parameter"),
        ("host=h user=u password=geheim", "is a libpq connection string; write it as a URL, postgresql://"),
        ("host=h password=geheim:x", "is a libpq connection string"),
        ("postgresql+asyncpg://u:geheim@h/d", r"'asyncpg' is not used here; write postgresql:// in place"),
        ("postgresql:u:geheim@h", "that is no URL"),
        ("u:geheim@h/d", "that is no URL"),
        ("redis://u:geheim@h", "the scheme 'redis' is not known"),
        (Url(), "a URL as text or a Store, not of type Url"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(store: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        Scheduler(store)  # type: ignore[arg-type]
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in f"{caught.value.__context__}{caught.value.__cause__}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:a%40%2F@h/d",
        "postgres://u@h,g:5432,5433/d",
        "postgresql:///d?host=/run&user=me@home",
        "postgresql+psycopg://u:p@h/d",
        "postgresql+psycopg_async://u:p@h/d",
    ],
)
def test_a_url_may_be_written_as_libpq_and_sqlalchemy_write_it(url: str) -> None:
    assert "not started" in repr(Scheduler(url))


def test_a_store_made_by_hand_shows_no_password_either() -> None:
    assert SECRET not in repr(PostgresStore(f"postgresql://u:{SECRET}@h/d"))
    with pytest.raises(ConfigurationError, match="that is no URL") as caught:
        PostgresStore(f"host=h password={SECRET}")
    assert SECRET not in str(caught.value)
