"""The group of commands: each is there, described, and completed by the shells."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from asyncsched._core.version import VERSION
from asyncsched.cli.main import COMMANDS, SUMMARIES, cli
from tests.cli.terminal import piped

NAMES = [name for group in COMMANDS.values() for name in group]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_is_listed_says_what_it_does(name: str) -> None:
    answer = CliRunner().invoke(cli, [name, "--help"])
    assert answer.exit_code == 0, answer.output
    assert "Usage:" in answer.output
    assert SUMMARIES[name] in CliRunner().invoke(cli, ["--help"], terminal_width=200).output


def test_the_version(tmp_path: Path) -> None:
    assert piped("--version", cwd=tmp_path).out == f"asyncsched, version {VERSION}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed_for_each_shell(shell: str) -> None:
    answer = CliRunner().invoke(cli, ["completion", shell])
    assert answer.exit_code == 0
    assert "_ASYNCSCHED_COMPLETE" in answer.stdout


def test_a_shell_is_given_the_commands_that_begin_so(tmp_path: Path) -> None:
    asked = {"_ASYNCSCHED_COMPLETE": "bash_complete", "COMP_WORDS": "asyncsched sche", "COMP_CWORD": "1"}
    answer = piped(cwd=tmp_path, **asked)
    assert answer.out.split() == ["plain,schedules", "plain,schedule"]
