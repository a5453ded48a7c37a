"""The README and the pages of the guide, and the blocks in them.

HTML comments right above a block say what is done with it: ``app: POST /path; GET /path`` are requests
that the block's app must answer well, ``asyncio`` is for programs whose libraries know no trio,
``needs: module`` skips the block where that package is not installed, ``recipe`` is a part of the README's
one program of recipes, ``conftest`` belongs to the tests of its page, ``pytest-asyncio`` to those of that
plugin, ``file: NAME`` is a file that a test of its own reads, and ``shell: …`` and ``ci: …`` name a shell
block. Those of ``ci`` are executed by ``.ci/run``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "examples" / "guide"
PAGES = [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))]
FENCE = re.compile(
    r"(?P<markers>(?:<!-- [^\n]*? -->\n)*)```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    markers: dict[str, str] = field(hash=False)

    @property
    def marker(self) -> str:
        """The markers as they are written, without the requests of an app."""
        return "; ".join(f"{name}: {value}" if value else name for name, value in self.markers.items())

    def __str__(self) -> str:
        return f"{self.page.stem}-line-{self.line}"


def text(page: Path) -> str:
    """Return what stands on a page."""
    return page.read_text("utf-8")


def blocks(language: str | None = None, page: Path | None = None) -> list[Block]:
    """Return the blocks of all pages, or of one page, in one language or in any."""
    found = []
    for one in PAGES if page is None else [page]:
        content = text(one)
        for match in FENCE.finditer(content):
            line = content.count("\n", 0, match.start("text")) + 1
            written = re.findall(r"<!-- (.*?) -->", match["markers"])
            markers = {name: value for name, _, value in (marker.partition(": ") for marker in written)}
            found.append(Block(one, line, match["language"], match["text"], markers))
    return [block for block in found if language in (None, block.language)]


def marked(name: str) -> str:
    """Return the text of the one block that has this marker."""
    (block,) = (block for block in blocks() if block.marker == name)
    return block.text


def section(page: Path, title: str) -> str:
    """Return what stands below a heading of the second level."""
    return text(page).partition(f"\n## {title}\n")[2].partition("\n## ")[0]
