"""The archive of two real replicas: everything once and in order, whatever is killed or away."""

import asyncio
import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.support.clients import call, make_token
from tests.support.databases import MariadbServer
from tests.support.servers import GatewayProcess, RedisServer, replicas, wait_until

pytestmark = pytest.mark.long

PUBLISHER, READER = make_token("paula", "publisher"), make_token("lucas")
CHANNELS = ["a", "b", "news:c"]
SETTINGS = {
    "archive": "true",
    "archive_interval_seconds": 0.1,
    "database_migrate": "true",
    "lease_seconds": 1,
    "redis_timeout_seconds": 1,
}
ROWS = (
    "SELECT channel, number, epoch, message_offset, data FROM archive_messages"
    " JOIN archive_epochs ON archive_epochs.id = epoch_id"
    " ORDER BY channel, number, message_offset"
)
GAPS = (
    "SELECT channel, first_offset, last_offset FROM archive_gaps"
    " JOIN archive_epochs ON archive_epochs.id = epoch_id ORDER BY channel, number, first_offset"
)


@pytest.fixture
def own_redis(directory: Path) -> Iterator[RedisServer]:
    with RedisServer(directory) as server:
        yield server


@pytest.fixture
def own_mariadb() -> Iterator[MariadbServer]:
    with MariadbServer() as server:
        yield server


class Tables:
    """The archive as somebody sees it who asks the database."""

    def __init__(self, url: str, server: MariadbServer | None = None) -> None:
        self.url = url
        self._server = server

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        if self._server is not None:
            return asyncio.run(
                self._server.execute(question.replace("archive_", "gateway.archive_"))
            )
        connection = sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=10)
        try:
            return connection.execute(question).fetchall()
        finally:
            connection.close()

    def rows(self) -> dict[str, list[tuple[int, int, Any]]]:
        """Channel -> number of the epoch, offset and data, in their order."""
        found: dict[str, list[tuple[int, int, Any]]] = defaultdict(list)
        for channel, number, _, offset, data in self.ask(ROWS):
            found[channel].append((number, offset, json.loads(data)))
        return found

    def count(self) -> int:
        return int(self.ask("SELECT count(*) FROM archive_messages")[0][0])


@pytest.fixture(params=["sqlite", "mariadb"])
def tables(request: pytest.FixtureRequest, directory: Path) -> Tables:
    if request.param == "sqlite":
        return Tables(f"sqlite:///{directory / 'gateway.db'}")
    server: MariadbServer = request.getfixturevalue("own_mariadb")
    return Tables(server.url, server)


class Source:
    """Publishes to all channels, through whichever replica is there, and keeps the receipts."""

    def __init__(self, targets: list[GatewayProcess]) -> None:
        self.targets = targets
        self.receipts: dict[str, dict[int, int]] = defaultdict(dict)
        self._count = 0

    def publish(self, count: int) -> None:
        target = self.targets[self._count % len(self.targets)]
        batch = []
        for n in range(count):
            self._count += 1
            batch.append({"channel": CHANNELS[n % len(CHANNELS)], "data": self._count})
        try:
            answer = call(f"{target.http}/publish", token=PUBLISHER, json_body={"messages": batch})
        except OSError:
            return  # it was killed, and nobody knows what became of them
        for sent, result in zip(batch, answer.json["results"], strict=True):
            if "offset" in result:
                self.receipts[str(sent["channel"])][result["offset"]] = int(str(sent["data"]))

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.publish(30)


def statistic(replica: GatewayProcess, name: str) -> int:
    return int(call(replica.http + "/health").json[name])


def history(replica: GatewayProcess, channel: str, query: str) -> Any:
    answer = call(f"{replica.http}/channels/{channel}/history?{query}", token=READER)
    assert answer.status == 200, answer.body
    return answer.json


def publish(replica: GatewayProcess, channel: str, count: int, first: int = 1) -> None:
    batch = [{"channel": channel, "data": first + n} for n in range(count)]
    answer = call(f"{replica.http}/publish", token=PUBLISHER, json_body={"messages": batch})
    assert answer.status == 200, answer.body
    assert all("offset" in result for result in answer.json["results"])


def leader_of(pair: list[GatewayProcess]) -> GatewayProcess:
    return max(pair, key=lambda replica: statistic(replica, "archive_rows"))


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "asleep"])
def test_everything_is_archived_once_though_the_one_who_does_it_is_gone(
    own_redis: RedisServer, tables: Tables, directory: Path, is_killed: bool
) -> None:
    """Who was asleep goes on where it was, beside the one who has taken over."""
    with replicas(
        directory,
        2,
        redis_url=own_redis.url,
        database_url=tables.url,
        history_messages=100_000,
        **SETTINGS,
    ) as pair:
        source = Source(pair)
        source.run(1.5)
        wait_until(lambda: tables.count() > 100, "something is archived")
        leader = leader_of(pair)
        other = pair[1 - pair.index(leader)]
        source.run(0.3)
        source.targets = [other]
        if is_killed:
            leader.kill()
            source.run(1.5)
        else:
            leader.freeze()
            source.run(2.5)
            leader.thaw()
            source.run(1.0)
        sent = sum(len(offsets) for offsets in source.receipts.values())
        assert sent > 500
        wait_until(lambda: tables.count() >= sent, "the other one has archived the rest", 20)
        wait_until(lambda: statistic(other, "archive_lag_seconds") <= 1, "and knows it")
        assert statistic(other, "archive_rows") > 0 or not is_killed

        for channel in CHANNELS:
            rows = tables.rows()[channel]
            assert [(number, offset) for number, offset, _ in rows] == [
                (1, n) for n in range(1, len(rows) + 1)
            ]
            archived = {offset: data for _, offset, data in rows}
            assert source.receipts[channel].items() <= archived.items()
        assert tables.ask(GAPS) == []
        assert statistic(other, "archive_gaps") == 0


