"""Check-ins at healthchecks.io, or at a server of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.models import Run
from asyncsched._core.text import safe_repr
from asyncsched.observers.alerts.sending import LONGEST_BODY, CheckIns


class Healthchecks(CheckIns):
    """Pings a check of healthchecks.io when a run of its job begins, succeeds or fails.

    It is an observer: ``Scheduler(observers=[Healthchecks("https://hc-ping.com", jobs={"nightly": "…uuid…"})])``.
    The run's id is sent along, so that durations are right where runs overlap. A failure comes with its error.
    A job that runs more often than once a minute is pinged once a minute, and when it begins to fail or to
    succeed.

    Args:
        base_url: the address of the ping API: ``https://hc-ping.com`` or that of your own server.
        jobs: the check of each job by the job's name: its UUID; or its slug, with a ``ping_key``.
        ping_key: the project's key, for checks by slug.
        create: checks that do not exist are made, as ``?create=1`` does; needs a ``ping_key``.
        client: makes the ``httpx.AsyncClient`` of each ping, for a proxy or certificates of one's own.

    Raises:
        ConfigurationError: an argument is wrong, or httpx is not installed.

    """

    def __init__(
        self,
        base_url: str,
        jobs: Mapping[str, str] | Iterable[str],
        *,
        ping_key: str | None = None,
        create: bool = False,
        client: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__("Healthchecks", client)
        if not isinstance(base_url, str) or not base_url.startswith(("http://", "https://")):
            raise ConfigurationError(f"Healthchecks: base_url must be a URL, not {safe_repr(base_url)}")
        if create and ping_key is None:
            raise ConfigurationError(
                "Healthchecks: create=True needs a ping_key=, under which checks are made"
            )
        if isinstance(jobs, str):
            raise ConfigurationError(f"Healthchecks: jobs must be a dict or a list, not {safe_repr(jobs)}")
        self._jobs = dict(jobs) if isinstance(jobs, Mapping) else {name: slug_of(name) for name in jobs}
        self._base = base_url.rstrip("/") + (f"/{quote(ping_key, safe='')}" if ping_key else "")
        self._create = create
        for name, check in self._jobs.items():
            _check(name, check, ping_key)

    def check_of(self, run: Run) -> str | None:
        """Return the check of the run's job."""
        return self._jobs.get(run.job)

    def begin(self, check: str, run: Run) -> Any:
        """Return the ping of a beginning."""
        return self._ping(check, "/start", run, "")

    def end(self, check: str, run: Run) -> Any:
        """Return the ping of an end; a run that was cancelled leaves the check as it is, and a line in its log."""
        if run.state == "succeeded":
            return self._ping(check, "", run, "")
        if run.state == "cancelled":
            return self._ping(check, "/log", run, f"cancelled: {run.why}")
        what = f"{run.error_type}: {run.message}" if run.error_type else f"{run.state}: {run.why}"
        return self._ping(check, "/fail", run, f"{what}\n\n{run.traceback}".strip())

    def _ping(self, check: str, what: str, run: Run, body: str) -> Any:
        query = {"rid": str(UUID(run.id)), **({"create": "1"} if self._create else {})}
        content = body[:LONGEST_BODY].encode(errors="replace")
        return self._httpx.Request(
            "POST", f"{self._base}/{quote(check, safe='')}{what}", params=query, content=content
        )


def slug_of(name: str) -> str:
    """Return a name as these services take it: ``a-z0-9-_``, at most 50 characters."""
    kept = "".join(one if one.isascii() and (one.isalnum() or one in "-_") else "-" for one in name.lower())
    return kept[:50].strip("-") or "job"


def _check(job: str, check: object, ping_key: str | None) -> None:
    if not isinstance(check, str) or not check:
        raise ConfigurationError(
            f"Healthchecks: the check of job {job!r} must be a text, not {safe_repr(check)}"
        )
    if ping_key is not None:
        return
    try:
        UUID(check)
    except ValueError:
        raise ConfigurationError(
            f"Healthchecks: the check of job {job!r} is {safe_repr(check)}, which is no UUID; give a UUID, or a "
            "ping_key= with which checks have slugs"
        ) from None
