"""Everything that is measured of a replica, by the names under which it is asked for.

Read when somebody asks, from counters that are there anyway: nothing on the path of a message
knows of it. docs/metrics.md says what to do with each.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway import __version__
from gateway.core.metrics import Measure, counter, counters, gauge, gauges, histogram
from gateway.core.publishing import PUBLISHED, REPLAYED
from gateway.core.tokens.steps import ACCESS_STEPS, CLIENT_STEPS, REFRESH_STEPS
from gateway.domain.errors import GatewayError, InvalidCredentials
from gateway.domain.namespaces import SlowConsumer
from gateway.replica import Gateway


def _codes(kind: type[GatewayError]) -> Iterator[str]:
    yield kind.code
    for each in kind.__subclasses__():
        yield from _codes(each)


# Each begins at 0: where a number comes out of nothing, its first rise is none to Prometheus.
_CODES = dict.fromkeys(sorted({*_codes(GatewayError)}), 0)
_STEPS = [name for name, _ in (*ACCESS_STEPS, *REFRESH_STEPS, *CLIENT_STEPS)]
_AUTH_FAILURES = dict.fromkeys(["missing", "expired", "revoked", "credentials", *_STEPS], 0)


class _Waiting(NamedTuple):
    readers: Mapping[str, int]
    bytes: Mapping[str, int]


def measures(gateway: Gateway) -> Iterator[Measure]:
    yield from _replica(gateway)
    yield from _sockets(gateway)
    yield from _messages(gateway)
    yield from _redis(gateway)
    yield from _doors(gateway)
    yield from _archive(gateway)


def _replica(gateway: Gateway) -> Iterator[Measure]:
    drain = gateway.drain
    yield gauges("gateway_info", "The version that runs.", "version", {__version__: 1})
    yield gauge("gateway_ready", "1 while the replica wants clients.", not gateway.trouble)
    yield gauge("gateway_draining", "1 once the replica has begun to stop.", drain.has_begun)
    yield gauge(
        "gateway_drain_connections_left",
        "Connections that a replica that stops has still to close.",
        drain.sockets_left if drain.has_begun else 0,
    )
    yield counter(
        "gateway_accept_pauses",
        "How often the system let no connection be accepted.",
        gateway.accepting.pauses,
    )
    yield gauge("gateway_tasks", "Short tasks that run now.", gateway.tasks.count)
    yield histogram(
        "gateway_loop_lag_seconds",
        "How late the event loop came to what was due, ten times a second.",
        gateway.loop_lag.seconds,
    )
    yield gauge(
        "gateway_loop_lag_max_seconds",
        "The highest lag of the last one to two minutes.",
        gateway.loop_lag.worst,
    )


def _sockets(gateway: Gateway) -> Iterator[Measure]:
    counts, hub = gateway.door.counts, gateway.hub
    yield gauge("gateway_connections_open", "Sockets and event streams.", counts.open)
    yield gauge(
        "gateway_connections_joining", "Connections that wait to be let in.", counts.joining
    )
    yield gauge("gateway_connections_max", "sockets_max.", gateway.door.room.sockets_max)
    yield gauge("gateway_users_connected", "Users connected here.", gateway.roster.user_count)
    yield gauge("gateway_channels", "Channels that somebody here listens to.", hub.channel_count)
    yield gauge(
        "gateway_subscriptions",
        "Pairs of a listener and a channel.",
        hub.subscriber_count,
    )
    named = Counter(counts.refusals)
    named["other"] = max(counts.refused - named.total(), 0)
    yield counters(
        "gateway_handshakes",
        "Sockets and event streams by what became of them: accepted, or the code of the error.",
        "outcome",
        {"accepted": counts.accepted, **_CODES, **named},
    )
    yield counter(
        "gateway_handshakes_paced",
        "Of the unavailable ones, those told to come back at a time of their own.",
        counts.refused_by_pace,
    )
    yield counter(
        "gateway_dead_connections_closed",
        "Connections closed because no sign of life came.",
        counts.dead_closed,
    )
    yield counter(
        "gateway_slow_consumers_closed",
        "Connections closed because too much waited for them.",
        counts.slow_closed,
    )
    waiting = _waiting_outboxes(gateway)
    yield gauges(
        "gateway_slow_consumers",
        "Connections for which messages wait in our memory, by the policy of their channel.",
        "policy",
        waiting.readers,
    )
    yield gauges("gateway_slow_consumer_bytes", "What waits for them.", "policy", waiting.bytes)
    yield counters(
        "gateway_slow_consumer_messages_dropped",
        "Messages that slow consumers did not get.",
        "policy",
        {policy: counts.dropped[policy] for policy in SlowConsumer},
    )


def _waiting_outboxes(gateway: Gateway) -> _Waiting:
    readers: Counter[str] = Counter({policy.value: 0 for policy in SlowConsumer})
    waiting = Counter(readers)
    for outbox in gateway.door.outboxes:
        if outbox:
            readers[outbox.policy] += 1
            waiting[outbox.policy] += outbox.waiting_bytes
    return _Waiting(readers, waiting)


def _messages(gateway: Gateway) -> Iterator[Measure]:
    hub, counts = gateway.hub, gateway.hub.counts
    yield counters(
        "gateway_publishes",
        "Messages by what became of them: published, replayed, or the code of the error.",
        "outcome",
        {PUBLISHED: 0, REPLAYED: 0, **_CODES, **hub.publish_outcomes},
    )
    yield counter("gateway_messages_received", "Messages that the broker brought.", counts.received)
    yield counter(
        "gateway_deliveries",
        "Messages times the connections they were written to.",
        counts.delivered,
    )
    yield counter("gateway_delivered_bytes", "What was written for these.", counts.bytes)
    yield counter(
        "gateway_write_failures",
        "Connections that failed in a way nobody expected while a message was written.",
        counts.write_failures,
    )
    yield histogram(
        "gateway_delivery_latency_seconds",
        "From the publishing replica's clock to ours when the message had been written to every "
        "socket here; once for all that a channel got at once, of its oldest message.",
        counts.latency,
    )
    yield counter(
        "gateway_messages_repaired",
        "Messages that were missing and have been read from the history.",
        hub.repaired_count,
    )
    yield counter(
        "gateway_gaps_announced",
        "Gaps that nobody could fill, so listeners were told.",
        counts.gaps_announced,
    )


def _redis(gateway: Gateway) -> Iterator[Measure]:
    state = gateway.broker.state
    yield gauge(
        "gateway_redis_troubles",
        "Ways to Redis on which messages do not come through; 0 is good.",
        len(gateway.broker.troubles),
    )
    yield gauge(
        "gateway_redis_proof_age_seconds",
        "Since it was last proved that a message comes back from Redis; the worst of several.",
        state.proof_age_seconds,
    )
    yield counter(
        "gateway_redis_reconnects", "How often the way to Redis was lost.", state.reconnects
    )
    yield counter(
        "gateway_redis_foreign_messages",
        "What came from Redis and no gateway had written.",
        state.foreign_messages,
    )
    yield gauge(
        "gateway_publish_queue_messages", "Messages that wait to be sent.", state.waiting_messages
    )
    yield gauge(
        "gateway_revocations_stale",
        "1 while the list of revoked tokens may be incomplete.",
        bool(gateway.revocations.stale),
    )
    yield gauge(
        "gateway_clock_offset_seconds",
        "How far the replica's clock is ahead of Redis'; below 0 it is behind.",
        gateway.common_time.offset_seconds,
    )


def _doors(gateway: Gateway) -> Iterator[Measure]:
    http, failures = gateway.http_counts, gateway.verifier.failures
    yield counters(
        "gateway_http_requests",
        "Requests that were answered, by status; without event streams and sockets.",
        "status",
        http.statuses,
    )
    yield histogram(
        "gateway_http_request_seconds", "How long they took, but for health checks.", http.seconds
    )
    yield counters(
        "gateway_http_refusals",
        "Refused requests by the code of the error.",
        "code",
        {**_CODES, **http.refusals},
    )
    yield counters(
        "gateway_auth_failures",
        "Refused tokens by the step that said no, and refused passwords as credentials.",
        "reason",
        {
            **_AUTH_FAILURES,
            "credentials": http.refusals[InvalidCredentials.code],
            **failures,
        },
    )


def _archive(gateway: Gateway) -> Iterator[Measure]:
    archiver = gateway.archiver
    yield counter("gateway_archive_rows", "Messages archived by this replica.", archiver.rows)
    yield counter(
        "gateway_archive_gaps",
        "How often messages had gone before they could be archived.",
        archiver.holes,
    )
    yield gauge(
        "gateway_archive_lag_seconds",
        "How old a message may be that is not archived; 0 on all replicas but one.",
        archiver.lag_seconds,
    )
