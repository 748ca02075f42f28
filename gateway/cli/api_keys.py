"""Making keys for the server API."""

import hashlib
import secrets
from typing import Annotated

import typer

from gateway.cli.common import AsJson, stop
from gateway.cli.output import print_json

_BYTES = 32
_USAGE = 2


def api_key(
    name: Annotated[str, typer.Argument(help="What the log calls whoever has it.")],
    method: Annotated[
        list[str] | None, typer.Option(help="A method that it is good for; default: all.")
    ] = None,
    channel: Annotated[
        list[str] | None, typer.Option(help="Channels that it is good for, like 'news:*'.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a new key for the server API, and the section of the TOML file that admits it.

    The file has its hash alone, so the key itself is shown here and nowhere else.
    """
    from pydantic import ValidationError

    from gateway.settings.api import ApiKeySettings

    key = secrets.token_urlsafe(_BYTES)
    digest = hashlib.sha256(key.encode()).hexdigest()
    try:
        section = ApiKeySettings(
            name=name, key_sha256=digest, methods=method or None, channels=channel or None
        )
    except ValidationError as error:
        first = error.errors()[0]
        why = str(first["msg"]).removeprefix("Value error, ")
        stop(f"{first['loc'][0]}: {why}", _USAGE)
    given = section.model_dump(exclude_none=True)
    if as_json:
        print_json({"key": key, **given})
        return
    print(f"# the key, for whoever calls: {key}")
    print("[[api_keys]]")
    for field, value in given.items():
        print(f"{field} = {_toml(value)}")


def _toml(value: str | list[str]) -> str:
    # Names, methods and patterns have no character that would need an escape.
    if isinstance(value, str):
        return f'"{value}"'
    return "[" + ", ".join(map(_toml, value)) + "]"
