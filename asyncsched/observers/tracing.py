"""Traces by the OpenTelemetry API: a span for each run, with its attempts as children.

The ids of a run's span are a function of the run's id. So attempts on several instances, hours apart, are
parts of one trace, and nothing has to be kept for it; :func:`trace_id` tells the trace of a run.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

from asyncsched._core.arguments.functions import path_of
from asyncsched._core.checks import check_choice
from asyncsched._core.events import Event, RunFenced, RunFinished, RunStarted, RunWaits
from asyncsched._core.extras import needed
from asyncsched._core.models import Attempt, Run
from asyncsched._core.states import FAILURES
from asyncsched.abc import Figures, to_instant

_TRIGGERS = {"schedule": "schedule", "once": "api", "manual": "manual", "backfill": "backfill"}
"""What brought a run about, in the words of the attribute ``asyncsched.trigger``."""


def trace_id(run_id: str) -> str:
    """Return the id of the trace that a run's spans belong to, as 32 hexadecimal digits."""
    return f"{_ids_of(run_id)[0]:032x}"


def _ids_of(run_id: str) -> tuple[int, int]:
    """Return the ids of a run's trace and span. Samplers need ids that are spread evenly, so these are hashed."""
    raw = bytes.fromhex(run_id)
    trace, span = blake2b(raw, digest_size=16, person=b"trace"), blake2b(raw, digest_size=8, person=b"span")
    return int.from_bytes(trace.digest()) or 1, int.from_bytes(span.digest()) or 1


# ── the context of the caller ────────────────────────────────────────────────────────────────────

_came: ContextVar[bool] = ContextVar("asyncsched_trace_came", default=False)


class _TraceContext:
    """The present trace context, as what travels with a run: the headers that the app's propagators write."""

    name = "opentelemetry"

    def get(self) -> dict[str, str]:
        """Return the headers; raise ``LookupError`` if there is no trace and no baggage."""
        headers: dict[str, str] = {}
        if _api("context").get_current():  # it is empty outside of every span, and nothing has to be written
            _api("propagate").inject(headers)
        if not headers:
            raise LookupError("no trace context")
        return headers

    def set(self, value: Any) -> None:
        """Make the context that the headers tell the present one."""
        _api("context").attach(_api("propagate").extract(value))
        _came.set(True)


trace_context = _TraceContext()
"""What travels with a run: :class:`Tracing` carries it by itself; without it, a job may: ``carry=[trace_context]``."""


@cache
def _api(module: str) -> Any:
    return needed(f"opentelemetry.{module}", "opentelemetry-api", "tracing", "Tracing")


# ── spans ────────────────────────────────────────────────────────────────────────────────────────


class _Open(NamedTuple):
    """An attempt under way: its span, and the links of its run."""

    span: Any
    links: list[Any]


_EVENTS: tuple[type[Event], ...] = (RunStarted, RunFinished, RunWaits, RunFenced)


