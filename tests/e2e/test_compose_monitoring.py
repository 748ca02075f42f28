"""`docker compose --profile monitoring up`: Prometheus finds the replicas and knows the alerts.

Grafana is not here: no test has an image of it. Its dashboard is read by
integration/test_monitoring.py.
"""

import asyncio
from collections.abc import Iterator

import pytest
import yaml

from tests.support.clients import listen
from tests.support.prometheus import PrometheusApi
from tests.support.servers import wait_until
from tests.support.stack import REPLICAS, ROOT, Stack

pytestmark = [pytest.mark.compose, pytest.mark.long, pytest.mark.timeout(420)]

# Names are looked up every 5 s, and every replica is read every 15 s.
READ_SECONDS = 60


@pytest.fixture(scope="module")
def prometheus(stack: Stack) -> Iterator[PrometheusApi]:
    with stack.monitoring() as prometheus:
        yield prometheus


def states(prometheus: PrometheusApi) -> list[tuple[str, str]]:
    targets = prometheus.ask("targets")["activeTargets"]
    return [(target["labels"]["job"], target["health"]) for target in targets]


async def test_every_replica_is_found_and_read(stack: Stack, prometheus: PrometheusApi) -> None:
    async def read(expression: str, value: float) -> None:
        def is_so() -> bool:
            return prometheus.value(expression) == value

        await asyncio.to_thread(wait_until, is_so, f"{expression} is {value}", READ_SECONDS)

    await read("sum(gateway_ready)", REPLICAS)
    token = await asyncio.to_thread(stack.token, "bob")
    async with listen(stack.ws, "watched", token):
        await read('sum(gateway_connections_open{job="gateway"})', 1)
    assert states(prometheus) == [("gateway", "up")] * REPLICAS


def test_the_replicas_are_asked_in_a_network_for_that_alone(
    stack: Stack, prometheus: PrometheusApi
) -> None:
    (network,) = stack.inspect(f"{stack.project}_monitoring")
    addresses = {
        container["IPv4Address"].partition("/")[0]
        for container in network["Containers"].values()
        if "-gateway-" in container["Name"]
    }
    targets = prometheus.ask("targets")["activeTargets"]
    assert {target["labels"]["instance"] for target in targets} == {
        f"{address}:9100" for address in addresses
    }


def test_the_alerts_are_loaded_and_none_goes_off(prometheus: PrometheusApi) -> None:
    written = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())

    def rules() -> list[dict[str, str]]:
        (group,) = prometheus.ask("rules")["groups"]
        found: list[dict[str, str]] = group["rules"]
        return found

    wait_until(lambda: {rule["health"] for rule in rules()} == {"ok"}, "all are judged", 60)
    (group,) = written["groups"]
    assert [rule["name"] for rule in rules()] == [rule["alert"] for rule in group["rules"]]
    assert [rule["name"] for rule in rules() if rule["state"] == "firing"] == []


def test_a_replica_that_is_stopped_is_missed(stack: Stack, prometheus: PrometheusApi) -> None:
    """Its name is gone from Docker's name server, so it is no target that is down."""
    victim = stack.containers("gateway")[0]
    stack.docker("stop", victim)
    try:
        wait_until(
            lambda: states(prometheus) == [("gateway", "up")] * (REPLICAS - 1),
            "there is one less",
            READ_SECONDS,
        )
    finally:
        stack.docker("start", victim)
    wait_until(
        lambda: states(prometheus) == [("gateway", "up")] * REPLICAS, "it is back", READ_SECONDS
    )


def test_it_can_do_little_and_nobody_else_reaches_it(
    stack: Stack, prometheus: PrometheusApi
) -> None:
    (container,) = stack.inspect(*stack.containers("prometheus"))
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    (port,) = host["PortBindings"]["9090/tcp"]
    assert port["HostIp"] == "127.0.0.1"
    names = {
        name.removeprefix(f"{stack.project}_") for name in container["NetworkSettings"]["Networks"]
    }
    assert names == {"monitoring", "monitors"}, "neither the servers' nor the balancer's"
    assert stack.compose("exec", "-T", "prometheus", "id", "-u").strip() == "65534"
