"""A master and a gateway that see each other, and nobody else."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry as Repeating

from tests.faults.support.cluster import eventually
from tests.faults.support.namespaces import Namespace, namespace
from tests.faults.support.oracle import judge
from tests.faults.support.proxy import proxy_to
from tests.faults.support.publishers import Publisher, Retry, publishing
from tests.faults.support.records import Journal, Outcome
from tests.faults.support.results import record, seconds
from tests.faults.support.subscribers import audience, crowd
from tests.support.servers import (
    REDIS_PASSWORD,
    GatewayProcess,
    Process,
    free_port,
    required,
    status_of,
    wait_until,
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

MASTER_NAME = "the-master"
DOWN_AFTER_SECONDS = 1.5
LAG_SECONDS_MAX = 2  # without a word from a replica for so long, a master takes nothing more
CHANNELS = [f"room-{n}" for n in range(4)]
LISTENERS = 12


class RedisNode(Process):
    """With ``copies`` it takes only what so many replicas may have, too."""

    def __init__(
        self, directory: Path, host: str, command: list[str], copies: int, *options: str
    ) -> None:
        self.host, self.port = host, free_port()
        command = [*command, "--port", str(self.port), "--bind", host, "--save", ""]
        command += ["--requirepass", REDIS_PASSWORD, "--masterauth", REDIS_PASSWORD]
        command += ["--min-replicas-to-write", str(copies), "--repl-diskless-sync-delay", "0"]
        command += ["--min-replicas-max-lag", str(LAG_SECONDS_MAX), "--dir", str(directory)]
        super().__init__([*command, *options], directory / f"redis-{self.port}.log")

    def role(self) -> str:
        """master, slave, or nothing where it does not answer."""
        try:
            with Redis(
                self.host,
                self.port,
                password=REDIS_PASSWORD,
                socket_timeout=1,
                retry=Repeating(NoBackoff(), 0),
                decode_responses=True,
            ) as client:
                return str(client.execute_command("ROLE")[0])
        except RedisError:
            return ""


class Sentinel(Process):
    def __init__(self, directory: Path, host: str, master: RedisNode) -> None:
        self.port = free_port()
        file = directory / f"sentinel-{self.port}.conf"
        name = MASTER_NAME
        lines = [
            f"port {self.port}", f"bind {host}", f"dir {directory}",
            f"requirepass {REDIS_PASSWORD}", f"sentinel sentinel-pass {REDIS_PASSWORD}",
            f"sentinel monitor {name} {master.host} {master.port} 2",
            f"sentinel auth-pass {name} {REDIS_PASSWORD}",
            f"sentinel down-after-milliseconds {name} {int(DOWN_AFTER_SECONDS * 1000)}",
            f"sentinel failover-timeout {name} 5000",
        ]  # fmt: skip
        file.write_text("\n".join(lines) + "\n")
        command = [required("redis-server"), str(file), "--sentinel"]
        super().__init__(command, directory / f"sentinel-{self.port}.log")

    def is_complete(self, host: str) -> bool:
        with Redis(host, self.port, password=REDIS_PASSWORD, decode_responses=True) as client:
            words = client.execute_command("SENTINEL", "MASTER", MASTER_NAME)
        known = (
            words if isinstance(words, dict) else dict(zip(words[::2], words[1::2], strict=True))
        )
        return (str(known["num-slaves"]), str(known["num-other-sentinels"])) == ("2", "2")


class Far(GatewayProcess):
    """A gateway in the namespace."""

    def __init__(self, directory: Path, far: Namespace, **settings: object) -> None:
        super().__init__(directory, host=far.address, **settings)
        self._command = far.command(*self._command)


class Halves:
    """Over there the master and a gateway; here two replicas, three sentinels and a gateway."""

    def __init__(self, directory: Path, far: Namespace, copies: int) -> None:
        here, server = far.host_address, [required("redis-server")]
        self.far = far
        self.master = RedisNode(directory, far.address, far.command(*server), copies)
        of_master = ("--replicaof", far.address, str(self.master.port))
        self.replicas = [RedisNode(directory, here, server, copies, *of_master) for _ in range(2)]
        self.sentinels = [Sentinel(directory, here, self.master) for _ in range(3)]
        hosts = ",".join(f"{here}:{sentinel.port}" for sentinel in self.sentinels)
        settings = {
            "redis_url": f"redis+sentinel://:{REDIS_PASSWORD}@{hosts}/{MASTER_NAME}"
            f"?sentinel_password={REDIS_PASSWORD}",
            "database_url": f"sqlite:///{directory / 'accounts.db'}",
            "history_messages": 10_000,
        }
        self.gateways = [Far(directory, far, **settings), GatewayProcess(directory, **settings)]

    def is_moved(self) -> bool:
        return any(replica.role() == "master" for replica in self.replicas)

    def are_ready(self) -> bool:
        for gateway in self.gateways:
            assert gateway.is_running(), gateway.log
        return all(status_of(f"{gateway.http}/readyz") == 200 for gateway in self.gateways)


@contextlib.contextmanager
def halves(directory: Path, copies: int) -> Iterator[Halves]:
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(namespace())
        made = Halves(directory, far, copies)
        for node in (made.master, *made.replicas):
            stack.callback(node.kill)
            node.start()
            wait_until(node.role, "the node answers")
        for sentinel in made.sentinels:
            stack.callback(sentinel.kill)
            sentinel.start()
        wait_until(
            lambda: all(s.is_complete(far.host_address) for s in made.sentinels),
            "the sentinels know everybody",
        )
        for gateway in made.gateways:
            stack.callback(gateway.kill)
            Process.start(gateway)
        wait_until(made.are_ready, "the gateways are ready")
        yield made


@pytest.mark.parametrize("copies", [1, 0], ids=["needs a replica", "needs none"])
async def test_a_master_that_is_cut_off_makes_nothing_disappear_in_silence(
    directory: Path, copies: int
) -> None:
    """F10: it refuses what no replica has; or it takes it, and who heard it learns of the gap."""
    journal = Journal()
    async with contextlib.AsyncExitStack() as stack:
        both = await asyncio.to_thread(stack.enter_context, halves(directory, copies))
        far, here = both.gateways
        way = await stack.enter_async_context(proxy_to(far.port, both.far.address))
        listeners = [
            *crowd(LISTENERS, CHANNELS, [way.port]),
            *crowd(LISTENERS, CHANNELS, [here.port]),
        ]
        for number, listener in enumerate(listeners):
            listener.log.name = f"listener-{number}"
        publishers = [
            Publisher("far", CHANNELS, [way.port], journal, per_second=50),
            Publisher(
                "here", CHANNELS, [here.port], journal, per_second=50, retry=Retry.UNTIL_STORED
            ),
        ]
        async with audience(journal, *listeners) as everybody:
            async with publishing(*publishers):
                await asyncio.sleep(seconds(2, 5))
                cut_at = time.monotonic()
                both.far.isolate(but_port=far.port)
                await eventually(both.is_moved, "there is a new master", 30)
                await asyncio.sleep(seconds(6, 20))
                assert not await asyncio.to_thread(both.master.role)  # nobody here reaches it
                both.far.heal()
                healed_at = time.monotonic()
                await eventually(lambda: both.master.role() == "slave", "it gave in", 30)
                await eventually(both.are_ready, "both gateways are ready", 30)
                ready_at = time.monotonic()
                await asyncio.sleep(seconds(3, 10))
            await everybody.until_caught_up(30)
        verdict = judge(journal)
    verdict.require_clean()
    apart = [a for a in journal.attempts if cut_at <= a.began and a.ended < healed_at]
    acked = {
        name: [a.ended - cut_at for a in apart if a.publisher == name and a.outcome is Outcome.OK]
        for name in ("far", "here")
    }
    refused = [a for a in apart if a.publisher == "far" and a.outcome is not Outcome.OK]
    if copies:
        # Until it misses its replicas, the old master takes what nobody else will ever have.
        assert max(acked["far"], default=0.0) < LAG_SECONDS_MAX + 4
        assert len(refused) > 3
    else:
        assert max(acked["far"]) > min(m for m in acked["here"] if m > DOWN_AFTER_SECONDS)
        assert verdict.announced > 0
    moved = [moment for moment in acked["here"] if moment > DOWN_AFTER_SECONDS]
    assert moved
    assert any(
        a.publisher == "far" and a.outcome is Outcome.OK and a.began > healed_at
        for a in journal.attempts
    )
    record(
        "F10" if copies else "F10b",
        "split brain: master and a gateway cut off (network namespace), "
        f"min-replicas-to-write {copies}",
        verdict.figures(),
        last_acked_by_the_old_master_seconds=round(max(acked["far"], default=0.0), 2),
        first_acked_by_the_new_master_seconds=round(min(moved), 2),
        acked_by_the_old_master=len(acked["far"]),
        both_ready_seconds=round(ready_at - healed_at, 2),
    )
