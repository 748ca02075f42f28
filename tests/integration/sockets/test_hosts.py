"""A socket under another name than ours: refused before there is one, through both doors."""

from collections.abc import Iterator

import pytest

from tests.support.clients import RawClient
from tests.support.servers import GatewayProcess

PATHS = ["/ws/room", "/connection/websocket"]


@pytest.fixture(scope="module")
def named(door: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    settings = {"socket_door": door, "allowed_hosts": "api.example"}
    with GatewayProcess(tmp_path_factory.mktemp("named"), **settings) as process:
        yield process


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "api.example.evil", "", None])
def test_another_name_opens_no_socket(
    named: GatewayProcess, publisher: str, path: str, host: str | None
) -> None:
    """S60: a page that makes its own name point here looks like a page of ours otherwise."""
    headers = {"Host": host, "Origin": f"http://{host}", "Authorization": f"Bearer {publisher}"}
    with RawClient(named.port) as client:
        head = client.upgrade(path, headers)
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"this gateway does not answer under this name" in client.read_to_end()


@pytest.mark.parametrize("path", PATHS)
def test_our_own_name_does(named: GatewayProcess, publisher: str, path: str) -> None:
    headers = {"Host": "api.example:8000", "Authorization": f"Bearer {publisher}"}
    with RawClient(named.port) as client:
        assert client.upgrade(path, headers).startswith(b"HTTP/1.1 101 ")
