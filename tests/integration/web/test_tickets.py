"""Tickets: what a browser puts into an address instead of its token."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.support.accounts import TRUSTED, Person, assert_problem, member
from tests.support.clients import RawClient, call, closing_of, make_token, publish, receive_json
from tests.support.servers import GatewayProcess, RedisServer, replicas


@pytest.fixture(scope="module", params=["native", "asgi"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    settings = {"socket_door": request.param, "ticket_seconds": 2, **TRUSTED}
    with GatewayProcess(tmp_path_factory.mktemp("house"), **settings) as process:
        yield process


@pytest.fixture
def person(house: GatewayProcess) -> Person:
    return member(house.http)


def ticket_of(person: Person) -> str:
    answer = person.authorized("/ticket")
    assert answer.status == 200, answer.body
    assert answer.json.keys() == {"ticket", "expires_in"}
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json["ticket"])


def refusal(gateway: GatewayProcess, query: str) -> tuple[int, str]:
    with RawClient(gateway.port) as client:
        head = client.upgrade(f"/ws/room{query}")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return client.read_close()


async def test_a_ticket_opens_one_socket_once(house: GatewayProcess, person: Person) -> None:
    ticket = ticket_of(person)
    assert person.access_token not in ticket
    async with connect(f"{house.ws}/ws/room?ticket={ticket}") as socket:
        await publish(house.http, "room", "hi", make_token("paula", "publisher"))
        assert (await receive_json(socket))["data"] == "hi"
        code, reason = refusal(house, f"?ticket={ticket}")
        assert code == 1008
        assert "used" in reason


async def test_a_ticket_admits_whom_it_was_given_to(house: GatewayProcess, person: Person) -> None:
    """S33: with the same rights."""
    url = f"{house.ws}/ws/user:{person.name}?ticket="
    async with connect(url + ticket_of(person)) as socket:
        await socket.ping()
    stranger = member(house.http)
    async with connect(url + ticket_of(stranger)) as socket:
        code, reason = await closing_of(socket)
        assert code == 1008
        assert reason.startswith("personal")


async def test_a_ticket_is_no_good_after_its_token_was_revoked(
    house: GatewayProcess, person: Person
) -> None:
    """S12"""
    ticket = ticket_of(person)
    assert person.authorized("/logout").status == 200
    code, reason = refusal(house, f"?ticket={ticket}")
    assert (code, reason) == (1008, "the token has been revoked: logout")


async def test_a_socket_of_a_ticket_ends_with_its_login(
    house: GatewayProcess, person: Person
) -> None:
    """S12"""
    async with connect(f"{house.ws}/ws/room?ticket={ticket_of(person)}") as socket:
        assert person.authorized("/logout").status == 200
        assert await closing_of(socket, 2) == (1008, "the token has been revoked: logout")


@pytest.mark.parametrize(
    "query", ["?ticket=", "?ticket=x", "?ticket=" + "A" * 32, "?ticket=*", "?ticket=" + "%00" * 32]
)
def test_what_is_no_ticket_opens_nothing(house: GatewayProcess, query: str) -> None:
    """S01"""
    code, reason = refusal(house, query)
    assert code == 1008
    assert "ticket" in reason


def test_a_ticket_comes_alone(house: GatewayProcess, person: Person) -> None:
    """S20"""
    one, two = ticket_of(person), ticket_of(person)
    for query in (f"?ticket={one}&ticket={two}", f"?ticket={one}&token={person.access_token}"):
        assert refusal(house, query)[0] == 1008
    with RawClient(house.port) as client:  # neither of them has been spent on that
        assert client.upgrade(f"/ws/room?ticket={one}").startswith(b"HTTP/1.1 101 ")
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.read_close()


def test_without_a_token_there_is_no_ticket(house: GatewayProcess, person: Person) -> None:
    for token in (None, "x", person.refresh_token):
        assert_problem(person.call("/ticket", token=token), 401, "invalid_token")


def test_a_ticket_is_no_token(house: GatewayProcess, person: Person) -> None:
    ticket = ticket_of(person)
    for url in (f"{house.http}/me?ticket={ticket}", f"{house.http}/me?token={ticket}"):
        assert call(url).status == 401


async def test_any_replica_takes_the_ticket_once(
    redis_server: RedisServer, directory: Path
) -> None:
    settings = {"redis_url": redis_server.url, "redis_prefix": "tickets-test", **TRUSTED}
    with replicas(directory, 2, **settings) as (one, two):
        ticket = ticket_of(member(one.http))
        async with connect(f"{two.ws}/ws/room?ticket={ticket}") as socket:
            await socket.ping()
            for replica in (one, two):
                assert refusal(replica, f"?ticket={ticket}")[0] == 1008
