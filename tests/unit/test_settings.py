"""Where settings come from, which of them are refused, and what is printed of them."""

import base64
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.configuration import ConfigurationError, describe, load
from gateway.settings import Environment, Settings
from gateway.signing import make_verifier, with_secret

pytestmark = pytest.mark.usefixtures("no_settings")

SECRET = "a-secret-for-tests-only-0123456789-abcdefghijklmnop"
OLD_SECRET = "an-older-secret-for-tests-9876543210-zyxwvutsrqponm"
CANARY = "canary7531"

Environ = Callable[..., None]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Environ:
    """Sets GATEWAY_ names, given in lower case and without the prefix."""

    def set_all(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"GATEWAY_{name.upper()}", value)

    return set_all


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "settings"
    path.mkdir()
    return path


def refusal(**overrides: Any) -> str:
    with pytest.raises(ConfigurationError) as error:
        load(**overrides)
    text = str(error.value)
    assert len(text.splitlines()) == 1
    assert CANARY not in text
    return text


def retired(**changes: Any) -> str:
    key = {"kid": "old", "secret": OLD_SECRET, "verify_until": 2_000_000_000}
    return json.dumps([key | changes])


# Sources.


def test_without_any_setting_the_defaults_hold() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.publish_roles == ["publisher", "admin"]
    assert (settings.jwt_secret, settings.redis_url) == (None, None)
    assert (settings.trusted_proxies, settings.allowed_origins) == ([], [])


@pytest.mark.parametrize("name", ["GATEWAY_PORT", "gateway_port", "Gateway_Port"])
def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "8080")
    assert load().port == 8080


def test_a_file_env_in_the_working_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# ours\nGATEWAY_PORT=8080\nexport GATEWAY_WORKERS=1\n")
    assert load().port == 8080
    assert load(env_file=None).port == 8000


def test_lines_of_other_programs_in_the_file_env_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("COMPOSE_PROJECT_NAME=x\nPORT=1\nhost=y\nGATEWAY_PORT=8080\n")
    assert (load().port, load().host) == (8080, "127.0.0.1")


def test_a_toml_file_is_read(environ: Environ, directory: Path) -> None:
    config = directory / "gateway.toml"
    config.write_text(
        'port = 8080\npublish_roles = ["writer"]\nallowed_origins = "https://a.example"\n'
        f'[[jwt_retired_keys]]\nkid = "old"\nsecret = "{OLD_SECRET}"\nverify_until = 2e9\n'
    )
    environ(config=str(config))
    settings = load()
    assert (settings.port, settings.publish_roles) == (8080, ["writer"])
    assert settings.allowed_origins == ["https://a.example"]
    assert [key.kid for key in settings.jwt_retired_keys] == ["old"]


def test_a_directory_of_secrets_is_read(environ: Environ, directory: Path) -> None:
    (directory / "gateway_jwt_secret").write_text(SECRET + "\n")
    (directory / "gateway_jwt_retired_keys").write_text(retired())
    (directory / "..data").write_text("whatever else is mounted there")
    environ(secrets_dir=str(directory))
    settings = load()
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == SECRET
    (old,) = settings.jwt_retired_keys
    assert old.secret is not None
    assert old.secret.get_secret_value() == OLD_SECRET


def test_the_file_env_may_name_the_other_sources(tmp_path: Path, directory: Path) -> None:
    (directory / "gateway.toml").write_text("port = 8080\n")
    secrets = directory / "secrets"
    secrets.mkdir()
    (secrets / "gateway_jwt_secret").write_text(SECRET)
    (tmp_path / ".env").write_text(
        f"GATEWAY_CONFIG={directory}/gateway.toml\nGATEWAY_SECRETS_DIR={secrets}\n"
    )
    settings = load()
    assert settings.port == 8080
    assert settings.jwt_secret is not None


