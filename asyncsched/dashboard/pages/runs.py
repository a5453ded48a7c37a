"""The list of runs, filtered by the address, and one run with its attempts, error, arguments and result."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

from asyncsched._core.errors import AsyncSchedError, StoreError
from asyncsched.dashboard.links import has_trace, links_of
from asyncsched.dashboard.site import Context, Page, Site
from asyncsched.observers.tracing import trace_id

PAGE = 50
"""The runs of one page."""

STATES = ("running", "pending", "succeeded", "failed", "timed_out", "cancelled", "lost")
_FILTERS = ("state", "schedule", "job", "tag", "origin", "key")


def filters_of(query: dict[str, str]) -> dict[str, str]:
    """Return the filters of an address that are filters of runs."""
    return {name: query[name] for name in _FILTERS if query.get(name)}


async def runs(site: Site, c: Context) -> Page:
    """Return the list of runs."""
    query = filters_of(dict(c.query))
    before = c.query.get("before") or None
    wrong, found = "", []
    try:
        given: dict[str, Any] = dict(query)
        found = await site.scheduler.runs(**given, limit=PAGE + 1, before=before)
    except StoreError:
        raise
    except AsyncSchedError as error:
        wrong = str(error)
    following = ""
    if len(found) > PAGE:
        found = found[:PAGE]
        following = f"{c.root}/runs?{urlencode({**query, 'before': found[-1].id})}"
    first = f"{c.root}/runs?{urlencode(query)}" if before else ""
    drawn = site.draw(
        "runs", "list", c, found, query, c.root, following, first, "newest due first", STATES, wrong
    )
    return Page("Runs · asyncsched", "Runs", c.snapshot.at, {"runs": drawn}, live=not before)


async def run(site: Site, c: Context) -> Page:
    """Return the page of one run.

    Raises:
        UnknownRun: there is no run of that id.

    """
    found = await site.scheduler.run(c.path["id"])
    draw = partial(site.draw, "runs")
    given = [*found.args, *([dict(found.kwargs)] if found.kwargs else [])]
    result = "" if found.result is None else site.shown(found.result)
    fragments = {
        "top": draw("top", c, found, c.root),
        "body": draw(
            "body",
            c,
            found,
            site.shown(given) if given else "",
            result,
            c.snapshot.instance_name(found.instance),
            links_of(found, site.links),
            trace_id(found.id) if has_trace(site.links) else "",
        ),
    }
    return Page(f"{found.schedule or found.job} · run · asyncsched", "Runs", c.snapshot.at, fragments)
