"""Who is it, and to what is it subscribed at once."""

import asyncio
import time

from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.clients import CHANNELS_MAX
from gateway.core.centrifuge.pings import Pings
from gateway.core.centrifuge.refusals import Ending, Refusal, disconnect_of
from gateway.core.centrifuge.subscribing import open_channel, opened_for
from gateway.core.centrifuge.subscription import Subscription
from gateway.core.subscriber import write_whole
from gateway.core.tokens import ConnectionToken, ServerSub
from gateway.domain.channels import check_channel
from gateway.domain.errors import (
    Denied,
    ExpiredToken,
    GatewayError,
    InvalidChannel,
    InvalidToken,
    Unavailable,
)
from gateway.domain.messages import Position
from gateway.domain.principal import Action
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.commands import Connect
from gateway.protocols.centrifuge.results import ConnectResult, SubscribeResult


async def connect(client: Client, command: Connect) -> None:
    """The reply is written from inside, in front of what its channels bring."""
    clients = client.clients
    if not command.token:
        raise Refusal(codes.UNAUTHORIZED)
    if clients.trouble():
        # Nobody would hear anything, and a token that was revoked meanwhile would pass.
        raise Unavailable("this replica has lost touch with the others")
    try:
        token = clients.verifier.verify_connection(command.token)
    except ExpiredToken:
        raise
    except InvalidToken:
        raise Ending(codes.INVALID_TOKEN) from None
    try:
        client.enter(token)
    except GatewayError as refusal:
        raise Ending(disconnect_of(refusal)) from None
    wanted = _wanted(client, token)
    arrivals = [_Arrival(client, channel, options) for channel, options in wanted.items()]
    if client.is_one_way:
        # It cannot ask for channels later on; these are its own wish, by its own rights.
        asked = [channel for channel in command.subs if channel not in wanted]
        arrivals += [_Arrival(client, _known(client, channel)) for channel in asked]
    if len(arrivals) > CHANNELS_MAX:
        raise Refusal(codes.LIMIT_EXCEEDED)
    try:
        await _open_all(arrivals, command)
        clients.check(client.principal)  # it may have been revoked while we waited
    except BaseException:
        for arrival in arrivals:
            client.drop(arrival.subscription)
        raise
    if client.is_gone:
        for arrival in arrivals:
            client.drop(arrival.subscription)
        return
    _go_live(client, command, token, arrivals)


def _go_live(
    client: Client, command: Connect, token: ConnectionToken, arrivals: "list[_Arrival]"
) -> None:
    clients, pings = client.clients, client.pings
    client.reply(
        command.id,
        ConnectResult(
            client=client.id,
            version=clients.version,
            expires=True,
            ttl=max(token.ends_at - int(time.time()), 1),
            subs={each.subscription.channel: each.result for each in arrivals},
            ping=0 if pings is Pings.FRAMES else clients.ping_interval_seconds,
            pong=pings is Pings.ANSWERED,
            session=client.entrance.session if client.entrance else "",
            node=client.entrance.node if client.entrance else "",
        ),
    )
    client.go_live()
    for arrival in arrivals:
        subscription = arrival.subscription
        client.subscriptions[subscription.channel] = subscription
        client.socket.adopt(subscription)
        for batch in arrival.early:
            write_whole(subscription, batch)


class _Arrival:
    """A channel on its way to a client; what it brings waits for the reply to `Connect`."""

    def __init__(self, client: Client, channel: str, options: ServerSub | None = None) -> None:
        """``options`` where it is the server that wants the client to be there."""
        self.subscription = Subscription(client, channel, is_server_side=True)
        if options is not None:
            self.subscription.info = options.info
            self.subscription.override = options.override
            self.subscription.opened_for = opened_for(client.principal, channel)
        self.subscription.write = self._hold
        self.early: list[bytes] = []
        self.result = SubscribeResult()
        self.refusal: GatewayError | None = None
        self._data = options.data if options else b""

    async def open(self, since: Position | None) -> None:
        try:
            await open_channel(self.subscription, self._take, since=since)
        except GatewayError as refusal:
            self.refusal = refusal

    def _take(self, result: SubscribeResult) -> None:
        self.result = result._replace(data=self._data)

    def _hold(self, batch: bytes) -> None:
        self.early.append(batch)


async def _open_all(arrivals: list[_Arrival], command: Connect) -> None:
    """All or none; raises the first refusal."""
    async with asyncio.TaskGroup() as group:
        for arrival in arrivals:
            since = command.subs.get(arrival.subscription.channel)
            group.create_task(arrival.open(since))
    for arrival in arrivals:
        if arrival.refusal is not None:
            raise arrival.refusal


def _wanted(client: Client, token: ConnectionToken) -> dict[str, ServerSub]:
    clients, principal = client.clients, token.principal
    wanted = dict(token.subs)
    for channel in clients.namespaces.personal_channels(principal.subject):
        try:
            check_channel(channel)
            clients.permissions.require(principal, Action.SUBSCRIBE, channel)
        except (InvalidChannel, Denied):
            continue  # a name that is no part of a channel's, or a token made for other channels
        wanted.setdefault(channel, ServerSub())
    return wanted


def _known(client: Client, channel: str) -> str:
    if client.clients.namespaces.refuses(check_channel(channel)):
        raise Refusal(codes.UNKNOWN_CHANNEL)
    return channel
