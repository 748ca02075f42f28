"""Listening to channels from a terminal or a script, without missing anything."""

import asyncio
import json
import random
import re
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import typer

from gateway.cli.common import reporting
from gateway.cli.output import note, printable
from gateway.cli.remote import (
    DEFAULT_URL,
    INTERRUPTED,
    CaFile,
    Remote,
    Token,
    TokenFile,
    TokenSource,
    Url,
    silence_stdout,
)
from gateway.domain.errors import Denied, GatewayError, InvalidRequest, Unavailable
from gateway.domain.messages import Position
from gateway.protocols.plain import Format

if TYPE_CHECKING:
    from websockets.exceptions import ConnectionClosed

_REFUSED_CLOSE = 1008
_MESSAGE_BYTES_MAX = 64 * 1024 * 1024
_WAIT_SECONDS_MIN, _WAIT_SECONDS_MAX = 0.5, 30.0
_RETRY = re.compile(r"retry_ms=(\d+)")


def listen(
    channels: Annotated[list[str], typer.Argument(help="One channel, or several.")],
    url: Url = DEFAULT_URL,
    token: Token = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    since: Annotated[
        str, typer.Option(help="Begin after this message: EPOCH:OFFSET; :0 begins with the oldest.")
    ] = "",
    format: Annotated[Format, typer.Option(help="What a message is printed as.")] = Format.JSON,
    count: Annotated[int, typer.Option(help="End after so many messages.", min=0)] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the notices on stderr as JSON, too.")
    ] = False,
) -> None:
    """Print what is published on channels, a line for each message, until Ctrl-C.

    Where a connection breaks, it comes back and goes on with the message after the last one.
    Notices go to stderr, so that stdout has messages and nothing else.
    """
    if since and len(channels) > 1:
        raise typer.BadParameter("--since is a position in one channel")
    remote, source = Remote.at(url, ca_file), TokenSource(token, token_file)
    with reporting():
        start = Position.parse(since) if since else None
        printer = _Printer(format, notices_as_json=as_json, count=count)
        code = asyncio.run(_listen(remote, source, dict.fromkeys(channels, start), printer))
    if code:
        raise typer.Exit(code)


async def _listen(
    remote: Remote, source: TokenSource, starts: dict[str, Position | None], printer: "_Printer"
) -> int:
    """Follow every channel until one is refused, or it is enough; the command's exit code."""
    async with asyncio.TaskGroup() as group:
        following = [
            group.create_task(_outcome(_Follower(remote, source, channel, start, printer)))
            for channel, start in starts.items()
        ]
        interrupted = group.create_task(_signalled())
        enough = group.create_task(printer.has_enough.wait())
        tasks: list[asyncio.Task[Any]] = [*following, interrupted, enough]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
    if enough in (done := [task for task in tasks if not task.cancelled()]):
        return 0
    for task in following:
        if task in done:
            raise task.result()
    return INTERRUPTED


async def _outcome(follower: "_Follower") -> GatewayError:
    """Why it could not go on. Returned, because raised it would come as a group of errors."""
    try:
        while True:
            await follower.once_more()
    except GatewayError as error:
        return error


async def _signalled() -> None:
    came = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, came.set)
    await came.wait()


class _Printer:
    """Messages to stdout, notices to stderr."""

    def __init__(self, format: Format, *, notices_as_json: bool, count: int) -> None:
        self._format = format
        self._notices_as_json = notices_as_json
        self._left = count
        self._is_terminal = sys.stdout.isatty()
        self.has_enough = asyncio.Event()

    def message(self, line: str, message: dict[str, Any]) -> None:
        if self.has_enough.is_set():
            return  # of what came in the same moment
        if self._format is not Format.JSON:
            data = message["data"]
            line = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
            if self._format is Format.TEXT:
                line = f"[{message['channel']}] {line}"
        try:
            # A message is written by somebody else, and a terminal obeys some letters.
            print(printable(line) if self._is_terminal else line, flush=True)
        except BrokenPipeError:
            silence_stdout()
            self.has_enough.set()
        self._left -= 1
        if self._left == 0:
            self.has_enough.set()

    def notice(self, channel: str, notice: dict[str, Any]) -> None:
        if self._notices_as_json:
            print(json.dumps({"channel": channel, **notice}), file=sys.stderr, flush=True)
            return
        told = " ".join(f"{name}={value}" for name, value in notice.items() if name != "type")
        note(f"{channel}: {notice['type']} {told}")