class Tracing:
    """Makes a span ``run {job}`` of each run, and a child ``attempt {job}`` of each attempt.

    It is an observer: ``Scheduler(observers=[Tracing()])``. In a job the attempt's span is the current one,
    in threads and in processes too. A run that was scheduled within a span, as in a request, has a link to it.

    Args:
        provider: a ``TracerProvider``; ``None`` for the global one. If the app has set none when the scheduler
            starts, nothing is traced, and no event is made for it.
        semconv: ``"messaging"`` names the spans by the conventions for messaging: ``process {job}``.

    Raises:
        ConfigurationError: ``opentelemetry-api`` is not installed.

    """

    wants: tuple[type[Event], ...] = _EVENTS
    carries = (trace_context,)

    def __init__(self, provider: Any = None, *, semconv: str = "asyncsched") -> None:
        check_choice(semconv, "semconv", ("asyncsched", "messaging"))
        self._trace, self._context = _api("trace"), _api("context")
        self._provider = provider
        self._messaging = semconv == "messaging"
        self._kind = self._trace.SpanKind.CONSUMER if self._messaging else self._trace.SpanKind.INTERNAL
        self._tracer_found: Any = None
        self._figures: list[Figures] = []
        self._open: dict[str, _Open] = {}

    def attach(self, figures: Figures) -> None:
        """Take the figures of a scheduler, which know the functions of its jobs."""
        found = self._provider or self._trace.get_tracer_provider()
        self.wants = () if isinstance(found, self._trace.ProxyTracerProvider) else _EVENTS
        self._figures = [one for one in self._figures if not one.closed] + [figures]

    def __call__(self, event: Event) -> None:
        """Begin or end a span."""
        if isinstance(event, RunStarted):
            self._begin(event.run, event.at)
        elif isinstance(event, RunFinished):
            links = self._end(event.run, event.run.finished_at or event.at, event.run.state)
            self._whole(event.run, event.at, links)
        elif isinstance(event, RunWaits):
            past = event.run.attempts[-1] if event.run.attempts else None
            self._end(
                event.run, past.finished_at if past else event.at, past.state if past else "released", past
            )
        elif isinstance(event, RunFenced):
            self._end(event.run, event.at, "fenced")

    # ── an attempt ───────────────────────────────────────────────────────────────────────────

    def _begin(self, run: Run, at: datetime) -> None:
        """Begin the span of an attempt, and make it the current one of the attempt's context."""
        present = self._trace.get_current_span().get_span_context()
        links = [self._trace.Link(present)] if _came.get() and present.is_valid else []
        attributes = self._attributes(run)
        parent = self._parent(run, attributes, links)
        attributes["asyncsched.attempt"] = run.attempt
        if run.attempt > 1:
            attributes["asyncsched.trigger"] = "retry"
        span = self._tracer().start_span(
            f"attempt {run.job}", parent, attributes=attributes, start_time=_nanos(at)
        )
        self._open[run.id] = _Open(span, links)
        # The attempt's context ends with its task, so this is never undone.
        self._context.attach(self._trace.set_span_in_context(span))

    def _end(self, run: Run, at: datetime, outcome: str, past: Attempt | None = None) -> list[Any]:
        """End the span of an attempt, if it began here; return the links of its run."""
        found = self._open.pop(run.id, None)
        if found is None:
            return []
        span = found.span
        span.set_attribute("asyncsched.outcome", outcome)
        self._tell_error(span, past or run, outcome, at)
        span.end(_nanos(at))
        return found.links

    def _tell_error(self, span: Any, ended: Run | Attempt, outcome: str, at: datetime) -> None:
        if outcome not in FAILURES:
            return
        kind = ended.error_type or outcome
        span.set_attribute("error.type", kind)
        span.set_status(self._trace.StatusCode.ERROR, ended.message or outcome)
        if ended.error_type:
            told = {"type": kind, "message": ended.message, "stacktrace": ended.traceback}
            span.add_event(
                "exception", {f"exception.{name}": text for name, text in told.items()}, _nanos(at)
            )

    # ── a run ────────────────────────────────────────────────────────────────────────────────

    def _whole(self, run: Run, at: datetime, links: list[Any]) -> None:
        """Make the span of a run that has ended: from the beginning of its first attempt to its end."""
        end = run.finished_at or at
        begin = run.attempts[0].started_at if run.attempts else run.started_at or end
        token = _wanted.set(_ids_of(run.id))
        try:
            span = self._tracer().start_span(
                self._name(run), self._context.Context(), kind=self._kind, attributes=self._attributes(run),
                links=links, start_time=_nanos(begin),
            )  # fmt: skip
        finally:
            _wanted.reset(token)
        span.set_attribute("asyncsched.outcome", run.state)
        span.set_attribute("asyncsched.attempt", run.attempt)
        if run.state in FAILURES:
            span.set_attribute("error.type", run.error_type or run.state)
            span.set_status(self._trace.StatusCode.ERROR, run.message or run.state)
        span.end(_nanos(end))

    def _name(self, run: Run) -> str:
        return f"{'process' if self._messaging else 'run'} {run.job}"

    def _parent(self, run: Run, attributes: dict[str, Any], links: list[Any]) -> Any:
        """Return the context in which a run's span, which is made at its end, is the current one."""
        trace, span = _ids_of(run.id)
        sampler = getattr(self._tracer(), "sampler", None)
        sampled = True
        if sampler is not None:
            empty = self._context.Context()
            result = sampler.should_sample(empty, trace, self._name(run), self._kind, attributes, links)
            sampled = result.decision.is_sampled()
        flags = self._trace.TraceFlags(self._trace.TraceFlags.SAMPLED if sampled else 0)
        context = self._trace.SpanContext(trace, span, is_remote=True, trace_flags=flags)
        return self._trace.set_span_in_context(self._trace.NonRecordingSpan(context), self._context.Context())

    def _attributes(self, run: Run) -> dict[str, Any]:
        found: dict[str, Any] = {
            "asyncsched.job.name": run.job,
            "asyncsched.run.id": run.id,
            "asyncsched.trigger": _TRIGGERS.get(run.origin, run.origin),
            "asyncsched.due_time": run.scheduled_for.isoformat(),
        }
        if run.late is not None:
            found["asyncsched.lateness_seconds"] = run.late.total_seconds()
        if self._messaging:
            found |= {
                "messaging.system": "asyncsched", "messaging.operation.type": "process",
                "messaging.operation.name": "process", "messaging.destination.name": run.job,
                "messaging.message.id": run.id,
            }  # fmt: skip
        for figures in self._figures:
            job = figures.jobs.get(run.job)
            if job is not None:
                found["code.function.name"] = path_of(job.func)
                if run.schedule is not None:
                    found |= _of_schedule(run.schedule, figures)
                break
        return found

    def _tracer(self) -> Any:
        """Return the tracer, which makes the ids of runs where the SDK lets it."""
        if self._tracer_found is None:
            tracer = (self._provider or self._trace.get_tracer_provider()).get_tracer("asyncsched")
            inner = getattr(tracer, "id_generator", None)
            if inner is None:
                return tracer  # the API alone, or no provider yet
            if not isinstance(inner, _RunIds):
                tracer.id_generator = _RunIds(inner)  # of this library's own tracer, and of no other
            self._tracer_found = tracer
        return self._tracer_found


def _of_schedule(schedule: str, figures: Figures) -> dict[str, Any]:
    found = {"asyncsched.schedule.id": schedule, "faas.trigger": "timer"}
    cron = figures.trigger_data(schedule).get("cron")
    return found if cron is None else {**found, "faas.cron": cron}


_wanted: ContextVar[tuple[int, int] | None] = ContextVar("asyncsched_span_ids", default=None)
"""The ids of the span that is being made, where they are given."""


class _RunIds:
    """Makes ids as the provider's own generator does, but for the spans of runs."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def generate_trace_id(self) -> int:
        wanted = _wanted.get()
        made: int = self._inner.generate_trace_id() if wanted is None else wanted[0]
        return made

    def generate_span_id(self) -> int:
        wanted = _wanted.get()
        made: int = self._inner.generate_span_id() if wanted is None else wanted[1]
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _nanos(at: datetime) -> int:
    return to_instant(at, "at") * 1000
