"""SIGHUP: a running gateway takes on new rules, and nobody who still may listen is disturbed."""

import asyncio
import fcntl
import os
import secrets
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.clients import call, closing_of, listen, make_token, publish, receive_json
from tests.support.servers import (
    GatewayProcess,
    RedisServer,
    free_port,
    gateway_environment,
    status_of,
    wait_until,
)

PUBLISHER, READER, STAFF = (
    make_token("paula", "publisher"),
    make_token("rita"),
    make_token("sam", "staff"),
)
DONE = "the settings were read again"


@pytest.fixture
def config(directory: Path) -> Path:
    path = directory / "gateway.toml"
    path.write_text("")
    return path


@pytest.fixture(params=["native", "asgi"])
def gateway(
    request: pytest.FixtureRequest, directory: Path, config: Path
) -> Iterator[GatewayProcess]:
    with GatewayProcess(directory, config=config, socket_door=request.param) as process:
        yield process


async def reload(
    process: GatewayProcess, config: Path, text: str, told: str = DONE, times: int = 1
) -> str:
    """Change the file, send SIGHUP, and return what has been logged about it."""

    def change_and_wait() -> str:
        config.write_text(text)
        before = len(process.log)
        os.kill(process.pid, signal.SIGHUP)
        wait_until(lambda: process.log[before:].count(told) >= times, told)
        return process.log[before:]

    return await asyncio.to_thread(change_and_wait)


async def test_a_changed_namespace_applies_and_other_sockets_stay(
    gateway: GatewayProcess, config: Path
) -> None:
    async with (
        listen(gateway.ws, "club:a", READER) as outsider,
        listen(gateway.ws, "club:a", STAFF) as member,
        listen(gateway.ws, "news", READER) as elsewhere,
    ):
        for channel in ("club:a", "news"):
            await publish(gateway.http, channel, "before", PUBLISHER)
        for socket in (outsider, member, elsewhere):
            assert (await receive_json(socket))["data"] == "before"

        log = await reload(
            gateway, config, '[namespaces.club]\nsubscribe = ["staff"]\npublish = "any"\n'
        )
        assert "changed: GATEWAY_NAMESPACES; sockets that lost their right: 1" in log
        assert await closing_of(outsider) == (1008, "role: subscribing needs one of: staff")

        assert (await publish(gateway.http, "club:a", "after", READER)).status == 200
        assert (await publish(gateway.http, "news", "after", PUBLISHER)).status == 200
        assert (await publish(gateway.http, "news", "never", READER)).status == 403
        for socket in (member, elsewhere):
            message = await receive_json(socket)
            assert (message["data"], message["offset"]) == ("after", 2)

        async with listen(gateway.ws, "club:a", READER) as again:
            assert await closing_of(again) == (1008, "role: subscribing needs one of: staff")


async def test_what_was_closed_can_be_opened_again(gateway: GatewayProcess, config: Path) -> None:
    closed = 'unknown_namespaces = "refuse"\npublish_roles = "nobody"\n'
    await reload(gateway, config, closed)
    async with listen(gateway.ws, "club:a", STAFF) as refused:
        assert await closing_of(refused) == (1008, "namespace: there is no namespace club")
    answer = await publish(gateway.http, "news", 1, PUBLISHER)
    assert (answer.status, answer.json["detail"]) == (
        403,
        "namespace: publishing is open to nobody here",
    )

    await reload(gateway, config, "")
    async with listen(gateway.ws, "club:a", STAFF) as socket:
        assert (await publish(gateway.http, "club:a", 1, PUBLISHER)).status == 200
        assert (await receive_json(socket))["data"] == 1


async def test_history_goes_by_the_new_rules(gateway: GatewayProcess, config: Path) -> None:
    def history() -> tuple[int, int]:
        answer = call(f"{gateway.http}/channels/club:a/history", token=READER)
        return answer.status, len(answer.json.get("messages", ()))

    for number in range(3):
        await publish(gateway.http, "club:a", number, PUBLISHER)
    assert await asyncio.to_thread(history) == (200, 3)
    await reload(gateway, config, "[namespaces.club]\nhistory_messages = 2\n")
    await publish(gateway.http, "club:a", 3, PUBLISHER)
    assert await asyncio.to_thread(history) == (200, 2)

    closed = '[namespaces.club]\nsee_history = "nobody"\n'
    await reload(gateway, config, closed)
    assert await asyncio.to_thread(history) == (403, 0)
    async with listen(gateway.ws, "club:a", READER, "?history=2") as refused:
        assert (await closing_of(refused))[0] == 1008
    async with listen(gateway.ws, "club:a", READER, "?since=:0") as told:
        notices = [await receive_json(told) for _ in range(2)]
        assert [notice["type"] for notice in notices] == ["gap", "caught_up"]
        await publish(gateway.http, "club:a", 4, PUBLISHER)
        assert (await receive_json(told))["data"] == 4