def test_the_first_source_that_has_a_setting_wins(
    environ: Environ, directory: Path, tmp_path: Path
) -> None:
    secrets = directory / "secrets"
    secrets.mkdir()
    # Every further source sets one setting more, and all that came before it.
    names = ["port", "ping_interval_seconds", "ping_timeout_seconds", "batch_messages_max"]
    (directory / "gateway.toml").write_text("".join(f"{name} = 4\n" for name in names))
    for name in names[:3]:
        (secrets / f"gateway_{name}").write_text("3")
    (tmp_path / ".env").write_text("".join(f"GATEWAY_{name.upper()}=2\n" for name in names[:2]))
    environ(port="1", config=str(directory / "gateway.toml"), secrets_dir=str(secrets))
    assert [getattr(load(), name) for name in names] == [1, 2, 3, 4]
    assert load(port=9).port == 9
    assert load(port=None).port == 1


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_toml_file_that_is_not_there_is_refused(
    environ: Environ, directory: Path, name: str
) -> None:
    """Otherwise a typing error in the path would mean: all defaults, no Redis."""
    environ(config=str(directory / name))
    assert refusal() == f"GATEWAY_CONFIG: {directory / name} is not a file"


def test_a_directory_of_secrets_that_is_not_there_is_refused(
    environ: Environ, directory: Path
) -> None:
    environ(secrets_dir=str(directory / "missing"))
    assert refusal() == f"GATEWAY_SECRETS_DIR: {directory / 'missing'} is not a directory"


@pytest.mark.parametrize("source", ["toml", "env"])
def test_what_is_nested_too_deeply_is_refused(
    environ: Environ, directory: Path, source: str
) -> None:
    deep = "[" * 10_000
    if source == "toml":
        (directory / "gateway.toml").write_text(f"namespaces = {deep}")
        environ(config=str(directory / "gateway.toml"))
    else:
        environ(namespaces=deep)
    assert refusal() == "a setting in JSON or TOML is nested too deeply"


def test_a_file_that_is_not_toml_is_refused(environ: Environ, directory: Path) -> None:
    config = directory / "gateway.toml"
    config.write_text(f"jwt_secret = {CANARY}\n")
    environ(config=str(config))
    assert refusal().startswith("GATEWAY_CONFIG: not a TOML file: ")


@pytest.mark.parametrize("source", ["toml", "env", "secret"])
def test_a_file_that_is_not_utf8_is_refused(
    environ: Environ, directory: Path, tmp_path: Path, source: str
) -> None:
    if source == "toml":
        (directory / "gateway.toml").write_bytes(b"host = '\xff'\n")
        environ(config=str(directory / "gateway.toml"))
    elif source == "env":
        (tmp_path / ".env").write_bytes(b"GATEWAY_HOST=\xff\n")
    else:
        (directory / "gateway_host").write_bytes(b"\xff\n")
        environ(secrets_dir=str(directory))
    assert refusal() == "a file with settings is not written in UTF-8"


