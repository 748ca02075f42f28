"""Redis over TLS: the certificate and the name in it are verified, on each of our connections."""

import asyncio
import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.adapters.redis.places.connection import connect, open_connection, place_at
from tests.support.certificates import make_certificate
from tests.support.clients import RawClient, call, make_token, publish_now
from tests.support.servers import (
    REDIS_PASSWORD,
    GatewayProcess,
    Process,
    RedisServer,
    free_port,
    status_of,
    wait_until,
)


class TlsRedis(RedisServer):
    """Speaks TLS on ``tls_port``; the plain port is there only to see that it has started."""

    def __init__(self, directory: Path, cert_file: Path, key_file: Path) -> None:
        self.tls_port = free_port()
        options = ("--save", "", "--appendonly", "no", "--tls-port", str(self.tls_port))
        files = ("--tls-cert-file", str(cert_file), "--tls-key-file", str(key_file))
        super().__init__(directory, *options, *files, "--tls-auth-clients", "no")
        self.cert_file = cert_file

    def address(self, ca_file: Path | None) -> str:
        query = f"?ssl_ca_certs={ca_file}" if ca_file else ""
        return f"rediss://:{REDIS_PASSWORD}@127.0.0.1:{self.tls_port}/0{query}"


@pytest.fixture
def redis(directory: Path) -> Iterator[TlsRedis]:
    """Its certificate is for the address that we use."""
    ours = make_certificate(directory / "ours", x509.IPAddress(ip_address("127.0.0.1")))
    with TlsRedis(directory, *ours) as server:
        yield server


def test_messages_and_logins_travel_over_tls(redis: TlsRedis, directory: Path) -> None:
    """S54"""
    token = make_token("paula", "publisher")
    with GatewayProcess(directory, redis_url=redis.address(redis.cert_file)) as gateway:
        with RawClient(gateway.port).listen("room", token) as client:
            assert publish_now(gateway.http, "room", "hi", token).status == 200
            assert client.read_json()["data"] == "hi"
        assert call(gateway.http + "/ticket", token=token, method="POST").status == 200
        assert call(gateway.http + "/health").json["redis"] == "connected"


@pytest.fixture(params=["a certificate that nobody knows", "another name"])
def impostor(request: pytest.FixtureRequest, directory: Path, redis: TlsRedis) -> Iterator[str]:
    """The URL of a Redis that cannot prove that it is the one that is meant."""
    elsewhere = make_certificate(directory / "elsewhere", x509.DNSName("redis.example"))
    if request.param == "another name":
        with TlsRedis(directory, *elsewhere) as server:
            yield server.address(server.cert_file)
    else:
        yield redis.address(elsewhere[0])


def test_a_redis_that_cannot_prove_itself_is_not_talked_to(directory: Path, impostor: str) -> None:
    """S54: and no client is let in."""
    gateway = GatewayProcess(directory, redis_url=impostor)
    Process.start(gateway)
    try:
        wait_until(lambda: status_of(gateway.http + "/livez") == 200, "it answers")
        assert status_of(gateway.http + "/readyz") == 503
        assert call(gateway.http + "/health").json["redis"] == "unreachable"
        assert REDIS_PASSWORD not in gateway.log
    finally:
        gateway.terminate()


async def test_both_kinds_of_our_connections_verify(impostor: str) -> None:
    """S54: those that we make ourselves, and those of the library."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await open_connection(await place_at(impostor).find(), asyncio.Protocol)
    client = connect(impostor, timeout_seconds=2, connections_max=2)
    with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        await client.info()
    await client.aclose()
