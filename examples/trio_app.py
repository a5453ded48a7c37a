"""The same library on trio: by itself, or in an app that hypercorn serves on trio.

Run it with ``python -m examples.trio_app`` (Ctrl-C ends it), or
``hypercorn --worker-class trio examples.trio_app:app``.
"""

import anyio
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asyncsched import Scheduler

scheduler = Scheduler()


@scheduler.interval(seconds=1)
async def tick() -> str:
    await trio.sleep(0.01)  # a job is a trio task: anything of trio works in it
    print("tick at", trio.current_time(), flush=True)
    return "trio"


async def last(request: Request) -> JSONResponse:
    runs = await scheduler.runs(job="tick", state="succeeded", limit=1)
    return JSONResponse({"ran_on": runs[0].result if runs else None})


app = Starlette(routes=[Route("/", last)], lifespan=scheduler.lifespan)

if __name__ == "__main__":
    anyio.run(scheduler.run_forever, backend="trio")