def test_a_secret_that_may_not_be_read_is_reported(
    environ: Environ, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of another user; those who run the tests as root could read it."""

    def deny(path: Path, *_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    secret = directory / "gateway_jwt_secret"
    secret.write_text(SECRET)
    environ(secrets_dir=str(directory))
    monkeypatch.setattr(Path, "read_text", deny)
    assert refusal() == f"{secret}: Permission denied"


@pytest.mark.parametrize("name", ["config", "secrets_dir"])
def test_a_path_of_several_lines_is_told_in_one(environ: Environ, name: str) -> None:
    environ(**{name: "/a\nb"})
    assert f"GATEWAY_{name.upper()}: /a b is not a" in refusal()


# Unknown names.


@pytest.mark.parametrize("source", ["environment", "env", "secret", "toml"])
def test_an_unknown_name_is_refused_with_the_nearest_one(
    environ: Environ, directory: Path, tmp_path: Path, source: str
) -> None:
    if source == "environment":
        environ(reddis_url=CANARY)
    elif source == "env":
        (tmp_path / ".env").write_text(f"GATEWAY_REDDIS_URL={CANARY}\n")
    elif source == "secret":
        (directory / "gateway_reddis_url").write_text(CANARY)
        environ(secrets_dir=str(directory))
    else:
        (directory / "gateway.toml").write_text(f'reddis_url = "{CANARY}"\n')
        environ(config=str(directory / "gateway.toml"))
    assert refusal() == "GATEWAY_REDDIS_URL: no such setting; did you mean GATEWAY_REDIS_URL?"


def test_a_name_that_is_near_no_other_is_refused_with_a_place_to_look(environ: Environ) -> None:
    environ(xyzzy="1")
    assert refusal() == "GATEWAY_XYZZY: no such setting; see: gateway check"


@pytest.mark.parametrize("name", ["gateway_prot", "Gateway_Prot", "GATEWAY_"])
def test_an_unknown_name_is_found_in_any_spelling(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert "no such setting" in refusal()


def test_an_unknown_section_of_the_toml_file_is_refused(environ: Environ, directory: Path) -> None:
    (directory / "gateway.toml").write_text("[serve]\nport = 1\n")
    environ(config=str(directory / "gateway.toml"))
    assert refusal().startswith("GATEWAY_SERVE: no such setting")


# Wrong values.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", CANARY),
        ("port", "65536"),
        ("port", "-1"),
        ("port", ""),
        ("workers", "0"),
        ("env", "prod"),
        ("env", CANARY),
        ("log_level", CANARY),
        ("log_level", "DEBUG"),
        ("token_in_url", CANARY),
        ("jwt_secret", CANARY),
        ("jwt_secret", ""),
        ("jwt_kid", ""),
        ("jwt_algorithm", "none"),
        ("jwt_algorithm", "PS256"),
        ("jwt_algorithm", "ES512"),
        ("jwt_algorithm", "HS256\n"),
        ("jwt_issuer", ""),
        ("jwt_audience", ""),
        ("jwt_leeway_seconds", "301"),
        ("jwt_leeway_seconds", "0"),
        ("jwt_private_key_file", "missing.pem"),
        ("access_token_seconds", "0"),
        ("refresh_token_seconds", "31536001"),
        ("refresh_grace_seconds", "-1"),
        ("jwt_lifetime_seconds_max", "59"),
        ("redis_prefix", "a:b"),
        ("redis_prefix", "a*"),
        ("redis_prefix", "{a}"),
        ("redis_prefix", "a\n"),
        ("redis_timeout_seconds", "0"),
        ("redis_timeout_seconds", "nan"),
        ("redis_timeout_seconds", "inf"),
        ("release_delay_seconds", "inf"),
        ("lease_seconds", "inf"),
        ("message_bytes_max", "0"),
        ("sockets_max", "0"),
        ("jwt_retired_keys", CANARY),
        ("jwt_retired_keys", "{}"),
        ("jwt_issuers", CANARY),
        ("jwt_issuers", f'["{CANARY}"]'),
        ("jwt_issuers", "[" * 100_000),
        ("namespaces", CANARY),
        ("jwt_retired_keys", f'["{CANARY}"]'),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_without_the_value(
    environ: Environ, name: str, value: str
) -> None:
    """S51: it may be the secret that was put into the wrong line."""
    environ(**{name: value})
    assert refusal().startswith(f"GATEWAY_{name.upper()}")


def test_several_wrong_values_are_told_at_once(environ: Environ) -> None:
    environ(port="x", workers="0")
    text = refusal()
    assert "GATEWAY_PORT: " in text
    assert "; GATEWAY_WORKERS: " in text


def test_the_command_line_is_checked_like_the_environment() -> None:
    assert refusal(port=65536).startswith("GATEWAY_PORT: ")


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    name=st.sampled_from(sorted(Settings.model_fields)),
    value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
)
def test_no_value_makes_the_reader_stumble(name: str, value: str) -> None:
    os.environ[f"GATEWAY_{name.upper()}"] = value
    try:
        load(env_file=None)
    except ConfigurationError as error:
        text = str(error)
        if len(text.splitlines()) != 1:
            pytest.fail(text)
    finally:
        del os.environ[f"GATEWAY_{name.upper()}"]


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("publish_roles", "editor", "admin"),
        ("registration_roles", "user", "reader"),
        ("trusted_proxies", "10.0.0.1", "fd00::/8"),
        ("allowed_origins", "https://a.example", "https://b.example"),
    ],
)
def test_a_list_is_written_with_commas(
    environ: Environ, name: str, first: str, second: str
) -> None:
    environ(**{name: f" {first}, {second},, "})
    assert getattr(load(), name) == [first, second]
    environ(**{name: ""})
    assert getattr(load(), name) == []


@pytest.mark.parametrize("origin", ["*", "https://*.example", "app.example", "https://a/", "null"])
def test_an_origin_that_could_never_match_exactly_is_refused(environ: Environ, origin: str) -> None:
    """S23"""
    environ(allowed_origins=origin)
    assert "an origin is written like https://app.example" in refusal()


# Secrets and keys.


@pytest.mark.parametrize(
    "secret",
    ["short", "a" * 64, "0123456789abcdef" * 1 + "0123456789abcde", "secret" * 10, "ä" * 32],
)
def test_a_secret_that_can_be_guessed_is_refused(environ: Environ, secret: str) -> None:
    """S08"""
    environ(jwt_secret=secret)
    assert refusal() == (
        "GATEWAY_JWT_SECRET: a secret has at least 32 random bytes: openssl rand -base64 48"
    )


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDfoo me@example",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfoo me@example",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYfoo",
    ],
)
def test_a_public_key_is_no_secret(environ: Environ, secret: str) -> None:
    """S02: everybody knows it."""
    environ(jwt_secret=secret)
    assert refusal().startswith("GATEWAY_JWT_SECRET: a secret is random text")


def test_a_retired_key_is_checked_like_the_current_one(environ: Environ) -> None:
    """S08"""
    environ(jwt_secret=SECRET, jwt_retired_keys=retired(secret=CANARY))
    assert refusal().startswith("GATEWAY_JWT_RETIRED_KEYS.0.SECRET: a secret has at least 32")


@pytest.mark.parametrize("end", ["NaN", "Infinity", "null", '"never"'])
def test_a_retired_key_has_an_end(environ: Environ, end: str) -> None:
    """S10: one that never ends was not retired."""
    environ(jwt_retired_keys=retired().replace("2000000000", end))
    assert refusal().startswith("GATEWAY_JWT_RETIRED_KEYS.0.VERIFY_UNTIL: ")


def test_a_retired_key_with_a_member_too_many_or_too_few_is_refused(environ: Environ) -> None:
    environ(jwt_retired_keys=retired(until=1))
    assert "no such setting" in refusal()
    environ(jwt_retired_keys='[{"kid": "old"}]')
    assert "Field required" in refusal()


def test_every_key_has_a_name_of_its_own(environ: Environ) -> None:
    """S10: the old key would be shadowed, and every token of yesterday refused."""
    environ(jwt_secret=SECRET, jwt_retired_keys=retired(kid="1"))
    assert "every key needs a name of its own" in refusal()
    environ(jwt_kid="2")
    assert load().jwt_kid == "2"


@pytest.mark.parametrize("size", [32, 48, 64])
def test_random_secrets_of_every_usual_length_are_taken(environ: Environ, size: int) -> None:
    environ(jwt_secret=base64.b64encode(os.urandom(size)).decode())
    make_verifier(load())


# Rules between settings.


def test_several_workers_need_redis(environ: Environ) -> None:
    assert "through redis_url" in refusal(workers=2)
    environ(redis_url="redis://127.0.0.1:1/0")
    assert load(workers=2).workers == 2


def test_a_certificate_and_its_key_come_together(environ: Environ, directory: Path) -> None:
    certificate, key = directory / "cert.pem", directory / "key.pem"
    environ(tls_cert_file=str(certificate))
    assert "tls_cert_file and tls_key_file belong together" in refusal()
    environ(tls_key_file=str(key))
    assert refusal() == f"{certificate} is not a file"
    certificate.write_text("")
    assert refusal() == f"{key} is not a file"
    key.write_text("")
    assert load().tls_key_file == key


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("127.0.0.1", False),
        ("127.0.0.2", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.0.0.1", True),
        ("gateway.example", True),
        ("localhost.example", True),
        ("", True),
    ],
)
def test_an_address_is_public_unless_it_is_loopback(host: str, public: bool) -> None:
    assert load(host=host).is_public is public


def test_a_secret_is_made_up_only_where_nobody_else_needs_it(environ: Environ) -> None:
    """S08"""
    alone = load()
    assert alone.secret_may_be_made_up
    assert load(env="test").secret_may_be_made_up
    environ(redis_url="redis://127.0.0.1:1/0")
    shared = load()
    environ(database_url="mariadb://127.0.0.1:1/gateway")
    for settings in (shared, alone.model_copy(update={"host": "0.0.0.0"}), load(env="production")):
        assert not settings.secret_may_be_made_up
        with pytest.raises(ConfigurationError, match="GATEWAY_JWT_SECRET is needed"):
            with_secret(settings)


def test_a_made_up_secret_is_another_one_every_time() -> None:
    """S08"""
    made = [with_secret(load()).jwt_secret for _ in range(3)]
    values = {secret.get_secret_value() for secret in made if secret is not None}
    assert len(values) == 3
    for value in values:
        assert load(jwt_secret=value).jwt_secret is not None


def test_a_given_secret_is_kept(environ: Environ) -> None:
    environ(jwt_secret=SECRET)
    settings = load()
    assert with_secret(settings) is settings


def test_replicas_in_production_have_one_database(environ: Environ) -> None:
    environ(redis_url="redis://127.0.0.1:1/0")
    assert load().database_url is None
    assert "database_url is needed with redis_url" in refusal(env="production")
    environ(database_url="sqlite:////var/lib/gateway.db")  # replicas of one machine may share it
    assert load(env="production").database_url is not None


def test_production_alone_may_keep_its_accounts_in_a_file() -> None:
    assert load(env="production").database_url is None


def test_production_alone_still_needs_a_secret() -> None:
    """S08"""
    with pytest.raises(ConfigurationError, match="in production"):
        with_secret(load(env="production"))


@pytest.mark.parametrize("env", Environment)
def test_the_documentation_is_served_unless_it_is_production(env: Environment) -> None:
    """S52"""
    assert load(env=env).docs_served is (env is not Environment.PRODUCTION)
    assert load(env=env, docs=True).docs_served is True
    assert load(env=env, docs=False).docs_served is False


# What is printed.


def test_every_setting_is_described_and_secrets_stay_hidden(environ: Environ) -> None:
    """S51"""
    environ(
        jwt_secret=CANARY + SECRET,
        redis_url=f"redis://user:{CANARY}@127.0.0.1:1/0",
        jwt_retired_keys=retired(secret=CANARY + OLD_SECRET),
    )
    settings = load()
    rows = describe(settings)
    assert [name for name, _, _ in rows] == [f"GATEWAY_{n.upper()}" for n in Settings.model_fields]
    assert all(reason for _, _, reason in rows)
    shown = {name: value for name, value, _ in rows}
    assert shown["GATEWAY_JWT_SECRET"] == shown["GATEWAY_REDIS_URL"] == "(hidden)"
    assert shown["GATEWAY_JWT_RETIRED_KEYS"] == "old"
    for text in (repr(rows), repr(settings), str(settings), settings.model_dump_json()):
        assert CANARY not in text


def test_the_description_is_readable(environ: Environ) -> None:
    environ(env="test", publish_roles="")
    shown = {name: value for name, value, _ in describe(load())}
    assert shown["GATEWAY_ENV"] == "test"
    assert shown["GATEWAY_REDIS_URL"] == shown["GATEWAY_JWT_SECRET"] == "(not set)"
    assert shown["GATEWAY_PUBLISH_ROLES"] == shown["GATEWAY_JWT_RETIRED_KEYS"] == "(none)"
    assert shown["GATEWAY_PORT"] == "8000"


def test_replicas_have_names_of_their_own() -> None:
    assert load().replica != load().replica


@pytest.mark.parametrize("proxy", ["balancer", "10.0.0.1/8", "10.0.0", "*"])
def test_a_proxy_is_an_address_or_a_network(environ: Environ, proxy: str) -> None:
    """S29"""
    environ(trusted_proxies=proxy)
    assert "GATEWAY_TRUSTED_PROXIES" in refusal()


@pytest.mark.parametrize("given", [{"host": "0.0.0.0"}, {"env": "production"}])
def test_the_demo_is_for_this_machine_alone(environ: Environ, given: dict[str, str]) -> None:
    environ(demo="true", **given)
    assert "lets everybody log in as anybody" in refusal()


@pytest.mark.parametrize(
    "given",
    [
        {"history_seconds": "3601"},
        {"namespaces": '{"news": {"history_seconds": 3601}, "other": {"history_messages": 1}}'},
    ],
)
def test_history_does_not_outlive_the_position_of_its_channel(
    environ: Environ, given: dict[str, str]
) -> None:
    environ(position_seconds="3600", **given)
    assert "position_seconds is at least every history_seconds" in refusal()
    assert load(position_seconds=3601).position_seconds == 3601


@pytest.mark.parametrize("wrong", [{"history_messages": -1}, {"history_seconds": 0}])
def test_a_namespace_keeps_no_less_than_nothing(environ: Environ, wrong: dict[str, int]) -> None:
    environ(namespaces=json.dumps({"news": wrong}))
    assert f"[namespaces.news] {next(iter(wrong))}: " in refusal()
