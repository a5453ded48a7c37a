"""The guide builds as a site: each page is in its navigation, no link leads nowhere, and its search finds words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import GUIDE, PAGES, text

CONFIGURATION = GUIDE / "site" / "mkdocs.yml"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site; a warning of MkDocs is an error."""
    pytest.importorskip("mkdocs", reason='the site is built by MkDocs: pip install ".[docs]"')
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "-f",
        str(CONFIGURATION),
        "-d",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_each_page_is_there_and_in_the_navigation(site: Path) -> None:
    pages = PAGES[1:]
    assert [page.stem for page in pages if not (site / page.stem / "index.html").is_file()] == []
    navigation = text(CONFIGURATION).partition("\nnav:")[2]
    assert [page.name for page in pages if f": {page.name}\n" not in navigation] == []
    assert "url=tour/" in (site / "index.html").read_text("utf-8")


def test_the_search_finds_what_stands_on_the_pages(site: Path) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    assert {one["location"].partition("/")[0] for one in found} == {page.stem for page in PAGES[1:]}
    assert any("terminationGracePeriodSeconds" in one["text"] for one in found)
    assert (site / "search" / "worker.js").is_file()


def test_no_link_leads_out_of_the_site_without_an_address(site: Path) -> None:
    for page in PAGES[1:]:
        assert 'href="../../../' not in (site / page.stem / "index.html").read_text("utf-8"), page
