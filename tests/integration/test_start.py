"""What a gateway says at its start about settings that somebody may regret."""

from pathlib import Path

from tests.support.servers import GatewayProcess, RedisServer

WARNING = "GATEWAY_DATABASE_URL is not set"


def test_replicas_without_one_database_are_warned(
    directory: Path, redis_server: RedisServer
) -> None:
    with GatewayProcess(directory, redis_url=redis_server.url) as gateway:
        assert gateway.log.count(WARNING) == 1


def test_with_one_database_there_is_no_warning(directory: Path, redis_server: RedisServer) -> None:
    url = f"sqlite:///{directory}/accounts.db"
    with GatewayProcess(directory, redis_url=redis_server.url, database_url=url) as gateway:
        assert WARNING not in gateway.log


def test_a_gateway_that_is_alone_is_not_warned(gateway: GatewayProcess) -> None:
    assert WARNING not in gateway.log
