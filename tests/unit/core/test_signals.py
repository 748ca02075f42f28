"""What replicas tell each other finds its handler, and nothing else disturbs them."""

from typing import Any

import pytest

from gateway.adapters.memory.broker import MemoryBroker
from gateway.core.signals import Signals
from gateway.domain.errors import Unavailable


class LoopBroker(MemoryBroker):
    """Hands a signal over within the call."""

    def __init__(self) -> None:
        super().__init__(idempotency_seconds=60)
        self.signals: list[Signals] = []

    async def signal(self, data: bytes, near: str = "") -> int:
        if not self.signals:
            raise Unavailable("nobody is connected")
        for signals in self.signals:
            signals.received(data)
        return len(self.signals)


@pytest.fixture
def broker() -> LoopBroker:
    return LoopBroker()


@pytest.fixture
def signals(broker: LoopBroker) -> Signals:
    signals = Signals(broker)
    broker.signals.append(signals)
    return signals


async def test_a_signal_finds_the_handler_of_its_kind(signals: Signals) -> None:
    came: list[dict[str, Any]] = []
    signals.on("one", came.append)
    signals.on("two", lambda signal: pytest.fail("not this one"))
    await signals.send("one", {"text": "ñ", "n": 1})
    assert came == [{"text": "ñ", "n": 1}]


async def test_a_kind_without_a_handler_is_somebody_elses(
    signals: Signals, caplog: pytest.LogCaptureFixture
) -> None:
    await signals.send("from a newer version", {})
    assert caplog.records == []


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"1", b"{}", b'{"kind": []}', b'"kind"'])
def test_what_no_replica_writes_is_thrown_away(
    signals: Signals, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """S36"""
    signals.received(data)
    assert "thrown away" in caplog.text


async def test_a_handler_that_fails_hurts_nobody(
    signals: Signals, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(signal: dict[str, Any]) -> None:
        raise RuntimeError("broken handler")

    signals.on("one", fail)
    await signals.send("one", {})
    assert "broken handler" in caplog.text


def test_a_kind_has_one_handler(signals: Signals) -> None:
    signals.on("one", lambda signal: None)
    with pytest.raises(ValueError, match="one"):
        signals.on("one", lambda signal: None)


async def test_who_cannot_be_reached_is_told_nothing_and_the_sender_knows(
    broker: LoopBroker,
) -> None:
    with pytest.raises(Unavailable):
        await Signals(broker).send("one", {})
