"""The public JavaScript client, unchanged, under Node."""

import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.balancer import Balancer
from tests.support.centrifuge import jwt, subscription_token
from tests.support.clients import make_token, publish_now
from tests.support.node import JAVASCRIPT, node_for
from tests.support.servers import GatewayProcess, RedisServer, replicas

VENDOR = Path(__file__).parents[3] / "gateway/web/static/vendor"
Step = dict[str, Any]
_SAID = ("rpc", "publication", "subscribed", "history", "presence", "presenceStats", "state")
_PACKAGES = ("centrifuge", "eventsource", "ws")


@pytest.fixture(scope="session")
def door() -> str:
    """What the doors have in common is tested elsewhere; this is about the client."""
    return "native"


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the client installed beside the scenarios."""
    return node_for(JAVASCRIPT)


class Scenario:
    """A running scenario and the steps that it tells."""

    def __init__(self, node: str, name: str, **options: object) -> None:
        command = [node, "scenarios.mjs", name, json.dumps(options)]
        self._process = subprocess.Popen(
            command, cwd=JAVASCRIPT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def steps(self, *wanted: str) -> Iterator[Step]:
        """The steps as they come, or those of these kinds."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            step: Step = json.loads(line)
            if not wanted or step["step"] in wanted:
                yield step

    def until(self, kind: str, **fields: object) -> Step:
        for step in self.steps(kind):
            if fields.items() <= step.items():
                return step
        raise AssertionError(f"no {kind}: {self.error()}")

    def finish(self) -> list[Step]:
        """All steps until it is done."""
        steps = [*self.steps()]
        assert steps, self.error()
        assert steps[-1] == {"step": "done"}, (steps, self.error())
        return steps[:-1]

    def error(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def __enter__(self) -> "Scenario":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def run(node: str, name: str, gateway: GatewayProcess | Balancer, **options: object) -> list[Step]:
    options.setdefault("tokens", [make_token("alice", "publisher")])
    options |= {"ws": gateway.ws, "http": gateway.http}
    options["publisher"] = make_token("paula", "publisher")
    with Scenario(node, name, **options) as scenario:
        return scenario.finish()


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """Two replicas, each request to the next one in turn: nothing is sticky."""
    directory = tmp_path_factory.mktemp("balanced")
    with (
        RedisServer(directory) as redis,
        replicas(directory, 2, redis_url=redis.url) as both,
        Balancer(directory, both, balance="roundrobin") as balancer,
    ):
        yield balancer


def of(steps: list[Step], *kinds: str) -> list[Step]:
    return [step for step in steps if step["step"] in kinds]


def test_everything_that_a_client_may_ask_for(
    node: str, gateway: GatewayProcess, channel: str
) -> None:
    steps = run(node, "basics", gateway, channel=channel)
    assert of(steps, "rpc", "publication", "history", "presence", "presenceStats") == [
        {"step": "rpc", "code": 108},
        {"step": "publication", "data": {"my": "data"}, "offset": 1},
        {"step": "history", "data": [{"my": "data"}], "offset": 1, "epoch": True},
        {"step": "presence", "users": ["alice"]},
        {"step": "presenceStats", "numClients": 1, "numUsers": 1},
    ]
    assert of(steps, "error") == []


def test_where_the_newest_is_all_there_is_to_know(
    node: str, gateway: GatewayProcess, channel: str
) -> None:
    steps = run(node, "cache", gateway, channel=f"cache:{channel}")
    assert [step["data"] for step in of(steps, "publication")] == [2, 4, 5]
    recovered = {"step": "subscribed", "wasRecovering": True, "recovered": True}
    assert of(steps, "subscribed", "error") == [recovered] * 3


@pytest.mark.long
@pytest.mark.parametrize("transport", ["sse", "http_stream"])
@pytest.mark.parametrize("scenario", ["basics", "recovery", "many"])
def test_without_a_websocket_all_is_the_same(
    node: str, gateway: GatewayProcess, balanced: Balancer, transport: str, scenario: str
) -> None:
    name = f"room-{secrets.token_hex(4)}"
    steps = run(node, scenario, balanced, channel=name, transport=transport)
    straight = run(node, scenario, gateway, channel=f"{name}-straight")
    assert of(steps, *_SAID) == of(straight, *_SAID)
    assert of(steps, "error") == []


@pytest.mark.parametrize(
    "scenario",
    ["basics", *(pytest.param(name, marks=pytest.mark.long) for name in ("recovery", "many"))],
)
def test_the_build_for_protobuf_is_told_the_same(
    node: str, gateway: GatewayProcess, channel: str, scenario: str
) -> None:
    steps = run(node, scenario, gateway, channel=channel, protobuf=True)
    straight = run(node, scenario, gateway, channel=f"{channel}-straight")
    assert of(steps, *_SAID) == of(straight, *_SAID) != []
    assert of(steps, "error") == []


@pytest.mark.long
@pytest.mark.parametrize("scenario", ["basics", "recovery", "many"])
def test_the_build_for_protobuf_needs_no_websocket_either(
    node: str, gateway: GatewayProcess, balanced: Balancer, scenario: str
) -> None:
    name = f"room-{secrets.token_hex(4)}"
    options = {"channel": name, "transport": "http_stream", "protobuf": True}
    steps = run(node, scenario, balanced, **options)
    straight = run(node, scenario, gateway, channel=f"{name}-straight")
    assert of(steps, *_SAID) == of(straight, *_SAID) != []
    assert of(steps, "error") == []


@pytest.mark.long
@pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
@pytest.mark.parametrize("transport", [None, "sse", "http_stream"])
def test_differences_are_understood(
    node: str, gateway: GatewayProcess, channel: str, transport: str | None, protobuf: bool
) -> None:
    name, tokens = f"delta:{channel}", [make_token("alice"), make_token("bob")]
    if protobuf and transport == "sse":
        return  # events are text; the client does not try
    options = {"tokens": tokens, "transport": transport, "protobuf": protobuf}
    steps = run(node, "deltas", gateway, channel=name, **options)
    assert of(steps, "error") == []
    heard = sorted(step["data"]["n"] for step in of(steps, "publication"))
    assert heard == [1, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    assert all(step["data"]["prices"] == [*range(50)] for step in of(steps, "publication"))
    # All but the first are differences; of the other one, those behind 3 and behind 5.
    assert of(steps, "deltas") == [{"step": "deltas", "count": 6}, {"step": "deltas", "count": 2}]


def test_what_was_missed_is_recovered(node: str, gateway: GatewayProcess, channel: str) -> None:
    steps = run(node, "recovery", gateway, channel=channel)
    assert [step["data"] for step in of(steps, "publication")] == [1, 2, 3, 4, 5, 6]
    assert [(step["wasRecovering"], step["recovered"]) for step in of(steps, "subscribed")] == [
        (False, False),
        (True, True),
        (True, True),
    ]


@pytest.mark.long
def test_a_restarted_replica_costs_no_message(node: str, tmp_path: Path, channel: str) -> None:
    token = make_token("paula", "publisher")
    with (
        RedisServer(tmp_path) as redis,
        replicas(tmp_path, 2, redis_url=redis.url, drain_seconds=0.2) as (first, second),
        Scenario(node, "restart", ws=first.ws, channel=channel, tokens=[make_token()]) as scenario,
    ):
        scenario.until("subscribed")
        publish_now(second.http, channel, "before", token)
        scenario.until("publication", data="before")
        assert first.terminate() == 0
        assert scenario.until("connecting", code=3001)["reason"] == "shutdown"
        publish_now(second.http, channel, "meanwhile", token)
        first.start()
        assert scenario.until("subscribed")["recovered"] is True
        assert scenario.until("publication")["data"] == "meanwhile"
        publish_now(second.http, channel, "last", token)
        assert scenario.finish()[0]["data"] == "last"


def test_a_token_is_renewed_before_it_ends(node: str, gateway: GatewayProcess) -> None:
    tokens = [jwt(ttl=1), jwt(ttl=1), jwt(ttl=600)]
    steps = run(node, "refresh", gateway, tokens=tokens, milliseconds=3500)
    assert len(of(steps, "getToken")) == 3
    assert of(steps, "state") == [{"step": "state", "state": "connected"}]
    assert len(of(steps, "connected")) == 1


def test_a_token_that_has_expired_is_replaced(node: str, gateway: GatewayProcess) -> None:
    now = int(time.time())
    tokens = [jwt(iat=now - 120, exp=now - 60), jwt(ttl=600)]
    steps = run(node, "refresh", gateway, tokens=tokens, milliseconds=1000)
    assert len(of(steps, "getToken")) == 2
    assert of(steps, "state") == [{"step": "state", "state": "connected"}]


def test_a_private_channel_is_opened_and_its_token_renewed(
    node: str, gateway: GatewayProcess, channel: str
) -> None:
    name = f"${channel}"
    tokens = [subscription_token(name, ttl=1), subscription_token(name, ttl=600)]
    options = {"channel": name, "subscriptionTokens": tokens, "milliseconds": 2000}
    steps = run(node, "private", gateway, **options)
    assert len(of(steps, "getToken")) == 2
    assert of(steps, "state") == [{"step": "state", "state": "subscribed"}]
    assert len(of(steps, "subscribed")) == 1


@pytest.mark.parametrize(("token", "code"), [("x", 3500), (make_token()[:-2], 3500)])
def test_a_wrong_token_ends_the_client_for_good(
    node: str, gateway: GatewayProcess, token: str, code: int
) -> None:
    steps = run(node, "ended", gateway, tokens=[token])
    assert of(steps, "disconnected") == [
        {"step": "disconnected", "code": code, "reason": "invalid token"}
    ]


def test_a_denied_subscription_ends_alone(node: str, gateway: GatewayProcess) -> None:
    steps = run(node, "denied", gateway, channel="closed:a")
    assert of(steps, "unsubscribed") == [{"step": "unsubscribed", "code": 103}]


def test_neighbours_come_and_go(node: str, gateway: GatewayProcess, channel: str) -> None:
    tokens = [make_token("alice"), jwt("bob", info={"n": 1})]
    steps = run(node, "neighbours", gateway, channel=f"chat:{channel}", tokens=tokens)
    assert of(steps, "join", "leave") == [
        {"step": "join", "user": "alice"},
        {"step": "join", "user": "bob", "info": {"n": 1}},
        {"step": "leave", "user": "bob"},
    ]


def test_channels_of_the_server_recover(node: str, gateway: GatewayProcess, channel: str) -> None:
    steps = run(node, "serverSide", gateway, channel=channel, tokens=[jwt(channels=[channel])])
    assert [each["data"] for each in of(steps, "publication") if each["channel"] == channel] == [
        1,
        2,
    ]
    recovered = [each["recovered"] for each in of(steps, "server") if each["channel"] == channel]
    assert recovered == [False, True]


@pytest.mark.long
def test_a_hundred_channels_at_once(node: str, gateway: GatewayProcess, channel: str) -> None:
    steps = run(node, "many", gateway, channel=channel)
    assert of(steps, "state") == [{"step": "state", "state": "connected"}]
    assert of(steps, "error") == []


def test_the_page_runs_the_very_client_that_is_tested_here(node: str) -> None:
    published = (JAVASCRIPT / "node_modules/centrifuge/dist/centrifuge.js").read_bytes()
    lines = [line for line in published.splitlines(True) if not line.startswith(b"//# source")]
    ours = VENDOR / "centrifuge.js"
    assert b"".join(lines) == ours.read_bytes()
    version = json.loads((JAVASCRIPT / "package.json").read_text())["dependencies"]["centrifuge"]
    assert f"| version | {version} |" in (VENDOR / "README.md").read_text()
