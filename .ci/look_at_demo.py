"""Look at the main job as its user would: open its page, sign up, wait for what is promised, end it.

Usage: ``look_at_demo.py LOG GROUP``: where the demo writes, and its process group.
"""

import json
import os
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 300.0  # seconds; the first of them are pip's
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Demo:
    """The demo, from the outside."""

    def __init__(self, log: Path, group: int) -> None:
        self.log = log
        self.group = group
        self.end = time.monotonic() + PATIENCE
        self.url = self.until("its address", self.address)

    def until(self, what: str, question: Callable[[], Any]) -> Any:
        while not (answer := question()):
            if time.monotonic() > self.end:
                sys.exit(f"the demo: waited in vain for {what}")
            time.sleep(0.2)
        return answer

    def alive(self) -> bool:
        try:
            state = Path(f"/proc/{self.group}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"

    def address(self) -> str | None:
        if not self.alive():
            sys.exit("the demo ended by itself")
        found = re.search(r"open (http://\S+)", self.log.read_text())
        return found and found[1]

    def get(self, path: str) -> str:
        with LOCAL.open(self.url + path, timeout=10) as answer:
            return str(answer.read().decode())

    def post(self, path: str, body: dict[str, str]) -> None:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        LOCAL.open(request, timeout=10).close()


demo = Demo(Path(sys.argv[1]), int(sys.argv[2]))
demo.until("checks", lambda: all((one["checks"] or 0) >= 2 for one in json.loads(demo.get("/monitors"))))
demo.until("the chart", lambda: "<polyline" in demo.get("/"))
demo.post("/signup", {"email": "ci@example.com"})
demo.until("the welcome mail", lambda: "Welcome" in demo.get("/mail"))
os.killpg(demo.group, signal.SIGINT)
demo.until("its end", lambda: not demo.alive())
if "Traceback" in demo.log.read_text():
    sys.exit("the demo left a traceback")
print(f"{demo.url}: monitors checked, chart drawn, mail received, ended by Ctrl-C")
