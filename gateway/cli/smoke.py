"""Walking through a gateway that runs: from an account to a closed socket, and what was seen."""

import asyncio
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from gateway.cli.common import REFUSED, AsJson, reporting
from gateway.cli.output import print_json, printable
from gateway.cli.remote import (
    CaFile,
    Http,
    Remote,
    Token,
    TokenFile,
    TokenSource,
    read_stdin,
)
from gateway.domain.errors import GatewayError, Unavailable

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_STEP_SECONDS = 10.0
_PASSWORD_BYTES_MAX = 65_536
_POLICY = 1008

Step = Callable[[], Awaitable[str]]


@dataclass
class Seen:
    """What came of one step; ``ok`` is None where it was not tried."""

    step: str
    ok: bool | None
    seconds: float
    saw: str


class Failed(Exception):
    """Something else came than what had to; the text is for the operator."""


def smoke(
    url: Annotated[str, typer.Argument(help="The gateway, as its clients reach it.")],
    token: Token = "",
    token_file: TokenFile = None,
    no_publish: Annotated[
        bool, typer.Option("--no-publish", help="Leave publishing out: no token is needed.")
    ] = False,
    user: Annotated[
        str, typer.Option(help="Log in as this user; otherwise a new account is registered.")
    ] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password of --user.")
    ] = False,
    channel: Annotated[str, typer.Option(help="The channel to use; otherwise a new one.")] = "",
    ca_file: CaFile = None,
    as_json: AsJson = False,
) -> None:
    """Walk through a running gateway, and say for each step what was seen.

    The token is one that may publish. An account that was registered for this stays, with a
    random name that begins with "smoke-" and a password that nobody knows.
    """
    if bool(user) != password_stdin:
        raise typer.BadParameter("--user and --password-stdin belong together")
    remote = Remote.at(url, ca_file)
    if not (no_publish or token or token_file):
        raise typer.BadParameter(
            "a token that may publish is needed, with --token-file FILE or GATEWAY_TOKEN; or leave "
            "publishing out, with --no-publish"
        )
    with reporting():
        # The password is read first, so both may not come on stdin.
        password = read_stdin(_PASSWORD_BYTES_MAX).rstrip("\r\n") if user else ""
        publisher = "" if no_publish else TokenSource(token, token_file).read()
        walk = _Walk(
            publisher=publisher,
            user=user or f"smoke-{secrets.token_hex(6)}",
            password=password or secrets.token_urlsafe(24),
            is_registering=not user,
            channel=channel or f"smoke-{secrets.token_hex(6)}",
        )
        seen = asyncio.run(walk.through(remote, show=None if as_json else _show))
    is_ok = all(one.ok for one in seen)
    if as_json:
        print_json({"url": remote.base, "ok": is_ok, "steps": [asdict(one) for one in seen]})
    if not is_ok:
        raise typer.Exit(walk.exit_code)


def _show(seen: Seen) -> None:
    mark = {True: "ok", False: "FAILED", None: "-"}[seen.ok]
    print(f"{mark:<7} {seen.step:<13} {seen.seconds:6.3f} s  {printable(seen.saw)}", flush=True)


