"""One clear line and exit code 78 where the settings cannot be used."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import __version__
from gateway.cli import serving
from gateway.settings import Settings
from tests.unit.cli.running import CANARY, SECRET, data, refusal, run

# gateway serve, as a process of its own.


def serve(directory: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    given = {f"GATEWAY_{name.upper()}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--port", "0", *arguments],
        capture_output=True,
        text=True,
        env=dict(os.environ) | given,
        cwd=directory,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        (["--host", "0.0.0.0"], {}, "GATEWAY_JWT_SECRET is needed with Redis, on a public"),
        ([], {"redis_url": f"redis://:{CANARY}@127.0.0.1:1/0"}, "GATEWAY_JWT_SECRET is needed"),
        ([], {"env": "production"}, "GATEWAY_JWT_SECRET is needed"),
        (["--workers", "2"], {"jwt_secret": SECRET}, "redis_url"),
        ([], {"jwt_secret": CANARY}, "GATEWAY_JWT_SECRET: a secret has at least 32 random"),
        ([], {"jwt_secret": SECRET, "redis_url": f"http://{CANARY}"}, "GATEWAY_REDIS_URL: "),
        ([], {"prot": CANARY}, "did you mean GATEWAY_PORT?"),
    ],
    ids=["public", "redis", "production", "workers", "weak secret", "redis url", "unknown"],
)
def test_a_gateway_that_may_not_start_says_why_in_one_line(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], told: str
) -> None:
    """S08, S51"""
    ended = serve(tmp_path, *arguments, **settings)
    assert ended.returncode == os.EX_CONFIG == 78
    (line,) = ended.stderr.splitlines()
    assert line.startswith("gateway: ")
    assert told in line
    assert CANARY not in ended.stdout + ended.stderr


def test_a_port_that_is_taken_is_told_before_anything_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = serve(tmp_path, "--port", str(port), jwt_secret=SECRET)
    assert (ended.returncode, ended.stdout) == (os.EX_UNAVAILABLE, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"gateway: port {port} of 127.0.0.1 is taken")
    assert "GATEWAY_PORT" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "told"),
    [("192.0.2.1", "192.0.2.1, port 0: cannot assign"), ("a..example", "is no address of this")],
)
def test_an_address_of_another_machine_is_a_wrong_setting(host: str, told: str) -> None:
    line = refusal(run("serve", "--host", host, "--port", "0", jwt_secret=SECRET))
    assert line.startswith("gateway: GATEWAY_HOST: ")
    assert told in line


# gateway check.


def test_check_prints_every_setting_and_no_secret() -> None:
    """S51"""
    keys = [{"kid": "old", "secret": CANARY + SECRET, "verify_until": 2_000_000_000}]
    result = run(
        "check",
        jwt_secret=CANARY + SECRET,
        redis_url=f"redis://gateway:{CANARY}@127.0.0.1:1/0",
        jwt_retired_keys=json.dumps(keys),
    )
    assert result.exit_code == 0
    printed, _, table = result.stdout.partition("\n\n")
    assert table.startswith("NAMESPACE")
    assert [line.split()[0] for line in printed.splitlines()] == [
        f"GATEWAY_{name.upper()}" for name in Settings.model_fields
    ]
    assert CANARY not in result.output


def test_check_fails_where_serve_would_not_start() -> None:
    result = run("check", redis_url="redis://127.0.0.1:1/0")
    assert result.exit_code == os.EX_CONFIG
    assert "GATEWAY_JWT_SECRET is needed" in result.stderr
    assert "GATEWAY_REDIS_URL" in result.stdout


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"redis_url": f"localhost:{CANARY}"}, "GATEWAY_REDIS_URL: "),
        ({"database_url": f"oracle://{CANARY}@db/gateway"}, "GATEWAY_DATABASE_URL: "),
        ({"jwt_algorithm": "ES256", "jwt_private_key_file": __file__}, "_PRIVATE_KEY_FILE: "),
        ({"tls_cert_file": __file__, "tls_key_file": __file__}, "GATEWAY_TLS_KEY_FILE: a certi"),
    ],
    ids=["redis", "database", "key", "certificate"],
)
def test_check_refuses_what_only_shows_when_the_parts_are_made(
    wrong: dict[str, str], told: str
) -> None:
    result = run("check", jwt_secret=SECRET, **wrong)
    assert (result.exit_code, result.stdout) == (os.EX_CONFIG, "")
    assert told in result.stderr
    assert CANARY not in result.stderr


def test_check_tells_each_mistake_in_a_line(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('prot = 1\n[namespaces.chat]\npublish = "all"\n')
    result = run("check", config=str(config))
    assert (result.exit_code, result.stdout) == (os.EX_CONFIG, "")
    first, second = sorted(result.stderr.splitlines())
    assert first.startswith("gateway: GATEWAY_NAMESPACES: [namespaces.chat] publish: a list of")
    assert second.startswith("gateway: GATEWAY_PROT: no such setting; did you mean")


def test_check_is_content_with_the_defaults() -> None:
    result = run("check")
    assert result.exit_code == 0
    assert "A stop takes up to 13 s" in result.output
    assert "A stop takes up to 25 s" in run("check", env="production").output


def test_check_prints_the_same_for_programs(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("[namespaces.chat]\nhistory_messages = 7\n")
    told = data("check", jwt_secret=CANARY + SECRET, config=str(config))
    assert [*told["settings"]] == [f"GATEWAY_{name.upper()}" for name in Settings.model_fields]
    assert told["settings"]["GATEWAY_JWT_SECRET"]["value"] == "(hidden)"
    assert [one["namespace"] for one in told["namespaces"]] == ["(default)", "chat", "(others)"]
    assert told["namespaces"][1]["history"] == "7 for 300 s"
    assert told["stop_seconds_max"] == 13
    assert CANARY not in json.dumps(told)
    assert told["protobuf_is_installed"] is True


def test_check_says_whether_protobuf_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Clients that speak Protobuf are served." in run("check").stdout
    monkeypatch.setattr(serving, "protobuf_is_installed", lambda: False)
    assert 'refused, until pip install "gateway[protobuf]"' in run("check").stdout


# gateway secrets and the rest.


def test_secrets_are_written_once_and_never_printed(tmp_path: Path) -> None:
    path = tmp_path / "made.env"
    first = run("secrets", "--env-file", str(path))
    assert (first.exit_code, first.stdout, first.stderr) == (0, "", f"made {path}\n")
    written = path.read_text()
    second = run("secrets", "--env-file", str(path))
    assert (second.exit_code, second.output) == (0, "")
    assert path.read_text() == written


def test_the_secrets_of_a_cluster_name_its_servers(tmp_path: Path) -> None:
    hosts = ["--redis-host", "redis.example:1", "--database-host", "db.example:2"]
    result = run("secrets", "--cluster", str(tmp_path / "made"), *hosts)
    assert result.exit_code == 0
    assert len(result.stderr.splitlines()) == 5
    for name, end in (("redis", "@redis.example:1/0"), ("database", "@db.example:2/gateway")):
        url = (tmp_path / f"made/gateway/gateway_{name}_url").read_text()
        assert url.endswith(end)
        assert url not in result.output


@pytest.mark.parametrize("arguments", [[], ["--env-file", "a", "--cluster", "b"]])
def test_secrets_are_for_one_purpose_at_a_time(arguments: list[str]) -> None:
    assert refusal(run("secrets", *arguments)) == "gateway: give --env-file or --cluster"


def test_secrets_that_cannot_be_written_are_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = refusal(run("secrets", "--env-file", str(tmp_path / "file" / "made.env")))
    assert "Not a directory" in told


def test_the_version_is_printed() -> None:
    for asked in "version", "--version":
        result = run(asked)
        assert (result.exit_code, result.stdout) == (0, f"{__version__}\n")
