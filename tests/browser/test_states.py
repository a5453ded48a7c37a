"""Every page fits its window and has nothing that axe finds, whatever stands on it: nothing, failures, an outage, long texts."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.browser.states import ROOT, Drawn, draw, open_tab

pytestmark = pytest.mark.real_time

OVERLAPS = """
() => [...document.querySelectorAll('table.cards tbody tr')].slice(0, 5).flatMap((row) => {
  const boxes = [...row.children].map((cell) => {
    // A child that cuts its own text counts as wide as it is.
    const parts = [...cell.childNodes].map((node) => {
      if (node.nodeType === 1) return node.getBoundingClientRect();
      const range = document.createRange();
      range.selectNodeContents(node);
      return range.getBoundingClientRect();
    }).filter((box) => box.width > 0);
    const [left, top] = ['left', 'top'].map((side) => Math.min(...parts.map((box) => box[side])));
    const [right, bottom] = ['right', 'bottom'].map((side) => Math.max(...parts.map((box) => box[side])));
    return [cell, { left, top, right, bottom, width: right - left }];
  }).filter(([cell, box]) => box.width > 1 && getComputedStyle(cell).display !== 'none');
  return boxes.flatMap(([cell, a], i) => boxes.slice(i + 1)
    .filter(([, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2)
    .map(([other]) => `${cell.outerHTML.slice(0, 60)} × ${other.outerHTML.slice(0, 60)}`));
})
"""
"""The cells of a row whose contents cover one another."""

THIN = """
() => [...document.querySelectorAll('main td, main dd, main p, main h1')].filter((el) => {
  const style = getComputedStyle(el);
  return style.display !== 'none' && el.textContent.trim().length > 12 && el.getBoundingClientRect().width < 24;
}).map((el) => el.outerHTML.slice(0, 80))
"""
"""Texts whose letters stand below one another."""


SMALL = """
() => [...document.querySelectorAll('button, select, summary, input:not([type=checkbox], [type=hidden])')].filter((el) => {
  const box = el.getBoundingClientRect();
  return box.height > 0 && (box.height < 36 || box.width < 24);
}).map((el) => el.outerHTML.slice(0, 80))
"""
"""What a finger cannot hit."""

OPENED = """
() => [...document.querySelectorAll('details.menu')].slice(0, 3).flatMap((menu) => {
  menu.open = true;
  const box = menu.querySelector('.card').getBoundingClientRect();
  menu.open = false;
  return box.left < 0 || box.right > innerWidth ? [`${menu.outerHTML.slice(0, 60)} ${box.left} ${box.right}`] : [];
})
"""
"""Menus that stand outside of the window when they are open."""


WITH_AXE = {"overview", "activity", "instances", "runs", "schedule0", "job0", "run0", "missing"}


@pytest.fixture(scope="module", params=["empty", "failing", "away", "long"])
def drawn(request: pytest.FixtureRequest) -> Drawn:
    with ThreadPoolExecutor(1) as pool:  # the browser's event loop counts as running in this thread
        return pool.submit(draw, request.param).result()


def test_no_text_is_cut_or_covered_in_any_window(chromium: Any, drawn: Drawn) -> None:
    wrong = []
    for width in (390, 1024, 1280, 1440):
        tab = open_tab(chromium, drawn, width, "light")
        for name, address in drawn.pages.items():
            tab.goto(f"{ROOT}{address}")
            if (wide := tab.evaluate("document.documentElement.scrollWidth")) > width:
                wrong.append((name, width, f"is {wide} px wide"))
            cut = "[...document.querySelectorAll('.scroll')].filter((el) => el.scrollWidth > el.clientWidth).length"
            if tab.evaluate(cut):
                wrong.append((name, width, "a table is cut off"))
            wrong += [(name, width, f"covered: {one}") for one in tab.evaluate(OVERLAPS.strip())[:2]]
            wrong += [(name, width, f"thin: {one}") for one in tab.evaluate(THIN.strip())[:2]]
            wrong += [(name, width, f"menu: {one}") for one in tab.evaluate(OPENED.strip())]
            if width == 390:
                wrong += [(name, width, f"small: {one}") for one in tab.evaluate(SMALL.strip())[:2]]
        tab.context.close()
    assert wrong == [], "\n".join(map(str, wrong))


def test_axe_finds_nothing_in_any_state(chromium: Any, drawn: Drawn, request: pytest.FixtureRequest) -> None:
    # One window each: axe takes half a second of a processor for a page.
    width, scheme = (
        (390, "dark") if request.node.callspec.params["drawn"] in ("long", "empty") else (1440, "light")
    )
    assert violations_of(chromium, drawn, WITH_AXE.intersection(drawn.pages), width, scheme) == []


@pytest.mark.parametrize(
    "state, pages, width, scheme",
    [
        ("well", ("overview", "schedule0", "timeline"), 1440, "dark"),
        ("many", ("overview",), 390, "light"),
        ("many", ("timeline",), 1440, "light"),
    ],
)
def test_axe_finds_nothing_where_all_is_well_and_where_there_are_many(
    chromium: Any, state: str, pages: tuple[str, ...], width: int, scheme: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(draw, state).result()
    assert violations_of(chromium, drawn, pages, width, scheme) == []


def violations_of(
    chromium: Any, drawn: Drawn, pages: Iterable[str], width: int, scheme: str
) -> list[tuple[str, ...]]:
    """Return what axe finds on some pages of a state in one window."""
    found = pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
    axe = next(Path(found.__file__).parent.rglob("axe.min.js")).read_text("utf-8")
    violations = []
    tab = open_tab(chromium, drawn, width, scheme)
    for name in pages:
        tab.goto(f"{ROOT}{drawn.pages[name]}")
        tab.evaluate(axe)
        for one in tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]:
            violations.append((name, one["id"], one["nodes"][0]["html"][:200]))
    tab.context.close()
    return violations
