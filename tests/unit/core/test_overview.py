"""What is made of the answers of several replicas."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.core.overview import Overview
from gateway.core.signals import Signals
from gateway.core.surveys import Survey, Surveys
from gateway.core.tasks import Tasks
from gateway.domain.errors import Unavailable
from gateway.replica import Gateway
from tests.unit.core.centrifuge.client import make_gateway


class Said(Surveys):
    """The answers are those that a test gives; None: nobody could be asked."""

    survey: Survey | None = None

    async def ask(self, topic: str, body: Mapping[str, Any]) -> Survey:
        if self.survey is None:
            raise Unavailable("Redis is away")
        return self.survey


@pytest.fixture
def gateway() -> Gateway:
    return make_gateway()


@pytest.fixture
def surveys(gateway: Gateway) -> Said:
    return Said(Signals(gateway.broker), Tasks())


@pytest.fixture
def overview(gateway: Gateway, surveys: Said) -> Overview:
    return Overview(
        gateway.hub,
        gateway.roster,
        gateway.broker,
        gateway.drain,
        gateway.loop_lag,
        surveys,
        trouble=lambda: "something",
        redis_used=False,
        replica="us",
        version="1",
    )


async def test_who_can_ask_nobody_answers_for_itself_and_says_so(overview: Overview) -> None:
    (line,), missing = await overview.replicas()
    assert (line["replica"], line["trouble"]) == ("us", "something")
    assert missing == "the other replicas cannot be asked: Redis is away"


async def test_half_an_answer_is_given_and_called_that(overview: Overview, surveys: Said) -> None:
    surveys.survey = Survey([{"replica": "zoe"}, {"replica": "them"}], is_complete=False)
    answers, missing = await overview.replicas()
    assert [each["replica"] for each in answers] == ["them", "us", "zoe"]
    assert missing == "not every replica answered in time"


async def test_listeners_are_added_and_the_furthest_offset_of_an_epoch_counts(
    overview: Overview, surveys: Said
) -> None:
    surveys.survey = Survey(
        [
            {"replica": "us", "channels": [["room", 2, "e", 7], ["few", 3, "e", 1]]},
            {"replica": "them", "channels": [["room", 2, "e", 9], ["lobby", 3, "e", 2]]},
            {"replica": "late", "channels": [["room", 1, "before", 900]]},
        ],
        is_complete=True,
    )
    answers, missing = await overview.channels("*", 2)
    assert missing == ""
    assert answers == [
        {"channel": "room", "listeners": 5, "epoch": "e", "offset": 9},
        {"channel": "few", "listeners": 3, "epoch": "e", "offset": 1},
    ]


async def test_many_channels_are_looked_at_while_others_have_their_turn(
    gateway: Gateway, overview: Overview, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {f"room:{number}": number for number in range(5000)}
    monkeypatch.setattr(gateway.hub, "audience_sizes", lambda: sizes)
    asked = asyncio.ensure_future(overview.channels("*9", 3))
    turns = 0
    while not asked.done():
        turns += 1
        await asyncio.sleep(0)
    names = [each["channel"] for each in asked.result().answers]
    assert names == ["room:4999", "room:4989", "room:4979"]
    assert turns > 5
