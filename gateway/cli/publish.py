"""Publishing one message."""

import json
import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.common import AsJson, reporting, run
from gateway.cli.output import note, print_json
from gateway.cli.remote import (
    DEFAULT_URL,
    CaFile,
    Remote,
    Token,
    TokenFile,
    TokenSource,
    Url,
    read_stdin,
)
from gateway.domain.errors import InvalidRequest, Unavailable

_STDIN_BYTES_MAX = 16 * 1024 * 1024


def publish(
    channel: Annotated[str, typer.Argument(help="Where to publish.")],
    message: Annotated[
        str | None, typer.Argument(help="The text; - or nothing reads it from stdin.")
    ] = None,
    json_data: Annotated[
        bool, typer.Option("--json-data", help="The message is JSON, not text.")
    ] = False,
    key: Annotated[
        str, typer.Option(help="An idempotency key: the same message with it is published once.")
    ] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Publish one message, and say where it stands in its channel.

    A text from stdin loses the line feed at its end. Nothing is tried twice by itself: where it
    is unknown whether the message was published, repeat it with the same --key.
    """
    remote, source = Remote.at(url, ca_file), TokenSource(token, token_file)
    with reporting():
        data = _data(message, json_data)
        receipt = run(_publish(remote, source.read(), channel, data, key))
    if as_json:
        print_json(receipt)
    else:
        print(f"{receipt['channel']}: offset {receipt['offset']} of epoch {receipt['epoch']}")


def _data(message: str | None, is_json: bool) -> Any:
    if message in (None, "-"):
        if message is None and sys.stdin.isatty():
            note("reading the message from stdin; Ctrl-D ends it")
        message = read_stdin(_STDIN_BYTES_MAX)
        if not is_json:
            message = message.removesuffix("\n").removesuffix("\r")
    assert message is not None
    if not is_json:
        return message
    try:
        return json.loads(message)
    except ValueError as error:
        raise InvalidRequest(f"the message is not JSON: {error}") from None


async def _publish(remote: Remote, token: str, channel: str, data: Any, key: str) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    async with remote.opened() as http:
        try:
            return await http.ask(
                "POST",
                f"/publish/{quote(channel, safe='')}",
                token=token,
                json_body={"data": data},
                headers=headers,
            )
        except Unavailable as error:
            if not error.outcome_unknown:
                raise
            raise Unavailable(f"{error.detail}; it may have been published") from None
