"""A real HAProxy in front of replicas."""

import re
from pathlib import Path

from tests.support.servers import GatewayProcess, Process, free_port, required, status_of


class Balancer(Process):
    """HAProxy in front of these replicas."""

    def __init__(
        self,
        directory: Path,
        servers: list[GatewayProcess],
        *,
        is_shipped: bool = False,
        balance: str = "leastconn",
    ) -> None:
        self.port = free_port()
        self.http, self.ws = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}"
        lines = "\n".join(
            f"    server replica{n} 127.0.0.1:{server.port} check inter 500ms fall 2 rise 1"
            for n, server in enumerate(servers)
        )
        config = directory / "haproxy.cfg"
        if is_shipped:
            config.write_text(_shipped(self.port, lines))
        else:
            config.write_text(f"{_CONFIG.format(port=self.port, balance=balance)}{lines}\n")
        super().__init__([required("haproxy"), "-db", "-f", str(config)], directory / "haproxy.log")

    def start(self) -> None:
        super().start()
        self.wait_ready(lambda: status_of(self.http + "/readyz") == 200, "haproxy")


_CONFIG = """
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
    retries 2
    option redispatch
frontend entry
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance {balance}
    option httpchk GET /readyz
    http-check expect status 200
"""


def _shipped(port: int, lines: str) -> str:
    """The settings as they are shipped, here, and with a tenth of the time for silence."""
    text = (Path(__file__).parents[2] / "deploy/haproxy/haproxy.cfg").read_text()
    for shipped, ours in {
        r" bind :8000$": f" bind 127.0.0.1:{port}",
        r" bind 127.0.0.1:8404$": f" bind 127.0.0.1:{free_port()}",
        r" *server-template .*$": lines,
        r" timeout client 30s$": " timeout client 3s",
        r" timeout server 10s$": " timeout server 1s",
        r" set-timeout server 60s ": " set-timeout server 6s ",
    }.items():
        text, count = re.subn(shipped, ours, text, flags=re.MULTILINE)
        assert count == 1, shipped
    return text
