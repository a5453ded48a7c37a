"""The Kubernetes example asks routes that exist, and gives the app more time than it takes to stop."""

from __future__ import annotations

from typing import Any

import yaml
from starlette.routing import Route

from asyncsched import Scheduler
from asyncsched.asgi import probe_routes
from tests.examples.servers import ROOT


def test_the_probes_of_the_deployment_are_the_ready_routes() -> None:
    deployment: Any = yaml.safe_load((ROOT / "examples/kubernetes/deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    probes = {kind: container[kind]["httpGet"]["path"] for kind in container if kind.endswith("Probe")}
    assert probes == {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    routes = {route.path for route in probe_routes(Scheduler()) if isinstance(route, Route)}
    assert routes == set(probes.values())
    assert pod["terminationGracePeriodSeconds"] > 10
