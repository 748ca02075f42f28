"""How servers are connected to."""

from dataclasses import replace

from gateway.adapters.redis.keys import Keys
from gateway.bench.target import Kind, Publishing, RedisAddress, Target
from gateway.core.tokens import SigningKey, TokenVerifier

SECRET = "a-secret-for-tests-only-0123456789-abcdefghijklmnop"
REDIS = RedisAddress(6379, "password")
GATEWAY = Target(Kind.GATEWAY, "127.0.0.1", 8000, "bench", secret=SECRET)


def test_a_target_survives_the_way_to_another_process() -> None:
    target = Target(
        Kind.SEED, "127.0.0.1", 1, "bench", is_row=True, redis=RedisAddress(6379, "password")
    )

    assert Target.parse(target.dump()) == target
    assert Target.parse(GATEWAY.dump()) == GATEWAY
    stored = replace(GATEWAY, redis=REDIS, publishing=Publishing.STORED)
    assert Target.parse(stored.dump()) == stored


def test_every_socket_has_a_valid_token_of_its_own_and_one_may_publish() -> None:
    verifier = TokenVerifier(
        [SigningKey("1", SECRET.encode())],
        issuer="gateway",
        audience="gateway",
        leeway_seconds=0,
        lifetime_seconds_max=86_400,
    )

    requests = [r.decode() for r in GATEWAY.handshakes(range(10, 13), has_publisher=True)]
    tokens = [request.partition("token=")[2].partition("&")[0] for request in requests]
    principals = [verifier.verify(token) for token in tokens]

    assert [p.subject for p in principals] == ["listener-10", "listener-11", "listener-12"]
    assert [set(p.roles) for p in principals] == [{"publisher"}, set(), set()]
    assert all(request.startswith("GET /ws/bench?token=") for request in requests)


def test_every_socket_of_a_row_has_a_channel_of_its_own() -> None:
    row = Target(Kind.GATEWAY, "127.0.0.1", 8000, "bench", is_row=True, secret=SECRET)

    first, second = row.streams(range(2))

    assert first.frames[0] != second.frames[0]
    assert (first.frame_bytes, first.ring_bytes) == (second.frame_bytes, second.ring_bytes)


def test_a_gateway_is_published_to_by_a_client_or_past_it_through_redis() -> None:
    through_redis = replace(GATEWAY, redis=REDIS)
    topic = Keys(REDIS.prefix).topic("bench").encode()

    client, stored, bare = (
        bytes(replace(through_redis, publishing=way).publications().piece(0, 1))
        for way in (Publishing.SOCKET, Publishing.STORED, Publishing.BARE)
    )

    assert topic not in client
    assert (b"EVALSHA" in stored, topic in stored) == (True, True)
    assert (b"PUBLISH" in bare, topic in bare) == (True, True)


def test_only_a_gateway_is_asked_for_something() -> None:
    seed = replace(GATEWAY, kind=Kind.SEED)
    query = "format=json&since=bench:50"

    (asked,) = GATEWAY.handshakes(range(1), query=query)
    (plain,) = seed.handshakes(range(1), query=query)

    assert b"&format=json&since=bench:50 HTTP/1.1" in asked
    assert b"since" not in plain
