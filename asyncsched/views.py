"""The values that a scheduler answers with, one class each; each is a FastAPI response as it is.

``asyncsched`` itself has those that an app meets first, such as ``Run`` and ``Schedule``; all of them are here::

    from asyncsched.views import Coming

    async def tomorrow() -> list[Coming]:
        return await scheduler.timeline(start, end)
"""

from asyncsched._core.models import Attempt as Attempt
from asyncsched._core.models import Progress as Progress
from asyncsched._core.models import Run as Run
from asyncsched._core.models import Schedule as Schedule
from asyncsched._core.reports import Coming as Coming
from asyncsched._core.reports import Explanation as Explanation
from asyncsched._core.reports import Health as Health
from asyncsched._core.reports import Instance as Instance
from asyncsched._core.reports import Pause as Pause
from asyncsched._core.states import Outcome as Outcome
