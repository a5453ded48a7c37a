"""Crontabs: of a user (``crontab -l``) and of the system (``/etc/crontab``, ``/etc/cron.d``), with their variables."""

from __future__ import annotations

import re
import shlex

from asyncsched._core.errors import AsyncSchedError
from asyncsched.cli.imports.found import Found, Imported, name_of
from asyncsched.triggers.cron.trigger import Cron

_VARIABLE = re.compile(r"\s*(['\"]?)([A-Za-z_]\w*)\1\s*=\s*(.*?)\s*$")
_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_SHELL = "/bin/sh"
_USERS = {
    "root",
    "www-data",
    "nobody",
    "daemon",
    "postgres",
    "mysql",
    "backup",
    "list",
    "man",
    "nginx",
    "apache",
}
"""Users by which a system's crontab is told; for others there is --system."""
_INTERPRETERS = {
    "sh",
    "bash",
    "python",
    "python3",
    "perl",
    "php",
    "ruby",
    "node",
    "nice",
    "ionice",
    "env",
    "sudo",
    "cd",
    "test",
    "flock",
    "timeout",
    "command",
}


def read_crontab(text: str, *, zone: str, system: bool | None = None) -> Imported:
    """Return what stands in a crontab.

    Args:
        text: the crontab.
        zone: the time zone of the host that it ran on.
        system: whether each line names a user; ``None`` to tell by the lines.

    """
    found = Imported("a crontab", imports={"import os", "import subprocess"})
    with_user = _has_users(text) if system is None else system
    variables: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        variable = _VARIABLE.match(line)
        if variable:
            value = variable[3]
            variables[variable[2]] = (
                value[1:-1] if value[:1] in "'\"" and value[:1] == value[-1:] != "" else value
            )
            continue
        found.schedules.append(_entry(found, stripped, number, dict(variables), zone, with_user))
    _tell(found, variables, with_user)
    return found


def _has_users(text: str) -> bool:
    """Whether the sixth word of most lines is a user's name, as in ``/etc/cron.d``."""
    users = others = 0
    for line in text.splitlines():
        words = line.split()
        if not words or line.lstrip().startswith("#") or _VARIABLE.match(line):
            continue
        user = words[1:2] if words[0].startswith("@") else words[5:6]
        known = user[:1] != [] and user[0] in _USERS
        users, others = users + known, others + (not known)
    return users > 0 and not others


def _entry(
    found: Imported, line: str, number: int, variables: dict[str, str], zone: str, with_user: bool
) -> Found:
    line = line.removeprefix("-")  # of SUSE: no log entry
    fields = 1 if line.startswith("@") else 5
    words = line.split(None, fields + with_user)
    where = f"line {number}"
    if len(words) <= fields + with_user:
        return Found(f"line_{number}", where, line, fault="the line has too few words")
    expression, command = " ".join(words[:fields]), words[-1]
    taken = [one.name for one in found.schedules]
    one = Found(name_of(_title(command), taken), where, line)
    zone = variables.get("CRON_TZ") or variables.get("TZ", zone) if "CRON_TZ" in variables else zone
    if expression == "@reboot":
        one.trigger, one.options = "Interval(weeks=5000)", {"each_instance": "True"}
        one.trigger = "Interval(weeks=5000, immediate=True)"
        one.notes.append(
            "@reboot ran at the start of the host; this runs at each start of the app, in each process"
        )
    else:
        one.trigger, one.fault = _trigger(expression, zone)
    one.options["overlap"] = '"allow"'
    one.options["misfire"] = 'Misfire(catch_up="none")'
    if with_user and words[fields] != "root":
        one.notes.append(f"it ran as the user {words[fields]!r}; this runs as the user of the app")
    one.body = _body(command, variables)
    return one


def _trigger(expression: str, zone: str) -> tuple[str, str]:
    if expression.startswith("@") and expression.lower() not in _MACROS:
        return "", f"{expression} is not known"
    if "~" in expression:
        return "", "a random time (~) is chosen anew by cron at each start; use jitter="
    try:
        Cron(expression, timezone=zone)
    except AsyncSchedError as error:
        return "", str(error)
    return f"Cron({expression!r}, timezone={zone!r})".replace("'", '"'), ""


def _body(command: str, variables: dict[str, str]) -> tuple[str, ...]:
    text, *stdin = re.split(r"(?<!\\)%", command)
    text = text.replace("\\%", "%")
    shell = variables.get("SHELL", _SHELL)
    given = {
        key: value
        for key, value in variables.items()
        if key not in ("SHELL", "MAILTO", "MAILFROM", "CRON_TZ", "RANDOM_DELAY")
    }
    call = f'subprocess.run([{shell!r}, "-c", {text!r}], check=True'
    if stdin:
        call += f", text=True, input={chr(10).join(part.replace(chr(92) + '%', '%') for part in stdin)!r}"
    if given:
        call += f", env=os.environ | {given!r}"
    return (call + ")",)


def _title(command: str) -> str:
    """Return the word of a command that says most: the program or script, with its first plain argument."""
    try:
        words = shlex.split(command.split("%")[0], comments=True)
    except ValueError:
        words = command.split()
    names = []
    line = " ".join(words)
    part = line if "|" in line else line.rpartition(" && ")[2]
    for word in re.split(r"\s\d?[<>|;]", part)[0].split():
        base = word.rsplit("/", 1)[-1]
        if (
            base in _INTERPRETERS
            or word.startswith("-")
            or "=" in word
            or not base
            or base.startswith((">", "<", "2>"))
        ):
            continue
        names.append(re.sub(r"\.(sh|py|pl|rb|php|js)$", "", base))
        if len(names) == 2:
            break
    return "_".join(names) or command


def _tell(found: Imported, variables: dict[str, str], with_user: bool) -> None:
    found.note(
        'cron starts a second process while the first still runs; this is kept by overlap="allow", and without it the '
        "second is skipped with a record"
    )
    found.note(
        'cron runs nothing that was due while the host was down; this is kept by Misfire(catch_up="none"), which still '
        "runs what is late by up to 60 s, and without it the latest is made up for"
    )
    if variables.get("MAILTO", "-"):
        found.note(
            "cron mails what a command prints; here it goes to the app's stdout, and a failure to the log"
        )
    if "CRON_TZ" in variables:
        found.note("CRON_TZ is taken as the time zone, as cronie does; Debian's cron ignores it")
    if "RANDOM_DELAY" in variables:
        found.note(f"RANDOM_DELAY={variables['RANDOM_DELAY']} is left out; jitter= does the same")
    if with_user:
        found.note("the users of the lines are left out: every command runs as the user of the app")
    found.note(
        "a command that exits with another code than 0 is a failed run, and can be retried with retry="
    )
