"""Where the gateway listens, and as what."""

import os
import re
import socket
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from gateway.settings.base import Topic, Words

_YEAR_SECONDS = 31_536_000


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class SocketDoor(StrEnum):
    NATIVE = "native"
    ASGI = "asgi"


class ServerSettings(Topic):
    env: Environment = Field(
        Environment.DEVELOPMENT,
        description="Chooses defaults only: production hides /docs and the pages at / and /admin, "
        "and demands a secret.",
    )

    host: str = Field("127.0.0.1", description="Address to listen on; loopback by default.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=256, description="Processes; more than 1 needs Redis.")
    trusted_proxies: Words = Field(
        [], description="Addresses whose X-Forwarded-For is believed. Everybody else could lie."
    )
    allowed_hosts: Words = Field(
        [],
        description="Names under which the gateway answers, as api.example or *.example: a request "
        "with another Host is refused with 400. Empty: any name; with GATEWAY_DEMO this machine's.",
    )
    hsts_seconds: int | None = Field(
        None,
        ge=0,
        description="How long a browser that came over TLS is to insist on it "
        "(Strict-Transport-Security). 0: not at all. Default: a year in production, 0 elsewhere.",
    )
    tls_cert_file: Path | None = Field(
        None, description="Certificate chain, PEM. With it the gateway speaks https and wss itself."
    )
    tls_key_file: Path | None = Field(None, description="Private key of the certificate, PEM.")
    socket_door: SocketDoor = Field(
        SocketDoor.NATIVE,
        description="native: sockets without an ASGI task each. asgi: the portable one.",
    )
    docs: bool | None = Field(
        None,
        description="Serve /docs, /openapi.json and /asyncapi.json. Default: not in production.",
    )
    page: bool | None = Field(
        None, description="Serve the page at /, to try things out. Default: not in production."
    )
    admin_page: bool | None = Field(
        None,
        description="Serve the page at /admin, for administrators. Default: not in production.",
    )
    replica: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{os.urandom(2).hex()}",
        description="Name of this replica, unique in the cluster.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _known_proxies(cls, proxies: list[str]) -> list[str]:
        if "*" in proxies:
            raise ValueError("a star would let everybody choose an address; name the proxies")
        for proxy in proxies:
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError("a proxy is an address or a network like 10.0.0.0/8") from None
        return proxies

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            if not re.fullmatch(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]", host):
                raise ValueError(
                    "a host is written like api.example or *.example or [2001:db8::1]: lower case, "
                    "no scheme, no port, no star alone"
                )
        return hosts

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file belong together")
        for path in (self.tls_cert_file, self.tls_key_file):
            if path is not None and not path.is_file():
                raise ValueError(f"{path} is not a file")
        return self

    @property
    def trusted_networks(self) -> list[IPv4Network | IPv6Network]:
        return [ip_network(proxy) for proxy in self.trusted_proxies]

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach the address."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def browsers_insist_seconds(self) -> int:
        if self.hsts_seconds is not None:
            return self.hsts_seconds
        return _YEAR_SECONDS if self.env is Environment.PRODUCTION else 0

    @property
    def docs_served(self) -> bool:
        return self.env is not Environment.PRODUCTION if self.docs is None else self.docs

    @property
    def page_served(self) -> bool:
        return self.env is not Environment.PRODUCTION if self.page is None else self.page

    @property
    def admin_page_served(self) -> bool:
        is_served = self.admin_page
        return self.env is not Environment.PRODUCTION if is_served is None else is_served
