"""The arithmetic of sizes, against numbers that were worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from bench.sizing import Assumed, Measured, cases_of, copies, read_measured, size, table

MEASURED = Measured(
    delivery_microseconds=10,
    arrival_microseconds=20,
    return_microseconds=250,
    socket_kilobytes=5,
    replica_megabytes=100,
    publish_microseconds=50,
    copy_microseconds=4,
    rest_microseconds=1000,
    kept_kilobytes=25,
    restored_per_second=10_000,
)
# 100,000 sockets, ten on each of 10,000 channels: 5,000 messages and 50,000 deliveries a second.
ASSUMED = Assumed(
    sockets=100_000,
    sockets_per_channel=10,
    messages_per_second=0.5,
    message_bytes=200,
    sockets_per_replica=20_000,
    replica_megabytes=300,
    replica_share=0.5,
    redis_share=0.5,
    redis_gigabytes=8,
    admitted_per_second=1000,
)


def test_a_channel_is_on_as_many_replicas_as_its_sockets_choose_by_chance() -> None:
    assert copies(1, 1000) == 1
    assert copies(4, 1) == pytest.approx(1)
    assert copies(2, 2) == pytest.approx(1.5)  # together on one, or apart: 1 and 2 equally often
    assert copies(4, 2) == pytest.approx(1.75)  # apart with three chances in four
    assert copies(500, 1_000_000) == pytest.approx(500)


def test_deliveries_and_copies_say_how_many_cores_it_takes() -> None:
    # One socket on each channel, so each of 50,000 messages has one copy: 30 µs, 1.5 cores.
    alone = replace(ASSUMED, sockets_per_channel=1)
    assert size(MEASURED, alone).replicas_by_cpu == 3

    # Half a core in deliveries, which is one replica at 50 %; on it arrive 5,000 messages, which
    # take a tenth of a core more. On two replicas nearly all arrive twice: 0.7 cores of 1.
    assert size(MEASURED, ASSUMED).replicas_by_cpu == 2

    free = replace(MEASURED, arrival_microseconds=0)
    assert size(free, ASSUMED).replicas_by_cpu == 1


def test_sockets_have_to_fit_into_memory_and_under_their_limit() -> None:
    sized = size(MEASURED, ASSUMED)

    assert sized.replicas_by_memory == 3  # (300 - 100) MB / 5 KB = 40,000 each
    assert sized.replicas_by_sockets == 5
    assert sized.replicas == 5
    assert size(MEASURED, replace(ASSUMED, replica_megabytes=110)).replicas == 50


def test_redis_pays_for_each_message_each_copy_and_each_replica() -> None:
    sized = size(MEASURED, ASSUMED)

    each = 5 * (1 - 0.8**10)  # 4.463
    assert sized.copies == pytest.approx(each)
    assert sized.redis_copies_per_second == pytest.approx(5000 * each)
    assert sized.redis_megabytes_per_second == pytest.approx(5000 * each * 200 / 1e6)
    # 5,000 messages at 50 µs, 22,316 copies at 4 µs, five replicas at rest at 1 ms.
    assert sized.redis_cores == pytest.approx(0.25 + 0.0892626 + 0.005, abs=1e-6)
    assert sized.shards_by_cpu == 1
    assert sized.kept_gigabytes == pytest.approx(0.25)


def test_shards_are_as_many_as_time_and_memory_ask_for() -> None:
    busy = size(MEASURED, replace(ASSUMED, redis_share=0.1))
    assert (busy.shards_by_cpu, busy.shards) == (4, 4)

    large = size(MEASURED, replace(ASSUMED, sockets_per_channel=1, redis_gigabytes=1))
    assert large.kept_gigabytes == pytest.approx(2.5)
    assert large.shards_by_memory == 3


def test_a_storm_lasts_as_long_as_admission_takes() -> None:
    sized = size(MEASURED, ASSUMED)

    assert sized.storm_seconds == pytest.approx(20)  # 100,000 at five times 1,000 per second
    assert sized.storm_share == pytest.approx(0.25)  # 1,000 returns at 250 µs
    assert sized.loss_seconds == pytest.approx(5)  # 20,000 at four times 1,000 per second
    # 10,000 channels, of which each replica has 0.8926.
    assert sized.restore_seconds == pytest.approx(0.8926, abs=1e-4)


def test_nobody_lets_in_more_than_a_core_can() -> None:
    sized = size(MEASURED, replace(ASSUMED, admitted_per_second=100_000))

    assert sized.storm_seconds == pytest.approx(100_000 / (5 * 4000))
    assert sized.storm_share == pytest.approx(1)


def test_costs_are_read_from_what_was_measured() -> None:
    scale_out = report(
        {
            "spread-1-1-cpu": 8,
            "spread-4-1-cpu": 9,  # the dearest of those that count
            "spread-4-16-cpu": 99,
            "rest-1": 1500,
            "rest-4": 4500,
            "publish-base": 50,
            "publish-replica": 4,
            "kept-memory": 28,
            "restore-rate": 10_000,
            "handover-1000-cpu": 260,
            "handover-open-cpu": 270,
            "memory-own-channel": 5,
            "memory-at-rest": 111,
        }
    )
    bench = report({"channels-cpu": 21, "memory": 3.5})

    assert read_measured(scale_out, bench) == Measured(9, 12, 270, 5, 111, 50, 4, 1000, 28, 10_000)
    with pytest.raises(KeyError, match="spread"):
        read_measured(report({}), bench)
    with pytest.raises(KeyError, match="memory"):
        read_measured(scale_out, report({"channels-cpu": 21}))


def test_the_table_has_a_column_for_each_case() -> None:
    cases = cases_of(ASSUMED, [100_000, 2_000_000], [1, 10])

    lines = table(MEASURED, cases).splitlines()

    assert [(case.sockets, case.sockets_per_channel) for case in cases] == [
        (100_000, 1),
        (100_000, 10),
        (2_000_000, 1),
        (2_000_000, 10),
    ]
    assert "| 100,000 sockets, 10 on a channel | 2 million sockets, 1 on a channel |" in lines[0]
    assert {line.count("|") for line in lines} == {6}
    replicas = next(line for line in lines if line.startswith("| **replicas**"))
    assert replicas.split("|")[3].strip() == "**5**"


def report(values: dict[str, float]) -> dict[str, Any]:
    return {"figures": [{"name": name, "value": value} for name, value in values.items()]}
