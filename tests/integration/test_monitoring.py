"""The alerts and the dashboard that are shipped, with a real Prometheus."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.clients import RawClient, make_token, publish_now
from tests.support.prometheus import Prometheus, names_of, promtool, scrape
from tests.support.servers import GatewayProcess, RedisServer, replicas, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
TESTS = DEPLOY / "prometheus" / "rules.test.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "gateway.json").read_text())
PUBLISHER = make_token("alice", "publisher")

NAME = re.compile(r"\b(?:gateway|process|python)_\w+")
FILLED_IN = {"$instance": ".*", "$__rate_interval": "10s", "$__range": "1m"}


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def expressions() -> list[str]:
    """Those of the dashboard."""
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_prometheus_understands_what_is_shipped() -> None:
    promtool("check", "rules", str(RULES))
    promtool("check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))


def test_each_alert_goes_off_when_it_should_and_not_otherwise() -> None:
    promtool("test", "rules", TESTS.name, cwd=TESTS.parent)
    tested = TESTS.read_text()
    for alert in alerts():
        assert f"labels: '{{alertname=\"{alert['alert']}\"}}'" in tested


def test_each_alert_says_how_urgent_it_is_and_what_to_do() -> None:
    page = (DEPLOY.parent / "docs" / "metrics.md").read_text()
    for alert in alerts():
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"].keys() == {"summary", "description"}
        assert f"| `{alert['alert']}` |" in page


def test_alerts_dashboard_and_page_name_only_what_is_measured(gateway: GatewayProcess) -> None:
    measured = names_of(scrape(gateway.http + "/metrics"))
    page = (DEPLOY.parent / "docs" / "metrics.md").read_text()
    named = NAME.findall(" ".join(alert["expr"] for alert in alerts()))
    named += NAME.findall(" ".join(expressions()))
    assert len(set(named)) > 30
    assert set(named) - measured == set()
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in measured}
    described = set(re.findall(r"^\| `(gateway_\w+)`", page, re.MULTILINE))
    assert described == {name for name in families if name.startswith("gateway_")}


def test_the_dashboard_leaves_nothing_out_that_is_ours(gateway: GatewayProcess) -> None:
    measured = names_of(scrape(gateway.http + "/metrics"))
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in measured}
    shown = {re.sub("_bucket$", "", name) for name in NAME.findall(" ".join(expressions()))}
    assert {name for name in families if name.startswith("gateway_")} - shown == set()


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[tuple[list[GatewayProcess], Prometheus]]:
    """Three replicas, and a Prometheus that reads them as it is shipped, but once a second."""
    directory = tmp_path_factory.mktemp("watched")
    settings = {"redis_url": redis_server.url, "redis_prefix": "monitoring"}
    with replicas(directory, 3, **settings) as started:
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(RULES)]
        (job,) = config["scrape_configs"]
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{one.port}" for one in started]}]
        path = directory / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        with Prometheus(directory, path) as prometheus:
            wait_until(lambda: prometheus.value("sum(gateway_ready)") == 3, "three are read", 20)
            yield started, prometheus


def test_prometheus_adds_up_what_three_replicas_do(
    watched: tuple[list[GatewayProcess], Prometheus],
) -> None:
    started, prometheus = watched
    sockets = [RawClient(one.port).listen("room", make_token("bob")) for one in started]
    try:
        assert publish_now(started[0].http, "room", "hello", PUBLISHER).status == 200
        assert [socket.read_json()["data"] for socket in sockets] == ["hello"] * 3
        for what, value in {
            "sum(gateway_connections_open)": 3,
            "sum(gateway_publishes_total)": 1,
            "sum(gateway_deliveries_total)": 3,
            "sum(gateway_delivery_latency_seconds_count)": 3,
        }.items():
            wait_until(lambda what=what, value=value: prometheus.value(what) == value, what, 20)
    finally:
        for socket in sockets:
            socket.close()


def test_every_panel_can_be_drawn(watched: tuple[list[GatewayProcess], Prometheus]) -> None:
    _, prometheus = watched
    silent = []
    for expression in expressions():
        filled = expression
        for variable, value in FILLED_IN.items():
            filled = filled.replace(variable, value)
        assert "$" not in filled
        if not prometheus.query(filled) and not expression.endswith("> 0"):
            silent.append(expression)
    # Nobody drains.
    assert [NAME.findall(one)[0] for one in silent] == ["gateway_drain_connections_left"]


def test_a_replica_that_dies_is_missed(
    watched: tuple[list[GatewayProcess], Prometheus],
) -> None:
    started, prometheus = watched
    assert not prometheus.query('ALERTS{alertname="GatewayDown"}')
    started[2].kill()
    wait_until(
        lambda: prometheus.query('ALERTS{alertname="GatewayDown",alertstate="pending"}'),
        "the alert is about to go off",
        20,
    )
    assert prometheus.value("sum(gateway_ready)") == 2
