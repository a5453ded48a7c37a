"""The alert rules and the dashboard name metrics and labels that exist, and Prometheus's own tool takes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from asyncsched.observers.metrics.families import COLLECTED, FAMILIES, REASONS, Family
from tests.examples.servers import ROOT

FOLDER = ROOT / "examples" / "monitoring"
ALL: dict[str, Family] = {**FAMILIES, **COLLECTED}
SCRAPED = {"instance"}
"""The labels that Prometheus adds to what it scrapes."""


def series() -> dict[str, set[str]]:
    """Return the names that a scrape has, with their labels."""
    found: dict[str, set[str]] = {}
    for name, family in ALL.items():
        labels = {*family.labels, *(("job",) if family.of_job else ())} | SCRAPED
        if family.kind == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def dashboard() -> Any:
    return json.loads((FOLDER / "grafana.json").read_text())


def queries() -> list[str]:
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [expr.replace("$__rate_interval", "5m").replace("$job", ".*") for expr in found]


@pytest.mark.parametrize("expr", [*(rule["expr"] for rule in rules()), *queries()])
def test_every_metric_and_label_that_is_named_exists(expr: str) -> None:
    known = series()
    names = re.findall(r"asyncsched_\w+", expr)
    assert names and set(names) <= known.keys()
    for name, matchers in re.findall(r"(asyncsched_\w+)\{([^}]*)\}", expr):
        assert {label for label, _ in re.findall(r'(\w+)(=~|!=|!~|=)"', matchers)} <= known[name]
    grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", expr) for label in labels.split(",")}
    assert grouped <= set().union(*(known[name] for name in names))
    assert set(re.findall(r'reason="(\w+)"', expr)) <= set(REASONS)


def test_every_metric_is_on_the_dashboard() -> None:
    shown = set(re.findall(r"asyncsched_\w+", " ".join(queries())))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) if name not in ALL else name for name in shown}
    assert set(ALL) <= shown


def test_the_three_alerts_that_everybody_needs_are_there() -> None:
    assert {"JobFailing", "JobLate", "JobSilent"} <= {rule["alert"] for rule in rules()}
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


def test_the_panels_do_not_lie_on_one_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24 and (x, y) not in taken, (panel["title"], taken.get((x, y)))
                taken[(x, y)] = panel["title"]


def test_the_label_job_stays_the_job_of_the_scheduler() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert [one["honor_labels"] for one in config["scrape_configs"]] == [True]


promtool = shutil.which("promtool")


@pytest.mark.skipif(promtool is None, reason="promtool is not here: apt-get install prometheus")
@pytest.mark.parametrize(
    "command",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ],
)
def test_prometheus_takes_the_rules_and_they_alert_when_they_should(command: list[str]) -> None:
    done = subprocess.run([promtool or "", *command], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(promtool is None, reason="promtool is not here: apt-get install prometheus")
def test_prometheus_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [{"record": f"query:{number}", "expr": expr} for number, expr in enumerate(queries())]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    done = subprocess.run([promtool or "", "check", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
