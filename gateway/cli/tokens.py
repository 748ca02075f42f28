"""Making a token, and saying why one may or may not do something."""

from typing import Annotated

import typer

from gateway.cli.common import (
    REFUSED,
    AsJson,
    read_line_of_stdin,
    reporting,
    run,
    settings_or_stop,
    stop,
)
from gateway.cli.output import note, print_json
from gateway.domain.principal import Action
from gateway.settings import Settings

EXPLAIN_EXIT_CODES = (
    "Exit codes: 0 the token is accepted, and may subscribe the channel if one is given; "
    "1 it is refused, or may not; 2 wrong usage; 78 the settings cannot be used."
)


def token(
    sub: Annotated[str, typer.Option(help="The user the token speaks for.")],
    role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated.")] = None,
    publish: Annotated[
        list[str] | None, typer.Option(help="Publish on matching channels only, like 'news.*'.")
    ] = None,
    subscribe: Annotated[
        list[str] | None, typer.Option(help="Subscribe matching channels only.")
    ] = None,
    ttl: Annotated[int, typer.Option(help="Lifetime in seconds.")] = 3600,
) -> None:
    """Print one access token, signed with the key of the settings. It needs no account."""
    settings = settings_or_stop()
    _need_key(settings)

    from gateway.signing import make_issuer

    asked = {Action.PUBLISH: publish, Action.SUBSCRIBE: subscribe}
    grants = {action: patterns for action, patterns in asked.items() if patterns}
    try:
        with reporting():
            issuer = make_issuer(settings)
        print(issuer.issue(sub, lifetime_seconds=ttl, roles=role or (), grants=grants))
    except ValueError as error:
        stop(str(error))


def explain(
    token: Annotated[str, typer.Argument(help="An access token; - reads it from stdin.")],
    channel: Annotated[str | None, typer.Argument(help="What it may do there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say step by step why a token is accepted or refused, and what it may do on a channel.

    It looks up once what has been revoked, in the database and in Redis, and changes nothing.
    With - the token does not get into the shell's history.
    """
    settings = settings_or_stop()
    _need_key(settings)

    from gateway.cli.wiring import explained

    with reporting():
        given = read_line_of_stdin("token") if token == "-" else token
    explanation, troubles = run(explained(settings, given.strip(), channel))
    for trouble in troubles:
        note(trouble)
    if as_json:
        print_json(explanation.as_dict())
    else:
        print("\n".join(explanation.lines()))
    may_subscribe = channel is None or explanation.allowed.get(Action.SUBSCRIBE, False)
    if not (explanation.accepted and may_subscribe):
        raise typer.Exit(REFUSED)


def _need_key(settings: Settings) -> None:
    if not settings.has_signing_key:
        stop(
            "GATEWAY_JWT_SECRET is not set here, and tokens are signed and verified with the "
            "secret that the running gateway has: 'gateway secrets --env-file .env' makes one in "
            ".env, which every command in this directory reads"
        )
