"""Everything that the broker brings goes to its place."""

from gateway.adapters.memory.broker import MemoryBroker
from gateway.core.inbound import Inbound
from gateway.core.signals import Signals
from gateway.domain.messages import Message, Position
from gateway.ports.broker import all_channels
from tests.unit.core.test_session import Client, make_hub, who


async def test_messages_signals_and_connections_go_to_their_places() -> None:
    broker = MemoryBroker(idempotency_seconds=60)
    hub, signals = make_hub(broker), Signals(broker)
    heard: list[str] = []
    signals.on("kind", lambda signal: heard.append("signal"))
    inbound = Inbound(hub, signals, [lambda: heard.append("connected")])
    alice = Client(hub, who("alice"))
    await alice.session.join()

    inbound.connected(all_channels)
    inbound.signalled(b'{"kind":"kind"}')
    inbound.deliver([Message("room", b"1", "id", "bob", 1.0, Position("e", 1))])

    assert heard == ["connected", "signal"]
    assert b'"data":1' in await alice.hears()