def test_while_the_database_is_away_publishing_goes_on_and_the_archive_catches_up(
    own_redis: RedisServer, own_mariadb: MariadbServer, directory: Path
) -> None:
    tables = Tables(own_mariadb.url, own_mariadb)
    with replicas(
        directory,
        2,
        redis_url=own_redis.url,
        database_url=tables.url,
        database_timeout_seconds=0.5,
        history_messages=100,
        **SETTINGS,
    ) as pair:
        publish(pair[0], "kept", 50)
        publish(pair[0], "trimmed", 50)
        wait_until(lambda: tables.count() == 100, "the first ones are archived")
        own_mariadb.freeze()
        publish(pair[0], "kept", 90, 51)
        for first in range(51, 251, 50):
            publish(pair[1], "trimmed", 50, first)
        newest = history(pair[0], "kept", "limit=100")
        assert (len(newest["messages"]), newest["complete"]) == (100, True)
        beyond = history(pair[0], "kept", "limit=140")
        assert (len(beyond["messages"]), beyond["complete"]) == (100, False)
        wait_until(
            lambda: max(statistic(replica, "archive_lag_seconds") for replica in pair) >= 2,
            "the archive lags",
        )
        own_mariadb.thaw()
        wait_until(lambda: tables.count() == 290, "it has caught up", 40)

        rows = tables.rows()
        assert [data for _, _, data in rows["kept"]] == list(range(1, 141))
        lasting = [*range(1, 51), *range(151, 251)]
        assert [offset for _, offset, _ in rows["trimmed"]] == lasting
        assert tables.ask(GAPS) == [("trimmed", 51, 150)]
        assert sum(statistic(replica, "archive_gaps") for replica in pair) == 1
        assert any("trimmed" in line and ":51-150" in line for line in both_logs(pair))
        page = history(pair[0], "trimmed", "since=:0&limit=60")
        assert page["complete"] is False
        assert [message["offset"] for message in page["messages"]] == lasting[:60]


def both_logs(pair: list[GatewayProcess]) -> list[str]:
    return [line for replica in pair for line in replica.log.splitlines()]


def test_a_history_is_read_when_redis_has_lost_it(
    own_redis: RedisServer, tables: Tables, directory: Path
) -> None:
    with replicas(
        directory,
        2,
        redis_url=own_redis.url,
        database_url=tables.url,
        history_messages=40,
        **SETTINGS,
    ) as pair:
        publish(pair[0], "room", 40)
        wait_until(lambda: tables.count() == 40, "the first ones are archived")
        publish(pair[1], "room", 40, 41)
        wait_until(lambda: tables.count() == 80, "all are archived")
        before = history(pair[0], "room", "since=:0&limit=100")
        assert [message["data"] for message in before["messages"]] == list(range(1, 81))
        assert before["complete"] is True

        with Redis.from_url(own_redis.url) as admin:
            admin.flushall()
        after = history(pair[1], "room", "limit=100")
        assert after["messages"] == before["messages"]
        assert (after["epoch"], after["offset"]) == (before["epoch"], 80)

        publish(pair[0], "room", 3, 101)
        pages, query = [], "limit=30&reverse=true"
        while page := history(pair[0], "room", query)["messages"]:
            pages += page
            query = f"limit=30&reverse=true&since={page[-1]['epoch']}:{page[-1]['offset']}"
        assert [message["data"] for message in pages] == [103, 102, 101, *range(80, 0, -1)]
        assert len({message["epoch"] for message in pages}) == 2
        wait_until(lambda: tables.count() == 83, "the new epoch is archived, too")
        assert tables.ask(GAPS) == [("room", 81, None)]


def test_a_replica_without_redis_archives_what_is_left_before_it_ends(directory: Path) -> None:
    settings = {**SETTINGS, "archive_interval_seconds": 60, "history_messages": 50}
    tables = Tables(f"sqlite:///{directory / 'gateway.db'}")
    with GatewayProcess(directory, database_url=tables.url, **settings) as process:
        publish(process, "room", 30)
        process.terminate()
    assert tables.count() == 30
    with GatewayProcess(directory, database_url=tables.url, **settings) as process:
        publish(process, "room", 2, 31)
        found = history(process, "room", "since=:0&limit=100")
        assert [message["data"] for message in found["messages"]] == list(range(1, 33))
        assert found["complete"] is False  # nobody knows how far the first life came


def test_a_namespace_decides_for_itself(directory: Path) -> None:
    config = directory / "gateway.toml"
    config.write_text("[namespaces.kept]\narchive = true\n")
    settings = {"config": config, "archive_interval_seconds": 0.05}
    tables = Tables(f"sqlite:///{directory / 'gateway.db'}")
    with GatewayProcess(directory, database_url=tables.url, **settings) as process:
        publish(process, "room", 5)
        publish(process, "kept:room", 5)
        wait_until(lambda: tables.count() == 5, "one is archived")
        assert set(tables.rows()) == {"kept:room"}
