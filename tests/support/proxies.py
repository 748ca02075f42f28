"""The proxies of deploy/ as they are shipped, in front of replicas that are processes here.

Only what a machine of tests cannot have is replaced, and each replacement has to find its place:
addresses, the names of replicas, and where certificates are.
"""

import os
import re
import signal
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from tests.support.certificates import make_certificate
from tests.support.servers import GatewayProcess, Process, free_port, required, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"


def replaced(text: str, replacements: dict[str, str]) -> str:
    for shipped, ours in replacements.items():
        text, count = re.subn(shipped, ours.replace("\\", r"\\"), text, flags=re.MULTILINE)
        assert count >= 1, shipped
    return text


def tenth(text: str) -> str:
    """Every time-out for silence, a tenth of what is shipped."""
    return re.sub(
        r"(timeout (?:tunnel|client|server) |set-timeout server |proxy_read_timeout )(\d+)0s",
        r"\1\2s",
        text,
    )


class Proxy(Process):
    """One that speaks TLS, as clients meet it."""

    def __init__(self, directory: Path, command: list[str], log: Path) -> None:
        super().__init__(command, log)
        self.certificate, self.key = make_certificate(directory / "tls", x509.DNSName("localhost"))
        self.tls = ssl.create_default_context(cafile=str(self.certificate))

    http: str
    ws: str
    port: int
    access_log: Path

    def check(self) -> str:
        raise NotImplementedError

    def reload(self) -> None:
        """Read the configuration again, and leave the open sockets to the old processes."""
        raise NotImplementedError


class Haproxy(Proxy):
    """deploy/haproxy/haproxy.cfg, with the line for TLS turned on."""

    def __init__(
        self,
        directory: Path,
        servers: Sequence[GatewayProcess],
        *,
        is_quick: bool = False,
        shutdown_seconds: int = 5,
    ) -> None:
        self._config = directory / "haproxy.cfg"
        command = [required("haproxy"), "-W", "-db", "-f", str(self._config)]
        super().__init__(directory, command, directory / "haproxy.log")
        self.access_log = directory / "haproxy.log"
        self.port, plain = free_port(), free_port()
        self.http, self.ws = f"https://localhost:{self.port}", f"wss://localhost:{self.port}"
        self.plain_http = f"http://127.0.0.1:{plain}"
        self.health = f"http://127.0.0.1:{(health := free_port())}/"
        pem = directory / "gateway.pem"
        pem.write_text(self.certificate.read_text() + self.key.read_text())
        places = [f"    server replica{n} 127.0.0.1:{s.port}" for n, s in enumerate(servers)]
        text = replaced(
            (DEPLOY / "haproxy/haproxy.cfg").read_text(),
            {
                r" bind :8000$": f" bind 127.0.0.1:{plain}",
                r" #bind :8443 ssl crt \S+": f" bind 127.0.0.1:{self.port} ssl crt {pem}",
                r" bind 127.0.0.1:8404$": f" bind 127.0.0.1:{health}",
                r" *server-template .*$": "\n".join(places),
                r"hard-stop-after 5s$": f"hard-stop-after {shutdown_seconds}s",
            },
        )
        self._config.write_text(tenth(text) if is_quick else text)

    def check(self) -> str:
        """What HAProxy itself says of the file; "" where it finds nothing."""
        done = subprocess.run(
            [required("haproxy"), "-c", "-f", str(self._config)],
            capture_output=True,
            text=True,
            timeout=20,
        )
        return "" if done.returncode == 0 else done.stderr + done.stdout

    def reload(self) -> None:
        os.kill(self.pid, signal.SIGUSR2)


class Nginx(Proxy):
    """deploy/nginx/nginx.conf."""

    def __init__(
        self,
        directory: Path,
        servers: Sequence[GatewayProcess],
        *,
        is_quick: bool = False,
        shutdown_seconds: int = 30,
    ) -> None:
        self._config, self.error_log = directory / "nginx.conf", directory / "nginx-errors.log"
        command = [required("nginx"), "-c", str(self._config), "-e", str(self.error_log)]
        super().__init__(directory, [*command, "-g", "daemon off;"], directory / "nginx.log")
        self.port = free_port()
        self.http, self.ws = f"https://localhost:{self.port}", f"wss://localhost:{self.port}"
        text = (DEPLOY / "nginx/nginx.conf").read_text()
        places = [
            f"        server 127.0.0.1:{s.port} max_fails=1 fail_timeout=2s;" for s in servers
        ]
        (ours,) = set(re.findall(r"^ *server replica\d:8000 (.*)$", text, re.M))
        assert ours == "max_fails=1 fail_timeout=2s;"
        temporary = "\n".join(
            f"    {name}_temp_path {directory}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Its workers give up root, and then the directory of a test is closed to them.
        user = "user root;\n" if os.getuid() == 0 else ""
        text = replaced(
            text,
            {
                r"^worker_processes auto;$": "worker_processes 2;",
                r"^worker_rlimit_nofile .*$": "",
                r"^ *worker_connections .*$": "    worker_connections 1000;",
                r"^pid .*$": f"{user}pid {directory}/nginx.pid;",
                r"^error_log \S+ crit;$": f"error_log {self.error_log} crit;",
                r"^worker_shutdown_timeout .*$": f"worker_shutdown_timeout {shutdown_seconds}s;",
                r"^http \{$": f"http {{\n{temporary}",
                r"access_log \S+ plain;": f"access_log {directory}/nginx-access.log plain;",
                r"(^ *server replica\d:8000 .*\n)+": "\n".join(places) + "\n",
                r"listen 8443 ": f"listen 127.0.0.1:{self.port} ",
                r"server_name gateway.example;": "server_name localhost;",
                r"/certs/cert.pem": str(self.certificate),
                r"/certs/key.pem": str(self.key),
            },
        )
        self._config.write_text(tenth(text) if is_quick else text)
        self.access_log = directory / "nginx-access.log"

    def check(self) -> str:
        """What nginx itself says of the file; "" where it finds nothing."""
        done = subprocess.run(
            [*self._command[:5], "-t", "-q"], capture_output=True, text=True, timeout=20
        )
        return "" if done.returncode == 0 else done.stderr

    def reload(self) -> None:
        os.kill(self.pid, signal.SIGHUP)


def wait_answering(proxy: Proxy) -> None:
    def answers() -> bool:
        assert proxy.is_running(), proxy.log
        command = ["curl", "--silent", "--cacert", str(proxy.certificate), "--output", "/dev/null"]
        command += ["--write-out", "%{http_code}", proxy.http + "/readyz"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return done.stdout == "200"

    wait_until(answers, "the proxy has a replica", 20)
