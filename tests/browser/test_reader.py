"""A reader sees no button, and a request all the same is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Server


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path, PAGE_ROLE="read")
    try:
        yield found
    finally:
        found.stop()


def test_a_reader_is_refused(reading: Server, page: Any) -> None:
    page.goto(f"{reading.page}/")
    page.locator("#j-heartbeat").wait_for()
    assert page.locator("[data-post], [data-do]").count() == 0
    assert page.locator("[data-tick]").count() == 0
    said = page.evaluate(
        """async (url) => {
            const answer = await fetch(url, {method: "POST", headers: {"X-Asyncsched": "1"}})
            return [answer.status, (await answer.json()).detail]
        }""",
        f"{reading.page}/api/v1/schedules/heartbeat/pause",
    )
    assert said == [403, "this needs the right 'operate', and anna has 'read'"]