async def test_a_broken_file_changes_nothing_and_the_log_says_why(
    gateway: GatewayProcess, config: Path
) -> None:
    await reload(gateway, config, '[namespaces.club]\npublish = "any"\n')
    async with listen(gateway.ws, "club:a", READER) as socket:
        for broken, told in (
            ("[namespaces", "GATEWAY_CONFIG: not a TOML file"),
            ('[namespaces.club]\nsubscribe = "nobdy"\n', "[namespaces.club] subscribe: a list of"),
            ('[namespaces.club]\nsubscrib = "any"\n', "did you mean subscribe?"),
        ):
            (line,) = (await reload(gateway, config, broken, "nothing has changed")).splitlines()
            assert '"level": "error"' in line
            assert told in line
        assert (await publish(gateway.http, "club:a", 1, READER)).status == 200
        assert (await receive_json(socket))["data"] == 1


async def test_what_needs_a_restart_is_named(gateway: GatewayProcess, config: Path) -> None:
    text = 'port = 1\njwt_audience = "others"\npublish_roles = ["writer"]\nlog_level = "warning"\n'
    warning = 'changed, but used only after a restart: GATEWAY_JWT_AUDIENCE"'
    log = await reload(gateway, config, text, warning)
    assert "GATEWAY_PORT" not in log  # the command line says another
    # The rest is in force; that the token still is shows that this alone is not.
    assert (await publish(gateway.http, "news", 1, PUBLISHER)).status == 403
    assert (await publish(gateway.http, "news", 1, make_token("w", "writer"))).status == 200
    assert DONE not in gateway.log  # that is below the new level


async def test_pages_of_a_new_origin_may_come(gateway: GatewayProcess, config: Path) -> None:
    page = {"origin": "https://app.example"}
    await reload(gateway, config, 'allowed_origins = ["https://other.example"]')
    with pytest.raises(Exception, match="403"):
        await listen(gateway.ws, "news", READER, **page)
    await reload(gateway, config, f'allowed_origins = ["{page["origin"]}"]')
    async with listen(gateway.ws, "news", READER, **page) as socket:
        await publish(gateway.http, "news", 1, PUBLISHER)
        assert (await receive_json(socket))["data"] == 1


async def test_a_key_that_has_gone_is_refused_from_then_on(directory: Path, config: Path) -> None:
    keys = [secrets.token_urlsafe(32) for _ in range(2)]

    async def statuses() -> list[int]:
        answers = [
            asyncio.to_thread(call, url, body=b"{}", headers={"X-API-Key": key}) for key in keys
        ]
        return [answer.status for answer in await asyncio.gather(*answers)]

    with GatewayProcess(directory, config=config) as process:
        url = f"{process.http}/api/info"
        assert await statuses() == [401, 401]
        await reload(process, config, f'api_key = "{keys[0]}"')
        assert await statuses() == [200, 401]
        log = await reload(process, config, f'api_key = "{keys[1]}"')
        assert "changed: GATEWAY_API_KEY;" in log
        assert not any(key in log for key in keys)
        assert await statuses() == [401, 200]


@pytest.mark.long
async def test_every_worker_reads_again_and_none_restarts(directory: Path, config: Path) -> None:
    with (
        RedisServer(directory) as redis,
        GatewayProcess(directory, config=config, redis_url=redis.url, workers=2) as gateway,
    ):
        sockets = [await listen(gateway.ws, "club:a", READER) for _ in range(8)]
        await reload(gateway, config, '[namespaces.club]\npublish = "any"\n', times=2)
        assert (await publish(gateway.http, "club:a", 1, READER)).status == 200
        for socket in sockets:
            assert (await receive_json(socket))["data"] == 1
        closed = '[namespaces.club]\nsubscribe = "grant"\n'
        await reload(gateway, config, closed, times=2)
        for socket in sockets:
            with pytest.raises(ConnectionClosed, match="a token that grants this channel"):
                await receive_json(socket)


def test_the_end_of_its_terminal_still_ends_it(directory: Path, config: Path) -> None:
    """Or it would hold its port with nobody knowing."""
    master, slave = os.openpty()
    port = free_port()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--port", str(port)],
            stdin=slave,
            stdout=log,
            stderr=log,
            env=gateway_environment(config=config),
            cwd=directory,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
    try:
        os.close(slave)
        wait_until(lambda: status_of(f"http://127.0.0.1:{port}/readyz") == 200, "the gateway")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: DONE in (directory / "log").read_text(), "a reload")
        os.close(master)
        process.wait(10)
    finally:
        process.kill()
        process.wait()
