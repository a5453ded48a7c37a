"""Policies, which wrap execution: retries, limits, rates, and parameters that are provided for each attempt.

This folder may import ``_core``, ``abc`` and ``_backends``. Begin reading at ``retry``.
"""

from asyncsched.policies.limits import Limit as Limit
from asyncsched.policies.limits import RateLimit as RateLimit
from asyncsched.policies.provide import Provide as Provide
from asyncsched.policies.retry import Retry as Retry
