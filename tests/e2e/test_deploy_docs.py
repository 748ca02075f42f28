"""What docs/deploy.md, docs/cli.md and docs/when-x-dies.md say, command by command."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import pages
from tests.support.pages import ROOT
from tests.support.servers import GatewayProcess, gateway_environment, required

DEPLOY, CLI, DYING = (
    (ROOT / "docs" / f"{n}.md").read_text() for n in ("deploy", "cli", "when-x-dies")
)
PROOF = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def blocks(text: str, title: str, language: str = "sh") -> list[str]:
    found = pages.blocks(pages.section(text, title), language)
    assert found, title
    return found


def shell(directory: Path, script: str, **settings: object) -> str:
    """Run lines as they are printed, with this program as `gateway`; return what they print."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=directory,
        env=gateway_environment(**settings) | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_listening_and_publishing_as_it_is_printed(
    gateway: GatewayProcess, directory: Path
) -> None:
    texts, pipe = blocks(CLI, "Listen and publish")
    here = {"url": gateway.http}
    printed = shell(directory, texts, **here)
    assert printed.startswith("noticias: offset 1 of epoch ")
    assert '"data":"Hola canal"' in printed
    assert '{"price": 4}' in shell(directory, pipe, **here)
    walks, channels = blocks(CLI, "See whether a gateway works")
    walks = walks.replace("http://localhost:8000", gateway.http)
    assert '"ok": true' in shell(directory, walks, **here)
    assert shell(directory, channels, **here).strip().startswith("[")
    (walk,) = blocks(DEPLOY, "Is it working?")
    assert "token refused" in shell(directory, walk.replace("http://localhost:8000", gateway.http))


def test_the_secrets_as_they_are_printed(directory: Path) -> None:
    (script,) = blocks(DEPLOY, "Secrets")
    # Nothing of this test's environment may stand in for a file.
    printed = shell(directory, f"unset GATEWAY_JWT_SECRET GATEWAY_ENV\n{script}")
    assert re.search(r"GATEWAY_REDIS_URL +\(hidden\)", printed)
    assert "PASSWORD@" not in printed
    kept = {path.name: path.stat().st_mode & 0o777 for path in (directory / "secrets").iterdir()}
    assert set(kept.values()) == {0o600}
    # The names are those that the chart's Secret and the unit have.
    unit = (ROOT / "deploy/systemd/gateway.service").read_text()
    for name in kept:
        assert f"LoadCredential={name}:/etc/gateway/secrets/{name}\n" in unit


@pytest.mark.long
def test_kubernetes_as_it_is_printed(directory: Path) -> None:
    """Without a cluster: the Secret is only shown, and the chart is rendered, not installed."""
    shell(directory, blocks(DEPLOY, "Secrets")[0])
    (script,) = blocks(DEPLOY, "Kubernetes")
    values, adapter = blocks(DEPLOY, "Kubernetes", "yaml")
    (directory / "chat.yaml").write_text(values)
    make_secret, install = script.splitlines()
    required("kubectl")
    secret = yaml.safe_load(shell(directory, f"{make_secret} --dry-run=client --output=yaml"))
    assert (secret["kind"], secret["metadata"]["name"]) == ("Secret", "gateway-secrets")
    assert len(secret["data"]) == 3
    required("helm")
    render = install.replace("upgrade --install", "template").replace("deploy/", f"{ROOT}/deploy/")
    objects = list(
        yaml.safe_load_all(shell(directory, f"{render} --kube-version 1.31.0 --include-crds"))
    )
    deployment = next(one for one in objects if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert {"name": "secrets", "secret": {"secretName": "gateway-secrets", "defaultMode": 288}} in (
        pod["volumes"]
    )
    assert deployment["metadata"]["name"] == "gateway"  # as in `kubectl exec deploy/gateway`
    (rule,) = yaml.safe_load(adapter)["rules"]
    assert rule["seriesQuery"].startswith("gateway_connections_open{")


def test_the_balancer_is_checked_as_it_is_printed() -> None:
    required("haproxy")
    (script,) = blocks(DEPLOY, "A balancer")
    shell(ROOT, script)


def test_the_unit_is_one_that_systemd_takes(directory: Path) -> None:
    """S56: it has what a start needs, and little else. Only its program is another one here."""
    unit = (ROOT / "deploy/systemd/gateway.service").read_text()
    ours = directory / "gateway.service"
    program = Path(sys.executable).with_name("gateway")
    ours.write_text(unit.replace("/opt/gateway/bin/gateway", str(program)))
    analyze = required("systemd-analyze")
    checked = subprocess.run(
        [analyze, "verify", str(ours)], capture_output=True, text=True, timeout=30
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    graded = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=20", str(ours)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert graded.returncode == 0, graded.stdout[-2000:]
    (settings,) = blocks(DEPLOY, "Machines with systemd", "ini")
    given = dict(line.split("=") for line in settings.split())
    shown = shell(
        directory,
        "gateway check",
        **{name.removeprefix("GATEWAY_").lower(): value for name, value in given.items()},
    )
    grace = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M)
    assert grace is not None
    from gateway.configuration import load

    production = load(env_file=None, jwt_secret="x" * 30 + "0123456789ab", env="production")
    assert production.stop_seconds_max < int(grace[1])
    assert "GATEWAY_METRICS_PORT" in shown


def proofs() -> list[tuple[str, str]]:
    return sorted(set(PROOF.findall(DYING)))


@pytest.mark.parametrize(("file", "name"), proofs(), ids=lambda value: value)
def test_every_statement_names_a_test_that_there_is(file: str, name: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_line_of_what_dies_has_its_proof() -> None:
    rows = [
        line for line in DYING.splitlines() if line.startswith("| ") and "| proof |" not in line
    ]
    assert len(rows) > 15
    for row in rows:
        assert len(re.split(r"(?<!\\)\|", row)) == 7, row
        assert PROOF.search(row), row
