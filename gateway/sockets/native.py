"""The native door: a uvicorn WebSocket protocol class that is the live socket itself.

uvicorn hands over the request's head; the class authenticates, subscribes, answers 101 and
from then on writes frames straight to the transport. No ASGI task, queue or coroutine stays
behind per idle socket. Paths that are not ours are passed on to uvicorn's own class.
"""

import asyncio
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.core.session import Session
from gateway.domain.errors import GatewayError
from gateway.domain.principal import Principal
from gateway.protocols.upgrade import BadUpgrade, Upgrade, accept_upgrade, parse_upgrade
from gateway.sockets.centrifuge import CentrifugeSocket
from gateway.sockets.door import (
    DOOR,
    PATH_PREFIX,
    Admission,
    Door,
    channel_of,
    chosen_subprotocol,
)
from gateway.sockets.flavours import CLIENT_PATHS, client_subprotocol
from gateway.sockets.hardened import HardenedWebSockets
from gateway.sockets.http import error_response
from gateway.sockets.live import LiveSocket
from gateway.sockets.wires import COMPRESSED_WIRES, FRAME_WIRES


class NativeSocket(LiveSocket):
    """One connection, from its handshake to its end."""

    __slots__ = ("_app_state", "_config", "_early", "_server_state")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__()
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        # The 101 and what is to follow it; None once that has gone out.
        self._early: list[bytes] | None = []

    # Called by the server.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server_state.connections.add(cast(Any, self))

    def data_received(self, data: bytes) -> None:
        if self._early is None:
            super().data_received(data)
        else:
            self._open(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(cast(Any, self))
        self._closing = True
        if self._is_websocket:
            super().connection_lost(exc)

    def shutdown(self) -> None:
        """Part of the server's stop; the client is told when to come back."""
        if self._is_websocket:
            self.refuse(self._door.drain.farewell())
        else:
            self._transport.abort()

    # Opening.

    def _open(self, head: bytes) -> None:
        """Called once: reading pauses until the 101 is out, and until then a client is silent."""
        door: Door | None = self._app_state.get(DOOR)
        try:
            upgrade = parse_upgrade(head)
            is_client = upgrade.path in CLIENT_PATHS
            if door is None or not (is_client or upgrade.path.startswith(PATH_PREFIX)):
                # uvicorn sets this object as the protocol when we return; not before that.
                asyncio.get_running_loop().call_soon(self._pass_on, head)
                return
            if refusal := door.head_refusal(upgrade.headers):
                raise BadUpgrade(*refusal)
            compression = door.compression(upgrade)
            header = compression and compression[0]
            choose = client_subprotocol if is_client else chosen_subprotocol
            response = accept_upgrade(upgrade, choose(upgrade), header)
        except BadUpgrade as bad:
            self._transport.write(error_response(bad.status, bad.detail, bad.headers))
            self._transport.close()
            return
        self._door = door
        if compression:
            self._extensions = (compression[1],)
        if is_client:
            asyncio.get_running_loop().call_soon(self._become_client, upgrade, response)
            return
        self._admit(upgrade, response)

    def _admit(self, upgrade: Upgrade, response: bytes) -> None:
        door = self._door
        query, headers = upgrade.query, upgrade.headers
        self._address = door.address_of(self._transport.get_extra_info("peername"), headers)
        session: Session | None = None
        try:
            admission = door.admit(channel_of(upgrade), query, headers, self._address)
            if admission.principal is not None:
                session = self._session_of(admission, admission.principal)
                if admission.start is None and session.join_if_held():
                    self._accept(session, response)
                    return
        except GatewayError as refusal:
            self._reject(upgrade, refusal, response)
            return
        self._transport.pause_reading()
        door.tasks.start(self._join(upgrade, admission, session, response), "join")

    def _session_of(self, admission: Admission, principal: Principal) -> Session:
        channel, format = admission.channel, admission.format
        wire = (COMPRESSED_WIRES if self._extensions else FRAME_WIRES)[format]
        return Session(self, self._door.hub, principal, channel, format, wire, self._hold)

    async def _join(
        self, upgrade: Upgrade, admission: Admission, session: Session | None, response: bytes
    ) -> None:
        # The 101 waits for the broker's confirmation: to a plain client it is the sign that
        # nothing published from now on will be missed.
        door = self._door
        door.counts.joining += 1
        try:
            if session is None:
                session = self._session_of(admission, await door.redeem(admission.ticket))
            await session.join(admission.start)
            door.check(session.principal)  # it may have been revoked while we waited
        except GatewayError as refusal:
            if session is not None:
                session.leave()
            self._reject(upgrade, refusal, response)
        except BaseException:
            self._transport.abort()
            raise
        else:
            self._accept(session, response)
        finally:
            door.counts.joining -= 1
            self._transport.resume_reading()

    def _accept(self, session: Session, response: bytes) -> None:
        if self._closing:  # it left while we waited
            session.leave()
            return
        assert self._early is not None
        self._early.insert(0, response)
        self._go_live(session)
        # Not at once: where many come in one turn of the loop, their answers go out one right
        # after the other. Then the other side is still awake for most of them, and to wake it
        # is two thirds of what `send` costs.
        session.write = self._hold
        asyncio.get_running_loop().call_soon(self._greet)

    def _greet(self) -> None:
        if self._early is None:
            return
        early, self._early = self._early, None
        self._transport.write(b"".join(early))
        if self._session is not None and not self._is_paused:
            self._write_fast(self._session)

    @property
    def _is_websocket(self) -> bool:
        return self._early is None or self._session is not None

    def close(self, code: int, reason: str) -> None:
        self._greet()
        super().close(code, reason)

    def _reject(self, upgrade: Upgrade, refusal: GatewayError, response: bytes) -> None:
        """Accept and then close: before the accept, browsers and websocat see only 1006."""
        self._door.refused(channel_of(upgrade), refusal)
        self._early = None
        self._transport.write(response)
        self.refuse(refusal)

    def _hold(self, batch: bytes) -> None:
        if self._early is not None:
            self._early.append(batch)

    def _become_client(self, upgrade: Upgrade, response: bytes) -> None:
        self._server_state.connections.discard(cast(Any, self))
        client = CentrifugeSocket(self._door, self._server_state)
        self._transport.set_protocol(client)
        client.open(self._transport, upgrade, response, self._extensions)

    def _pass_on(self, head: bytes) -> None:
        self._server_state.connections.discard(cast(Any, self))
        other = HardenedWebSockets(self._config, self._server_state, self._app_state)
        self._transport.set_protocol(other)
        other.connection_made(self._transport)
        other.data_received(head)
        if not other.handshake_initiated:
            # Its parser disliked the head, and it would leave the client waiting for ever.
            self._transport.write(error_response(400, "this is not a WebSocket handshake"))
            self._transport.close()
