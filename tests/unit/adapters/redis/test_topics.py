"""What a replica hears is known from the order of Redis' answers alone."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.redis.channels.topics import Topics


class Astray(Exception):
    pass


@given(st.lists(st.booleans(), min_size=1))
def test_a_topic_is_heard_when_its_last_command_is_carried_out(joins: list[bool]) -> None:
    topics = Topics()
    topics.sent(["other"])
    for _ in joins:
        topics.sent(["topic"])
    for number, is_subscribed in enumerate(joins, 1):
        assert not topics.hears("topic")
        is_last = topics.answered("topic")
        assert is_last is (number == len(joins))
        if is_last:
            (topics.confirm if is_subscribed else topics.ended)("topic")
    assert topics.hears("topic") is joins[-1]
    assert topics.is_answered("topic")
    assert not topics.are_answered


async def test_everybody_who_waits_for_a_topic_learns_what_became_of_it() -> None:
    topics = Topics()
    waiting = [asyncio.ensure_future(topics.confirmation(name)) for name in "aabc"]
    await asyncio.sleep(0)
    waiting[1].cancel()
    topics.confirm("a")
    topics.give_up("b", Astray)
    await asyncio.wait(waiting[:3])
    await waiting[0]
    assert waiting[1].cancelled()
    with pytest.raises(Astray):
        await waiting[2]
    assert not waiting[3].done()
    waiting[3].cancel()


def test_after_a_cut_what_was_wanted_is_wanted_still_and_heard_no_more() -> None:
    topics = Topics()
    assert topics.want("t:a", "a")
    assert not topics.want("t:a", "a")
    topics.confirm("t:a")
    topics.sent(["t:a", "t:b"])
    topics.cut_off()
    assert topics.channels == {"t:a": "a"}
    assert topics.are_answered
    assert not topics.hears("t:a")
