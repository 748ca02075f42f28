"""Redis is killed and comes back: how long until a replica hears all of its channels again?"""

import time
from collections.abc import Iterator
from http.client import HTTPConnection

from redis.exceptions import RedisError

from bench.scaling.herd import RestPublisher, listeners
from bench.scaling.redis_process import RedisProcess
from bench.scaling.stage import Stage
from gateway.bench.checker import Misdelivered
from gateway.bench.figures import Figure
from gateway.bench.servers import Server

_OWN_TOPICS = 2  # a replica's probe, and the signals
_AWAY_SECONDS = 1.0
_READS = ("xrange", "xrevrange")  # of the history


def restoring(stage: Stage) -> Iterator[Figure]:
    """One replica whose sockets have a channel each; kill -9, and then all of it again."""
    channels = stage.plan.restored
    with RedisProcess() as redis, stage.lab.gateway(redis.address) as server:
        publisher = RestPublisher(server.target, channels)
        with listeners(stage) as herd:
            server.wait_idle()
            idle = server.resident_kilobytes()
            herd.open(server, channels, channels)
            server.wait_idle()
            kilobytes = (server.resident_kilobytes() - idle) / channels
            publisher.publish_round()
            herd.wait_for(publisher.offsets)
            server.wait_idle()

            redis.kill()
            time.sleep(_AWAY_SECONDS)
            used = server.cpu_seconds()
            started = time.monotonic()
            redis.begin()
            first = whole = 0.0

            def has_all() -> bool:
                nonlocal first, whole
                try:
                    topics, now = int(redis.info("stats")["pubsub_channels"]), time.monotonic()
                except (RedisError, OSError):
                    return False  # it does not listen yet
                first = first or (now if topics else 0.0)
                whole = now
                return topics >= channels + _OWN_TOPICS

            def is_reviewed() -> bool:
                return redis.calls(*_READS) >= channels

            stage.wait("Redis has all subscriptions", has_all, every_seconds=0.002)
            stage.wait("the replica is ready", lambda: _is_ready(server), every_seconds=0.005)
            ready = time.monotonic()
            stage.wait("every channel was looked at", is_reviewed, every_seconds=0.01)
            reviewed = time.monotonic()
            server.wait_idle()
            used = server.cpu_seconds() - used
            reads = redis.calls(*_READS)

            # Nobody was cut off, and everybody hears what is published now, and that Redis may
            # have forgotten something.
            herd.expect_leaps()
            publisher.publish_round()
            herd.wait_for(publisher.offsets)
            state = herd.state()
            if lost := state["lost"]:
                raise Misdelivered(f"{lost} sockets were cut off while Redis was away")
            if untold := state["may_leap"]:
                raise Misdelivered(f"{untold} sockets were not told that Redis was started again")
        publisher.close()
    stage.say(
        f"  {channels:,} subscriptions: first after {first - started:.2f} s, all after "
        f"{whole - started:.2f} s, ready after {ready - started:.2f} s"
    )
    title = f"{channels:,} subscriptions restored after a restart of Redis"
    yield Figure("restore", title, channels / (ready - first), "subscriptions/s")
    for name, words, at in (
        ("first", "from the start of redis-server until it has the first", first),
        ("whole", "until Redis has the last", whole),
        ("ready", "until the replica has all answers, and is ready", ready),
        ("reviewed", "until it has looked into every channel for what it missed", reviewed),
    ):
        yield Figure(f"restore-{name}", f"  {words}", at - started, "s")
    rate = channels / (reviewed - first)
    yield Figure("restore-rate", "  channels heard and looked into", rate, "channels/s")
    yield Figure("restore-cpu", "  replica CPU per channel, all of it", used * 1e6 / channels, "µs")
    yield Figure("restore-reads", "  history reads per channel", reads / channels, "")
    title = f"memory per socket, {channels:,} with a channel of their own"
    yield Figure("memory-own-channel", title, kilobytes, "KB")
    yield Figure("memory-at-rest", "memory of a replica without sockets", idle / 1000, "MB")


def _is_ready(server: Server) -> bool:
    connection = HTTPConnection(server.target.host, server.target.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    finally:
        connection.close()
