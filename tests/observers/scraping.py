"""A scraper: it asks the endpoint as Prometheus would, and parses the answer."""

from __future__ import annotations

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """The parsed answer to one scrape."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples: Samples = {}
        for family in self.families.values():
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"told twice: {key}"
                self.samples[key] = sample.value

    def get(self, name: str, **labels: str) -> float | None:
        """Return one value, or ``None`` if it is not there."""
        return self.samples.get((f"asyncsched_{name}", frozenset(labels.items())))

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values of a label."""
        wanted = f"asyncsched_{name}"
        return {dict(labels)[label] for found, labels in self.samples if found == wanted}


async def scrape(endpoint: Any, path: str = "/metrics") -> Scrape:
    """Scrape an ASGI app."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoint), base_url="http://app") as client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Scrape(answer.text)
