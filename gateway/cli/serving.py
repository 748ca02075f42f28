"""Starting the gateway, and what comes before that: its settings and its secrets."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli.common import note, print_table, reporting, stop
from gateway.configuration import ConfigurationError, describe, describe_namespaces, load
from gateway.secret_files import write_cluster_secrets, write_env_file


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; more than 1 needs Redis.")] = None,
) -> None:
    """Start the gateway. Without GATEWAY_REDIS_URL it is one replica, in memory."""
    read = partial(load, host=host, port=port, workers=workers)
    with reporting():
        settings = read()

    from gateway.server import serve as serve_gateway

    with reporting():
        serve_gateway(settings, read)


def check() -> None:
    """Print every setting with its effective value and its reason; secrets stay hidden.

    Then what holds in each namespace. Where something is wrong, a line for each mistake instead.
    """
    try:
        settings = load()
    except ConfigurationError as error:
        for mistake in error.mistakes:
            note(mistake)
        raise typer.Exit(os.EX_CONFIG) from None
    rows = describe(settings)
    width = max(len(name) for name, _, _ in rows)
    value_width = min(40, max(len(value) for _, value, _ in rows))
    for name, value, reason in rows:
        print(f"{name:<{width}}  {value:<{value_width}}  {reason}")
    print()
    print_table(describe_namespaces(settings))
    print(f"\nA stop takes up to {settings.stop_seconds_max} s: let nobody end it by force before.")
    if not settings.has_signing_key and not settings.secret_may_be_made_up:
        stop("GATEWAY_JWT_SECRET is needed with Redis, on a public address and in production")


def secrets(
    env_file: Annotated[
        Path | None, typer.Option(help="Write GATEWAY_JWT_SECRET into this .env file.")
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option(help="Write the secrets of a cluster into this directory.")
    ] = None,
    redis_host: Annotated[str, typer.Option(help="Redis' address, for --cluster.")] = "redis:6379",
    database_host: Annotated[
        str, typer.Option(help="MariaDB's address, for --cluster.")
    ] = "mariadb:3306",
) -> None:
    """Make random secrets where there are none yet; existing ones are never changed."""
    if (env_file is None) == (cluster is None):
        stop("give --env-file or --cluster")
    try:
        if env_file is not None:
            written = write_env_file(env_file)
        elif cluster is not None:
            written = write_cluster_secrets(cluster, redis_host, database_host)
    except OSError as error:
        stop(f"{error.filename}: {error.strerror}")
    for path in written:
        print(f"made {path}", file=sys.stderr)


def version() -> None:
    """Print the version."""
    print(__version__)