@dataclass
class _Walk:
    publisher: str
    user: str
    password: str
    is_registering: bool
    channel: str
    exit_code: int = REFUSED
    access: str = ""
    refresh: str = ""

    _http: Http = field(init=False)
    _remote: Remote = field(init=False)
    _socket: "ClientConnection | None" = field(init=False, default=None)
    _sent: str = field(init=False, default="")
    _receipt: dict[str, Any] = field(init=False, default_factory=dict)

    def steps(self) -> list[tuple[str, Step]]:
        steps: list[tuple[str, Step]] = [("ready", self._ready)]
        if self.is_registering:
            steps.append(("register", self._register))
        steps += [("log in", self._log_in), ("subscribe", self._subscribe)]
        if self.publisher:
            steps += [("publish", self._publish), ("receive", self._receive)]
        return [
            *steps,
            ("refresh", self._refresh),
            ("log out", self._log_out),
            ("socket closed", self._closed),
            ("token refused", self._refused),
        ]

    async def through(self, remote: Remote, show: Callable[[Seen], None] | None) -> list[Seen]:
        """Take one step after the other until one fails."""
        self._remote = remote
        walked: list[Seen] = []
        async with remote.opened() as self._http:
            try:
                for name, step in self.steps():
                    is_over = bool(walked) and not walked[-1].ok
                    untried = Seen(name, None, 0.0, "not tried")
                    walked.append(seen := untried if is_over else await self._try(name, step))
                    if show is not None:
                        show(seen)
            finally:
                if self._socket is not None:
                    await self._socket.close()
        return walked

    async def _try(self, name: str, step: Step) -> Seen:
        started = time.monotonic()
        is_ok = False
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                saw = await step()
            is_ok = True
        except TimeoutError:
            saw = f"nothing within {_STEP_SECONDS:g} s"
        except Unavailable as error:
            saw = error.detail
            self.exit_code = os.EX_UNAVAILABLE
        except GatewayError as error:
            saw = error.detail
        except Failed as error:
            saw = str(error)
        return Seen(name, is_ok, round(time.monotonic() - started, 3), saw)

    async def _ready(self) -> str:
        answer = await self._http.ask("GET", "/readyz")
        return f"{self._remote.base} says {answer['status']}"

    async def _register(self) -> str:
        body = {"username": self.user, "password": self.password}
        answer = await self._http.ask("POST", "/register", json_body=body)
        return f"account {answer['user_id']}, {self.user}"

    async def _log_in(self) -> str:
        body = {"username": self.user, "password": self.password}
        self._keep(answer := await self._http.ask("POST", "/login", json_body=body))
        me = await self._http.ask("GET", "/me", token=self.access)
        if me["username"] != self.user:
            raise Failed(f"the token speaks for {me['username']}")
        return f"a token for {answer['expires_in']} s, roles: {', '.join(me['roles']) or 'none'}"

    async def _subscribe(self) -> str:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake

        address = f"{self._remote.ws}/ws/{quote(self.channel, safe='')}?since=:0"
        headers = {"Authorization": f"Bearer {self.access}"}
        try:
            self._socket = await connect(
                address, additional_headers=headers, ssl=self._remote.tls, open_timeout=None
            )
        except (InvalidHandshake, OSError, EOFError) as error:
            raise Failed(f"no WebSocket: {type(error).__name__}: {error}") from None
        # A refusal comes after the accept, so that a browser can read it.
        told = await self._next()
        if told.get("type") != "caught_up":
            raise Failed(f"instead of caught_up came {json.dumps(told)}")
        return f"a socket on {self.channel}"

    async def _publish(self) -> str:
        path = f"/publish/{quote(self.channel, safe='')}"
        self._sent = secrets.token_hex(8)
        self._receipt = await self._http.ask(
            "POST", path, token=self.publisher, json_body={"data": self._sent}
        )
        return f"offset {self._receipt['offset']} of epoch {self._receipt['epoch']}"

    async def _receive(self) -> str:
        message = await self._next()
        while message.get("data") != self._sent:  # a channel of others has their messages, too
            message = await self._next()
        if message["offset"] != self._receipt["offset"]:
            raise Failed(f"it came with offset {message['offset']}")
        return f"it came on the socket, from {message['user']}"

    async def _refresh(self) -> str:
        used = self.refresh
        self._keep(
            await self._http.ask("POST", "/refresh", json_body={"refresh_token": self.refresh})
        )
        if self.refresh == used:
            raise Failed("the refresh token is still the same")
        await self._http.ask("GET", "/me", token=self.access)
        return "a new pair of tokens, and the access token works"

    async def _log_out(self) -> str:
        answer = await self._http.ask("POST", "/logout", token=self.access)
        return str(answer.get("note") or answer["message"])

    async def _closed(self) -> str:
        assert self._socket is not None
        await self._socket.wait_closed()
        code, reason = self._socket.close_code, self._socket.close_reason
        if code != _POLICY:
            raise Failed(f"it was closed with {code} {reason}, not with {_POLICY}")
        return f"{code} {reason}"

    async def _refused(self) -> str:
        try:
            await self._http.ask("GET", "/me", token=self.access)
        except Unavailable:
            raise
        except GatewayError as error:
            return error.detail
        raise Failed("the token of the login that has ended still works")

    def _keep(self, tokens: dict[str, Any]) -> None:
        self.access, self.refresh = tokens["access_token"], tokens["refresh_token"]

    async def _next(self) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        assert self._socket is not None
        try:
            told: dict[str, Any] = json.loads(await self._socket.recv())
        except ConnectionClosed as closed:
            raise Failed(f"the socket was closed: {closed}") from None
        return told
