"""The public library for servers, against a gateway: every method of it that we have."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from cent import (
    AsyncClient,
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentNetworkError,
    CentTransportError,
    CentUnauthorizedError,
    ChannelsRequest,
    Client,
    Disconnect,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeRequest,
)

from tests.integration.api.conftest import KEY, WATCH_KEY
from tests.support.centrifuge import Peer, jwt
from tests.support.servers import GatewayProcess, free_port


@pytest.fixture
async def async_cent(gateway: GatewayProcess) -> AsyncIterator[AsyncClient]:
    client = AsyncClient(f"{gateway.http}/api", KEY, timeout=10)
    yield client
    await client.close()


def test_publish_and_history(cent: Client, channel: str) -> None:
    first = cent.publish(PublishRequest(channel=channel, data={"n": 1}, tags={"kind": "a"}))
    second = cent.publish(PublishRequest(channel=channel, data={"n": 2}))
    assert (first.offset, second.offset) == (1, 2)
    assert first.epoch == second.epoch != ""

    found = cent.history(HistoryRequest(channel=channel, limit=10))
    assert (found.offset, found.epoch) == (2, first.epoch)
    assert [each.data for each in found.publications] == [{"n": 1}, {"n": 2}]
    assert found.publications[0].tags == {"kind": "a"}
    assert found.publications[1].tags is None

    newest = cent.history(HistoryRequest(channel=channel, limit=1, reverse=True))
    assert [each.offset for each in newest.publications] == [2]
    since = StreamPosition(offset=1, epoch=first.epoch)
    rest = cent.history(HistoryRequest(channel=channel, limit=10, since=since))
    assert [each.offset for each in rest.publications] == [2]
    # Without a limit only the position is asked for.
    position = cent.history(HistoryRequest(channel=channel))
    assert (position.publications, position.offset) == ([], 2)


def test_a_history_that_was_removed_is_empty_and_its_position_goes_on(
    cent: Client, channel: str
) -> None:
    before = cent.publish(PublishRequest(channel=channel, data=1))
    cent.history_remove(HistoryRemoveRequest(channel=channel))
    found = cent.history(HistoryRequest(channel=channel, limit=10))
    assert (found.publications, found.offset, found.epoch) == ([], 1, before.epoch)
    after = cent.publish(PublishRequest(channel=channel, data=2))
    assert (after.offset, after.epoch) == (2, before.epoch)


def test_an_idempotency_key_answers_the_same_offset(cent: Client, channel: str) -> None:
    request = PublishRequest(channel=channel, data={"n": 1}, idempotency_key="once")
    first, again = cent.publish(request), cent.publish(request)
    assert first.offset == 1
    assert (again.offset, again.epoch) == (first.offset, first.epoch)
    assert cent.history(HistoryRequest(channel=channel)).offset == 1


def test_broadcast_answers_for_each_channel(cent: Client, channel: str) -> None:
    channels = [channel, "no/channel", f"{channel}-2"]
    responses = cent.broadcast(BroadcastRequest(channels=channels, data=1)).responses
    assert [each.result and each.result.offset for each in responses] == [1, None, 1]
    assert responses[1].error is not None
    assert responses[1].error.code == 107


def test_a_batch_publishes_in_order_and_answers_each(cent: Client, channel: str) -> None:
    requests = [
        PublishRequest(channel=channel, data=1),
        PublishRequest(channel=channel, data=2),
        HistoryRequest(channel=channel, limit=10),
        BroadcastRequest(channels=[channel], data=3),
        ChannelsRequest(),
        InfoRequest(),
    ]
    replies = cent.batch(BatchRequest(requests=requests)).replies
    first, second, history, broadcast, _, info = replies
    assert (first.offset, second.offset) == (1, 2)  # type: ignore[attr-defined]
    assert [each.data for each in history.publications] == [1, 2]  # type: ignore[attr-defined]
    assert broadcast.responses[0].result.offset == 3  # type: ignore[attr-defined]
    assert len(info.nodes) == 1  # type: ignore[attr-defined]

    parallel = cent.batch(BatchRequest(requests=requests[:2], parallel=True)).replies
    assert [each.offset for each in parallel] == [4, 5]  # type: ignore[attr-defined]


async def test_a_client_is_subscribed_unsubscribed_refreshed_and_disconnected(
    gateway: GatewayProcess, async_cent: AsyncClient, channel: str
) -> None:
    user = f"user-{channel}"
    async with await Peer.enter(gateway.ws, jwt(user, info={"n": 1})) as peer:
        position = await async_cent.publish(PublishRequest(channel=channel, data="before"))
        await async_cent.subscribe(
            SubscribeRequest(
                user=user,
                channel=channel,
                info={"role": "host"},
                data={"hello": 1},
                recover_since=StreamPosition(offset=0, epoch=position.epoch),
            )
        )
        told = (await peer.push(channel))["subscribe"]
        assert told == {
            "recoverable": True,
            "positioned": True,
            "epoch": position.epoch,
            "data": {"hello": 1},
        }
        assert (await peer.pub(channel))["data"] == "before"
        request = PublishRequest(channel=channel, data="after", tags={"kind": "a"})
        await async_cent.publish(request)
        pub = await peer.pub(channel)
        assert (pub["data"], pub["offset"], pub["tags"]) == ("after", 2, {"kind": "a"})

        presence = (await async_cent.presence(PresenceRequest(channel=channel))).presence
        assert set(presence) == {peer.client}
        assert presence[peer.client].user == user
        assert presence[peer.client].conn_info == {"n": 1}
        assert presence[peer.client].chan_info == {"role": "host"}
        async with asyncio.timeout(5):
            # The table follows in the background.
            while not (  # noqa: ASYNC110
                stats := await async_cent.presence_stats(PresenceStatsRequest(channel=channel))
            ).num_clients:
                await asyncio.sleep(0.02)
        assert (stats.num_clients, stats.num_users) == (1, 1)
        channels = (await async_cent.channels(ChannelsRequest(pattern=f"{channel}*"))).channels
        assert {name: found.num_clients for name, found in channels.items()} == {channel: 1}
        (node,) = (await async_cent.info(InfoRequest())).nodes
        assert node.num_clients >= 1
        assert node.num_subs >= 1

        await async_cent.unsubscribe(UnsubscribeRequest(user=user, channel=channel))
        assert (await peer.push(channel))["unsubscribe"]["code"] == 2000
        presence = (await async_cent.presence(PresenceRequest(channel=channel))).presence
        assert presence == {}

        await async_cent.refresh(RefreshRequest(user=user, expire_at=4_000_000_000))
        why = Disconnect(code=4501, reason="go away")
        await async_cent.disconnect(DisconnectRequest(user=user, disconnect=why))
        assert await peer.closed() == (4501, "go away")


def test_refusals_are_errors_of_the_library(
    gateway: GatewayProcess, cent: Client, channel: str
) -> None:
    with pytest.raises(CentApiResponseError) as refused:
        cent.publish(PublishRequest(channel="nowhere:room", data=1))
    assert refused.value.code == 102
    with pytest.raises(CentApiResponseError) as refused:
        cent.presence(PresenceRequest(channel="bare:room"))
    assert refused.value.code == 108

    stranger = Client(f"{gateway.http}/api", "somebody-else-s-key", timeout=10)
    with pytest.raises(CentUnauthorizedError):
        stranger.publish(PublishRequest(channel=channel, data=1))
    stranger.close()
    watcher = Client(f"{gateway.http}/api", WATCH_KEY, timeout=10)
    assert watcher.info(InfoRequest()).nodes
    with pytest.raises(CentTransportError) as denied:
        watcher.publish(PublishRequest(channel=channel, data=1))
    assert denied.value.status_code == 403
    watcher.close()
    nobody = Client(f"http://127.0.0.1:{free_port()}/api", KEY, timeout=10)
    with pytest.raises(CentNetworkError):
        nobody.info(InfoRequest())
    nobody.close()
