"""The activity: who did what to schedules and runs, from the page, the API, the command line or the code."""

from __future__ import annotations

from urllib.parse import urlencode

from asyncsched._core.errors import AsyncSchedError, StoreError
from asyncsched.dashboard.site import Context, Page, Site

PAGE = 50
"""The records of one page."""


async def activity(site: Site, c: Context) -> Page:
    """Return the page of what people did."""
    query = {name: c.query[name] for name in ("by", "subject") if c.query.get(name)}
    before = c.query.get("before") or None
    wrong = ""
    try:
        found = await site.scheduler.activity(
            by=query.get("by"), subject=query.get("subject"), limit=PAGE + 1, before=before
        )
    except StoreError:
        raise
    except AsyncSchedError as error:
        found, wrong = [], str(error)
    following = ""
    if len(found) > PAGE:
        found = found[:PAGE]
        following = f"{c.root}/activity?{urlencode({**query, 'before': found[-1].id})}"
    first = f"{c.root}/activity?{urlencode(query)}" if before else ""
    drawn = site.draw("activity", "page", c, found, query, c.root, following, first, wrong)
    return Page("Activity · asyncsched", "Activity", c.snapshot.at, {"activity": drawn}, live=not before)
