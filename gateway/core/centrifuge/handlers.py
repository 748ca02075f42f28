"""The commands of a client, one function each; what opens a channel has modules of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.connecting import connect
from gateway.core.centrifuge.reading import read_history
from gateway.core.centrifuge.refusals import Ending, Refusal, error_of
from gateway.core.centrifuge.subscribing import (
    opened_for,
    sub_refresh,
    subscribe,
    unsubscribe,
)
from gateway.domain.channels import check_channel
from gateway.domain.errors import Denied, ExpiredToken, GatewayError, InvalidToken, LimitReached
from gateway.domain.messages import Draft
from gateway.domain.principal import Action, Principal
from gateway.protocols.centrifuge import codes, commands
from gateway.protocols.centrifuge.codes import Error
from gateway.protocols.centrifuge.results import (
    HistoryResult,
    PresenceResult,
    PresenceStatsResult,
    PublishResult,
    RefreshResult,
    Result,
)

_ANNOUNCED_TICK_SECONDS, _ANNOUNCED_TICKS = 0.02, 50


async def publish_all(
    client: Client, publishes: Sequence[commands.Publish]
) -> list[tuple[int, Result | Error]]:
    """Publish in order, in one round trip, and answer each on its own."""
    drafts = {
        index: Draft(
            publish.channel,
            publish.data,
            client=client.id,
            info=client.info_in(publish.channel).shown(),
        )
        for index, publish in enumerate(publishes)
        if publish.data
    }
    outcomes = dict(zip(drafts, await _publish(client, list(drafts.values())), strict=True))
    answers: list[tuple[int, Result | Error]] = []
    for index, publish in enumerate(publishes):
        outcome = outcomes.get(index, codes.BAD_REQUEST)
        answers.append((publish.id, outcome))
    return answers


async def _publish(client: Client, drafts: list[Draft]) -> list[PublishResult | Error]:
    if not drafts:
        return []
    hub = client.clients.hub
    try:
        outcomes = await hub.publish_many(client.principal, drafts)
    except LimitReached as refusal:
        if len(drafts) == 1:
            return [error_of(refusal)]
        # Too much at once; as much of it as may go goes.
        return [outcome for draft in drafts for outcome in await _publish(client, [draft])]
    for denial in (outcome for outcome in outcomes if isinstance(outcome, Denied)):
        client.note_denial(denial)
    return [
        error_of(outcome) if isinstance(outcome, GatewayError) else PublishResult()
        for outcome in outcomes
    ]


async def presence(client: Client, command: commands.Presence) -> PresenceResult:
    clients, channel = client.clients, _known(client, command.channel)
    clients.permissions.require(_asking(client, channel), Action.SEE_PRESENCE, channel)
    if not clients.namespaces.of(channel).presence:
        raise Refusal(codes.NOT_AVAILABLE)
    infos = await clients.census.clients_of(channel)
    return PresenceResult({info.client: info for info in infos})


async def presence_stats(client: Client, command: commands.PresenceStats) -> PresenceStatsResult:
    attendance, channel = client.clients.attendance, _known(client, command.channel)
    if channel in client.subscriptions:
        await _until_announced(client, channel)
    count, _ = await attendance.members(_asking(client, channel), channel, 1, "")
    return PresenceStatsResult(num_clients=count.connections, num_users=count.members)


async def _until_announced(client: Client, channel: str) -> None:
    """The table follows in the background, and whoever asks at once expects to be in it."""
    attendance, user = client.clients.attendance, client.principal.subject
    for _ in range(_ANNOUNCED_TICKS):
        if attendance.is_announced(channel, user):
            return
        await asyncio.sleep(_ANNOUNCED_TICK_SECONDS)


async def history(client: Client, command: commands.History) -> HistoryResult:
    clients, channel = client.clients, _known(client, command.channel)
    if not clients.namespaces.of(channel).history_length:
        raise Refusal(codes.NOT_AVAILABLE)
    return await read_history(
        clients.hub,
        _asking(client, channel),
        channel,
        since=command.since,
        limit=command.limit,
        is_reverse=command.is_reverse,
        page_max=clients.history_page_max,
    )


async def refresh(client: Client, command: commands.Refresh) -> RefreshResult:
    clients = client.clients
    try:
        token = clients.verifier.verify_connection(command.token)
    except ExpiredToken:
        raise Ending(codes.EXPIRED) from None
    except InvalidToken:
        raise Ending(codes.INVALID_TOKEN) from None
    if token.principal.subject != client.principal.subject:
        raise Ending(codes.INVALID_TOKEN)
    client.renew(token)
    for subscription in list(client.subscriptions.values()):
        if subscription.opened_for is not None:
            subscription.opened_for = opened_for(token.principal, subscription.channel)
        # The new token may be good for less.
        if not clients.permissions.decide(
            subscription.principal, Action.SUBSCRIBE, subscription.channel
        ).allowed:
            client.expel(subscription)
    ttl = max(token.ends_at - int(time.time()), 1)
    return RefreshResult(client.id, clients.version, expires=True, ttl=ttl)


async def rpc(client: Client, command: commands.Rpc) -> Result:
    raise Refusal(codes.NOT_AVAILABLE)


async def unknown(client: Client, command: commands.Unknown) -> Result:
    raise Refusal(codes.METHOD_NOT_FOUND)


async def unusable(client: Client, command: commands.Unusable) -> Result:
    raise Refusal(command.error)


def _known(client: Client, name: str) -> str:
    channel = check_channel(name)
    if client.clients.namespaces.refuses(channel):
        raise Refusal(codes.UNKNOWN_CHANNEL)
    return channel


def _asking(client: Client, channel: str) -> Principal:
    """Who asks about the channel: with a subscription token's rights, if that opened it."""
    subscription = client.subscriptions.get(channel)
    return client.principal if subscription is None else subscription.principal


HANDLERS: Mapping[type, Callable[[Client, Any], Awaitable[Result | None]]] = {
    commands.Connect: connect,
    commands.Subscribe: subscribe,
    commands.Unsubscribe: unsubscribe,
    commands.Presence: presence,
    commands.PresenceStats: presence_stats,
    commands.History: history,
    commands.Rpc: rpc,
    commands.Refresh: refresh,
    commands.SubRefresh: sub_refresh,
    commands.Unknown: unknown,
    commands.Unusable: unusable,
}
