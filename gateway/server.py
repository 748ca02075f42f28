"""Running the gateway under uvicorn: what is set there, and why."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import cast

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from gateway.app import build, create_app
from gateway.configuration import load
from gateway.settings import Settings
from gateway.signing import with_secret
from gateway.sockets.http import LimitedHttp
from gateway.sockets.native import NativeSocket

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until a signal; raises `ConfigurationError` before anything is opened."""
    _log_to_stderr(settings.log_level)
    is_made_up = not settings.has_signing_key
    settings = with_secret(settings)
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
    app = create_app(build(settings))
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
    Multiprocess(config, sockets=[config.bind_socket()]).run()


def worker_app() -> FastAPI:
    """The application of one process of several; everything is read and built anew in it."""
    settings = load()
    _log_to_stderr(settings.log_level)
    if "replica" in settings.model_fields_set:
        # One name for all of them would make them overwrite each other's line in the table.
        settings = settings.model_copy(update={"replica": f"{settings.replica}-{os.getpid()}"})
    return create_app(build(settings))


def _config(settings: Settings, app: FastAPI | Callable[[], FastAPI]) -> uvicorn.Config:
    http = partial(LimitedHttp, request_timeout_seconds=settings.request_timeout_seconds)
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
        loop="asyncio",  # it writes to many sockets faster than uvloop does
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
