"""Metrics: figures of runs and schedules for Prometheus and for OpenTelemetry.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``measuring``, which turns events
into figures; ``families`` has their names, and ``prometheus`` and ``otel`` are the two sinks.
"""

from asyncsched.observers.metrics.otel import OpenTelemetryMetrics as OpenTelemetryMetrics
from asyncsched.observers.metrics.prometheus import PrometheusMetrics as PrometheusMetrics

__all__ = ("OpenTelemetryMetrics", "PrometheusMetrics")
