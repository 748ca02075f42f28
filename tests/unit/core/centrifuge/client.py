"""A client without a socket or a clock."""

from pydantic import SecretStr

from gateway.app import build
from gateway.core.centrifuge.client import Client
from gateway.core.centrifuge.conversation import carry_out
from gateway.core.centrifuge.pings import Pings
from gateway.core.centrifuge.subscription import Subscription
from gateway.core.centrifuge.wire import ClientWire
from gateway.domain.namespaces import Namespace
from gateway.protocols.centrifuge.json import JSON
from gateway.replica import Gateway
from gateway.settings import Settings
from tests.support.servers import SECRET


def make_gateway(default: Namespace | None = None, **settings: object) -> Gateway:
    """Nothing of it runs: what a test asks for, it does by itself."""
    given = {"jwt_secret": SecretStr(SECRET), "database_url": SecretStr("sqlite://"), **settings}
    gateway = build(Settings(**given))  # type: ignore[arg-type]
    gateway.door.clients.trouble = lambda: ""  # the revocations are not read here
    if default is not None:
        gateway.namespaces.default = default
    return gateway


class FakeSocket:
    """Keeps what was sent, and how it was closed."""

    def __init__(self, gateway: Gateway, *, pings: Pings = Pings.ANSWERED) -> None:
        self.gateway = gateway
        self.sent: list[str] = []
        self.pings = 0
        self.visits = 0
        self.closed: tuple[int, str] | None = None
        self.is_reading_paused = False
        self.forgotten: list[str] = []
        wire = ClientWire(JSON, lambda payload: payload)
        clients = gateway.door.clients
        self.client = Client(clients, self, wire, pings=pings)

    async def say(self, text: str) -> None:
        await carry_out(self.client, *self.client.take(text))

    def last(self) -> str:
        return self.sent[-1]

    # What the client calls.

    def send(self, payload: bytes) -> None:
        if self.closed is None:
            self.sent.append(payload.decode())

    def send_rest(self, rest: bytes) -> None:
        raise AssertionError("everything was taken")

    def ping(self) -> None:
        self.pings += 1

    def enter(self) -> None:
        self.gateway.door.enter_client(self.client, "")

    def adopt(self, subscription: Subscription) -> None:
        subscription.write = self.send

    def forget(self, subscription: Subscription) -> None:
        self.forgotten.append(subscription.channel)

    def visit(self) -> None:
        self.visits += 1

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
            self.client.leave()
