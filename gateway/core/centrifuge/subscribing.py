"""Into a channel: by which right, from which position, and what the client is told of it."""

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.clients import (
    CHANNELS_MAX,
    EXPIRY_GRACE_SECONDS,
    RECOVERED_BYTES_MAX,
    RECOVERED_MAX,
)
from gateway.core.centrifuge.refusals import Ending, Refusal
from gateway.core.centrifuge.subscription import Subscription, Wishes
from gateway.core.tokens import SubscriptionToken
from gateway.core.track import NOW, Resumption, Start
from gateway.domain.channels import check_channel
from gateway.domain.errors import ExpiredToken, InvalidToken, Unavailable
from gateway.domain.messages import Position
from gateway.domain.namespaces import Delta, RecoveryMode, SlowConsumer
from gateway.domain.principal import Action, Principal
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.commands import SubRefresh, Subscribe, Unsubscribe
from gateway.protocols.centrifuge.results import (
    SubRefreshResult,
    SubscribeResult,
    UnsubscribeResult,
    publication_of,
)


async def subscribe(client: Client, command: Subscribe) -> None:
    """The reply is written from inside, right in front of the first message."""
    channel = check_channel(command.channel)
    if command.type:
        raise Refusal(codes.NOT_AVAILABLE)
    if channel in client.subscriptions:
        raise Refusal(codes.ALREADY_SUBSCRIBED)
    if len(client.subscriptions) >= CHANNELS_MAX:
        raise Refusal(codes.LIMIT_EXCEEDED)
    if client.clients.namespaces.refuses(channel):
        raise Refusal(codes.UNKNOWN_CHANNEL)
    subscription = Subscription(client, channel)
    subscription.wishes = Wishes(command.positioned, command.recoverable, command.join_leave)
    token = _verified(client, channel, command.token) if command.token else None
    if token is not None:
        _apply(subscription, token)
        # Not at a refresh: who has joined unheard cannot leave aloud.
        subscription.override = token.override
    client.subscriptions[channel] = subscription
    client.socket.adopt(subscription)
    data = token.data if token else b""
    deltas = None
    if _may_have_deltas(client, command):
        deltas = subscription.deltas = client.clients.deltas.of(channel)

    def tell(result: SubscribeResult) -> None:
        ttl = max(token.ends_at - int(time.time()), 1) if token else 0
        if deltas is not None:
            chain = deltas.chained(result.publications)
            texts = [publication._replace(is_text=True) for publication in chain]
            result = result._replace(delta=True, publications=texts)
        client.reply(command.id, result._replace(expires=token is not None, ttl=ttl, data=data))

    try:
        await open_channel(subscription, tell, since=command.since, rejects_gap=command.rejects_gap)
    except BaseException:
        client.drop(subscription)
        raise
    if subscription.ends_at:
        client.socket.visit()


async def open_channel(
    subscription: Subscription,
    tell: Callable[[SubscribeResult], None],
    *,
    since: Position | None,
    rejects_gap: bool = False,
) -> None:
    """Subscribe at the hub; ``tell`` is called with nothing between it and what comes live.

    Raises what `Hub.subscribe` raises, and `Refusal` for a gap that the client rejects.
    """
    client, channel, namespace = subscription.client, subscription.channel, subscription.namespace
    hub = client.clients.hub
    promise = _promise(subscription)
    is_recovering = since is not None or (promise.is_cached and namespace.auto_cache_recover)

    def resumed(resumption: Resumption) -> None:
        if client.is_gone:
            raise Unavailable("the client has left")
        result = _result_of(resumption, since, promise, is_recovering=is_recovering)
        if rejects_gap and since is not None and not result.recovered:
            raise Refusal(codes.UNRECOVERABLE_POSITION)
        tell(result)
        attend(subscription)

    if not is_recovering and hub.subscribe_if_held(subscription.principal, subscription, channel):
        resumed(Resumption([], None, hub.position(channel)))
        return
    subscription.on_resume = resumed
    start = NOW if since is None else Start(since)
    if is_recovering and promise.is_cached:
        start = Start(None, newest=1)
    await hub.subscribe(subscription.principal, subscription, channel, start)


def attend(subscription: Subscription) -> None:
    """From now on the client is there for others, too; see `Client.drop`."""
    client = subscription.client
    subscription.is_attending = True
    if subscription.is_counted:
        client.clients.attendance.join(subscription.channel, client.principal.subject)
    client.clients.census.joined(subscription)


