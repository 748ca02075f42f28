"""What has to be announced: everything once, and nothing lost when a call fails."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

import pytest

from gateway.core.changes import Changes, keep_trying
from gateway.domain.errors import Unavailable


async def test_everything_is_taken_once_in_bounded_portions() -> None:
    changes: Changes[str] = Changes()
    changes.add("a", "b")
    changes.update(["b", "c"])
    portions = []
    while changes:
        with changes.taken(2) as some:
            portions.append(some)
    assert [len(portion) for portion in portions] == [2, 1]
    assert sorted(each for portion in portions for each in portion) == ["a", "b", "c"]


async def test_what_failed_comes_back() -> None:
    changes: Changes[str] = Changes()
    changes.add("a", "b")
    with pytest.raises(Unavailable), changes.taken(1):
        raise Unavailable("away")
    assert len(changes) == 2


async def test_a_wait_ends_at_once_while_something_is_there() -> None:
    changes: Changes[str] = Changes()
    changes.add("a")
    async with asyncio.timeout(5):
        await changes.wait(60)
        await changes.wait(60)


async def test_a_wait_ends_when_something_changes_or_somebody_calls() -> None:
    changes: Changes[str] = Changes()
    events: list[Callable[[], None]] = [lambda: changes.add("a"), changes.wake]
    for event in events:
        with changes.taken(1):
            pass
        waiting = asyncio.create_task(changes.wait(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        event()
        await asyncio.wait_for(waiting, 5)


async def test_a_wait_ends_after_its_time() -> None:
    await asyncio.wait_for(Changes[str]().wait(0.001), 5)


async def test_what_cannot_be_reached_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    async def follow() -> NoReturn:
        tries.append(1)
        if len(tries) == 5:
            raise ZeroDivisionError
        raise Unavailable("it is slow" if len(tries) == 4 else "it is away")

    with pytest.raises(ZeroDivisionError):
        await keep_trying(follow, "who is here", retry_seconds=0)
    assert caplog.messages == [
        "who is here cannot be announced: it is away",
        "who is here cannot be announced: it is slow",
    ]


async def test_trouble_that_lasts_is_told_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.changes._REPEAT_SECONDS", 0.0)
    tries = []

    async def follow() -> NoReturn:
        tries.append(1)
        if len(tries) == 3:
            raise ZeroDivisionError
        raise Unavailable("it is away")

    with pytest.raises(ZeroDivisionError):
        await keep_trying(follow, "who is here", retry_seconds=0)
    assert len(caplog.messages) == 2
