"""The logging examples: every line is JSON, and every line of a job has its run, from threads and processes too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.examples.servers import running
from tests.waiting import PATIENCE


def lines_of(module: str, backend: str) -> list[dict[str, Any]]:
    with running(module, backend, serves=False) as program:
        assert program.process.wait(PATIENCE) == 0, program.output
        return [json.loads(line) for line in program.output.splitlines()]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("module", "message", "name"),
    [("examples.logs.json_lines", "message", "name"), ("examples.logs.with_structlog", "event", "logger")],
    ids=["json", "structlog"],
)
def test_every_line_is_json_and_has_its_run_once(module: str, message: str, name: str, backend: str) -> None:
    lines = lines_of(module, backend)
    said = [(line[name], line[message].split(" of job ")[-1].split(":")[0]) for line in lines]
    begun = {line["job"]: line["run_id"] for line in lines if "begins" in line[message]}
    assert begun.keys() == {"collect", "check", "price", "fail"}
    for job, text in (("collect", "collected"), ("check", "checked"), ("price", "priced")):
        (line,) = [line for line in lines if line[message] == text]
        assert (line["job"], line["run_id"], line["attempt"], line["order"]) == (job, begun[job], 1, 7)
        (end,) = [
            line
            for line in lines
            if line["run_id" if "run_id" in line else name] == begun[job] and "took" in line
        ]
        assert end["outcome"] == "succeeded"
    (failed,) = [line for line in lines if line.get("outcome") == "failed"]
    assert (failed["job"], failed["run_id"], failed["error_type"]) == ("fail", begun["fail"], "LookupError")
    told = json.dumps(failed.get("exc_info") or failed.get("exception"))
    assert ("there is no order 7" in told and "in fail" in told) or '"name": "fail"' in told
    assert said[0][1].startswith("the scheduler has started")
    assert said[-1][1] == "the scheduler has stopped"
