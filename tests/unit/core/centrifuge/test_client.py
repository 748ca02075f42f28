"""What time does to a client, and what it is told when the rules change."""

import json
import time

import pytest

from gateway.core.centrifuge.conversation import carry_out
from gateway.core.centrifuge.pings import Pings
from gateway.core.track import Gap
from gateway.domain.errors import (
    Crowded,
    Denied,
    GatewayError,
    InvalidToken,
    LimitReached,
    Restarting,
    Unavailable,
)
from gateway.domain.messages import Position
from gateway.domain.namespaces import Anyone, Namespace
from tests.support.centrifuge import jwt, subscription_token
from tests.support.clients import make_token
from tests.unit.core.centrifuge.client import FakeSocket, make_gateway

LOST = Gap(Position("e", 1), Position("e", 9))


def command(id: int, method: str, **params: object) -> str:
    return json.dumps({"id": id, method: params})


async def live(token: str | None = None, *channels: str, **options: Pings) -> FakeSocket:
    socket = FakeSocket(make_gateway(), **options)
    await socket.say(command(1, "connect", token=token or make_token()))
    assert socket.client.is_live, socket.sent
    for number, channel in enumerate(channels, 2):
        await socket.say(command(number, "subscribe", channel=channel))
    return socket


def now() -> int:
    return int(time.monotonic())


# Before it has said who it is.


async def test_who_says_nothing_for_ten_seconds_is_cut_off() -> None:
    socket = FakeSocket(make_gateway())
    start = now()
    assert start + 9 <= socket.client.tick(start + 5) <= start + 11
    assert socket.closed is None
    assert socket.client.tick(start + 11) == 0
    assert socket.closed == (3502, "stale")


async def test_who_was_refused_has_ten_seconds_to_go() -> None:
    socket = FakeSocket(make_gateway())
    await socket.say(command(1, "connect"))
    assert json.loads(socket.last())["error"]["code"] == 101
    socket.client.tick(now() + 9)
    assert socket.closed is None
    socket.client.tick(now() + 11)
    assert socket.closed == (3502, "stale")


async def test_while_the_replica_has_lost_touch_nobody_gets_in_but_may_try_again() -> None:
    gateway = make_gateway()
    gateway.door.clients.trouble = lambda: "cut off"
    socket = FakeSocket(gateway)
    await socket.say(command(1, "connect", token=make_token()))
    error = json.loads(socket.last())["error"]
    assert (error["code"], error["temporary"]) == (100, True)


async def test_a_user_has_so_many_sockets_and_no_more() -> None:
    gateway = make_gateway(sockets_per_user_max=1)
    first, second = FakeSocket(gateway), FakeSocket(gateway)
    for socket in (first, second):
        await socket.say(command(1, "connect", token=make_token()))
    assert (first.closed, second.closed) == (None, (3504, "connection limit"))
    assert gateway.roster.count_of("alice") == 1


# Pings.


async def test_pings_come_after_half_an_interval_at_the_earliest_and_then_regularly() -> None:
    socket = await live()
    first = socket.client.tick(now())
    assert 11 <= first - now() <= 26
    assert socket.pings == 0
    deadline = socket.client.tick(first)
    assert (socket.pings, deadline) == (1, first + 20)
    assert socket.client.take("{}") == []
    assert socket.client.tick(deadline) == first + 25
    socket.client.tick(first + 25)
    assert (socket.pings, socket.closed) == (2, None)


async def test_who_does_not_answer_is_cut_off() -> None:
    socket = await live()
    first = socket.client.tick(now())
    socket.client.tick(first)
    socket.client.tick(first + 19)
    assert socket.closed is None
    socket.client.tick(first + 20)
    assert socket.closed == (3012, "no pong")


async def test_a_pong_that_we_do_not_read_is_not_missed() -> None:
    socket = await live()
    first = socket.client.tick(now())
    socket.client.tick(first)
    socket.is_reading_paused = True
    socket.client.tick(first + 20)
    assert socket.closed is None


async def test_a_pong_that_nobody_asked_for_is_a_bad_request() -> None:
    socket = await live()
    socket.client.take("{}")
    assert socket.closed == (3501, "bad request")


async def test_where_pings_are_frames_anything_is_an_answer() -> None:
    socket = await live(pings=Pings.FRAMES)
    assert {"ping", "pong"}.isdisjoint(json.loads(socket.sent[0])["connect"])
    first = socket.client.tick(now())
    socket.client.tick(first)
    assert socket.pings == 1
    socket.client.heard()
    socket.client.tick(first + 20)
    assert socket.closed is None


# Expiry.


