"""Alerts: a hook for failures and recoveries, and check-ins at healthchecks.io and Sentry.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``failures``; ``sending`` is what
the two services share.
"""

from asyncsched.observers.alerts.failures import Failure as Failure
from asyncsched.observers.alerts.failures import OnFailure as OnFailure
from asyncsched.observers.alerts.healthchecks import Healthchecks as Healthchecks
from asyncsched.observers.alerts.sentry import Sentry as Sentry

__all__ = ("Failure", "Healthchecks", "OnFailure", "Sentry")