@dataclass
class _Follower:
    """One channel, over as many connections as it takes."""

    remote: Remote
    source: TokenSource
    channel: str
    position: Position | None
    printer: _Printer
    was_connected: bool = False
    failures: int = 0

    async def once_more(self) -> None:
        """One connection, and the wait after it; raises `GatewayError` where the next is no use."""
        wait_seconds = None
        try:
            wait_seconds, why = await self._listen(self.source.read())
        except Unavailable as error:
            if not self.was_connected:
                raise  # a wrong URL, most likely; somebody is waiting to be told
            why = error.detail
        if wait_seconds is None:
            wait_seconds = self._backoff()
        told = {"type": "reconnecting", "seconds": round(wait_seconds, 1), "reason": why}
        self.printer.notice(self.channel, told)
        await asyncio.sleep(wait_seconds)

    async def _listen(self, token: str) -> tuple[float | None, str]:
        """One connection from its begin to its end; when to come back, if it was told, and why."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

        if self.position is None:
            self.position = await self._now(token)
        query = "" if self.position is None else "?" + urlencode({"since": str(self.position)})
        address = f"{self.remote.ws}/ws/{quote(self.channel, safe='')}{query}"
        try:
            async with connect(
                address,
                additional_headers={"Authorization": f"Bearer {token}"},
                ssl=self.remote.tls,
                max_size=_MESSAGE_BYTES_MAX,
            ) as socket:
                async for line in socket:
                    self._take(line if isinstance(line, str) else line.decode())
                return self._ended(socket.close_code, socket.close_reason or "", token)
        except ConnectionClosed as closed:
            return self._ended(*_words_of(closed), token)
        except InvalidStatus as error:
            status = error.response.status_code
            kind = InvalidRequest if 400 <= status < 500 else Unavailable
            raise kind(f"{self.channel}: the handshake was answered with {status}") from None
        except (InvalidHandshake, OSError, EOFError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from None

    async def _now(self, token: str) -> Position | None:
        """The channel's position, so that nothing is missed before the first message comes.

        None where the history is not for this token: then a break before the first message
        may cost what is published meanwhile.
        """
        async with self.remote.opened() as http:
            try:
                path = f"/channels/{quote(self.channel, safe='')}/history"
                page = await http.ask("GET", path, token=token, query={"limit": 0})
            except Denied:
                return None
        return Position(page["epoch"], page["offset"])

    def _take(self, line: str) -> None:
        self.was_connected, self.failures = True, 0
        value = json.loads(line)
        if "data" not in value:
            self.printer.notice(self.channel, value)
            if value["type"] != "caught_up":
                return
        self.position = Position(value["epoch"], value["offset"])
        if "data" in value:
            self.printer.message(line, value)

    def _ended(self, code: int | None, reason: str, token: str) -> tuple[float | None, str]:
        if code is not None and _is_for_good(code):
            raise InvalidRequest(f"{self.channel}: closed with {code}: {reason}")
        retry = _RETRY.search(reason)
        if code == _REFUSED_CLOSE and retry is None and self.source.read() == token:
            raise InvalidRequest(f"{self.channel}: closed with {code}: {reason}")
        if code != _REFUSED_CLOSE:
            self.was_connected = True  # it is a gateway that says goodbye
        why = f"closed with {code}: {reason}" if reason else "the connection ended"
        return (int(retry[1]) / 1000 if retry else None), why

    def _backoff(self) -> float:
        """Longer each time, and each client another time: a crowd does not come back at once."""
        self.failures += 1
        most = min(_WAIT_SECONDS_MAX, _WAIT_SECONDS_MIN * 2**self.failures)
        return random.uniform(_WAIT_SECONDS_MIN, most)


def _is_for_good(code: int) -> bool:
    """Whether whoever asked the server API for this code wants nobody to come back."""
    return 3500 <= code < 4000 or 4500 <= code < 5000


def _words_of(closed: "ConnectionClosed") -> tuple[int | None, str]:
    frame = closed.rcvd
    return (None, "") if frame is None else (frame.code, frame.reason)
