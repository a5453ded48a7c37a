"""Cron expressions: the text, the search for matching times, and the effects of clock changes.

This folder may import ``triggers.base``, and what ``triggers`` may import. Begin reading at ``trigger``.
"""

from asyncsched.triggers.cron.trigger import Cron as Cron
