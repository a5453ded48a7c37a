"""A scheduler that a server's app makes and never starts says so."""

from __future__ import annotations

import logging
import threading

import pytest

from asyncsched import Scheduler
from asyncsched._scheduler import forgotten

APP = """
def load():
    scheduler = Scheduler()

    @scheduler.interval(seconds=5)
    async def tick() -> None: ...

    return scheduler
"""
SERVE = """
def serve(wait):
    return wait()
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgotten, "PATIENCE", 0.01)


def _in(module: str, text: str, **names: object) -> dict[str, object]:
    """Return the names of a module of a server that has this text."""
    found: dict[str, object] = {"__name__": module, **names}
    exec(text, found)
    return found


def _served(importer: str, loop: str, started: bool = False) -> Scheduler:
    """Have a server import an app, and serve it for a moment."""
    scheduler = _in(importer, APP, Scheduler=Scheduler)["load"]()  # type: ignore[operator]
    assert isinstance(scheduler, Scheduler)
    scheduler._ever = started

    def wait() -> None:
        for thread in threading.enumerate():
            if thread.name == "asyncsched forgotten":
                thread.join()

    serve = _in("uvicorn.server", SERVE)["serve"]
    _in(loop, SERVE)["serve"](lambda: serve(wait))  # type: ignore[operator]
    return scheduler


def test_schedules_of_an_app_whose_lifespan_was_forgotten_are_told(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = _served("uvicorn.importer", "asyncio.runners")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert (
        "none of its schedules (1) fires" in record.message
        and "lifespan=scheduler.lifespan" in record.message
    )
    assert not scheduler._ever


@pytest.mark.parametrize(
    "importer, loop, started",
    [
        ("uvicorn.importer", "asyncio.runners", True),
        ("gunicorn.util", "gunicorn.arbiter", False),
        ("script", "asyncio", False),
    ],
    ids=["started", "preloaded", "no server"],
)
def test_nothing_is_said_of_others(
    importer: str, loop: str, started: bool, caplog: pytest.LogCaptureFixture
) -> None:
    _served(importer, loop, started)
    assert caplog.records == []
