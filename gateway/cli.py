"""The command line: start the gateway, look at its settings, make tokens and secrets."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from gateway import __version__
from gateway.app import make_issuer
from gateway.bench.run import BadOptions, Options
from gateway.bench.run import run as run_bench
from gateway.configuration import ConfigurationError, describe, load
from gateway.domain.principal import Action
from gateway.secret_files import write_cluster_secrets, write_env_file
from gateway.server import serve as serve_gateway
from gateway.settings import Settings

app = typer.Typer(
    name="gateway",
    help="A horizontally scalable WebSocket gateway backed by Redis.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,  # a traceback with local variables would print secrets
)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; more than 1 needs Redis.")] = None,
) -> None:
    """Start the gateway. Without GATEWAY_REDIS_URL it is one replica, in memory."""
    try:
        serve_gateway(_settings(host=host, port=port, workers=workers))
    except ConfigurationError as error:
        _stop(str(error))


@app.command()
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
    """Print one access token, signed with GATEWAY_JWT_SECRET."""
    settings = _settings()
    if settings.jwt_secret is None:
        _stop(
            "GATEWAY_JWT_SECRET is not set here, and a token must be signed with the secret that "
            "the running gateway has; 'make run' keeps it in .env"
        )
    asked = {Action.PUBLISH: publish, Action.SUBSCRIBE: subscribe}
    grants = {action: patterns for action, patterns in asked.items() if patterns}
    try:
        print(
            make_issuer(settings).issue(sub, lifetime_seconds=ttl, roles=role or (), grants=grants)
        )
    except ValueError as error:
        _stop(str(error))


@app.command()
def check() -> None:
    """Print every setting with its effective value and its reason; secrets stay hidden."""
    settings = _settings()
    rows = describe(settings)
    width = max(len(name) for name, _, _ in rows)
    value_width = min(40, max(len(value) for _, value, _ in rows))
    for name, value, reason in rows:
        print(f"{name:<{width}}  {value:<{value_width}}  {reason}")
    if settings.jwt_secret is None and not settings.secret_may_be_made_up:
        _stop("GATEWAY_JWT_SECRET is needed with Redis, on a public address and in production")


@app.command()
def secrets(
    env_file: Annotated[
        Path | None, typer.Option(help="Write GATEWAY_JWT_SECRET into this .env file.")
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option(help="Write the secrets of a cluster into this directory.")
    ] = None,
    redis_host: Annotated[str, typer.Option(help="Redis' address, for --cluster.")] = "redis:6379",
) -> None:
    """Make random secrets where there are none yet; existing ones are never changed."""
    if (env_file is None) == (cluster is None):
        _stop("give --env-file or --cluster")
    try:
        if env_file is not None:
            written = write_env_file(env_file)
        elif cluster is not None:
            written = write_cluster_secrets(cluster, redis_host)
    except OSError as error:
        _stop(f"{error.filename}: {error.strerror}")
    for path in written:
        print(f"made {path}", file=sys.stderr)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option(help="Smaller numbers, under half a minute.")] = False,
    sockets: Annotated[
        int | None, typer.Option(help="Sockets of the crowd; the other scenarios use no more.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A scenario, by name; may be repeated.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures into this file.")] = None,
    url: Annotated[
        str, typer.Option(help="Aim at a running gateway, like ws://127.0.0.1:8000.")
    ] = "",
    token: Annotated[str, typer.Option(help="A publisher's token for --url.")] = "",
    i_own_this_server: Annotated[
        bool, typer.Option("--i-own-this-server", help="Allow a --url that is not loopback.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Processes of the generator.")] = None,
) -> None:
    """Measure this machine's gateway against its references, and check every delivery."""
    options = Options(
        is_quick=quick,
        sockets=sockets,
        only=only or [],
        json_file=json,
        url=url,
        token=token,
        is_own_server=i_own_this_server,
        workers=workers,
    )
    try:
        raise typer.Exit(run_bench(options))
    except BadOptions as error:
        _stop(str(error))


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


def main() -> None:
    app()


def _settings(**overrides: Any) -> Settings:
    try:
        return load(**overrides)
    except ConfigurationError as error:
        _stop(str(error))


def _stop(message: str) -> NoReturn:
    print(f"gateway: {message}", file=sys.stderr)
    raise typer.Exit(os.EX_CONFIG)
