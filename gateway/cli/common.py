"""What the commands share: the settings, what they wait for, and how they end."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from gateway.cli.output import note
from gateway.configuration import ConfigurationError, load
from gateway.domain.errors import GatewayError, InvalidRequest, Unavailable
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.core.accounts import Accounts

EXIT_CODES = (
    "Exit codes: 0 done, 1 refused, 2 wrong usage, 69 the database or Redis is away, "
    "78 the settings cannot be used."
)

REFUSED = 1

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_STDIN_BYTES_MAX = 65_536

T = TypeVar("T")


def settings_or_stop(**overrides: Any) -> Settings:
    """``overrides`` are the options of the command; None means that it was not given."""
    with reporting():
        return load(**overrides)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do what a command has to wait for."""
    with reporting():
        return asyncio.run(work)


def with_accounts(settings: Settings, work: Callable[["Accounts"], Awaitable[T]]) -> T:
    from gateway.cli.wiring import opened_accounts

    async def do() -> T:
        async with opened_accounts(settings) as accounts:
            return await work(accounts)

    return run(do())


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """End the command with one line and its exit code where something is refused."""
    try:
        yield
    except ConfigurationError as error:
        stop(str(error))
    except Unavailable as error:
        stop(error.detail, os.EX_UNAVAILABLE)
    except GatewayError as error:
        stop(error.detail, REFUSED)


def stop(message: str, code: int = os.EX_CONFIG) -> NoReturn:
    note(message)
    raise typer.Exit(code)


def read_line_of_stdin(what: str) -> str:
    """A secret that must not stand in the shell's history; without the end of its line."""
    if sys.stdin.isatty():
        return str(typer.prompt(what.capitalize(), hide_input=True, err=True))
    given = sys.stdin.buffer.read(_STDIN_BYTES_MAX + 1)
    try:
        line = given.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidRequest(f"the {what} on stdin is not written in UTF-8") from None
    if not line or "\n" in line or len(given) > _STDIN_BYTES_MAX:
        raise InvalidRequest(f"on stdin there is one line, and the {what} in it")
    return line
