"""``token``: a new secret for the JSON API, and the lines that use it."""

from __future__ import annotations

import secrets

import click

from asyncsched.cli.faults import OK
from asyncsched.cli.options import style_of, writes
from asyncsched.cli.output import write_json

_USE = """\
in the app:      Dashboard(scheduler, auth=bearer(os.environ["ASYNCSCHED_TOKEN"]))
in both places:  export ASYNCSCHED_TOKEN=…
and then:        asyncsched status --url http://127.0.0.1:8000/scheduler"""


@click.command()
@writes()
def token() -> int:
    """Print a new random token for `bearer(…)` of the page; it is stored nowhere. How to use it stands on stderr."""
    made = secrets.token_urlsafe(32)
    if style_of().json:
        write_json({"token": made})
    else:
        click.echo(made)
        click.echo(_USE, err=True)
    return OK
