"""Metrics by the OpenTelemetry API, for whichever provider the app has set."""

from __future__ import annotations

from typing import Any

from asyncsched._core.extras import needed
from asyncsched.observers.metrics.families import DURATIONS, LATENESSES
from asyncsched.observers.metrics.measuring import Labels, Measuring


class OpenTelemetryMetrics(Measuring):
    """Counts runs and measures their lateness and duration by the OpenTelemetry API.

    It is an observer: ``Scheduler(observers=[OpenTelemetryMetrics()])``. Its instruments are
    ``asyncsched.runs``, ``asyncsched.attempts``, ``asyncsched.missed``, ``asyncsched.running``,
    ``asyncsched.run.duration`` and ``asyncsched.start.lateness``, the latter two in seconds.

    Args:
        provider: a ``MeterProvider``; ``None`` for the global one.
        by: ``"job"``; ``"schedule"`` adds the attribute ``asyncsched.schedule.id``.
        most: the most label sets; whatever comes later is counted as ``other``.

    Raises:
        ConfigurationError: ``opentelemetry-api`` is not installed.

    """

    def __init__(self, provider: Any = None, *, by: str = "job", most: int = 1000) -> None:
        super().__init__(by, most)
        api = needed("opentelemetry.metrics", "opentelemetry-api", "tracing", "OpenTelemetryMetrics")
        meter = (provider or api.get_meter_provider()).get_meter("asyncsched")

        def histogram(name: str, description: str, bounds: tuple[float, ...]) -> Any:
            return meter.create_histogram(
                name, unit="s", description=description, explicit_bucket_boundaries_advisory=bounds
            )

        self._histograms = {
            "asyncsched_start_lateness_seconds": histogram(
                "asyncsched.start.lateness", "Time from the due time of a run to its beginning.", LATENESSES
            ),
            "asyncsched_run_duration_seconds": histogram(
                "asyncsched.run.duration",
                "Time from the beginning of a run's last attempt to its end.",
                DURATIONS,
            ),
        }
        self._counters = {
            "asyncsched_runs_total": meter.create_counter("asyncsched.runs", unit="{run}"),
            "asyncsched_attempts_total": meter.create_counter("asyncsched.attempts", unit="{attempt}"),
            "asyncsched_missed_total": meter.create_counter("asyncsched.missed", unit="{slot}"),
            "asyncsched_running": meter.create_up_down_counter("asyncsched.running", unit="{attempt}"),
        }

    def add(self, name: str, labels: Labels, amount: float = 1, **more: str) -> None:
        """Add to a counter, if it is one of those that are told here."""
        counter = self._counters.get(name)
        if counter is not None:
            attributes = {f"asyncsched.{label}": value for label, value in more.items()}
            counter.add(amount, {**_attributes(labels), **attributes})

    def record(self, name: str, labels: Labels, seconds: float) -> None:
        """Add a value to a histogram."""
        self._histograms[name].record(seconds, _attributes(labels))

    def stamp(self, name: str, labels: Labels, at: float) -> None:
        """Do nothing: no gauge is told here."""


def _attributes(labels: Labels) -> dict[str, str]:
    return dict(zip(("asyncsched.job.name", "asyncsched.schedule.id"), labels, strict=False))
