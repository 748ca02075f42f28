"""Reading the settings again while the gateway runs, without dropping a socket."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator

from gateway import logs
from gateway.configuration import ConfigurationError
from gateway.replica import Gateway
from gateway.settings import PREFIX, Settings
from gateway.signing import make_api_keys

RELOADABLE = frozenset(
    {
        "namespaces",
        "unknown_namespaces",
        "subscribe_roles",
        "publish_roles",
        "see_presence_roles",
        "see_history_roles",
        "history_messages",
        "history_seconds",
        "slow_consumer",
        "presence",
        "join_leave",
        "archive",
        "archive_days",
        "reserved_names",
        "personal_channel",
        "force_positioning",
        "force_recovery",
        "force_recovery_mode",
        "auto_cache_recover",
        "force_push_join_leave",
        "delta",
        "allowed_origins",
        "api_key",
        "api_keys",
        "log_level",
        "publish_rate_max",
        "sockets_max",
        "handshakes_per_second_max",
        "handshakes_burst_max",
    }
)

logger = logging.getLogger(__name__)


class Reload:
    """Carries what changed in the settings into a gateway that runs.

    ``settings`` are as they were read, before anything was made up for this run.
    """

    def __init__(self, gateway: Gateway, settings: Settings, read: Callable[[], Settings]) -> None:
        self._gateway = gateway
        self._settings = settings
        self._read = read

    def __call__(self) -> None:
        """Settings that cannot be used change nothing, and the log says why.

        Nothing waits in here: every decision is made by the old rules or by the new ones.
        """
        try:
            settings = self._read()
        except ConfigurationError as error:
            logger.error(
                "the settings were read again and cannot be used, so nothing has changed: %s", error
            )
            return
        changed = _changes(self._settings, settings)
        if fixed := [name for name in changed if name not in RELOADABLE]:
            logger.warning("changed, but used only after a restart: %s", _names(fixed))
        applied = [name for name in changed if name in RELOADABLE]
        self._settings = self._settings.model_copy(
            update={name: getattr(settings, name) for name in applied}
        )
        self._apply(self._settings)
        ended = self._gateway.hub.end_denied()
        logger.info(
            "the settings were read again; changed: %s; sockets that lost their right: %d",
            _names(applied) or "nothing",
            ended,
        )

    def _apply(self, settings: Settings) -> None:
        gateway = self._gateway
        gateway.namespaces.replace(settings.make_namespaces())
        gateway.allowed_origins.clear()
        gateway.allowed_origins.update(settings.allowed_origins)
        gateway.api_keys.replace(make_api_keys(settings))
        gateway.publish_rate.change(settings.publish_rate_max)
        room = gateway.door.room
        room.sockets_max = settings.sockets_max
        room.pace.change(settings.handshakes_per_second_max, settings.handshakes_burst_max)
        logs.set_level(settings.log_level)


def _changes(old: Settings, new: Settings) -> list[str]:
    changed = [name for name in Settings.model_fields if getattr(old, name) != getattr(new, name)]
    if not {"replica"} & (old.model_fields_set | new.model_fields_set):
        changed.remove("replica")  # made up anew each time
    return changed


def _names(settings: list[str]) -> str:
    return ", ".join(PREFIX + name.upper() for name in settings)


class Terminal:
    """Whether this process was started at a terminal, and whether that is gone by now.

    SIGHUP has two meanings. Where the terminal is gone it is the old one, and the process ends:
    nobody would know that it still holds its port.
    """

    def __init__(self) -> None:
        self._was_there = os.isatty(0)

    @property
    def is_gone(self) -> bool:
        return self._was_there and not os.isatty(0)


@contextlib.contextmanager
def on_hangup(reload: Callable[[], None]) -> Iterator[None]:
    """Inside the block, SIGHUP means: read the settings again."""
    loop, terminal = asyncio.get_running_loop(), Terminal()

    def heard() -> None:
        if terminal.is_gone:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            reload()

    loop.add_signal_handler(signal.SIGHUP, heard)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        ignore_hangup()


def ignore_hangup() -> None:
    """Where there is nothing to read again, yet or any more, it must not end the process."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
