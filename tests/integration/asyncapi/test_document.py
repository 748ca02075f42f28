"""Everything that is said on sockets and streams is in /asyncapi.json, and nothing else is."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.integration.asyncapi.hearing import Document
from tests.integration.asyncapi.speaking import CONFIG, KEY, Speaker
from tests.support.clients import call
from tests.support.node import JAVASCRIPT, node_for
from tests.support.servers import GatewayProcess, RedisServer


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asyncapi")


@pytest.fixture(scope="module")
def redis(directory: Path) -> Iterator[RedisServer]:
    with RedisServer(directory) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(directory: Path, redis: RedisServer) -> Iterator[GatewayProcess]:
    config = directory / "gateway.toml"
    config.write_text(CONFIG)
    settings = {"config": config, "redis_url": redis.url, "api_key": KEY}
    settings |= {"ping_interval_seconds": 1, "drain_pause_seconds": 0, "drain_seconds": 1}
    with GatewayProcess(directory, **settings) as process:
        yield process


@pytest.fixture(scope="module")
def document(gateway: GatewayProcess) -> dict[str, Any]:
    found: dict[str, Any] = call(gateway.http + "/asyncapi.json").json
    return found


def test_the_document_is_one_of_asyncapi(document: dict[str, Any]) -> None:
    node_for(JAVASCRIPT)
    schemas = JAVASCRIPT / "node_modules" / "@asyncapi" / "specs" / "schemas"
    schema = json.loads((schemas / f"{document['asyncapi']}.json").read_text())
    Draft7Validator(schema).validate(document)


@pytest.mark.timeout(180)
async def test_what_is_said_is_in_the_document_and_what_is_in_it_is_said(
    document: dict[str, Any], gateway: GatewayProcess, redis: RedisServer
) -> None:
    """It stops the gateway in the end, so it is the last one here."""
    checked = Document(document)
    speaker = Speaker(checked, gateway, redis)
    async with asyncio.TaskGroup() as group:
        for conversation in (
            speaker.plain_messages_and_users,
            speaker.plain_refusals,
            speaker.plain_texts,
            speaker.plain_gaps,
            speaker.plain_end_of_a_token,
            speaker.plain_slow_reader,
            speaker.events,
            speaker.events_in_words,
            speaker.client_commands,
            speaker.client_tokens,
            speaker.client_differences,
            speaker.client_orders,
            speaker.client_streams,
            speaker.one_way,
        ):
            group.create_task(conversation())
    await speaker.redis_away()
    await speaker.stop()
    assert checked.names - checked.met == set()
    assert checked.codes >= {1008, 1009, 1012, 3001, 3500, 3503}