async def test_a_token_ends_25_seconds_after_its_time() -> None:
    socket = await live(jwt(ttl=10))
    assert json.loads(socket.sent[0])["connect"]["ttl"] in (9, 10)
    for _ in range(3):
        socket.client.heard()
        socket.client.tick(now() + 33)
    assert socket.closed is None
    socket.client.tick(now() + 37)
    assert socket.closed == (3005, "connection expired")


async def test_a_refresh_gives_more_time() -> None:
    socket = await live(jwt(ttl=10))
    await socket.say(command(2, "refresh", token=jwt(ttl=500)))
    result = json.loads(socket.last())["refresh"]
    assert result["client"] == socket.client.id
    assert (result["expires"], result["ttl"] > 490) == (True, True)
    socket.client.tick(now() + 100)
    assert socket.closed is None


async def test_expire_at_counts_more_than_exp_and_is_not_for_ever() -> None:
    later = int(time.time()) + 3600
    for expire_at, ttl in ((later, 3600), (0, 86_400), (-1, 86_400), (later * 2, 86_400)):
        socket = await live(jwt(ttl=10, expire_at=expire_at))
        assert abs(json.loads(socket.sent[0])["connect"]["ttl"] - ttl) <= 2


@pytest.mark.parametrize(
    ("token", "closed"),
    [
        (jwt("bob"), (3500, "invalid token")),
        ("", (3500, "invalid token")),
        (subscription_token("room"), (3500, "invalid token")),
        (jwt(iat=1_700_000_000, exp=1_700_000_060), (3005, "connection expired")),
    ],
)
async def test_a_refresh_that_is_not_right_ends_the_client(
    token: str, closed: tuple[int, str]
) -> None:
    socket = await live()
    await socket.say(command(2, "refresh", token=token))
    assert socket.closed == closed


async def test_a_refresh_with_fewer_rights_ends_the_subscriptions_without() -> None:
    socket = await live(None, "news.a", "room")
    await socket.say(command(5, "refresh", token=jwt(grants={"subscribe": ["news.*"]})))
    assert [*socket.client.subscriptions] == ["news.a"]
    push = json.loads(socket.sent[-2])["push"]
    assert push == {
        "channel": "room",
        "unsubscribe": {"code": 2000, "reason": "server unsubscribe"},
    }


async def test_a_subscription_s_token_ends_25_seconds_after_its_time() -> None:
    socket = await live()
    token = subscription_token("$a", ttl=10)
    await socket.say(command(2, "subscribe", channel="$a", token=token))
    await socket.say(command(3, "subscribe", channel="room"))
    assert socket.client.tick(now() + 1) <= now() + 36
    socket.client.tick(now() + 33)
    assert "$a" in socket.client.subscriptions
    socket.client.tick(now() + 37)
    push = json.loads(socket.last())["push"]
    assert push["unsubscribe"] == {"code": 2501, "reason": "subscription expired"}
    assert [*socket.client.subscriptions] == ["room"]


async def test_a_sub_refresh_gives_more_time() -> None:
    socket = await live()
    token = subscription_token("$a", ttl=10)
    await socket.say(command(2, "subscribe", channel="$a", token=token))
    token = subscription_token("$a", ttl=500)
    await socket.say(command(3, "sub_refresh", channel="$a", token=token))
    result = json.loads(socket.last())["sub_refresh"]
    assert (result["expires"], result["ttl"] > 490) == (True, True)
    socket.client.heard()
    socket.client.tick(now() + 100)
    assert "$a" in socket.client.subscriptions


@pytest.mark.parametrize(
    ("channel", "token", "code"),
    [
        ("room", subscription_token("room", iat=1_700_000_000, exp=1_700_000_060), 109),
        ("room", "x", 103),
        ("room", "", 107),
        ("other", subscription_token("other"), 107),
    ],
)
async def test_a_sub_refresh_that_is_not_right_is_refused(
    channel: str, token: str, code: int
) -> None:
    socket = await live(None, "room")
    await socket.say(command(9, "sub_refresh", channel=channel, token=token))
    assert json.loads(socket.last())["error"]["code"] == code
    assert socket.closed is None


# Being ended.


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidToken("revoked"), 3500),
        (Denied("no"), 3507),
        (LimitReached("many"), 3504),
        (Restarting(1), 3001),
        (Crowded(1), 3013),
        (Unavailable("away"), 3004),
        (GatewayError("?"), 3501),
    ],
)
async def test_every_end_has_its_number(error: GatewayError, code: int) -> None:
    socket = await live(None, "room")
    socket.client.end(error)
    assert socket.closed is not None
    assert socket.closed[0] == code
    assert socket.gateway.hub.channel_count == 0
    assert socket.client.subscriptions == {}
    assert socket.client.tick(now() + 1000) == 0


