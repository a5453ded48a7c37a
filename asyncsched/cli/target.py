"""The target of a command: the scheduler in the code, the store itself, or a live page; named, and always shown.

Nothing is started in order to be inspected: a store is opened by a scheduler of the role ``off``, which is no
instance of the cluster, fires nothing and runs nothing, and which makes no tables.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from asyncsched._core.models import Schedule
from asyncsched._scheduler.scheduler import Scheduler
from asyncsched.cli.faults import NOT_FOUND, UNREACHABLE, USAGE, Fault, suggestion
from asyncsched.cli.output import present
from asyncsched.cli.slots import Slot

if TYPE_CHECKING:
    from asyncsched.abc import Store
    from asyncsched.cli.remote import Remote

T = TypeVar("T")

_NO_TARGET = (
    "name one: --url http://… (a running app's page), --store sqlite:///jobs.db (the store itself) or "
    "--app module:scheduler (the code), or set ASYNCSCHED_URL, ASYNCSCHED_STORE or ASYNCSCHED_APP"
)


@dataclass(frozen=True)
class Target:
    """What a command looks at, as it was named."""

    app: str | None = None
    store: str | None = None
    url: str | None = None
    namespace: str | None = None
    token: str | None = None

    def code(self) -> Scheduler:
        """Return the scheduler in the code, imported and not started.

        Raises:
            Fault: none was named, or it cannot be imported.

        """
        if self.app is None:
            raise Fault(
                USAGE, "this needs the code: no --app was given", "--app module:scheduler, or ASYNCSCHED_APP"
            )
        return load(self.app)

    @property
    def has_ledger(self) -> bool:
        """Whether a store or a page was named."""
        return self.store is not None or self.url is not None

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[Ledger]:
        """Open the page or the store that was named, or the store of the code.

        Raises:
            Fault: neither was named, and the code has no store; or it is not there.

        """
        if self.url is not None:
            yield self._page()
            return
        made, where = self._closed_ledger()
        async with made:
            yield Ledger(made, where, self.app is not None)

    def _page(self) -> Ledger:
        from asyncsched.cli.api import Api
        from asyncsched.cli.remote import Remote

        assert self.url is not None
        if self.store is not None or self.namespace is not None:
            extra = "--store" if self.store is not None else "--namespace"
            raise Fault(USAGE, f"--url and {extra} exclude each other", "the page has a store of its own")
        api = Api(self.url, self.token)
        return Ledger(Remote(api), f"page {api.url}", True)

    def _closed_ledger(self) -> tuple[Scheduler, str]:
        code = None if self.app is None else load(self.app)
        if self.store is None and code is None:
            raise Fault(USAGE, "no target was given", _NO_TARGET)
        namespace = self.namespace or (code.namespace if code is not None else "default")
        if self.store is not None:
            store = _store_of(self.store, namespace)
            where = f"store {shown(self.store)}"
        else:
            assert code is not None
            store = code._choices.make_store()
            where = f"store of {self.app}: {store!r}"
            if not store.durable:
                raise Fault(
                    USAGE, f"{self.app} keeps its schedules in memory, where only its own process can look",
                    "name the page of the running app by --url, or give the scheduler a store such as sqlite:///jobs.db",
                )  # fmt: skip
        _check_there(store)
        where += f", namespace {namespace!r}" if namespace != "default" else ""
        return silent(store, namespace, code), where


@dataclass(frozen=True)
class Ledger:
    """An open store, as a scheduler of the role ``off``, or a page; and what to call it."""

    scheduler: Scheduler | Remote
    where: str
    has_code: bool
    """Whether the jobs of the code are known, which making a run needs."""

    async def job_names(self) -> list[str]:
        """Return the names of the jobs that the code declares."""
        if isinstance(self.scheduler, Scheduler):
            return list(self.scheduler._registry.jobs)
        return [one["name"] for one in await self.scheduler.jobs()]

    async def upcoming(self, schedule: Schedule, n: int) -> list[Slot]:
        """Return the next due times of a schedule, with the effects of clock changes."""
        if not isinstance(self.scheduler, Scheduler):
            return await self.scheduler.upcoming(schedule, n)
        now = present()
        found = await self.scheduler.timeline(now, now + timedelta(days=1461), schedule=schedule.id, limit=n)
        return [(one.at, one.note) for one in found if not one.fault]


def silent(store: Store, namespace: str, code: Scheduler | None) -> Scheduler:
    """Return a scheduler that answers about a store, knows the jobs of the code, and starts nothing."""
    from asyncsched.stores.sql.store import SqlStore

    if isinstance(store, SqlStore):
        store.migrates = False
    made = Scheduler(store, namespace=namespace, role="off")
    if code is not None:
        made._registry, made._executors = code._registry, code._executors
    return made


def _store_of(url: str, namespace: str) -> Store:
    from asyncsched.stores.factory import open_store

    return open_store(url, namespace)()


def _check_there(store: Store) -> None:
    """Refuse a file that is not there: to look must not make it."""
    from asyncsched.stores.sqlite.store import SqliteStore

    if isinstance(store, SqliteStore) and not store.path.exists():
        raise Fault(
            UNREACHABLE, f"there is no file {store.path}", "check the path, and whether the app has run"
        )


def shown(url: str) -> str:
    """Return a URL without its password."""
    head, separator, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    if not at:
        return url
    return f"{head}{separator}{account.partition(':')[0]}@{place}"


def load(spec: str) -> Scheduler:
    """Return the scheduler that ``module:attribute`` names; the module's only one without the attribute.

    Raises:
        Fault: there is no such module or attribute, the module fails, or it is no scheduler.

    """
    name, _, attribute = spec.partition(":")
    if not name or name.endswith(".py") or "/" in name:
        module = name.removesuffix(".py").strip("./").replace("/", ".")
        raise Fault(
            USAGE, f"{spec!r} is no module:attribute", f"write {module or 'app'}:{attribute or 'scheduler'}"
        )
    found: Any = _imported(name)
    there = {key: value for key, value in vars(found).items() if isinstance(value, Scheduler)}
    if not attribute:
        if len(there) == 1:
            return next(iter(there.values()))
        remedy = f"write {name}:{next(iter(there), 'scheduler')}"
        raise Fault(USAGE, f"{name} has {len(there) or 'no'} schedulers: {', '.join(there) or '-'}", remedy)
    attribute, call, _ = attribute.partition("()")
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise Fault(NOT_FOUND, f"module {name} has no {part!r}", suggestion(part, there or vars(found)))
        found = getattr(found, part)
    if call:
        found = found()
    if not isinstance(found, Scheduler):
        others = f"its schedulers are: {', '.join(f'{name}:{one}' for one in there)}" if there else ""
        hint = others or f"for a function that returns one, write {name}:{attribute}()"
        raise Fault(USAGE, f"{spec} is a {type(found).__name__}, and no Scheduler", hint)
    return found


def _imported(name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            near = suggestion(name, _modules_here(here))
            raise Fault(
                NOT_FOUND, f"there is no module {name!r} (looked in {here} and on the path)", near
            ) from error
        raise Fault(
            USAGE,
            f"{name} cannot be imported: {error}{_place(error)}",
            "run this in the app's own environment",
        ) from error
    except Exception as error:
        what = f"{name} cannot be imported: {type(error).__name__}: {error}{_place(error)}"
        raise Fault(USAGE, what, "--debug shows the traceback") from error


def _modules_here(folder: str) -> list[str]:
    return [entry.name.removesuffix(".py") for entry in os.scandir(folder) if entry.name.endswith(".py")]


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return f" ({last[0].filename}:{last[0].lineno})" if last and "importlib" not in last[0].filename else ""


def run_async(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a command's coroutine; log lines of the library are left out, since the command says itself what is wrong."""
    import logging

    import anyio

    logger, nowhere = logging.getLogger("asyncsched"), logging.NullHandler()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(nowhere)
    try:
        return anyio.run(main)
    finally:
        logger.removeHandler(nowhere)
        logger.propagate = before


def say_where(where: str) -> None:
    """Tell on stderr what is looked at."""
    click.echo(click.style(where, dim=True), err=True)
