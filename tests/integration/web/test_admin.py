"""What the page at /admin asks for: who may, and that all replicas are in the answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.web import admin
from tests.support.accounts import member
from tests.support.clients import RawClient, call, make_token, publish_now
from tests.support.servers import GatewayProcess, RedisServer, replicas, wait_until

ADMIN = make_token("root", "admin")
PATHS = ["/admin/overview", "/admin/channels", "/admin/users/alice"]


@pytest.fixture(scope="module")
def both(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[GatewayProcess]]:
    directory = tmp_path_factory.mktemp("admin")
    settings = {"redis_url": redis_server.url, "redis_prefix": "admin-test"}
    settings["database_url"] = f"sqlite:///{directory}/shared.db"
    with replicas(directory, 2, **settings) as started:
        yield started


@pytest.mark.parametrize("path", PATHS)
def test_only_administrators_are_answered(gateway: GatewayProcess, path: str) -> None:
    """S48"""
    assert call(gateway.http + path).status == 401
    assert call(gateway.http + path, token=make_token("alice", "publisher")).status == 403
    answer = call(gateway.http + path, token=ADMIN)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"


def test_every_replica_is_in_it_in_the_form_that_is_described(both: list[GatewayProcess]) -> None:
    one, other = both
    names = sorted(call(each.http + "/health").json["replica"] for each in both)
    with RawClient(other.port) as listener:
        listener.listen("counted", make_token("bob"))
        assert (
            publish_now(one.http, "counted", "hi", make_token("paula", "publisher")).status == 200
        )
        listener.read_json()
        answer = call(one.http + "/admin/overview", token=ADMIN).json
        admin.Replicas.model_validate(answer, extra="forbid")
        assert answer["answered_by"] == call(one.http + "/health").json["replica"]
        assert answer["missing"] == ""
        assert [line["replica"] for line in answer["replicas"]] == names
        for count in ("sockets", "published", "deliveries"):
            assert sorted(line[count] for line in answer["replicas"]) == [0, 1]
        assert sum(sum(line["latency"]["counts"]) for line in answer["replicas"]) == 1
        assert all(line["redis"]["used"] for line in answer["replicas"])


def test_channels_have_their_listeners_of_all_replicas_and_their_offset(
    both: list[GatewayProcess],
) -> None:
    token, writer = make_token("bob"), make_token("paula", "publisher")
    with RawClient(both[0].port) as first, RawClient(both[1].port) as second:
        for client, channels in ((first, ["c:few"]), (second, [])):
            client.listen("c:many", token)
            for channel in channels:
                more = RawClient(both[0].port).listen(channel, token)
        for _ in range(3):
            publish_now(both[1].http, "c:many", "hi", writer)
        for client in (first, second):
            assert [client.read_json()["offset"] for _ in range(3)] == [1, 2, 3]
        answer = call(both[0].http + "/admin/channels?pattern=c:*", token=ADMIN).json
        admin.Channels.model_validate(answer, extra="forbid")
        found = [
            (each["channel"], each["listeners"], each["offset"]) for each in answer["channels"]
        ]
        assert found == [("c:many", 2, 3), ("c:few", 1, 0)]
        only = call(both[0].http + "/admin/channels?pattern=c:*&limit=1", token=ADMIN).json
        assert [each["channel"] for each in only["channels"]] == ["c:many"]
        more.close()


def test_a_user_has_an_account_logins_and_connections_on_any_replica(
    both: list[GatewayProcess],
) -> None:
    person = member(both[0].http)
    with RawClient(both[1].port) as socket:
        socket.listen("room", person.access_token)
        path = f"{both[0].http}/admin/users/{person.name.upper()}"
        answer = call(path, token=ADMIN).json
    admin.User.model_validate(answer, extra="forbid")
    assert answer["user"] == answer["account"]["username"] == person.name
    (login,), (connection,) = answer["logins"], answer["connections"]
    assert connection["session_id"] == login["session_id"]
    assert connection["channels"] == ["room"]
    assert connection["replica"] == call(both[1].http + "/health").json["replica"]


def test_who_has_no_account_may_be_connected(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port) as socket:
        socket.listen("room", make_token("from-elsewhere"))
        answer = call(f"{gateway.http}/admin/users/from-elsewhere", token=ADMIN).json
        assert (answer["account"], answer["logins"]) == (None, [])
        assert len(answer["connections"]) == 1
    assert call(gateway.http + "/admin/users/a%0Ab", token=ADMIN).status == 404


@pytest.mark.long
def test_a_replica_that_is_cut_off_answers_for_itself(directory: Path) -> None:
    with RedisServer(directory) as redis, GatewayProcess(directory, redis_url=redis.url) as gateway:
        redis.kill()

        def seen() -> bool:
            answer = call(gateway.http + "/admin/overview", token=ADMIN).json
            (line,) = answer["replicas"]
            return bool(answer["missing"] and line["trouble"] and line["redis"]["troubles"])

        wait_until(seen, "the outage is in the answer", 15)


@pytest.mark.long
def test_production_has_the_page_on_request_alone(directory: Path) -> None:
    """S52: what it would ask for is for administrators, as everywhere."""
    with GatewayProcess(directory, env="production", admin_page=True) as process:
        page = call(process.http + "/admin")
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert call(process.http + "/").status == 404
        assert call(process.http + "/page/admin.js").status == 200
        assert call(process.http + "/admin/overview").status == 401
