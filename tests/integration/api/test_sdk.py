"""What the server does to a client of the public Python library, unchanged."""

import asyncio

from centrifuge import Client, ClientState

from tests.integration.api.conftest import result
from tests.integration.centrifuge.test_python import heard, next_of
from tests.support.centrifuge import PATH, jwt
from tests.support.servers import GatewayProcess


async def test_the_library_hears_what_is_done_to_it(gateway: GatewayProcess, channel: str) -> None:
    user = f"user-{channel}"
    client = Client(gateway.ws + PATH, token=jwt(user), use_protobuf=False)
    events = heard(client, "connected", "subscribed", "publication", "unsubscribed", "disconnected")
    await client.connect()
    await next_of(events, "connected")
    first = await result(gateway, "publish", channel=channel, data={"n": 1})
    since = {"epoch": first["epoch"], "offset": 0}
    await result(gateway, "subscribe", user=user, channel=channel, recover_since=since)
    assert (await next_of(events, "subscribed")).channel == channel
    assert (await next_of(events, "publication")).pub.data == {"n": 1}
    await result(gateway, "publish", channel=channel, data={"n": 2}, tags={"kind": "a"})
    publication = (await next_of(events, "publication")).pub
    assert (publication.data, publication.offset, publication.tags) == ({"n": 2}, 2, {"kind": "a"})
    await result(gateway, "unsubscribe", user=user, channel=channel)
    assert (await next_of(events, "unsubscribed")).channel == channel
    await result(gateway, "refresh", user=user)
    await result(gateway, "disconnect", user=user)
    assert (await next_of(events, "disconnected")).code == 3503
    assert client.state is ClientState.DISCONNECTED  # it does not come back
    await client.disconnect()
    if closing := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(closing, timeout=5)
