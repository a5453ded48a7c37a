"""Cron expressions: the text, the search for instants, and what changes of the clocks do to them."""

from asyncsched.triggers.cron.trigger import Cron as Cron
