"""Publishing with the gateway's own script, so that Redis stores each message."""

from gateway.bench.channels import RedisConnection
from gateway.bench.checker import Misdelivered
from gateway.bench.kept import EPOCH, KEPT, SCRIPT, store_command
from gateway.bench.stream import command
from gateway.bench.target import RedisAddress


class StoringConnection(RedisConnection):
    """Knows the script; what it stores must get the positions of one channel, one by one."""

    def __init__(self, address: RedisAddress) -> None:
        self._offset = 0
        super().__init__(address)
        self.ask(command("SCRIPT", "LOAD", SCRIPT))

    def check(self, answer: object) -> None:
        super().check(answer)
        if isinstance(answer, list):
            self._offset += 1
            if answer != [0, EPOCH.encode(), b"%d" % self._offset]:
                raise Misdelivered(f"message {self._offset} was stored as {answer}")


def fill(address: RedisAddress, channel: str) -> None:
    """Publish as many messages as a channel keeps; it was never used before."""
    connection = StoringConnection(address)
    try:
        connection.ask(*(store_command(address.prefix, channel, n) for n in range(KEPT)))
    finally:
        connection.close()
