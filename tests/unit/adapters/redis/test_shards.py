"""Which shard has a channel: the same answer on every replica, in every version."""

from collections import Counter

from gateway.adapters.redis.channels.shards import shard_of

NAMES = [f"room:{n}" for n in range(10_000)]


def test_a_channel_stays_where_it_is_from_version_to_version() -> None:
    assert [shard_of(name, 3) for name in ("news", "a", "chat:1", "ñ", "")] == [0, 0, 2, 1, 2]


def test_channels_are_spread_evenly() -> None:
    counts = Counter(shard_of(name, 4) for name in NAMES)
    assert all(2300 < counts[index] < 2700 for index in range(4)), counts


def test_one_more_shard_takes_its_part_and_nothing_else_moves() -> None:
    before = [shard_of(name, 4) for name in NAMES]
    after = [shard_of(name, 5) for name in NAMES]
    moved = [new for old, new in zip(before, after, strict=True) if new != old]
    assert set(moved) == {4}
    assert 1800 < len(moved) < 2200
