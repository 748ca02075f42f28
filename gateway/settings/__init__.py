"""Every knob, with its default, its unit and its reason.

A setting comes from the environment (``GATEWAY_`` and the name below in capitals), from an
``.env`` file, from a file of its own in ``GATEWAY_SECRETS_DIR``, or from the TOML file that
``GATEWAY_CONFIG`` names; the first of these that has it wins. An unknown name is an error.
"""

import math
from typing import Self

from pydantic import model_validator

from gateway.settings.accounts import AccountSettings
from gateway.settings.api import ApiSettings
from gateway.settings.archive import ArchiveSettings
from gateway.settings.base import PREFIX, source_path
from gateway.settings.keys import IssuerSettings, RetiredKey
from gateway.settings.messages import MessageSettings
from gateway.settings.namespaces import ChannelSettings, NamespaceSettings
from gateway.settings.operate import LogFormat, OperateSettings
from gateway.settings.redis import RedisSettings
from gateway.settings.server import Environment, ServerSettings, SocketDoor
from gateway.settings.sockets import SocketSettings
from gateway.settings.tokens import TokenSettings

__all__ = [
    "PREFIX",
    "Environment",
    "IssuerSettings",
    "LogFormat",
    "NamespaceSettings",
    "RetiredKey",
    "Settings",
    "SocketDoor",
    "source_path",
]


_CLOSING_DOWN_SECONDS = 2  # for Redis, the database and the interpreter


# The last base comes first, for Python collects the fields from there.
class Settings(
    OperateSettings,
    SocketSettings,
    ApiSettings,
    ArchiveSettings,
    ChannelSettings,
    MessageSettings,
    RedisSettings,
    AccountSettings,
    TokenSettings,
    ServerSettings,
):
    """All values are checked when they are read; nothing is checked later.

    Here is what holds between settings of different topics.
    """

    @model_validator(mode="after")
    def _workers_share(self) -> Self:
        if self.workers > 1 and self.redis_url is None:
            raise ValueError("several workers see each other's messages only through redis_url")
        return self

    @model_validator(mode="after")
    def _replicas_share_accounts(self) -> Self:
        is_shared = self.redis_url is None or self.database_url is not None
        if self.env is Environment.PRODUCTION and not is_shared:
            raise ValueError(
                "database_url is needed with redis_url in production: without it each machine "
                "or container has accounts of its own, in a file that goes with it"
            )
        return self

    @model_validator(mode="after")
    def _outbox_holds_messages(self) -> Self:
        if self.outbox_bytes_max < 2 * self.message_bytes_max:
            raise ValueError(
                "outbox_bytes_max is at least twice message_bytes_max, or a single message "
                "makes a fast reader a slow one"
            )
        return self

    @model_validator(mode="after")
    def _demo_is_private(self) -> Self:
        if self.demo and (self.is_public or self.env is Environment.PRODUCTION):
            raise ValueError(
                "demo: it lets everybody log in as anybody, so it works on loopback only, and "
                "not in production"
            )
        return self

    @property
    def hosts(self) -> list[str]:
        """`allowed_hosts`, and in a demo at least this machine's: it asks nobody for a password,
        so no page may reach it by a name of its own that points here (DNS rebinding)."""
        if self.allowed_hosts or not self.demo:
            return self.allowed_hosts
        return ["localhost", "127.0.0.1", "[::1]", self.host]

    @property
    def pause_seconds_at_stop(self) -> float:
        if self.drain_pause_seconds is not None:
            return self.drain_pause_seconds
        return 3 if self.env is Environment.PRODUCTION else 0  # a Ctrl-C is not to take long

    @property
    def closing_seconds_at_stop(self) -> float:
        if self.drain_seconds is not None:
            return self.drain_seconds
        return 10 if self.env is Environment.PRODUCTION else 1

    @property
    def stop_seconds_max(self) -> int:
        """What an orchestrator has to wait for before it kills a replica that it stops."""
        parts = self.pause_seconds_at_stop, self.closing_seconds_at_stop, self.shutdown_seconds
        return math.ceil(sum(parts)) + _CLOSING_DOWN_SECONDS

    @property
    def metrics_served(self) -> bool:
        if self.metrics is not None:
            return self.metrics
        return bool(self.metrics_port) or self.env is not Environment.PRODUCTION

    @property
    def secret_may_be_made_up(self) -> bool:
        """A secret of one run is enough where nobody else needs to know it."""
        alone = self.redis_url is None and not self.is_public
        return alone and self.env is not Environment.PRODUCTION
