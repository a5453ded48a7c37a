"""Exit codes, and errors as two lines: what was wrong, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import IO, Any

import click

from asyncsched._core.errors import (
    ConfigurationError,
    KeyConflict,
    NotCancellable,
    NotFound,
    ScheduleExists,
    SchedulerStateError,
    SchemaError,
    StoreError,
)

OK, BAD, USAGE, NOT_FOUND, REFUSED, UNREACHABLE = range(6)
"""0: well; 1: the answer is bad; 2: wrong usage; 3: not found; 4: refused; 5: cannot be reached."""


class Fault(click.ClickException):
    """What was wrong in one line, and in another what to do.

    Args:
        code: the exit code.
        what: what was wrong.
        remedy: what to do; ``""`` where the first line says it.

    """

    def __init__(self, code: int, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.remedy = remedy

    def show(self, file: IO[Any] | None = None) -> None:
        """Write both lines to stderr."""
        click.echo(click.style("error: ", fg="red") + one_line(self.message), err=True)
        if self.remedy:
            click.echo(f"  {self.remedy}", err=True)


def fault_of(error: Exception) -> Fault | None:
    """Return an error of the library as a fault; ``None`` for a bug."""
    text = str(error)
    if isinstance(error, NotFound):
        return Fault(NOT_FOUND, text)
    if isinstance(error, SchemaError):
        return Fault(UNREACHABLE, text, "`asyncsched db plan` shows what its tables lack")
    if isinstance(error, StoreError):
        return Fault(UNREACHABLE, text)
    if isinstance(error, NotCancellable | SchedulerStateError | KeyConflict | ScheduleExists):
        return Fault(REFUSED, text)
    if isinstance(error, ConfigurationError | TypeError):
        return Fault(USAGE, text)
    return None


def one_line(text: str) -> str:
    """Return a text as one line."""
    return " ".join(text.split())


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``Did you mean …?`` for a near miss, what there is for few, and else ``""``."""
    names = sorted(known)
    near = (
        get_close_matches(name, names, 3, 0.6) or [one for one in names if name and one.startswith(name)][:3]
    )
    if near:
        return f"did you mean {' or '.join(near)}?"
    if 0 < len(names) <= 8:
        return f"there are: {', '.join(names)}"
    return ""
