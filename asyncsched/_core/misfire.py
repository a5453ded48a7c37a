"""The option for slots that were not met in time; :mod:`asyncsched._core.rules.due` applies it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, get_args

from asyncsched._core.checks import check_choice, check_int
from asyncsched._core.errors import ConfigurationError
from asyncsched._core.instants import to_micros
from asyncsched._core.shown import AnyValue
from asyncsched._core.states import CatchUp


@dataclass(frozen=True, slots=True)
class Misfire:
    """The rule for slots that were not met in time.

    Args:
        catch_up: of the slots owed at one moment, ``"latest"`` runs the newest, ``"all"`` the
            newest ``limit`` (oldest first, behind one another), ``"none"`` the newest only while
            it is late by no more than ``grace``.
        grace: seconds or ``timedelta``; slots later than that are not run under any ``catch_up``.
            ``None``: no bound, but 60 s under ``"none"``.
        limit: how many slots ``"all"`` runs at most.

    """

    catch_up: CatchUp = "latest"
    grace: Annotated[float | timedelta | None, AnyValue()] = None
    limit: int = 100
    grace_micros: int | None = field(init=False, repr=False, compare=False)
    """The bound on lateness in microseconds, or ``None``."""

    def __post_init__(self) -> None:
        check_choice(self.catch_up, "Misfire: catch_up", get_args(CatchUp))
        check_int(self.limit, "Misfire: limit", 1, 10_000)
        grace = 60_000_000 if self.catch_up == "none" else None
        if self.grace is not None and (grace := to_micros(self.grace, "Misfire: grace")) < 0:
            raise ConfigurationError(f"Misfire: grace must not be negative, not {self.grace}")
        object.__setattr__(self, "grace_micros", grace)  # read at every firing
