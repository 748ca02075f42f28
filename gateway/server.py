"""Running the gateway under uvicorn: what is set there, and why."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from gateway.app import build, create_app
from gateway.configuration import load
from gateway.reload import Reload, Terminal, ignore_hangup
from gateway.settings import Settings
from gateway.signing import with_secret
from gateway.sockets.first import FirstLook
from gateway.sockets.native import NativeSocket

_START_SECONDS_MAX = 30.0

logger = logging.getLogger(__name__)


def serve(as_read: Settings, read_again: Callable[[], Settings]) -> None:
    """Serve until a signal; raises `ConfigurationError` before anything is opened."""
    ignore_hangup()
    settings = as_read
    _log_to_stderr(settings.log_level)
    is_made_up = not settings.has_signing_key
    settings = with_secret(settings)
    gateway = build(settings)
    if is_made_up:
        logger.warning(
            "GATEWAY_JWT_SECRET is not set: a secret was made up for this run, so "
            "'gateway token' cannot know it, and tokens end with this process"
        )
    if settings.demo:
        logger.warning(
            "GATEWAY_DEMO is on: whoever reaches this address logs in as anybody, administrators "
            "included, without a password"
        )
    if settings.redis_url is not None and settings.database_url is None:
        logger.warning(
            "GATEWAY_DATABASE_URL is not set: accounts are in the file gateway.db here, which "
            "replicas elsewhere do not see"
        )
    app = create_app(gateway, Reload(gateway, as_read, read_again))
    logger.info(
        "replica %s on %s://%s:%d, %s",
        settings.replica,
        "http" if settings.tls_cert_file is None else "https",
        settings.host,
        settings.port,
        "alone, without Redis" if settings.redis_url is None else "with Redis",
    )
    if settings.workers == 1:
        uvicorn.Server(_config(settings, app)).run()
        return
    config = _config(settings, worker_app)
    Workers(config, sockets=[config.bind_socket()]).run()


class Workers(Multiprocess):
    """The processes of one gateway; SIGHUP reaches each of them, and ends none.

    Uvicorn would start new ones in their place, and drop every socket.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._terminal = Terminal()

    def handle_hup(self) -> None:
        if self._terminal.is_gone:
            self.should_exit.set()
            return
        for process in self.processes:
            # Before it is ready it would not hear it, or die of it.
            if process.wait_until_ready(_START_SECONDS_MAX, self.should_exit) and process.pid:
                os.kill(process.pid, signal.SIGHUP)


def worker_app() -> FastAPI:
    """The application of one process of several; everything is read and built anew in it."""
    ignore_hangup()
    settings = as_read = load()
    _log_to_stderr(settings.log_level)
    if "replica" in settings.model_fields_set:
        # One name for all of them would make them overwrite each other's line in the table.
        settings = settings.model_copy(update={"replica": f"{settings.replica}-{os.getpid()}"})
    gateway = build(settings)
    return create_app(gateway, Reload(gateway, as_read, load))


def _config(settings: Settings, app: FastAPI | Callable[[], FastAPI]) -> uvicorn.Config:
    http = partial(FirstLook, request_timeout_seconds=settings.request_timeout_seconds)
    return uvicorn.Config(
        app,
        factory=not isinstance(app, FastAPI),
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        http=cast(type[asyncio.Protocol], http),
        ws=NativeSocket,
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
        loop="gateway.loop:new_loop",  # asyncio's; it writes to many sockets faster than uvloop
        lifespan="on",
        # uvicorn logs the whole URL of a socket at INFO, and with it the token.
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        proxy_headers=False,  # the gateway reads them itself, and the same way on both doors
        backlog=4096,
        ws_per_message_deflate=False,
        ws_max_size=settings.message_bytes_max,
        ws_ping_interval=settings.ping_interval_seconds,
        ws_ping_timeout=settings.ping_timeout_seconds,
    )


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s  %(message)s",
    )
    # At DEBUG these write every header and frame, tokens included.
    for name in ("uvicorn", "websockets", "redis", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
