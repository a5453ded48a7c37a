"""Triggers, which say when work is due: intervals, cron expressions, moments, and combinations of them.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``base``.
"""

from asyncsched.triggers.at import At as At
from asyncsched.triggers.base import BaseTrigger as BaseTrigger
from asyncsched.triggers.combine import AnyOf as AnyOf
from asyncsched.triggers.combine import Except as Except
from asyncsched.triggers.combine import Only as Only
from asyncsched.triggers.cron.trigger import Cron as Cron
from asyncsched.triggers.every import Every as Every
from asyncsched.triggers.interval import Interval as Interval
from asyncsched.triggers.windows import Window as Window
