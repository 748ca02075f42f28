"""What the server API wants done to connections, wherever they are.

An order goes to every replica, and each carries it out on the connections that it has.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.clients import CHANNELS_MAX, EXPIRY_GRACE_SECONDS
from gateway.core.centrifuge.refusals import Refusal, error_of
from gateway.core.centrifuge.subscribing import open_channel, opened_for
from gateway.core.centrifuge.subscription import Subscription
from gateway.core.roster import Roster
from gateway.core.session import Session
from gateway.core.surveys import Surveys
from gateway.domain.errors import Denied, Dismissed, ExpiredToken, GatewayError, Unavailable
from gateway.domain.messages import Position
from gateway.domain.namespaces import Override
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.codes import Error
from gateway.protocols.centrifuge.results import Push, Refreshed, Subscribed, SubscribeResult
from gateway.protocols.server_api import requests
from gateway.protocols.server_api.requests import Target

_SUBSCRIBE, _UNSUBSCRIBE = "api subscribe", "api unsubscribe"
_DISCONNECT, _REFRESH = "api disconnect", "api refresh"


class Orders:
    """The verbs return what was refused, which is nothing where all went well, or in no time.

    A replica that does not answer in time may carry out the order later, or never: it is cut off
    then, and closes what it has or gets it back. Each verb raises `Unavailable` where the order
    could not be sent.
    """

    def __init__(self, roster: Roster, surveys: Surveys, *, session_seconds_max: int) -> None:
        self._roster = roster
        self._surveys = surveys
        self._session_seconds_max = session_seconds_max
        surveys.on(_SUBSCRIBE, self._subscribe)
        surveys.on(_UNSUBSCRIBE, self._unsubscribe)
        surveys.on(_DISCONNECT, self._disconnect)
        surveys.on(_REFRESH, self._refresh)

    # Giving them.

    async def subscribe(self, order: requests.Subscribe) -> list[Error]:
        since = None if order.since is None else list(order.since)
        body = {
            "target": list(order.target),
            "channel": order.channel,
            "info": order.info.decode(),
            "data": order.data.decode(),
            "expire_at": order.expire_at,
            "since": since,
            "override": list(order.override),
        }
        survey = await self._surveys.ask(_SUBSCRIBE, body)
        return [Error(code, message) for each in survey.answers for code, message in each]

    async def unsubscribe(self, order: requests.Unsubscribe) -> None:
        body = {"target": list(order.target), "channel": order.channel}
        await self._surveys.ask(_UNSUBSCRIBE, body)

    async def disconnect(self, order: requests.Disconnect) -> None:
        why = codes.FORCED if not order.code else codes.Disconnect(order.code, "disconnect")
        body = {
            "target": list(order.target),
            "whitelist": list(order.whitelist),
            "code": why.code,
            # Never empty: a browser's library looks at the code only where there is a reason.
            "reason": order.reason or why.reason,
            "plain_code": order.code,
        }
        await self._surveys.ask(_DISCONNECT, body)

    async def refresh(self, order: requests.Refresh) -> None:
        # No session outlives the longest token that could be had now.
        latest = int(time.time()) + self._session_seconds_max
        body = {
            "target": list(order.target),
            "is_expired": order.is_expired,
            "ends_at": min(order.expire_at or latest, latest),
            "info": order.info.decode(),
        }
        await self._surveys.ask(_REFRESH, body)

    # Carrying them out, here as on every replica.

    async def _subscribe(self, body: dict[str, Any]) -> list[tuple[int, str]]:
        channel = str(body["channel"])
        refused: set[Error] = set()
        async with asyncio.TaskGroup() as group:
            for client in self._clients(Target(*body["target"])):
                if client.is_live and channel not in client.subscriptions:
                    work = _subscribe_client(client, channel, body, refused)
                    group.create_task(work, name="subscribe")
        return [(error.code, error.message) for error in refused]

    async def _unsubscribe(self, body: dict[str, Any]) -> None:
        target, channel = Target(*body["target"]), str(body["channel"])
        for client in self._clients(target):
            subscription = client.subscriptions.get(channel)
            # One that is being opened counts as one that was asked for after this.
            if subscription is not None and subscription.is_attending:
                client.unsubscribe(subscription, codes.BY_SERVER)
        for session in self._plain(target):
            if session.channel == channel:
                session.end(Denied("unsubscribed by the server"))

    async def _disconnect(self, body: dict[str, Any]) -> None:
        target, why = Target(*body["target"]), codes.Disconnect(body["code"], body["reason"])
        for client in self._clients(target):
            if client.id not in body["whitelist"]:
                client.disconnect(why)
        # A replica of the version before says nothing of it.
        code = int(body.get("plain_code", 0))
        for session in self._plain(target):
            session.end(Dismissed(why.reason, code) if code else Denied(why.reason))

    async def _refresh(self, body: dict[str, Any]) -> None:
        target, ends_at = Target(*body["target"]), int(body["ends_at"])
        for client in self._clients(target):
            if body["is_expired"]:
                client.disconnect(codes.EXPIRED)
            elif client.is_live:
                if body["info"]:
                    client.info = body["info"].encode()
                client.prolong(ends_at)
                ttl = max(ends_at - int(time.time()), 1)
                push = client.wire.codec.push("", Refreshed(expires=True, ttl=ttl))
                client.socket.send(push)
        if body["is_expired"]:
            for session in self._plain(target):
                session.end(ExpiredToken("the server has ended the session"))

    def _clients(self, target: Target) -> Iterator[Client]:
        for connection in self._roster.connections_of(target.user):
            if isinstance(connection, Client) and _is_meant(connection, target):
                yield connection

    def _plain(self, target: Target) -> Iterator[Session]:
        """Sockets of one channel and event streams, which have no id to be named by."""
        if not target.client and not target.session:
            for connection in self._roster.connections_of(target.user):
                if isinstance(connection, Session):
                    yield connection


def _is_meant(client: Client, target: Target) -> bool:
    session = client.entrance.session if client.entrance else ""
    return target.client in ("", client.id) and target.session in ("", session)


async def _subscribe_client(
    client: Client, channel: str, body: dict[str, Any], refused: set[Error]
) -> None:
    if len(client.subscriptions) >= CHANNELS_MAX:
        refused.add(codes.LIMIT_EXCEEDED)
        return
    subscription = Subscription(client, channel, is_server_side=True)
    subscription.info = body["info"].encode()
    subscription.opened_for = opened_for(client.principal, channel)
    # A replica of the version before says nothing of it.
    subscription.override = Override(*body.get("override", ()))
    if body["expire_at"]:
        subscription.ends_at = client.second_of(body["expire_at"]) + EXPIRY_GRACE_SECONDS
    client.subscriptions[channel] = subscription
    client.socket.adopt(subscription)

    def tell(result: SubscribeResult) -> None:
        if client.subscriptions.get(channel) is not subscription:
            raise Unavailable("the client has left the channel meanwhile")
        told = Subscribed(
            recoverable=result.recoverable,
            positioned=result.positioned,
            epoch=result.epoch,
            offset=result.offset,
            data=body["data"].encode(),
        )
        pushes: list[Push] = [told, *result.publications]
        for push in pushes:
            client.socket.send(client.wire.codec.push(channel, push))

    since = None if body["since"] is None else Position(*body["since"])
    try:
        await open_channel(subscription, tell, since=since)
    except BaseException as error:
        client.drop(subscription)
        if not isinstance(error, GatewayError | Refusal):
            raise
        if not client.is_gone:
            refused.add(error.error if isinstance(error, Refusal) else error_of(error))
    else:
        if subscription.ends_at:
            client.socket.visit()
