"""Starting the gateway, and what comes before that: its settings and its secrets."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli.common import AsJson, reporting, stop
from gateway.cli.output import note, print_json, print_table
from gateway.configuration import (
    SECRET_IS_NEEDED,
    ConfigurationError,
    describe,
    describe_namespaces,
    load,
)
from gateway.protocols.centrifuge.codec import protobuf_is_installed
from gateway.secret_files import write_cluster_secrets, write_env_file
from gateway.settings import Settings

SERVE_EXIT_CODES = (
    "Exit codes: 0 ended in good order, 1 a second signal hurried it, 2 wrong usage, "
    "69 the port is taken, 78 the settings cannot be used."
)


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; otherwise GATEWAY_HOST, 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on, 0 for a free one; otherwise GATEWAY_PORT, 8000."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes, more than 1 with Redis; otherwise GATEWAY_WORKERS, 1."),
    ] = None,
) -> None:
    """Start the gateway. Without GATEWAY_REDIS_URL it is one replica, in memory.

    Every other setting is a variable GATEWAY_…, in .env too, or stands in the file GATEWAY_CONFIG;
    'gateway check' lists them all.
    """
    read = partial(load, host=host, port=port, workers=workers)
    with reporting():
        settings = read()

    from gateway.server import serve as serve_gateway

    with reporting():
        serve_gateway(settings, read)


def check(as_json: AsJson = False) -> None:
    """Print every setting with its effective value and its reason; secrets stay hidden.

    Then what holds in each namespace, and whether Protobuf clients are served. Where something is
    wrong, a line for each mistake instead.
    """
    try:
        settings = load()
        if can_sign := settings.has_signing_key or settings.secret_may_be_made_up:
            from gateway.server import rehearse

            rehearse(settings)
    except ConfigurationError as error:
        for mistake in error.mistakes:
            note(mistake)
        raise typer.Exit(os.EX_CONFIG) from None
    if as_json:
        _print_for_programs(settings)
    else:
        _print_for_people(settings)
    if not can_sign:
        stop(SECRET_IS_NEEDED)


def _print_for_people(settings: Settings) -> None:
    rows = describe(settings)
    width = max(len(name) for name, _, _ in rows)
    value_width = min(40, max(len(value) for _, value, _ in rows))
    for name, value, reason in rows:
        print(f"{name:<{width}}  {value:<{value_width}}  {reason}")
    print()
    print_table(describe_namespaces(settings))
    is_served = protobuf_is_installed()
    protobuf = "served" if is_served else 'refused, until pip install "gateway[protobuf]"'
    print(f"\nClients that speak Protobuf are {protobuf}.")
    print(f"A stop takes up to {settings.stop_seconds_max} s: let nobody end it by force before.")


def _print_for_programs(settings: Settings) -> None:
    columns, *rows = describe_namespaces(settings)
    names = [column.lower().replace(" ", "_") for column in columns]
    print_json(
        {
            "settings": {
                name: {"value": value, "reason": reason}
                for name, value, reason in describe(settings)
            },
            "namespaces": [dict(zip(names, row, strict=True)) for row in rows],
            "protobuf_is_installed": protobuf_is_installed(),
            "stop_seconds_max": settings.stop_seconds_max,
        }
    )


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
