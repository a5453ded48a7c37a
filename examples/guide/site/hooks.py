"""What the guide needs to be a site: its links to files of the repository, and an address for its beginning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s]+)\)")


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Let links to files beside the guide lead to where the code can be read, or be plain text."""
    root = f"{config['repo_url'].rstrip('/')}/blob/main" if config["repo_url"] else ""

    def led(link: re.Match[str]) -> str:
        path = (Path("examples/guide") / link[2]).as_posix()
        while (shorter := re.sub(r"[^/]+/\.\./", "", path, count=1)) != path:
            path = shorter
        return f"[{link[1]}]({root}/{path})" if root else link[1]

    return _OUTSIDE.sub(led, markdown)


def on_post_build(config: Any, **_: Any) -> None:
    """Let the address of the site lead to the tour."""
    page = '<!doctype html><meta charset="utf-8"><title>asyncsched</title>'
    page += '<meta http-equiv="refresh" content="0; url=tour/"><a href="tour/">The tour</a>\n'
    Path(config["site_dir"], "index.html").write_text(page, "utf-8")
