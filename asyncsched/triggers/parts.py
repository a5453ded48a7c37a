"""The zones of the times of a combination's parts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, tzinfo

from asyncsched._core.errors import TriggerError
from asyncsched._core.instants import zone_name
from asyncsched._core.trigger import InstantTrigger


def zones_of(trigger: InstantTrigger) -> Iterable[tzinfo]:
    """Return the zones that a trigger's own times are in."""
    return trigger.zones()


def zone_of(trigger: InstantTrigger) -> tzinfo:
    """Return the zone of a trigger's times."""
    zones = {zone_name(zone): zone for zone in zones_of(trigger)}
    if len(zones) > 1:
        raise TriggerError(
            f"except_: the parts are in several zones ({', '.join(sorted(zones))}); "
            "give the zone of the windows with timezone=",
            field="timezone",
        )
    return next(iter(zones.values()), UTC)


def zone_name_of(trigger: InstantTrigger) -> str | None:
    """Return the name of a trigger's first zone, if it has one."""
    return next((zone_name(zone) for zone in zones_of(trigger)), None)
