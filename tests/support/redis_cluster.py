"""A real Redis Cluster of processes on this machine, and several Redis that stand alone."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from gateway.adapters.redis.cluster.slots import slot_of
from tests.support.redis_sets import GATEWAY_PASSWORD, gateway_user
from tests.support.servers import REDIS_PASSWORD, RedisServer, free_port, required, wait_until

NODE_TIMEOUT_MS = 1500


class RedisNode(RedisServer):
    """One node; the port of its bus is given, because the usual one may be above 65535."""

    def __init__(self, directory: Path, *options: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(
            directory,
            *("--save", "", "--appendonly", "no", "--masterauth", REDIS_PASSWORD),
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
            *("--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
            # Or no node serves anybody while one of them is away.
            *("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"),
            *(*gateway_user(), *options),
        )

    def ask(self, *command: str) -> str:
        return redis_cli("-p", str(self.port), *command)


class RedisCluster:
    """So many masters, each with so many replicas."""

    def __init__(self, directory: Path, masters: int = 3, replicas: int = 0) -> None:
        self.masters = masters
        self.replicas = replicas
        count = masters * (1 + replicas)
        self.nodes = [RedisNode(directory / str(index)) for index in range(count)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[: self.masters])
        return f"redis+cluster://gateway:{quote(GATEWAY_PASSWORD, safe='')}@{hosts}"

    def create(self) -> None:
        places = [f"127.0.0.1:{node.port}" for node in self.nodes]
        redis_cli(
            *("--cluster", "create", *places, "--cluster-replicas", str(self.replicas)),
            "--cluster-yes",
        )
        wait_until(self.is_whole, "the cluster is up")

    def is_whole(self) -> bool:
        slaves = self.nodes[0].ask("CLUSTER", "NODES").count("slave")
        return slaves == len(self.nodes) - self.masters and all(
            "cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in self.nodes
        )

    def node_of(self, channel: str) -> RedisNode:
        """The master that has this channel, as the first living node sees it."""
        (port,) = self.ports_of([channel])
        return next(node for node in self.nodes if node.port == port)

    def ports_of(self, channels: Sequence[str]) -> list[int]:
        """Of each channel's master."""
        asked = next(node for node in self.nodes if node.is_running())
        owners: dict[int, int] = {}
        for line in asked.ask("CLUSTER", "NODES").splitlines():
            words = line.split(" ")
            port = int(words[1].partition("@")[0].rpartition(":")[2])
            for part in words[8:]:
                first, _, last = part.partition("-")
                if not part.startswith("["):
                    owners.update(dict.fromkeys(range(int(first), int(last or first) + 1), port))
        return [owners[slot_of(channel)] for channel in channels]

    def replica_of(self, master: RedisNode) -> RedisNode:
        return next(node for node in self.nodes if f"master_port:{master.port}" in node.ask("INFO"))

    def begin_move(self, key: str) -> tuple[RedisNode, RedisNode]:
        """Let the key's slot be on its way; from where, and to where."""
        source, slot = self.node_of(key), str(slot_of(key))
        target = next(node for node in self.nodes[: self.masters] if node is not source)
        source_id, target_id = (node.ask("CLUSTER", "MYID").strip() for node in (source, target))
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        return source, target

    def move_keys(self, source: RedisNode, target: RedisNode, *keys: str) -> None:
        place = ("127.0.0.1", str(target.port), "", "0", "1000")
        answer = source.ask("MIGRATE", *place, "AUTH", REDIS_PASSWORD, "KEYS", *keys)
        assert answer.strip() in ("OK", "NOKEY"), answer

    def end_move(self, source: RedisNode, target: RedisNode, key: str) -> None:
        slot, id = str(slot_of(key)), target.ask("CLUSTER", "MYID").strip()
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", id)

    def move(self, key: str) -> None:
        """Move the key's slot with all that is in it."""
        source, target = self.begin_move(key)
        slot = str(slot_of(key))
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, "100").split():
            self.move_keys(source, target, *keys)
        self.end_move(source, target, key)

    def reshard(self, source: RedisNode, target: RedisNode, slots: int) -> None:
        ids = [node.ask("CLUSTER", "MYID").strip() for node in (source, target)]
        redis_cli(
            *("--cluster", "reshard", f"127.0.0.1:{source.port}", "--cluster-yes"),
            *("--cluster-from", ids[0], "--cluster-to", ids[1], "--cluster-slots", str(slots)),
        )


def redis_cli(*arguments: str) -> str:
    command = [required("redis-cli"), "-a", REDIS_PASSWORD, "--no-auth-warning", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


@contextlib.contextmanager
def redis_cluster(directory: Path, masters: int = 3, replicas: int = 0) -> Iterator[RedisCluster]:
    with contextlib.ExitStack() as stack:
        cluster = RedisCluster(directory, masters, replicas)
        for node in cluster.nodes:
            stack.enter_context(node)
        cluster.create()
        yield cluster
