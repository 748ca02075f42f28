"""The documents that the command line prints."""

import json

from gateway import __version__
from gateway.sockets.asyncapi import document
from tests.unit.cli.running import run


def test_the_document_is_the_one_that_is_served() -> None:
    result = run("asyncapi")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == document(__version__)
