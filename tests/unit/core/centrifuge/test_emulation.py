"""What clients without a WebSocket say reaches the replica with their stream, as it was said."""

from collections.abc import AsyncIterator

import pytest

from gateway.core.centrifuge import emulation
from gateway.core.centrifuge.emulation import Emulation, Entrance, Outcome
from gateway.core.signals import Signals
from gateway.core.tasks import Tasks
from gateway.domain.errors import LimitReached, NotFound
from tests.unit.core.test_signals import LoopBroker


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Emulation, Emulation]]:
    """Two replicas."""
    broker = LoopBroker()
    broker.signals += [Signals(broker), Signals(broker)]
    async with Tasks() as tasks:
        first, other = (Emulation(each, tasks, wait_seconds=0.1) for each in broker.signals)
        yield first, other


@pytest.mark.parametrize("payload", ["", '{"id":1}\n{"ñ":2}', b"", b"\x05\x00\xff\n"])
async def test_text_and_bytes_arrive_as_they_were_said(
    pair: tuple[Emulation, Emulation], payload: str | bytes
) -> None:
    first, other = pair
    heard: list[str | bytes] = []

    def ear(payload: str | bytes) -> Outcome:
        heard.append(payload)
        return Outcome.HEARD

    entrance = first.open(ear)
    for replica in (first, other):
        await replica.hand_over(entrance, payload)
    assert heard == [payload, payload]
    assert {type(each) for each in heard} == {type(payload)}


async def test_whoever_asks_learns_what_became_of_it(pair: tuple[Emulation, Emulation]) -> None:
    first, other = pair
    entrance = first.open(lambda payload: Outcome.BUSY)
    for replica in (first, other):
        with pytest.raises(LimitReached):
            await replica.hand_over(entrance, b"x")
    first.close(entrance)
    for replica in (first, other):
        for gone in (entrance, Entrance("s", "nobody")):
            with pytest.raises(NotFound):
                await replica.hand_over(gone, "x")


async def test_a_replica_of_the_version_before_is_understood(
    pair: tuple[Emulation, Emulation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows of text alone, and so does not say which of both it sends."""
    first, other = pair
    monkeypatch.setattr(emulation, "_written", lambda payload: {"payload": payload})
    heard: list[str | bytes] = []

    def ear(payload: str | bytes) -> Outcome:
        heard.append(payload)
        return Outcome.HEARD

    await other.hand_over(first.open(ear), '{"id":1}')
    assert heard == ['{"id":1}']
