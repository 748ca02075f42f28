"""The command line: what an operator types.

Each module holds the commands of one subject. Whatever takes long to load is imported by the
command that needs it, so that the short ones stay short.
"""

from typing import Annotated

import typer

from gateway.cli import (
    accounts,
    api_keys,
    benchmark,
    channels,
    database,
    documents,
    listen,
    publish,
    serving,
    smoke,
    tokens,
)
from gateway.cli.common import EXIT_CODES
from gateway.cli.remote import REMOTE_EXIT_CODES

__all__ = ["app", "main"]

app = typer.Typer(
    name="gateway",
    help="A horizontally scalable WebSocket gateway backed by Redis.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,  # a traceback with local variables would print secrets
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        serving.version()
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version)
    ] = False,
) -> None:
    """What may stand before a command; `Typer.help` above is what the help says."""


app.command(epilog=serving.SERVE_EXIT_CODES)(serving.serve)
app.command()(serving.check)
app.command()(serving.secrets)
app.command()(tokens.token)
app.command()(api_keys.api_key)
app.command(epilog=tokens.EXPLAIN_EXIT_CODES)(tokens.explain)
app.command(epilog=REMOTE_EXIT_CODES)(listen.listen)
app.command(epilog=REMOTE_EXIT_CODES)(publish.publish)
app.command(epilog=REMOTE_EXIT_CODES)(channels.channels)
app.command(epilog=REMOTE_EXIT_CODES)(smoke.smoke)
app.add_typer(accounts.users, name="users")
app.add_typer(database.db, name="db")
app.command()(benchmark.bench)
app.command()(documents.asyncapi)
app.command()(serving.version)


def main() -> None:
    app()
