"""What is published for a row of channels."""

from gateway.bench.channels import commands_of
from gateway.bench.stream import OFFSET_FIRST, ROW_RING, command, data_of
from gateway.bench.target import Kind, RedisAddress, Target

REDIS = RedisAddress(6379, "password")


def row(kind: Kind) -> Target:
    return Target(kind, "127.0.0.1", 8000, "bench", is_row=True, redis=REDIS)


def test_a_server_without_envelope_gets_the_data_alone() -> None:
    commands = commands_of(row(Kind.SEED), range(7, 9))

    assert commands(1, ROW_RING + 2) == command("PUBLISH", "bench-000008", data_of(2))


def test_the_gateway_gets_its_envelope_with_rising_offsets() -> None:
    commands = commands_of(row(Kind.GATEWAY), range(7, 9))

    first, second = commands(0, ROW_RING - 1), commands(0, ROW_RING)

    assert b"gw:{bench-000007}" in first
    assert b"g1:%d:" % (OFFSET_FIRST + ROW_RING - 1) in first
    assert b"g1:%d:" % (OFFSET_FIRST + ROW_RING) in second
    assert (data_of(ROW_RING - 1) in first, data_of(0) in second) == (True, True)
