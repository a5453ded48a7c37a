"""Check-ins at Sentry's cron monitors, with each monitor's schedule and zone from the trigger."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.instants import SECOND
from asyncsched._core.models import Run
from asyncsched._core.text import safe_repr
from asyncsched._core.version import VERSION
from asyncsched.observers.alerts.healthchecks import slug_of
from asyncsched.observers.alerts.sending import CheckIns

_UNITS = (("week", 10_080), ("day", 1440), ("hour", 60), ("minute", 1))


class Sentry(CheckIns):
    """Sends a check-in to a Sentry monitor when a scheduled run begins, succeeds or fails.

    It is an observer: ``Scheduler(observers=[Sentry()])``. A monitor is made with the first check-in, with the
    schedule and the zone of the trigger. A job that runs more often than once a minute checks in once a minute,
    and when it begins to fail or to succeed. Due times without a run are not sent: Sentry finds them.

    Args:
        dsn: the project's DSN; by default ``SENTRY_DSN``.
        jobs: the monitor's slug by the job's name, or the names of the jobs; ``None`` for all jobs with schedules.
        environment: the environment; by default ``SENTRY_ENVIRONMENT``, else ``production``.
        monitor: further settings of each monitor, such as ``{"checkin_margin": 5, "failure_issue_threshold": 2}``.
        client: makes the ``httpx.AsyncClient`` of each check-in, for a proxy or certificates of one's own.

    Raises:
        ConfigurationError: there is no DSN or it is none, or httpx is not installed.

    """

    def __init__(
        self,
        dsn: str | None = None,
        jobs: Mapping[str, str] | Iterable[str] | None = None,
        *,
        environment: str | None = None,
        monitor: Mapping[str, Any] | None = None,
        client: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__("Sentry", client)
        self._url, self._auth = _endpoint(os.environ.get("SENTRY_DSN") if dsn is None else dsn)
        if isinstance(jobs, str):
            raise ConfigurationError(f"Sentry: jobs must be a dict or a list, not {safe_repr(jobs)}")
        self._jobs: dict[str, str] | None = None
        if jobs is not None:
            self._jobs = dict(jobs) if isinstance(jobs, Mapping) else {name: slug_of(name) for name in jobs}
        self._environment = environment or os.environ.get("SENTRY_ENVIRONMENT") or "production"
        self._monitor = dict(monitor or {})

    def check_of(self, run: Run) -> str | None:
        """Return the slug of the monitor of a scheduled run: the job's, or the schedule's where that has another name."""
        if run.schedule is None:
            return None
        if self._jobs is None:
            return slug_of(run.schedule)
        return self._jobs.get(run.job)

    def begin(self, check: str, run: Run) -> Any:
        """Return the check-in of a beginning."""
        return self._envelope(check, run, "in_progress")

    def end(self, check: str, run: Run) -> Any:
        """Return the check-in of an end; a cancelled run is an end without an error."""
        return self._envelope(check, run, "ok" if run.state in ("succeeded", "cancelled") else "error")

    def _envelope(self, check: str, run: Run, status: str) -> Any:
        payload: dict[str, Any] = {
            "type": "check_in", "check_in_id": run.id, "monitor_slug": check, "status": status,
            "environment": self._environment,
        }  # fmt: skip
        if status != "in_progress" and run.started_at is not None and run.finished_at is not None:
            payload["duration"] = max(0.0, (run.finished_at - run.started_at).total_seconds())
        config = self._config(run)
        if config:
            payload["monitor_config"] = config
        item = json.dumps(payload).encode()
        header = json.dumps({"type": "check_in", "length": len(item)}).encode()
        headers = {"Content-Type": "application/x-sentry-envelope", "X-Sentry-Auth": self._auth}
        return self._httpx.Request(
            "POST", self._url, headers=headers, content=b"\n".join((b"{}", header, item, b""))
        )

    def _config(self, run: Run) -> dict[str, Any]:
        """Return the monitor's settings, from the trigger and the job; none for a trigger that Sentry cannot have."""
        for figures in self._figures:
            schedule = schedule_of(figures.trigger_data(run.schedule or ""))
            if schedule is None:
                continue
            config = {**schedule, **self._monitor}
            job = figures.jobs.get(run.job)
            if job is not None and job.timeout is not None:
                config.setdefault("max_runtime", max(1, -(-job.timeout // (60 * SECOND))))
            return config
        return {}


def schedule_of(trigger: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a trigger's data as a Sentry monitor has it, or ``None`` if it can have no such schedule.

    Whatever comes more often than once a minute is a minute; an interval becomes whole minutes, upwards.
    """
    cron, nanos = trigger.get("cron"), trigger.get("interval")
    if isinstance(cron, str):
        if len(cron.split()) > 5:  # with seconds, which Sentry does not know
            return {"schedule": {"type": "interval", "value": 1, "unit": "minute"}}
        found: dict[str, Any] = {"schedule": {"type": "crontab", "value": cron}}
        zone = str(trigger.get("timezone", "UTC"))
        return {**found, "timezone": zone} if zone[:1].isalpha() else None  # Sentry knows no fixed offsets
    if isinstance(nanos, int):
        minutes = max(1, -(-nanos // (60 * SECOND * 1000)))
        unit, size = next((unit, size) for unit, size in _UNITS if minutes % size == 0)
        return {"schedule": {"type": "interval", "value": minutes // size, "unit": unit}}
    return None


def _endpoint(dsn: str | None) -> tuple[str, str]:
    """Return the address of the envelopes and the header that authenticates them."""
    if not dsn:
        raise ConfigurationError("Sentry: there is no DSN; give dsn= or set SENTRY_DSN")
    parts = urlsplit(dsn)
    path, _, project = parts.path.rpartition("/")
    if (
        parts.scheme not in ("http", "https")
        or not parts.username
        or not parts.hostname
        or not project.isdigit()
    ):
        # The text repeats no part of it: a wrong one may hold a secret.
        raise ConfigurationError("Sentry: dsn must be such as https://KEY@HOST/PROJECT")
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    auth = f"Sentry sentry_version=7, sentry_client=asyncsched/{VERSION}, sentry_key={parts.username}"
    return f"{parts.scheme}://{host}{path}/api/{project}/envelope/", auth
