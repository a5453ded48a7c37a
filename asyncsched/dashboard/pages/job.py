"""One job: its schedules, its runs, its options and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from asyncsched._core.errors import UnknownJob
from asyncsched.dashboard.pages.schedule import RUNS, settings_of
from asyncsched.dashboard.site import Context, Page, Site


async def job(site: Site, c: Context) -> Page:
    """Return the page of one job.

    Raises:
        UnknownJob: no code here and no schedule has a job of that name.

    """
    name, s = c.path["id"], c.snapshot
    found = s.jobs.get(name)
    rows = [row for row in s.rows if row.schedule.job == name]
    if found is None and not rows:
        raise UnknownJob(name)
    runs = await site.scheduler.runs(job=name, limit=RUNS)
    draw = partial(site.draw, "schedule")
    where = "/".join(found.defined_at.rsplit("/", 3)[-3:]) if found else ""
    fragments = {
        "top": draw("job_top", c, found, name, s.paused_jobs.get(name), c.root, where),
        "body": draw(
            "job_body", c, name, rows[:100], runs, settings_of(found) if found else [],
            _parameters(site.parameters(found)) if found else {}, s.at, c.root,
        ),
    }  # fmt: skip
    return Page(f"{name} · asyncsched", "Overview", s.at, fragments)


def _parameters(found: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters by name, without the name before each annotation."""
    return {
        name: text.removeprefix(name).removeprefix(":").strip() or "any value" for name, text in found.items()
    }
