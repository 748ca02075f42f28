"""The Helm chart: rendered by the real helm, checked by Kubernetes' own schemas, and its container
started as a process with exactly the environment that the chart gives it.

No cluster is needed, and none is asked; what only a cluster can show is not shown here.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway import __version__
from gateway.configuration import load
from gateway.settings import Settings
from tests.support.clients import call
from tests.support.servers import (
    SECRET,
    Process,
    RedisServer,
    free_port,
    gateway_environment,
    required,
    status_of,
    wait_until,
)

# helm is in no distribution of ours, and building it takes minutes.
pytestmark = pytest.mark.long

CHART = Path(__file__).parents[2] / "deploy/helm/gateway"
OLDEST, NEWEST = "1.27", "1.35"
EVERYTHING = """
secret: {name: gateway-secrets}
env: {GATEWAY_HISTORY_MESSAGES: "200"}
config: |
  [namespaces.orders]
  subscribe = "grant"
trustedProxies: [10.244.0.0/16]
autoscaling: {enabled: true, cpuPercent: 70}
ingress: {enabled: true, host: gateway.example, tlsSecretName: gateway-tls}
metrics: {serviceMonitor: {enabled: true, labels: {release: prometheus}}}
networkPolicy:
  clients: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]
  redis: {port: 6379, to: [{ipBlock: {cidr: 10.1.2.3/32}}]}
  egress: [{ports: [{port: 443, protocol: TCP}]}]
