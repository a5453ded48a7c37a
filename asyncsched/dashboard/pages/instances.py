"""The instances: which processes, their last heartbeat, version and role, and the durations and lateness of all runs."""

from __future__ import annotations

from collections import Counter

from asyncsched._core.reporting import DEAD
from asyncsched.dashboard import charts
from asyncsched.dashboard.pages.schedule import percentiles
from asyncsched.dashboard.site import Context, Page, Site
from asyncsched.dashboard.snapshot import GRACE, name_of
from asyncsched.dashboard.verdict import SILENT

_LOST = 10
"""The instances that were declared dead last, which the page lists."""


async def instances(site: Site, c: Context) -> Page:
    """Return the page of the instances."""
    s = c.snapshot
    running = Counter(run.instance for run in s.live if run.state == "running")
    rows = [(one, name_of(one, s.instances), running.get(one.id, 0)) for one in s.instances]
    versions = {one.version for one in s.instances}
    total = s.statistics.total(24)
    lost = await site.scheduler.activity(action=DEAD, limit=_LOST)
    drawn = site.draw(
        "instances",
        "page",
        c,
        rows,
        versions,
        s.capacity,
        site.scheduler.capacity(),
        site.title,
        c.root,
        site.scheduler.durable,
        SILENT,
        lost,
        total.runs,
        (charts.all_durations(total.took.counts(*charts.EDGES)), percentiles(total.took.percentile)),
        (charts.lateness(total.late.counts(*charts.EDGES), GRACE), percentiles(total.late.percentile)),
    )
    return Page(
        "Instances · asyncsched",
        "Instances",
        s.at,
        {"banner": site.draw("overview", "banner", s), "instances": drawn},
    )
