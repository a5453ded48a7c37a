"""Async-first, in-process scheduling for ASGI apps: on time, once, and visible.

Put a ``Scheduler`` into the lifespan of a FastAPI or Starlette app; ``help(Scheduler)`` has its calls::

    scheduler = Scheduler()                       # or Scheduler("sqlite:///jobs.db"), "postgresql://…"

    @scheduler.interval(seconds=30)
    async def refresh_rates() -> None: ...

    app = FastAPI(lifespan=scheduler.lifespan)

    run = await scheduler.schedule_once(send_welcome, "ann@example.org", delay=5)

Beside the names here there are ``asyncsched.events`` (what observers hear), ``asyncsched.views`` (what the calls
answer), ``asyncsched.asgi`` (the scheduler as a dependency), ``asyncsched.testing`` (virtual time), ``asyncsched.abc``
(protocols for parts of one's own), and the folders ``triggers``, ``policies``, ``executors``, ``stores`` and
``observers``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from asyncsched._core.version import VERSION as __version__

if TYPE_CHECKING:
    from asyncsched._core.context import CurrentRun as CurrentRun
    from asyncsched._core.context import current_run as current_run
    from asyncsched._core.errors import ArgumentError as ArgumentError
    from asyncsched._core.errors import AsyncSchedError as AsyncSchedError
    from asyncsched._core.errors import ConfigurationError as ConfigurationError
    from asyncsched._core.errors import Discard as Discard
    from asyncsched._core.errors import KeyConflict as KeyConflict
    from asyncsched._core.errors import NotCancellable as NotCancellable
    from asyncsched._core.errors import NotFound as NotFound
    from asyncsched._core.errors import RunCancelled as RunCancelled
    from asyncsched._core.errors import RunFailed as RunFailed
    from asyncsched._core.errors import RunLost as RunLost
    from asyncsched._core.errors import RunTimedOut as RunTimedOut
    from asyncsched._core.errors import ScheduleExists as ScheduleExists
    from asyncsched._core.errors import SchedulerClosed as SchedulerClosed
    from asyncsched._core.errors import SchedulerStateError as SchedulerStateError
    from asyncsched._core.errors import SchemaError as SchemaError
    from asyncsched._core.errors import Snooze as Snooze
    from asyncsched._core.errors import StoreError as StoreError
    from asyncsched._core.errors import StoreUnavailable as StoreUnavailable
    from asyncsched._core.errors import TriggerError as TriggerError
    from asyncsched._core.errors import TryAgain as TryAgain
    from asyncsched._core.errors import UnknownJob as UnknownJob
    from asyncsched._core.errors import UnknownRun as UnknownRun
    from asyncsched._core.errors import UnknownSchedule as UnknownSchedule
    from asyncsched._core.misfire import Misfire as Misfire
    from asyncsched._core.models import Progress as Progress
    from asyncsched._core.models import Run as Run
    from asyncsched._core.models import Schedule as Schedule
    from asyncsched._core.reports import Explanation as Explanation
    from asyncsched._core.reports import Health as Health
    from asyncsched._core.reports import Instance as Instance
    from asyncsched._core.rules.retention import Retention as Retention
    from asyncsched._core.states import Outcome as Outcome
    from asyncsched._scheduler.handle import RunHandle as RunHandle
    from asyncsched._scheduler.once import Once as Once
    from asyncsched._scheduler.options import JobDefaults as JobDefaults
    from asyncsched._scheduler.options import JobOptions as JobOptions
    from asyncsched._scheduler.scheduler import Scheduler as Scheduler
    from asyncsched._scheduler.scope import Scope as Scope
    from asyncsched.observers.log import RunIdFilter as RunIdFilter
    from asyncsched.policies.limits import Limit as Limit
    from asyncsched.policies.limits import RateLimit as RateLimit
    from asyncsched.policies.provide import Provide as Provide
    from asyncsched.policies.retry import Retry as Retry
    from asyncsched.triggers.at import At as At
    from asyncsched.triggers.combine import AnyOf as AnyOf
    from asyncsched.triggers.cron.trigger import Cron as Cron
    from asyncsched.triggers.interval import Interval as Interval
    from asyncsched.triggers.windows import Window as Window

__all__ = (
    "AnyOf", "ArgumentError", "AsyncSchedError", "At", "ConfigurationError", "Cron", "CurrentRun", "Discard", "Explanation", "Health", "Instance", "Interval", "JobDefaults", "JobOptions", "KeyConflict", "Limit", "Misfire", "NotCancellable", "NotFound", "Once", "Outcome", "Progress", "Provide", "RateLimit", "Retention", "Retry", "Run", "RunCancelled", "RunFailed", "RunHandle", "RunIdFilter", "RunLost", "RunTimedOut", "Schedule", "ScheduleExists", "Scheduler", "SchedulerClosed", "SchedulerStateError", "SchemaError", "Scope", "Snooze", "StoreError", "StoreUnavailable", "TriggerError", "TryAgain", "UnknownJob", "UnknownRun", "UnknownSchedule", "Window", "__version__", "current_run",
)  # fmt: skip

_HOMES = {
    "_core.context": "CurrentRun current_run",
    "_core.errors": "ArgumentError AsyncSchedError ConfigurationError Discard KeyConflict NotCancellable NotFound RunCancelled RunFailed RunLost RunTimedOut ScheduleExists SchedulerClosed SchedulerStateError SchemaError Snooze StoreError StoreUnavailable TriggerError TryAgain UnknownJob UnknownRun UnknownSchedule",
    "_core.misfire": "Misfire",
    "_core.models": "Progress Run Schedule",
    "_core.reports": "Explanation Health Instance",
    "_core.rules.retention": "Retention",
    "_core.states": "Outcome",
    "_scheduler.handle": "RunHandle",
    "_scheduler.once": "Once",
    "_scheduler.options": "JobDefaults JobOptions",
    "_scheduler.scheduler": "Scheduler",
    "_scheduler.scope": "Scope",
    "observers.log": "RunIdFilter",
    "policies.limits": "Limit RateLimit",
    "policies.provide": "Provide",
    "policies.retry": "Retry",
    "triggers.at": "At",
    "triggers.combine": "AnyOf",
    "triggers.cron.trigger": "Cron",
    "triggers.interval": "Interval",
    "triggers.windows": "Window",
}  # fmt: skip
"""The modules of the public names. A worker process, which needs few of them, imports the few."""

_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}

_SUBMODULES = ("abc", "asgi", "events", "executors", "observers", "policies", "stores", "testing", "triggers", "views")  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"asyncsched.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Several threads may come here at once: a module is imported by one of them, and the others wait.
    found = globals()[name] = getattr(import_module(f"asyncsched.{_MODULES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBMODULES])