nodeSelector: {disk: fast}
tolerations: [{key: spot, operator: Exists}]
affinity: {nodeAffinity: {}}
podAnnotations: {team: chat}
priorityClassName: high
imagePullSecrets: [{name: registry}]
"""

Objects = dict[tuple[str, str], Any]
Render = Callable[..., Objects]


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [required("helm"), *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def render(directory: Path) -> Render:
    def rendered(values: str = "secret: {name: gateway-secrets}", *options: str) -> Objects:
        file = directory / "values.yaml"
        file.write_text(values)
        command = ["template", "chat", str(CHART), "--values", str(file), "--namespace", "chat"]
        done = helm(*command, "--kube-version", f"{OLDEST}.0", *options)
        assert done.returncode == 0, done.stderr
        objects = [one for one in yaml.safe_load_all(done.stdout) if one]
        return {(one["kind"], one["metadata"]["name"]): one for one in objects}

    return rendered


def refusal(*options: str) -> str:
    done = helm("template", "chat", str(CHART), "--kube-version", f"{OLDEST}.0", *options)
    assert done.returncode != 0
    return done.stderr


def pods(objects: Objects) -> list[Any]:
    """The descriptions of all pods that the chart makes."""
    specs = []
    for (kind, _), one in objects.items():
        if kind in ("Deployment", "Job"):
            specs.append(one["spec"]["template"]["spec"])
        elif kind == "Pod":
            specs.append(one["spec"])
    return specs


def environment(container: Any) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container.get("env", ())}


def test_helm_finds_nothing_wrong() -> None:
    done = helm(
        "lint", str(CHART), "--strict", "--kube-version", "1.31.0", "--set", "secret.name=gateway"
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", ["secret: {name: gateway-secrets}", EVERYTHING])
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_one_that_kubernetes_knows(
    render: Render, values: str, version: str
) -> None:
    objects = render(values)
    for (kind, name), one in objects.items():
        if kind == "ServiceMonitor":
            continue  # the operator's, not Kubernetes'; see the test of its own
        kubernetes_validate.validate(one, version, strict=True)
        assert len(name) <= 63
    kinds = {kind for kind, _ in objects}
    assert {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "Job"} <= kinds
    is_all = {"HorizontalPodAutoscaler", "Ingress", "ConfigMap", "ServiceMonitor"} <= kinds
    assert is_all == (values == EVERYTHING)


def test_a_wrong_object_would_be_found(render: Render) -> None:
    """What the schemas are good for: a field that is misspelt."""
    deployment = render()["Deployment", "chat-gateway"]
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)


@pytest.mark.parametrize("values", ["secret: {name: gateway-secrets}", EVERYTHING])
def test_no_pod_has_more_rights_than_it_needs(render: Render, values: str) -> None:
    """S56"""
    found = pods(render(values))
    assert len(found) == 3
    for pod in found:
        assert pod["automountServiceAccountToken"] is False
        # Or Kubernetes would add variables that begin with GATEWAY_, and the start would fail.
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"].keys() == {"memory"}


def test_secrets_are_there_by_reference_only(render: Render) -> None:
    objects = render(EVERYTHING)
    assert "Secret" not in {kind for kind, _ in objects}
    pod = objects["Deployment", "chat-gateway"]["spec"]["template"]["spec"]
    (volume,) = [one for one in pod["volumes"] if one["name"] == "secrets"]
    assert volume["secret"] == {"secretName": "gateway-secrets", "defaultMode": 0o440}
    assert "at '/secret/name'" in refusal()
    assert "at '/secret'" in refusal("--set", "secret.name=x,secret.jwt=abc")
    for name in ("GATEWAY_JWT_SECRET", "GATEWAY_REDIS_URL", "GATEWAY_DATABASE_URL"):
        told = refusal("--set", f"secret.name=x,env.{name}=abc")
        assert f"invalid propertyName '{name}'" in told


def test_what_the_chart_sets_are_settings(render: Render) -> None:
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}
    known |= {"GATEWAY_CONFIG", "GATEWAY_SECRETS_DIR"}
    for pod in pods(render(EVERYTHING)):
        for container in pod["containers"]:
            assert environment(container).keys() <= known
    forbidden = json.loads((CHART / "values.schema.json").read_text())
    names = forbidden["properties"]["env"]["propertyNames"]["not"]["enum"]
    # GATEWAY_API_KEY is kept for the server API, whatever version has it.
    assert {*names} - {"GATEWAY_API_KEY"} <= known


@pytest.mark.parametrize(
    "wrong", ["replica=3", "replicas=0", "trustedProxies={*}", "drain.pauseSeconds=-1", "env.A=b"]
)
def test_values_that_mean_nothing_are_refused(wrong: str) -> None:
    assert "values don't meet the specifications" in refusal("--set", f"secret.name=x,{wrong}")


def test_the_grace_period_covers_the_whole_stop(render: Render) -> None:
    values = "secret: {name: x}\ndrain: {pauseSeconds: 7, closingSeconds: 31, shutdownSeconds: 13}"
    pod = render(values)["Deployment", "chat-gateway"]["spec"]["template"]["spec"]
    env = environment(pod["containers"][0])
    settings = load(
        env_file=None,
        jwt_secret=SECRET,
        drain_pause_seconds=env["GATEWAY_DRAIN_PAUSE_SECONDS"],
        drain_seconds=env["GATEWAY_DRAIN_SECONDS"],
        shutdown_seconds=env["GATEWAY_SHUTDOWN_SECONDS"],
    )
    assert settings.stop_seconds_max < pod["terminationGracePeriodSeconds"]
    ready = pod["containers"][0]["readinessProbe"]
    defaults = environment(pods(render())[0]["containers"][0])
    noticed = ready["periodSeconds"] * ready["failureThreshold"]
    assert noticed < int(defaults["GATEWAY_DRAIN_PAUSE_SECONDS"])


def test_it_scales_by_a_measure_that_there_is(render: Render) -> None:
    objects = render(EVERYTHING)
    scaler = objects["HorizontalPodAutoscaler", "chat-gateway"]["spec"]
    by_sockets, by_cpu = scaler["metrics"]
    assert by_sockets["pods"]["metric"]["name"] == "gateway_connections_open"
    assert by_sockets["pods"]["target"]["averageValue"] == "10000"
    assert by_cpu["resource"]["target"]["averageUtilization"] == 70
    # Two who decide about one number would fight.
    assert "replicas" not in objects["Deployment", "chat-gateway"]["spec"]
    assert render()["Deployment", "chat-gateway"]["spec"]["replicas"] == 3


def test_prometheus_and_services_find_the_replicas_and_nothing_else(render: Render) -> None:
    objects = render(EVERYTHING)
    labels = objects["Deployment", "chat-gateway"]["spec"]["template"]["metadata"]["labels"]
    others = [
        objects["Job", "chat-gateway-migrate"]["spec"]["template"],
        objects["Pod", "chat-gateway-smoke"],
    ]
    selectors = [
        objects["Deployment", "chat-gateway"]["spec"]["selector"]["matchLabels"],
        objects["Service", "chat-gateway"]["spec"]["selector"],
        objects["Service", "chat-gateway-metrics"]["spec"]["selector"],
        objects["PodDisruptionBudget", "chat-gateway"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy", "chat-gateway"]["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        for other in others:
            assert not selector.items() <= other["metadata"]["labels"].items()
    monitor = objects["ServiceMonitor", "chat-gateway"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint == {"port": "metrics", "path": "/metrics", "interval": "15s"}
    chosen = monitor["spec"]["selector"]["matchLabels"].items()
    services = [one for (kind, _), one in objects.items() if kind == "Service"]
    (measured,) = [one for one in services if chosen <= one["metadata"]["labels"].items()]
    assert [port["name"] for port in measured["spec"]["ports"]] == ["metrics"]


def test_only_monitoring_reaches_the_measures(render: Render) -> None:
    policy = render()["NetworkPolicy", "chat-gateway"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    clients, monitoring = policy["ingress"]
    assert [port["port"] for port in clients["ports"]] == ["http"]
    assert [port["port"] for port in monitoring["ports"]] == ["metrics"]
    (peer,) = monitoring["from"]
    assert peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == "monitoring"
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [
        [53, 53],
        [6379],
        [3306],
    ]


def test_the_tables_are_there_before_the_replicas(render: Render) -> None:
    objects = render()
    job = objects["Job", "chat-gateway-migrate"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["db", "upgrade"]
    replica = objects["Deployment", "chat-gateway"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == replica["image"] == f"gateway:{__version__}"
    assert ("Job", "chat-gateway-migrate") not in render(
        "secret: {name: x}\nmigrations: {enabled: false}"
    )


def test_a_changed_file_of_namespaces_makes_new_pods(render: Render) -> None:
    def checksum(config: str) -> str:
        rendered = render(f"secret: {{name: x}}\nconfig: '{config}'")
        pod = rendered["Deployment", "chat-gateway"]["spec"]["template"]
        return str(pod["metadata"]["annotations"]["checksum/config"])

    assert checksum('log_level = "info"') != checksum('log_level = "debug"')


@pytest.fixture
def mounted(directory: Path, redis_server: RedisServer) -> Path:
    """A Secret as the kubelet lays it out: links into a directory that it can exchange."""
    real = directory / "secrets" / "..2026_01_01"
    real.mkdir(parents=True)
    (directory / "secrets" / "..data").symlink_to(real.name)
    for name, value in {
        "gateway_jwt_secret": SECRET,
        "gateway_redis_url": redis_server.url,
        "gateway_database_url": f"sqlite:///{directory / 'accounts.db'}",
    }.items():
        (real / name).write_text(value)
        (directory / "secrets" / name).symlink_to(f"..data/{name}")
    return directory / "secrets"


@pytest.fixture
def replica(render: Render, mounted: Path, directory: Path) -> Iterator[tuple[Process, Any, Any]]:
    """The migration, and then a replica, as processes: the chart's arguments and environment.

    Only what a process shares with others here is another one: its ports, and where files are.
    """
    values = "secret: {name: x}\ndrain: {pauseSeconds: 1, closingSeconds: 1, shutdownSeconds: 2}\n"
    objects = render(values + 'config: |\n  [namespaces.orders]\n  subscribe = "grant"\n')
    job = objects["Job", "chat-gateway-migrate"]["spec"]["template"]["spec"]["containers"][0]
    pod = objects["Deployment", "chat-gateway"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    port, metrics = free_port(), free_port()
    config = directory / "gateway.toml"
    config.write_text(objects["ConfigMap", "chat-gateway"]["data"]["gateway.toml"])
    here = {
        "/secrets/gateway": str(mounted),
        "/etc/gateway/gateway.toml": str(config),
        "8000": str(port),
        "0.0.0.0": "127.0.0.1",
        "9090": str(metrics),
    }
    clean = gateway_environment()
    clean = {name: value for name, value in clean.items() if not name.startswith("GATEWAY_")}

    def process_of(one: Any, log: str) -> Process:
        command = [sys.executable, "-m", "gateway", *(here.get(a, a) for a in one["args"])]
        env = {name: here.get(value, value) for name, value in environment(one).items()}
        return Process(command, directory / log, clean | env)

    with process_of(job, "migrate.log") as migration:
        wait_until(lambda: not migration.is_running(), "the migration has ended")
        assert migration.terminate() == 0, migration.log
    with process_of(container, "replica.log") as process:
        places = {"http": f"http://127.0.0.1:{port}", "metrics": f"http://127.0.0.1:{metrics}"}
        yield process, pod, places


def test_a_replica_starts_answers_its_probes_and_stops_in_time(
    replica: tuple[Process, Any, Any],
) -> None:
    process, pod, places = replica
    (container,) = pod["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        get = container[probe]["httpGet"]
        url = places[get["port"]] + get["path"]
        process.wait_ready(lambda url=url: status_of(url) == 200, probe)
    measures = call(places["metrics"] + "/metrics").body.decode()
    assert re.search(r"^gateway_connections_open 0", measures, re.M)
    assert status_of(places["http"] + "/metrics") == 404
    # The chart's own test, which has no secret and no setting.
    command = [sys.executable, "-m", "gateway", "smoke", places["http"], "--no-publish"]
    walked = subprocess.run(command, capture_output=True, text=True, timeout=40)
    assert walked.returncode == 0, walked.stdout + walked.stderr

    started = time.monotonic()
    assert process.terminate(pod["terminationGracePeriodSeconds"]) == 0
    assert time.monotonic() - started >= 1  # it was not ready, and served on


def test_variables_of_a_service_would_stop_the_start() -> None:
    """Why the chart turns service links off."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "check"],
        env=gateway_environment(service_host="10.0.0.1"),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 78
    assert "GATEWAY_SERVICE_HOST: no such setting" in done.stderr
