"""The group of commands: each is imported when it is used, near misses are suggested, and errors are two lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from asyncsched._core.version import VERSION
from asyncsched.cli.faults import BAD, Fault, fault_of, one_line, suggestion
from asyncsched.cli.output import colours

COMMANDS = {
    "look": {
        "status": "status", "schedules": "look", "schedule": "look", "jobs": "look", "runs": "runs",
        "failures": "runs", "instances": "look",
    },
    "why, and when": {"explain": "when", "next": "when", "timeline": "when"},
    "operate": {
        "run-now": "operate", "once": "operate", "pause": "rule", "resume": "rule", "skip": "rule",
        "reschedule": "rule", "remove": "rule", "backfill": "rule", "cancel": "operate", "requeue": "operate",
        "dismiss": "operate",
    },
    "before it goes live": {"simulate": "simulate", "check": "check", "doctor": "doctor"},
    "run": {"worker": "worker", "run": "runs"},
    "live": {"top": "top", "tail": "live"},
    "more": {"db": "db", "import": "importing", "token": "token", "completion": "completion"},
}  # fmt: skip
"""The commands by what they are for, each with its module in this folder."""

_MODULES = {name: module for group in COMMANDS.values() for name, module in group.items()}

SUMMARIES = {
    "status": "How it stands, what is wrong, and what is next.",
    "schedules": "The schedules with their states.",
    "schedule": "One schedule: trigger, arguments, last runs, next due times.",
    "jobs": "The jobs of the code, or of the store.",
    "runs": "The runs, newest first.",
    "failures": "The runs that failed for good, by job and error.",
    "instances": "The processes of the cluster.",
    "explain": "What became of a due time and why; or a cron expression in words.",
    "next": "The next due times.",
    "timeline": "The due times of the next hours, with what clashes.",
    "run-now": "Run a schedule now.",
    "once": "Run a job once, with arguments.",
    "pause": "Pause a schedule or a job.",
    "resume": "Let a paused schedule or job go on.",
    "skip": "Skip the next due time of a schedule.",
    "reschedule": "Give a schedule another cron expression or period.",
    "remove": "Remove a schedule that is not in the code.",
    "cancel": "Cancel runs.",
    "requeue": "Run failed runs again.",
    "dismiss": "Put a failed run aside.",
    "backfill": "Run due times of the past.",
    "simulate": "Run the schedules of the code through days of virtual time.",
    "check": "Find what cannot work, for a CI or a monitor.",
    "doctor": "Find what would go wrong in production.",
    "worker": "Run the scheduler of an app without a web server.",
    "run": "Run one job of an app once (run APP JOB), or show one run (run ID).",
    "top": "The overview, live.",
    "tail": "One line for each run that is made, begins or ends, live.",
    "db": "The tables of a store: what they lack, and the SQL.",
    "import": "Make asyncsched code of a crontab, APScheduler, Celery beat or repeat_every.",
    "token": "A new token for the page's JSON API.",
    "completion": "The completion script for bash, zsh or fish.",
}


class Commands(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = cmd_name
        if name not in _MODULES:
            return None
        module = import_module(f"asyncsched.cli.{_MODULES[name]}")
        attribute = name.replace("-", "_") + ("_" if name in ("import", "next") else "")
        command: click.Command = getattr(module, attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in _MODULES:
            return name, self.get_command(ctx, name), args[1:]
        hint = suggestion(name, _MODULES) or "`asyncsched --help` lists the commands"
        raise Fault(2, f"there is no command {name!r}", hint)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in COMMANDS.items():
            with formatter.section(title[0].upper() + title[1:]):
                formatter.write_dl([(name, SUMMARIES[name]) for name in names])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(VERSION, prog_name="asyncsched")
def cli() -> None:
    """Look at, operate and run an asyncsched scheduler.

    The target is named, and nothing is started in order to be looked at: --url URL is the page of a running app,
    --store URL is the store itself, and --app module:scheduler is the code. Exit codes: 0 well, 1 the answer is bad, 2 wrong usage, 3 not found,
    4 refused, 5 cannot be reached.
    """


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_answer(given, "--debug" in given))


def _answer(arguments: list[str], debug: bool) -> int:
    color = colours("auto")
    try:
        code = cli.main(arguments, prog_name="asyncsched", standalone_mode=False, color=color)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _told(error, debug)


def _told(error: Exception, debug: bool) -> int:
    """Write an error as two lines, with its traceback if asked for, and return the exit code."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, click.UsageError):
        where = f"{error.ctx.command_path} --help" if error.ctx else "asyncsched --help"
        Fault(2, error.format_message(), f"`{where}` shows what it takes").show()
        return 2
    if isinstance(error, click.ClickException):
        error.show()
        return error.code if isinstance(error, Fault) else error.exit_code
    found = fault_of(error)
    if found is None:
        found = Fault(
            BAD,
            f"the command failed: {type(error).__name__}: {one_line(str(error))}",
            "--debug shows the traceback",
        )
    found.show()
    return found.code
