"""Links from a run to where its log lines and its trace are kept: addresses with the run's ids in them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from asyncsched._core.errors import ConfigurationError
from asyncsched._core.models import Run
from asyncsched.observers.tracing import trace_id

NAMES = ("run_id", "trace_id", "job", "schedule")
"""What an address may have in braces."""


def checked_links(links: Mapping[str, str] | None) -> dict[str, str]:
    """Return the addresses by the names of their links.

    Raises:
        ConfigurationError: an address is no ``http(s)://`` address, or has something else in braces.

    """
    found = dict(links or {})
    for name, address in found.items():
        if not isinstance(address, str) or not address.startswith(("https://", "http://")):
            raise ConfigurationError(
                f"Dashboard: links[{name!r}] must be an address that begins with https://"
            )
        try:
            address.format(**dict.fromkeys(NAMES, ""))
        except (KeyError, IndexError, ValueError, AttributeError):
            known = ", ".join(f"{{{one}}}" for one in NAMES)
            raise ConfigurationError(
                f"Dashboard: links[{name!r}] may have {known} in braces, and nothing else"
            ) from None
    return found


def links_of(run: Run, links: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the links of a run: their names and addresses."""
    values = {"run_id": run.id, "trace_id": trace_id(run.id), "job": run.job, "schedule": run.schedule or ""}
    quoted = {name: quote(value, safe="") for name, value in values.items()}
    return [(name, address.format(**quoted)) for name, address in links.items()]


def has_trace(links: Mapping[str, str]) -> bool:
    """Whether a link names the trace: then runs have one."""
    return any("{trace_id}" in address for address in links.values())
