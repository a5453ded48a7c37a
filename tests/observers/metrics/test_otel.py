"""The figures by the OpenTelemetry API, read back from an in-memory reader."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from asyncsched import ConfigurationError, Retry, Scheduler
from asyncsched.observers.metrics import OpenTelemetryMetrics
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio


def read(reader: InMemoryMetricReader) -> dict[str, tuple[str, list[Any]]]:
    """Return the unit and the data points of each instrument."""
    data: Any = reader.get_metrics_data()
    return {
        metric.name: (metric.unit, list(metric.data.data_points))
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    provider = MeterProvider([reader], shutdown_on_exit=False)
    yield provider
    provider.shutdown()


async def test_runs_lateness_and_duration_are_told(
    virtual_clock: VirtualClock, provider: MeterProvider, reader: InMemoryMetricReader
) -> None:
    scheduler = Scheduler(clock=virtual_clock, observers=[OpenTelemetryMetrics(provider)])

    @scheduler.interval(seconds=10)
    async def slow() -> None:
        await anyio.sleep(2)

    @scheduler.interval(seconds=10, retry=Retry(attempts=2, delay=1, jitter="none"))
    async def failing() -> None:
        raise ValueError

    async with scheduler:
        await virtual_clock.advance(35)
        found = read(reader)
    unit, points = found["asyncsched.runs"]
    counted = {
        (point.attributes["asyncsched.job.name"], point.attributes["asyncsched.outcome"]): point.value
        for point in points
    }
    assert (unit, counted) == ("{run}", {("slow", "succeeded"): 3, ("failing", "failed"): 3})
    unit, points = found["asyncsched.run.duration"]
    (slow_one,) = [point for point in points if point.attributes["asyncsched.job.name"] == "slow"]
    assert (unit, slow_one.count) == ("s", 3)
    assert slow_one.sum == pytest.approx(6, abs=0.05)
    assert 5 in slow_one.explicit_bounds and 3600 in slow_one.explicit_bounds
    unit, points = found["asyncsched.start.lateness"]
    assert (unit, {point.attributes["asyncsched.job.name"]: point.count for point in points}) == (
        "s", {"slow": 3, "failing": 3},
    )  # fmt: skip
    attempts = {
        point.attributes["asyncsched.job.name"]: point.value for point in found["asyncsched.attempts"][1]
    }
    assert attempts == {"slow": 3, "failing": 6}
    assert {point.value for point in found["asyncsched.running"][1]} == {0}


def test_without_the_api_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    with pytest.raises(ConfigurationError, match=r'needs opentelemetry-api; .*"asyncsched\[tracing\]"'):
        OpenTelemetryMetrics()