async def test_a_gap_ends_the_subscription_and_not_the_client() -> None:
    socket = await live(None, "room", "other")
    (listener,) = socket.gateway.hub.listeners("room")
    listener.missed(LOST)
    assert json.loads(socket.last())["push"] == {
        "channel": "room",
        "unsubscribe": {"code": 2500, "reason": "insufficient state"},
    }
    assert socket.gateway.hub.listeners("room") == []
    assert [*socket.client.subscriptions] == ["other"]
    listener.missed(LOST)  # once is enough
    assert len(socket.sent) == 4


async def test_a_gap_in_a_channel_of_the_server_s_ends_the_client() -> None:
    socket = await live(jwt(channels=["room"]))
    (listener,) = socket.gateway.hub.listeners("room")
    listener.missed(LOST)
    assert socket.closed == (3010, "insufficient state")


async def test_new_rules_end_what_they_forbid() -> None:
    socket = await live(None, "room")
    socket.gateway.namespaces.default = Namespace(subscribe=Anyone.NOBODY)
    assert socket.gateway.hub.end_denied() == 1
    assert json.loads(socket.last())["push"]["unsubscribe"]["code"] == 2000
    assert socket.closed is None


async def test_what_is_left_is_left_everywhere() -> None:
    socket = await live(jwt(channels=["server"]), "room")
    gateway, client = socket.gateway, socket.client
    assert gateway.roster.count_of("alice") == 1
    socket.close(1000, "bye")
    gateway.door.leave_client(client, "")
    assert gateway.hub.subscriber_count == 0
    assert gateway.roster.count_of("alice") == 0
    with pytest.raises(ValueError, match="not joined"):
        gateway.attendance.leave("room", "alice")
    with pytest.raises(ValueError, match="not joined"):
        gateway.attendance.leave("server", "alice")


async def test_after_the_end_nothing_is_carried_out() -> None:
    socket = await live()
    waiting = socket.client.take(command(5, "subscribe", channel="room"))
    socket.close(1000, "bye")
    await carry_out(socket.client, *waiting)
    assert socket.gateway.hub.channel_count == 0
    assert socket.client.take(command(6, "subscribe", channel="room")) == []


# The server's own subscriptions.


async def test_a_token_subscribes_its_client() -> None:
    options = {"info": {"n": 1}, "data": [2], "override": {"presence": {"value": True}}}
    socket = await live(jwt(channels=["a"], subs={"$b": options}))
    subs = json.loads(socket.sent[0])["connect"]["subs"]
    assert set(subs) == {"a", "$b"}
    assert subs["$b"]["data"] == [2]
    assert socket.client.subscriptions["$b"].info == b'{"n":1}'
    await socket.say(command(2, "subscribe", channel="a"))
    assert json.loads(socket.last())["error"]["code"] == 105


async def test_a_channel_that_is_closed_to_the_user_refuses_the_connection() -> None:
    gateway = make_gateway(Namespace(subscribe=frozenset({"member"})))
    socket = FakeSocket(gateway)
    await socket.say(command(1, "connect", token=jwt(channels=["a"])))
    assert json.loads(socket.last())["error"]["code"] == 103
    assert gateway.hub.channel_count == 0
    socket = FakeSocket(gateway)
    await socket.say(command(1, "connect", token=jwt(channels=["a"], role="member")))
    assert socket.client.is_live


async def test_everybody_has_a_channel_of_their_own_where_that_is_wanted() -> None:
    gateway = make_gateway(Namespace(personal_channel=True))
    gateway.namespaces.named["inbox"] = Namespace(personal_channel=True)
    gateway.namespaces.named["off"] = Namespace(personal_channel=True, subscribe=Anyone.NOBODY)
    for user, channels in (("alice", {"#alice", "inbox:#alice"}), ("no channel", set())):
        socket = FakeSocket(gateway)
        await socket.say(command(1, "connect", token=make_token(user)))
        assert set(json.loads(socket.last())["connect"].get("subs", ())) == channels


async def test_what_it_publishes_says_what_it_shows_of_itself() -> None:
    socket = await live(jwt(role="publisher", info={"name": "Ana"}, subs={"room": {"info": [1]}}))
    for channel in ("room", "other"):
        await socket.say(command(2, "publish", channel=channel, data=1))
    infos = []
    for channel in ("room", "other"):
        await socket.say(command(3, "history", channel=channel, limit=1))
        infos.append(json.loads(socket.last())["history"]["publications"][0]["info"])
    about = {"user": "alice", "client": socket.client.id, "conn_info": {"name": "Ana"}}
    assert infos == [{**about, "chan_info": [1]}, about]
