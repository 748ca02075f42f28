"""Describing the gateway to programs."""

from gateway.cli.output import print_json


def asyncapi() -> None:
    """Print the AsyncAPI document: what is said on sockets and streams.

    A gateway serves the same at /asyncapi.json, in production on request alone.
    """
    from gateway import __version__
    from gateway.sockets.asyncapi import document

    print_json(document(__version__))
