"""The events that observers hear, one class each.

Every event has ``at``, an aware UTC datetime. ``observers=[...]`` of a ``Scheduler`` takes plain and async
callables; one with an attribute ``wants = SomeEvent`` hears that kind only::

    from asyncsched.events import RunUnsuccessful

    def alert(event: RunUnsuccessful) -> None:
        print(event.run.job, event.run.message)

    alert.wants = RunUnsuccessful
"""

from asyncsched._core.events import ClockStepped as ClockStepped
from asyncsched._core.events import Event as Event
from asyncsched._core.events import JobUnknown as JobUnknown
from asyncsched._core.events import LoopStalled as LoopStalled
from asyncsched._core.events import RunFenced as RunFenced
from asyncsched._core.events import RunFinished as RunFinished
from asyncsched._core.events import RunStarted as RunStarted
from asyncsched._core.events import RunSucceeded as RunSucceeded
from asyncsched._core.events import RunUnsuccessful as RunUnsuccessful
from asyncsched._core.events import RunWaits as RunWaits
from asyncsched._core.events import ScheduleEnded as ScheduleEnded
from asyncsched._core.events import SchedulePaused as SchedulePaused
from asyncsched._core.events import SchedulerStarted as SchedulerStarted
from asyncsched._core.events import SchedulerStopped as SchedulerStopped
from asyncsched._core.events import SlotsSkipped as SlotsSkipped
from asyncsched._core.events import StoreFailed as StoreFailed
