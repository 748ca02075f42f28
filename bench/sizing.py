"""How much of what a number of sockets needs: python -m bench.sizing --help

Arithmetic alone, from what `bench.scale_out` and `gateway bench` have measured, and from what is
assumed about sockets, channels and messages; each assumption is an option. A replica is one
process on one core. That costs grow in proportion is an assumption, too.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).parent / "figures"
SCALE_OUT, BENCH = FIGURES / "scale_out.json", FIGURES / "bench.json"


@dataclass(frozen=True, slots=True)
class Measured:
    """What things cost on the machine where they were measured."""

    delivery_microseconds: float  # of a replica, for each socket that gets a message
    arrival_microseconds: float  # of a replica, for a message, whoever gets it
    return_microseconds: float  # of a replica, for a socket that comes back and catches up
    socket_kilobytes: float
    replica_megabytes: float  # without sockets
    publish_microseconds: float  # of Redis, for a message that is stored
    copy_microseconds: float  # of Redis, for each replica that the message goes to
    rest_microseconds: float  # of Redis, in each second, for each replica
    kept_kilobytes: float  # in Redis, for a channel that is full
    restored_per_second: float  # channels of one replica, heard again and looked into


@dataclass(frozen=True, slots=True)
class Assumed:
    sockets: int = 1_000_000
    sockets_per_channel: int = 100
    messages_per_second: float = 0.1  # on each channel
    message_bytes: int = 300  # between Redis and a replica
    sockets_per_replica: int = 20_000
    replica_megabytes: int = 512
    replica_share: float = 0.5  # of its core, so that there is room for a storm
    redis_share: float = 0.5
    redis_gigabytes: int = 8
    admitted_per_second: int = 1000  # handshakes_per_second_max

    @property
    def channels(self) -> float:
        return self.sockets / self.sockets_per_channel

    @property
    def messages(self) -> float:
        """How many are published per second, on all channels."""
        return self.channels * self.messages_per_second

    @property
    def deliveries(self) -> float:
        return self.sockets * self.messages_per_second


@dataclass(frozen=True, slots=True)
class Sized:
    replicas_by_cpu: int
    replicas_by_memory: int
    replicas_by_sockets: int
    copies: float  # of each message, from Redis to replicas
    redis_copies_per_second: float
    redis_megabytes_per_second: float
    redis_cores: float
    kept_gigabytes: float
    shards_by_cpu: int
    shards_by_memory: int
    storm_seconds: float  # until all sockets are back that were cut off at once
    storm_share: float  # of a replica's core, for as long
    loss_seconds: float  # until one replica's sockets are back on the others
    restore_seconds: float  # until a replica has all of its channels again after Redis was away

    @property
    def replicas(self) -> int:
        return max(self.replicas_by_cpu, self.replicas_by_memory, self.replicas_by_sockets)

    @property
    def shards(self) -> int:
        return max(self.shards_by_cpu, self.shards_by_memory)


def copies(replicas: int, sockets: int) -> float:
    """On how many replicas a channel has a socket, if each of its sockets chose by chance."""
    if replicas == 1:
        return 1.0
    return -replicas * math.expm1(sockets * math.log1p(-1 / replicas))


def size(measured: Measured, assumed: Assumed) -> Sized:
    by_cpu = _replicas_by_cpu(measured, assumed)
    room = (assumed.replica_megabytes - measured.replica_megabytes) * 1000
    sockets_in_memory = max(1.0, room / measured.socket_kilobytes)
    by_memory = math.ceil(assumed.sockets / sockets_in_memory)
    by_sockets = math.ceil(assumed.sockets / assumed.sockets_per_replica)
    replicas = max(by_cpu, by_memory, by_sockets)

    each = copies(replicas, assumed.sockets_per_channel)
    sent = assumed.messages * each
    spent = assumed.messages * measured.publish_microseconds + sent * measured.copy_microseconds
    redis_cores = (spent + replicas * measured.rest_microseconds) / 1e6
    kept_gigabytes = assumed.channels * measured.kept_kilobytes / 1e6

    admitted = min(assumed.admitted_per_second, 1e6 / measured.return_microseconds)
    return Sized(
        replicas_by_cpu=by_cpu,
        replicas_by_memory=by_memory,
        replicas_by_sockets=by_sockets,
        copies=each,
        redis_copies_per_second=sent,
        redis_megabytes_per_second=sent * assumed.message_bytes / 1e6,
        redis_cores=redis_cores,
        kept_gigabytes=kept_gigabytes,
        shards_by_cpu=math.ceil(redis_cores / assumed.redis_share),
        shards_by_memory=math.ceil(kept_gigabytes / assumed.redis_gigabytes),
        storm_seconds=assumed.sockets / (replicas * admitted),
        storm_share=admitted * measured.return_microseconds / 1e6,
        loss_seconds=assumed.sockets / replicas / (max(1, replicas - 1) * admitted),
        restore_seconds=assumed.channels * each / replicas / measured.restored_per_second,
    )


def _replicas_by_cpu(measured: Measured, assumed: Assumed) -> int:
    """The smallest number whose cores suffice; more replicas get more copies, but fewer each."""

    def suffice(replicas: int) -> bool:
        arrivals = assumed.messages * copies(replicas, assumed.sockets_per_channel)
        spent = (
            assumed.deliveries * measured.delivery_microseconds
            + arrivals * measured.arrival_microseconds
        )
        return spent / 1e6 <= replicas * assumed.replica_share

    enough = 1
    while not suffice(enough):
        enough *= 2
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if suffice(middle):
            enough = middle
        else:
            too_few = middle
    return enough


def read_measured(scale_out: Mapping[str, Any], bench: Mapping[str, Any]) -> Measured:
    """From the two files; raises `KeyError` with the name of a figure that is missing.

    A delivery counts as dear as it was in the worst case: one message at a time, with the
    number of replicas that made it dearest. Under load they share system calls and cost less.
    """
    scale, one = _values(scale_out), _values(bench)
    deliveries = [value for name, value in scale.items() if _is_spread_cpu(name)]
    returns = [value for name, value in scale.items() if _is_handover_cpu(name)]
    if not deliveries or not returns:
        raise KeyError("spread-1-1-cpu, handover-open-cpu")
    delivery = max(deliveries)
    at_rest = {int(n[5:]): value for n, value in scale.items() if n.startswith("rest-")}
    fewest, most = min(at_rest), max(at_rest)
    return Measured(
        delivery_microseconds=delivery,
        # Where each channel has one socket, a delivery pays for the message, too.
        arrival_microseconds=max(0.0, one["channels-cpu"] - delivery),
        return_microseconds=max(returns),
        socket_kilobytes=max(one["memory"], scale["memory-own-channel"]),
        replica_megabytes=scale["memory-at-rest"],
        publish_microseconds=scale["publish-base"],
        copy_microseconds=scale["publish-replica"],
        rest_microseconds=max(0.0, at_rest[most] - at_rest[fewest]) / max(1, most - fewest),
        kept_kilobytes=scale["kept-memory"],
        restored_per_second=scale["restore-rate"],
    )


def _values(report: Mapping[str, Any]) -> dict[str, float]:
    return {figure["name"]: figure["value"] for figure in report["figures"]}


def _is_spread_cpu(name: str) -> bool:
    parts = name.split("-")
    return parts[0] == "spread" and parts[2:] == ["1", "cpu"]


def _is_handover_cpu(name: str) -> bool:
    parts = name.split("-")
    return parts[0] == "handover" and parts[2:] == ["cpu"]


Cell = Callable[[Assumed, Sized], str]

ROWS: Sequence[tuple[str, Cell]] = (
    ("messages published", lambda a, _: f"{_short(a.messages)}/s"),
    ("deliveries", lambda a, _: f"{_short(a.deliveries)}/s"),
    ("replicas for their CPU", lambda _, s: f"{s.replicas_by_cpu:,}"),
    ("replicas for their memory", lambda _, s: f"{s.replicas_by_memory:,}"),
    ("replicas for so many sockets each", lambda _, s: f"{s.replicas_by_sockets:,}"),
    ("**replicas** (the most of these)", lambda _, s: f"**{s.replicas:,}**"),
    ("replicas that each message goes to", lambda _, s: f"{s.copies:,.1f}"),
    ("Redis sends", lambda _, s: f"{_short(s.redis_copies_per_second)} messages/s"),
    ("", lambda _, s: f"{s.redis_megabytes_per_second:,.1f} MB/s"),
    ("cores of Redis that this keeps busy", lambda _, s: f"{s.redis_cores:,.2f}"),
    ("history, if every channel is full", lambda _, s: f"{s.kept_gigabytes:,.1f} GB"),
    ("shards for their CPU", lambda _, s: f"{s.shards_by_cpu:,}"),
    ("shards for their memory", lambda _, s: f"{s.shards_by_memory:,}"),
    ("**shards** (the most of these)", lambda _, s: f"**{s.shards:,}**"),
    ("all sockets cut off: back after", lambda _, s: f"{s.storm_seconds:,.0f} s"),
    ("meanwhile busy with that, of each core", lambda _, s: f"{s.storm_share:.0%}"),
    ("one replica lost: back after", lambda _, s: f"{s.loss_seconds:,.2f} s"),
    ("Redis restarted: all channels looked into after", lambda _, s: f"{s.restore_seconds:,.2f} s"),
)


def table(measured: Measured, cases: Sequence[Assumed]) -> str:
    """In Markdown, a column for each case."""
    heads = [f"{_short(a.sockets)} sockets, {a.sockets_per_channel:,} on a channel" for a in cases]
    sized = [(assumed, size(measured, assumed)) for assumed in cases]
    lines = [["", *heads], ["---", *["---:"] * len(cases)]]
    lines += [[title, *(cell(*case) for case in sized)] for title, cell in ROWS]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def assumptions(assumed: Assumed) -> str:
    """In a sentence, what all columns share."""
    return (
        f"Assumed: {assumed.messages_per_second:g} messages per second on each channel, "
        f"{assumed.message_bytes:,} bytes each with their envelope; at most "
        f"{assumed.sockets_per_replica:,} sockets and {assumed.replica_megabytes:,} MB per "
        f"replica; {assumed.replica_share:.0%} of a replica's core and "
        f"{assumed.redis_share:.0%} of a shard's in normal times; "
        f"{assumed.redis_gigabytes:,} GB per shard; "
        f"{assumed.admitted_per_second:,} sockets let in per second and replica."
    )


def cases_of(
    assumed: Assumed, sockets: Sequence[int], sockets_per_channel: Sequence[int]
) -> list[Assumed]:
    return [
        replace(assumed, sockets=total, sockets_per_channel=each)
        for total, each in product(sockets, sockets_per_channel)
    ]


SOCKETS, SOCKETS_PER_CHANNEL = (1_000_000, 10_000_000), (1, 100, 10_000)


def load() -> Measured:
    return read_measured(json.loads(SCALE_OUT.read_text()), json.loads(BENCH.read_text()))


def _short(number: float) -> str:
    if number >= 1e6:
        return f"{number / 1e6:,.3g} million"
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sockets", type=int, nargs="+", default=SOCKETS)
    parser.add_argument("--sockets-per-channel", type=int, nargs="+", default=SOCKETS_PER_CHANNEL)
    others = [f for f in fields(Assumed) if f.name not in ("sockets", "sockets_per_channel")]
    for each in others:
        option = "--" + each.name.replace("_", "-")
        parser.add_argument(
            option, type=type(each.default), default=each.default, help="%(default)s"
        )
    given = parser.parse_args()
    assumed = Assumed(**{each.name: getattr(given, each.name) for each in others})
    print(table(load(), cases_of(assumed, given.sockets, given.sockets_per_channel)))
    print(f"\n{assumptions(assumed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
