"""Measuring."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.common import stop


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
    from gateway.bench.run import BadOptions, Options, run

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
        raise typer.Exit(run(options))
    except BadOptions as error:
        stop(str(error))
