"""A live page of the scheduler, mounted in the same app, with its JSON API (extra ``asyncsched[dashboard]``).

This folder may import everything below, and nothing imports it. Begin reading at ``app``, then ``pages/overview``.
The data come from public calls of the scheduler; ``snapshot`` asks for them once a second, however many look.
"""

from asyncsched.dashboard.access import Access as Access
from asyncsched.dashboard.access import any_of as any_of
from asyncsched.dashboard.access import backend as backend
from asyncsched.dashboard.access import basic as basic
from asyncsched.dashboard.access import bearer as bearer
from asyncsched.dashboard.access import from_scope_user as from_scope_user
from asyncsched.dashboard.access import local_only as local_only
from asyncsched.dashboard.app import Dashboard as Dashboard
from asyncsched.dashboard.dependency import dependency as dependency
from asyncsched.dashboard.router import api_router as api_router

__all__ = [
    "Access",
    "Dashboard",
    "any_of",
    "api_router",
    "backend",
    "basic",
    "bearer",
    "dependency",
    "from_scope_user",
    "local_only",
]
