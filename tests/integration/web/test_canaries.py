"""No secret is written down: not in the log at its noisiest, not in an error, not in a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.support.accounts import TRUSTED, Person, as_admin
from tests.support.clients import RawClient, call, make_token
from tests.support.servers import REDIS_PASSWORD, SECRET, GatewayProcess, RedisServer, replicas

OLD, NEW = "canary-password-old", "canary-password-new"


@pytest.fixture(scope="module", params=[("native", "json"), ("asgi", "console")])
def noisy(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
) -> Iterator[tuple[GatewayProcess, Path]]:
    directory = tmp_path_factory.mktemp("noisy")
    door, form = request.param
    settings = {
        "log_level": "debug",
        "log_format": form,
        "socket_log": True,
        "socket_door": door,
        "redis_url": redis_server.url,
        "redis_prefix": f"canaries-{door}",
        **TRUSTED,
    }
    with replicas(directory, 1, **settings) as (process,):
        yield process, directory


def live(gateway: GatewayProcess) -> list[str]:
    """Everything that is done with a secret, right and wrong; returns the secrets."""
    person = Person(gateway.http)
    person.register(password=OLD)
    person.register(password=OLD)  # taken
    person.register(password="canary-mass-assignment", role="canary-role")
    assert person.log_in(OLD).status == 200
    seen = [OLD, NEW, "canary-mass-assignment", *tokens_of(person)]
    for place in ("json_body", "form"):
        fields = {"username": person.name, "password": "canary-wrong-password"}
        person.call("/login", **{place: fields})  # type: ignore[arg-type]
    seen.append("canary-wrong-password")
    person.call("/login?cookie=1", json_body={"username": person.name, "password": OLD})

    first = person.refresh_token
    person.tokens = person.refresh().json
    seen += tokens_of(person)
    for wrong in (first + "x", "canary-refresh-token", person.access_token):
        person.refresh(wrong)
        person.call("/refresh", token=wrong)
    ticket = person.authorized("/ticket").json["ticket"]
    seen += [ticket, "canary-refresh-token"]
    for query in (f"?ticket={ticket}", f"?ticket={ticket}", f"?token={person.access_token}"):
        with RawClient(gateway.port) as client:
            client.upgrade(f"/ws/room{query}")
    offered = {"Sec-WebSocket-Protocol": "bearer, canary-offered"}
    for given in ({"Sec-WebSocket-Protocol": f"bearer, {person.access_token}"}, offered):
        with RawClient(gateway.port) as client:
            client.upgrade("/ws/room", given)
    for name, secret in {
        "Authorization": "Bearer canary-bearer",
        "X-API-Key": "canary-api-key",
        "X-Request-ID": "canary in a sentence",
        "traceparent": "canary-trace",
    }.items():
        call(gateway.http + "/me", headers={name: secret})
    for path in ("/me", "/nowhere", "/users", "/publish/room"):
        call(f"{gateway.http}{path}?token={person.access_token}")
        cookie = {"Cookie": f"gateway_token={person.access_token}; gateway_csrf=canary-csrf"}
        call(f"{gateway.http}{path}", headers=cookie)
    seen.append("canary-csrf")
    explained = {"token": person.access_token, "channel": "room"}
    call(gateway.http + "/authz/explain", json_body=explained, token=make_token("root", "admin"))
    for body in (
        {"old_password": "canary-not-the-old", "new_password": NEW},
        {"old_password": OLD, "new_password": NEW},
    ):
        person.authorized("/me/password", json_body=body)
    seen.append("canary-not-the-old")
    for junk in (b'{"password": "canary-in-bad-json"', b"password=canary-in-a-form", b"\xff"):
        person.call("/login", body=junk, headers={"Content-Type": "application/json"})
    seen += ["canary-in-bad-json", "canary-in-a-form"]

    third = person.refresh().json
    second = person.refresh_token
    person.tokens = person.refresh(third["refresh_token"]).json
    seen += [third["access_token"], third["refresh_token"], *tokens_of(person)]
    person.refresh(second)  # a reuse
    person.log_in(NEW)
    seen += tokens_of(person)
    as_admin(gateway.http, f"/users/{person.name}/disable")
    person.log_in(NEW)
    return seen


def tokens_of(person: Person) -> list[str]:
    return [person.access_token, person.refresh_token]


def test_no_secret_is_ever_logged(noisy: tuple[GatewayProcess, Path]) -> None:
    """S21, S22, S51"""
    gateway, _ = noisy
    for secret in live(gateway):
        for part in secret.split(".")[1:] or [secret]:
            assert part not in gateway.log
    assert "came back" in gateway.log  # the reuse: what happened is logged all the same
    assert "Traceback" not in gateway.log
    assert SECRET not in gateway.log
    assert REDIS_PASSWORD not in gateway.log
    assert "canary" not in gateway.log
    assert "connection opened" in gateway.log


def test_nothing_that_is_kept_is_a_usable_secret(
    noisy: tuple[GatewayProcess, Path], redis_server: RedisServer
) -> None:
    """S17: neither the database file nor Redis holds a password or a token."""
    gateway, directory = noisy
    secrets = live(gateway)
    files = [path for path in directory.iterdir() if path.name.startswith("gateway.db")]
    assert files
    kept = b"".join(path.read_bytes() for path in files)
    assert b"$argon2id$" in kept
    with Redis.from_url(redis_server.url) as client:
        for key in client.scan_iter("canaries-*"):
            kept += key + (client.dump(key) or b"")
    for secret in secrets:
        for part in secret.split(".")[1:] or [secret]:
            assert part.encode() not in kept


def test_no_page_shows_a_setting(noisy: tuple[GatewayProcess, Path]) -> None:
    """S22, S51"""
    gateway, _ = noisy
    admin = make_token("root", "admin")
    for path in (
        *("/health", "/readyz", "/livez", "/metrics"),
        *("/openapi.json", "/docs", "/users", "/nowhere"),
    ):
        for token in (None, admin):
            text = call(gateway.http + path, token=token).body.decode()
            assert SECRET not in text
            assert REDIS_PASSWORD not in text
            assert "argon2" not in text
