"""The smallest program: a FastAPI app with an interval, a cron job and a one-off.

Run it with ``uvicorn examples.minimal:app``, then ``curl -X POST localhost:8000/signup/me@example.com``.
"""

from fastapi import FastAPI

from asyncsched import Scheduler

scheduler = Scheduler()


@scheduler.interval(seconds=1)
async def refresh_rates() -> None:
    print("rates refreshed", flush=True)


@scheduler.cron("0 7 * * mon-fri", timezone="Europe/Paris")
async def send_digest() -> None:
    print("digest sent", flush=True)


async def send_welcome(email: str) -> None:
    print(f"welcome, {email}", flush=True)


app = FastAPI(lifespan=scheduler.lifespan)


@app.post("/signup/{email}", status_code=202)
async def signup(email: str) -> dict[str, str]:
    run = await scheduler.schedule_once(send_welcome, email, delay=1)
    return {"run": run.id}
