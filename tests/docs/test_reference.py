"""The reference has every public name, and can be made anew from the code as it stands."""

from __future__ import annotations

import re

import pytest

from tests.docs.reference import NAMES, PAGE, page


def test_every_public_name_stands_in_the_reference_and_no_other() -> None:
    assert re.findall(r"^## (\w+)$", PAGE.read_text("utf-8"), re.M) == NAMES


@pytest.mark.parametrize(
    "heading", ["### Scheduler.schedule_once", "### Scheduler.stop", "### RunHandle.result"]
)
def test_the_calls_of_a_class_stand_below_it(heading: str) -> None:
    made = page()
    assert f"\n{heading}\n" in made
    assert f"\n{heading}\n" in PAGE.read_text("utf-8")
