"""The files that the guide shows: each is parsed as its reader would, and starts what exists."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from asyncsched import Cron
from asyncsched.cli.main import cli
from tests.docs.pages import Block, blocks

FILES = [block for block in blocks() if "file" in block.markers and block.language != "python"]


def _of(language: str) -> list[Any]:
    return [pytest.param(one, id=one.markers["file"]) for one in FILES if one.language == language]


def _commands(block: Block) -> Iterator[list[str]]:
    """Yield the command lines of a file, as words."""
    if block.language == "yaml":
        yield from _of_yaml(yaml.safe_load(block.text))
    for line in re.findall(r"^(?:ExecStart=|CMD |HEALTHCHECK CMD )(.*)$", block.text, re.M):
        yield json.loads(line) if line.startswith("[") else shlex.split(line)


def _of_yaml(value: Any) -> Iterator[list[str]]:
    if isinstance(value, dict):
        if "command" in value:
            command = value["command"]
            yield shlex.split(command) if isinstance(command, str) else command
        for one in value.values():
            yield from _of_yaml(one)
    elif isinstance(value, list):
        for one in value:
            yield from _of_yaml(one)


@pytest.mark.parametrize("block", [pytest.param(one, id=one.markers["file"]) for one in FILES])
def test_what_a_file_starts_exists_and_ends_gracefully(block: Block) -> None:
    for words in _commands(block):
        if "uvicorn" in words[0]:
            assert "--timeout-graceful-shutdown" in words, words
        if "asyncsched" in words:
            name = words[words.index("asyncsched") + 1]
            assert name in cli.list_commands(None), words  # type: ignore[arg-type]


@pytest.mark.parametrize("block", _of("yaml"))
def test_a_yaml_file_has_the_keys_of_its_kind(block: Block) -> None:
    found = yaml.safe_load(block.text)
    kind = found.get("kind", "")
    if kind == "Deployment":
        spec = found["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        grace = 10 + 10 + container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert spec["terminationGracePeriodSeconds"] > grace
        paths = {container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")}
        assert paths == {"/readyz", "/livez"}
    elif kind == "CronJob":
        Cron(found["spec"]["schedule"], timezone=found["spec"]["timeZone"], fields=5)
    elif "services" in found:
        stores = [one["environment"].get("ASYNCSCHED_STORE") for one in found["services"].values()]
        assert [store for store in stores if store] == ["postgresql://shop:shop@database/shop"] * 2


@pytest.mark.parametrize("block", _of("cron"))
def test_a_line_of_a_crontab_is_due(block: Block) -> None:
    for line in block.text.splitlines():
        Cron(" ".join(line.split()[:5]), fields=5)


@pytest.mark.parametrize("block", _of("ini"))
def test_a_unit_of_systemd_has_its_sections(block: Block) -> None:
    for part in re.split(r"^# \S+\.\w+$", block.text, flags=re.M):
        unit = configparser.ConfigParser(interpolation=None, strict=True)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(part)
        assert {*unit.sections()} <= {"Unit", "Service", "Timer", "Install"}
