"""Cron expressions: the text, the search for matching times, and the effects of clock changes.

This folder may import two modules of ``triggers``, ``base`` and ``codec``, and what they may import. Begin
reading at ``trigger``.
"""

from asyncsched.triggers.cron.trigger import Cron as Cron
