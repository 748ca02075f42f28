"""wss and https, spoken by the gateway itself, through both doors."""

import ssl
import urllib.request
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from tests.support.clients import client_frame, closing_of, make_token, receive_json
from tests.support.servers import GatewayProcess, Process


def make_certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


async def test_messages_travel_over_tls(directory: Path, door: str) -> None:
    cert_file, key_file = make_certificate(directory)
    context = ssl.create_default_context(cafile=str(cert_file))
    gateway = GatewayProcess(
        directory, tls_cert_file=cert_file, tls_key_file=key_file, socket_door=door
    )
    url = f"https://127.0.0.1:{gateway.port}/readyz"

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2, context=context) as response:
                return int(response.status) == 200
        except OSError:
            return False

    Process.start(gateway)
    try:
        gateway.wait_ready(is_ready, "gateway with TLS")
        headers = {"Authorization": f"Bearer {make_token('alice', 'publisher')}"}
        address = f"wss://127.0.0.1:{gateway.port}/ws/room"
        async with connect(address, ssl=context, additional_headers=headers) as socket:
            await socket.send("x" * 60_000)
            assert len((await receive_json(socket))["data"]) == 60_000
            pong = await socket.ping()
            await pong
            socket.transport.write(client_frame(1, b"\xff"))
            assert await closing_of(socket) == (1007, "a text message is UTF-8")
    finally:
        gateway.terminate()
