"""What ``doctor`` finds at the page of a running app: its answer, its clock, and who may come in."""

from __future__ import annotations

from datetime import datetime

from asyncsched._backends.clock import SystemClock
from asyncsched.cli.api import Api
from asyncsched.cli.faults import Fault
from asyncsched.cli.findings import Finding
from asyncsched.cli.output import present

_SLOW = 1.0
_SKEW = 5.0


async def about_page(api: Api) -> list[Finding]:
    """Return what is wrong with a page, and how quickly it answers."""
    clock = SystemClock()
    began = clock.monotonic()
    status = await api.get("/status")
    spent = clock.monotonic() - began
    found = [
        Finding(
            "warning" if spent > _SLOW else "fine", "page", f"{api.url}: answers in {spent * 1000:.3g} ms"
        )
    ]
    apart = abs((datetime.fromisoformat(status["at"]) - present()).total_seconds())
    if apart > _SKEW:
        text = f"this machine's clock and the app's are {apart:.1f} s apart"
        found.append(Finding("warning", "clock", text, "set the clocks by NTP"))
    if status["trouble"]:
        found.append(Finding("bad", "store", status["trouble"]))
    return [*found, *await _about_access(api)]


async def _about_access(api: Api) -> list[Finding]:
    if api.host in ("localhost", "127.0.0.1", "::1"):
        return []
    if api.signed_in and not api.secure:
        text = "name and password, or the token, go over http:// in clear"
        return [Finding("warning", "page", text, "put TLS before it, and use https://")]
    try:
        await Api(api.url).get("/status")
    except Fault:
        return []
    text = f"anybody who can reach {api.host} comes in without signing in"
    return [Finding("bad", "page", text, 'Dashboard(scheduler, auth=basic("name", password))')]
