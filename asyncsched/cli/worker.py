"""``worker APP``: the scheduler of an app without a web server; and ``run APP JOB``: one job, once."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import anyio
import click

from asyncsched._core.errors import RunFailed, UnknownJob
from asyncsched.cli.faults import BAD, NOT_FOUND, OK, USAGE, Fault, suggestion
from asyncsched.cli.options import given, style_of, writes
from asyncsched.cli.output import plural, safe, write_json
from asyncsched.cli.target import load, say_where

if TYPE_CHECKING:
    from asyncsched._scheduler.scheduler import Scheduler


@click.command()
@click.argument("app", metavar="APP", envvar="ASYNCSCHED_APP")
@click.option("--backend", type=click.Choice(["asyncio", "trio"]), default="asyncio", show_default=True)
@click.option(
    "--shutdown-timeout", type=float, help="Seconds for running attempts at the end, in place of the code's."
)
@click.option("--log-level", default="info", show_default=True,
              type=click.Choice(["debug", "info", "warning", "error"]))  # fmt: skip
@writes(json=False)
def worker(app: str, backend: str, shutdown_timeout: float | None, log_level: str) -> int:
    """Run the scheduler of an app without a web server, until SIGTERM or Ctrl-C.

    The same code as in the web server; give the web processes ASYNCSCHED_ROLE=submit, and they only add runs. A second
    signal cancels what still runs.
    """
    found = load(app)
    _check_backend(backend)
    if shutdown_timeout is not None:
        if shutdown_timeout < 0:
            raise Fault(USAGE, f"--shutdown-timeout must not be negative, not {shutdown_timeout:g}")
        found._patience = shutdown_timeout
    log_to_stderr(log_level)
    role = found._choices.role or os.environ.get("ASYNCSCHED_ROLE") or "both"
    if role in ("submit", "off"):
        raise Fault(
            USAGE, f"the role of this process is {role!r}: it would run nothing",
            "unset ASYNCSCHED_ROLE here; it belongs to the web processes",
        )  # fmt: skip
    _warn_of_memory(found, app)
    registry = found._registry
    say_where(
        f"{app} on {backend}: {plural(len(registry.jobs), 'job')}, {plural(len(registry.schedules), 'schedule')}"
    )
    anyio.run(found.run_forever, backend=backend)
    return OK


def _warn_of_memory(scheduler: Scheduler, app: str) -> None:
    if not scheduler._choices.make_store().durable:
        click.echo(
            f"warning: {app} keeps its runs in memory, so this process and a web process do not share them",
            err=True,
        )


def _check_backend(backend: str) -> None:
    from importlib.util import find_spec

    if backend == "trio" and find_spec("trio") is None:
        raise Fault(USAGE, "trio is not installed", "pip install trio, or leave out --backend trio")


def log_to_stderr(level: str) -> None:
    """Send all log lines to stderr, with a time, unless the app has configured logging itself."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")


def run_once(
    app: str, job: str, arguments: Sequence[str], named: Sequence[str], timeout: float | None, backend: str
) -> int:
    """Run one job of an app once, in memory, and return 0 if it succeeded, else 1."""
    code = load(app)
    _check_backend(backend)
    log_to_stderr("warning")
    args, kwargs = given(tuple(arguments), tuple(named))
    if code._registry.find(job) is None:
        declared = code._registry.schedules.get(job)
        if declared is None:
            raise Fault(NOT_FOUND, f"there is no job {job!r} in {app}", suggestion(job, code._registry.jobs))
        job = declared.job.name

    async def main() -> int:
        alone = _alone(code)
        async with alone:
            return await _ran(alone, job, args, kwargs, timeout)

    return anyio.run(main, backend=backend)


def _alone(code: Scheduler) -> Scheduler:
    """Return a scheduler in memory that knows the jobs of the code and fires none of its schedules."""
    from asyncsched._scheduler.scheduler import Scheduler

    made = Scheduler(
        namespace=code.namespace, role="run", shutdown_timeout=code._patience, observers=code._observers[1:]
    )
    made._executors, registry = code._executors, code._registry
    made._registry.executors = code._executors
    made._registry.jobs |= registry.jobs
    made._registry._functions |= registry._functions
    return made


async def _ran(
    scheduler: Scheduler, job: str, args: list[Any], kwargs: dict[str, Any], timeout: float | None
) -> int:
    handle: Any = None
    try:
        handle = await cast("Any", scheduler).schedule_once(job, *args, kwargs=kwargs)
        result = await handle.result(timeout=timeout)
    except UnknownJob as error:
        raise Fault(NOT_FOUND, str(error)) from None
    except TimeoutError:
        await handle.cancel()
        click.echo(f"{job}: cancelled, it took longer than {timeout:g} s", err=True)
        return BAD
    except RunFailed as error:
        if style_of().json:
            write_json(
                {
                    "job": job,
                    "state": error.outcome.state,
                    "error_type": error.error_type,
                    "message": error.message,
                }
            )
        click.echo(safe(error.traceback.rstrip()), err=True)
        why = f" ({error.outcome.why})" if error.outcome.why else ""
        click.echo(f"{job}: {error.outcome.state}{why}", err=True)
        return BAD
    if style_of().json:
        write_json({"job": job, "state": "succeeded", "result": result})
    elif result is not None:
        click.echo(safe(str(result)))
    return OK
