"""Exceptions that are hard to carry from process to process, and a job that raises them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ServiceError(Exception):
    """The base of the others, as libraries have it."""


class ApiError(ServiceError):
    """Hands another text to ``Exception`` than it takes, as most clients of web services do."""

    def __init__(self, status: int, *, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class DiskError(OSError):
    def __init__(self, device: str, code: int) -> None:
        super().__init__(code, f"{device} is broken", f"/dev/{device}")
        self.device = device


class Slotted(ServiceError):
    __slots__ = ("place",)

    def __init__(self, *, place: int) -> None:
        super().__init__()
        self.place = place


@dataclass(frozen=True)
class Frozen(ServiceError):
    place: int


class Session(ServiceError):
    """Has something that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("the session is closed")
        self.lock = threading.Lock()


def api_error(folder: str) -> None:
    _count(folder)
    raise ApiError(503, body="try later")


def session_error(folder: str) -> None:
    _count(folder)
    raise Session


def _count(folder: str) -> None:
    attempts = len(list(Path(folder).iterdir()))
    (Path(folder) / str(attempts)).touch()


def make(kind: str) -> BaseException:
    errors: dict[str, Any] = {
        "api": lambda: ApiError(503, body="try later"),
        "disk": lambda: DiskError("sda", 5),
        "slots": lambda: Slotted(place=3),
        "frozen": lambda: Frozen(place=3),
        "group": lambda: ExceptionGroup("two", [ApiError(500, body="no"), DiskError("sdb", 2)]),
        "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    }
    return errors[kind]()  # type: ignore[no-any-return]


def raise_(kind: str) -> None:
    error = make(kind)
    error.__dict__["__notes__"] = ["a note"]
    raise error


def raise_only_here() -> None:
    """Raise an exception whose class no other process can know."""
    raise type("OnlyHere", (Session,), {"__module__": "nowhere"})
