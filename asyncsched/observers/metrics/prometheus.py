"""Metrics for Prometheus, by ``prometheus_client``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.extras import needed
from asyncsched.abc import Figures
from asyncsched.observers.metrics.endpoint import MetricsEndpoint
from asyncsched.observers.metrics.families import COLLECTED, FAMILIES, Family
from asyncsched.observers.metrics.measuring import Labels, Measuring
from asyncsched.observers.metrics.standing import Standing, rows_of

_read: ContextVar[Mapping[Figures, Standing] | None] = ContextVar("asyncsched_standings", default=None)
"""What the endpoint has read from the stores for the scrape under way."""


class PrometheusMetrics(Measuring):
    """Counts runs, attempts and slots for Prometheus, and measures how late runs begin and how long they take.

    It is an observer: ``Scheduler(observers=[PrometheusMetrics()])``. Several schedulers may share one.
    ``endpoint`` is an ASGI app that answers scrapes.

    With several worker processes, set ``PROMETHEUS_MULTIPROC_DIR`` to an empty directory before the server
    starts, as for all metrics of ``prometheus_client``: each process then answers for all of them.

    Args:
        registry: a ``CollectorRegistry``; ``None`` for the default one of ``prometheus_client``.
        by: ``"job"``; ``"schedule"`` adds the label ``schedule``.
        most: the most label sets; whatever comes later is counted as ``other``.

    Raises:
        ConfigurationError: ``prometheus_client`` is not installed, or the registry has such metrics already.

    Example:
        >>> metrics = PrometheusMetrics()
        >>> scheduler = Scheduler(observers=[metrics])
        >>> app.add_route("/metrics", metrics.endpoint)

    """

    def __init__(self, registry: Any = None, *, by: str = "job", most: int = 1000) -> None:
        super().__init__(by, most)
        self._client = _prometheus()
        self.registry = self._client.REGISTRY if registry is None else registry
        self._own = ("job", "schedule") if self.by_schedule else ("job",)
        self._attached: list[Figures] = []
        self._children: dict[tuple[Any, ...], Any] = {}
        self._metrics: dict[str, Any] = {}
        self._collector = _Collector(self._collect)
        try:
            for name, family in FAMILIES.items():
                self._metrics[name] = self._make(name, family)
            self.registry.register(self._collector)
        except ValueError as error:
            for metric in self._metrics.values():
                self.registry.unregister(metric)
            raise ConfigurationError(
                "PrometheusMetrics: the registry has metrics of asyncsched already; give all schedulers one "
                f"PrometheusMetrics, or each a registry of its own ({error})"
            ) from None
        self.endpoint = MetricsEndpoint(self)

    @property
    def directory(self) -> str | None:
        """The directory by which several processes share their metrics, if there is one."""
        return os.environ.get("PROMETHEUS_MULTIPROC_DIR")

    def _make(self, name: str, family: Family) -> Any:
        labels = (*(self._own if family.of_job else ()), *family.labels)
        make = getattr(self._client, family.kind.capitalize())
        if family.kind == "histogram":
            make = partial(make, buckets=family.buckets)
        elif family.kind == "gauge":
            make = partial(make, multiprocess_mode=family.merge)
        return make(name, family.help, labels, registry=self.registry)

    # ── the sink ─────────────────────────────────────────────────────────────────────────────

    def begin(self, labels: Labels) -> None:
        """Make the figures of a label set known, all of them 0."""
        for name, family in FAMILIES.items():
            if not family.of_job or name.endswith("_timestamp_seconds"):
                continue  # a moment that has not come is left out
            for value in family.values or ("",):
                self._child(name, labels, dict.fromkeys(family.labels, value))

    def _child(self, name: str, labels: Labels, more: Mapping[str, Any]) -> Any:
        values = (*labels, *more.values())
        found = self._children.get((name, values))
        if found is None:
            metric = self._metrics[name]
            found = self._children[(name, values)] = metric.labels(*values) if values else metric
        return found

    def add(self, name: str, labels: Labels, amount: float = 1, **more: str) -> None:
        """Add to a counter or a gauge."""
        self._child(name, labels, more).inc(amount)

    def record(self, name: str, labels: Labels, seconds: float) -> None:
        """Add a value to a histogram."""
        self._child(name, labels, {}).observe(seconds)

    def stamp(self, name: str, labels: Labels, at: float) -> None:
        """Set a gauge to a moment."""
        self._child(name, labels, {}).set(at)

    # ── the schedulers ───────────────────────────────────────────────────────────────────────

    @property
    def attached(self) -> list[Figures]:
        """The schedulers that run."""
        self._attached = [one for one in self._attached if not one.closed]
        return self._attached

    def attach(self, figures: Figures) -> None:
        """Make the label sets of a scheduler's jobs known, all of them 0."""
        self.attached.append(figures)
        for job in list(figures.jobs):
            self.labels_of(job, None)
        if self.by_schedule:
            for record in figures.declared:
                self.labels_of(record.job, record.id)
        for executor, slots in figures.slots().items():
            self._child("asyncsched_slots", (), {"executor": executor}).set(slots.capacity)
            self._child("asyncsched_slots_in_use", (), {"executor": executor})
        if figures.works:
            figures.on_tick(self._tick)

    def _tick(self, at: float, lag: float) -> None:
        self._metrics["asyncsched_tick_timestamp_seconds"].set(at)
        self._metrics["asyncsched_loop_lag_seconds"].set(lag)

    # ── what is read at a scrape ─────────────────────────────────────────────────────────────

    def _collect(self) -> Iterator[Any]:
        known = _read.get() or {}
        found = {one: known.get(one) or Standing(one.schedules(), (), {}) for one in list(self.attached)}
        rows = rows_of(found, self.labels_of)
        for name, family in COLLECTED.items():
            own = self._own if family.of_job and not family.labels else ("job",) if family.of_job else ()
            metric = _prometheus("metrics_core").GaugeMetricFamily(
                name, family.help, labels=(*own, *family.labels)
            )
            for labels, value in rows.get(name, {}).items():
                metric.add_metric(labels, value)
            yield metric

    def exposition(self, accept: str, found: Mapping[Figures, Standing]) -> tuple[bytes, str]:
        """Return the text of a scrape and its content type. It takes a while, so call it in a thread.

        Args:
            accept: the header of the scraper.
            found: what was read from the stores; what is missing is taken from what the schedulers know.

        """
        encode, content_type = _prometheus("exposition").choose_encoder(accept)
        _read.set(found)
        return encode(self._whole()), content_type

    def _whole(self) -> Any:
        """Return the registry of all processes."""
        if self.directory is None:
            return self.registry
        multiprocess = _prometheus("multiprocess")
        for pid in _pids(self.directory):
            if not _lives(pid):
                multiprocess.mark_process_dead(pid, self.directory)
        whole = self._client.CollectorRegistry()
        multiprocess.MultiProcessCollector(whole, self.directory)
        whole.register(self._collector)
        return whole


def _prometheus(module: str = "") -> Any:
    """Return ``prometheus_client``, or a module of it."""
    name = f"prometheus_client.{module}" if module else "prometheus_client"
    return needed(name, "prometheus-client", "metrics", "PrometheusMetrics")


class _Collector:
    """Hands the metrics that are read at a scrape to ``prometheus_client``."""

    def __init__(self, collect: Callable[[], Iterator[Any]]) -> None:
        self.collect = collect


def _pids(directory: str) -> set[int]:
    """Return the processes that have gauges which end with them."""
    found = (re.fullmatch(r"gauge_live[a-z]+_(\d+)\.db", name) for name in os.listdir(directory))
    return {int(match[1]) for match in found if match}


def _lives(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # os.kill would end it there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