async def unsubscribe(client: Client, command: Unsubscribe) -> UnsubscribeResult:
    subscription = client.subscriptions.get(check_channel(command.channel))
    if subscription is not None:
        client.drop(subscription)
    return UnsubscribeResult()


async def sub_refresh(client: Client, command: SubRefresh) -> SubRefreshResult:
    subscription = client.subscriptions.get(check_channel(command.channel))
    if subscription is None or not command.token:
        raise Refusal(codes.BAD_REQUEST)
    token = _verified(client, subscription.channel, command.token)
    _apply(subscription, token)
    client.socket.visit()
    return SubRefreshResult(expires=True, ttl=max(token.ends_at - int(time.time()), 1))


def _verified(client: Client, channel: str, text: str) -> SubscriptionToken:
    try:
        token = client.clients.verifier.verify_subscription(text)
    except ExpiredToken:
        raise
    except InvalidToken:
        raise Refusal(codes.PERMISSION_DENIED) from None
    is_ours = token.subject == client.principal.subject and token.client in ("", client.id)
    if not is_ours or token.channel != channel:
        raise Ending(codes.INVALID_TOKEN)
    return token


def _apply(subscription: Subscription, token: SubscriptionToken) -> None:
    client = subscription.client
    subscription.info = token.info
    subscription.ends_at = client.second_of(token.ends_at) + EXPIRY_GRACE_SECONDS
    subscription.opened_for = opened_for(client.principal, subscription.channel)


def opened_for(principal: Principal, channel: str) -> Principal:
    """The principal as far as a subscription token opens the channel to it.

    It goes past grants and past names that are reserved, not past the roles that a namespace
    asks for: those are the operator's word, and the principal's token has to bring them.
    """
    return dataclasses.replace(principal, grants={**principal.grants, Action.SUBSCRIBE: (channel,)})


def _may_have_deltas(client: Client, command: Subscribe) -> bool:
    namespace = client.clients.namespaces.of(command.channel)
    return (
        command.delta == namespace.delta.value
        and namespace.delta is not Delta.NONE
        # Who skips messages can make nothing of the difference from one of them.
        and namespace.slow_consumer is not SlowConsumer.LATEST_ONLY
    )


class _Promise(NamedTuple):
    """What a subscription may count on. ``is_cached``: it recovers the newest message alone."""

    recoverable: bool
    positioned: bool
    is_cached: bool


def _promise(subscription: Subscription) -> _Promise:
    clients, channel, namespace = (
        subscription.client.clients,
        subscription.channel,
        subscription.namespace,
    )
    right = clients.permissions.decide(subscription.principal, Action.SEE_HISTORY, channel)
    if not namespace.history_length or not right.allowed:
        return _Promise(recoverable=False, positioned=False, is_cached=False)
    recoverable = subscription.may_recover
    is_cached = recoverable and namespace.force_recovery_mode is RecoveryMode.CACHE
    return _Promise(recoverable, subscription.minds_gaps, is_cached)


def _result_of(
    resumption: Resumption, since: Position | None, promise: _Promise, *, is_recovering: bool
) -> SubscribeResult:
    result = SubscribeResult(was_recovering=is_recovering)
    if not promise.positioned:
        return result
    epoch, offset = resumption.position
    result = result._replace(
        recoverable=promise.recoverable, positioned=True, epoch=epoch, offset=offset
    )
    if not is_recovering or not promise.recoverable:
        return result
    if promise.is_cached:
        return _with_newest(result, resumption, since)
    assert since is not None
    return _with_missed(result, resumption, since)


def _with_newest(
    result: SubscribeResult, resumption: Resumption, since: Position | None
) -> SubscribeResult:
    newest = resumption.messages[-1] if resumption.messages else None
    if newest is None or newest.position != resumption.position:
        return result  # it is not kept any more
    publications = [] if since == newest.position else [publication_of(newest)]
    return result._replace(recovered=True, publications=publications)


def _with_missed(
    result: SubscribeResult, resumption: Resumption, since: Position
) -> SubscribeResult:
    messages, gap, _ = resumption
    if gap is not None or len(messages) > RECOVERED_MAX:
        return result
    if sum(len(message.data) for message in messages) > RECOVERED_BYTES_MAX:
        return result
    # The client moves on from where it was as it takes the publications.
    publications = [publication_of(message) for message in messages]
    return result._replace(offset=since.offset, recovered=True, publications=publications)
