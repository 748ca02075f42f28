"""Running the gateway under uvicorn: what is set there, and why."""

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from gateway import logs
from gateway.app import build, create_app
from gateway.configuration import ConfigurationError, load
from gateway.domain.errors import Unavailable
from gateway.reload import Reload, ignore_hangup
from gateway.serving import Server, Workers
from gateway.settings import LogFormat, Settings
from gateway.signing import with_secret
from gateway.sockets.first import FirstLook
from gateway.sockets.native import NativeSocket

_OTHER_FILES = 100  # Redis, the database, the log, requests

logger = logging.getLogger(__name__)


def serve(as_read: Settings, read_again: Callable[[], Settings]) -> None:
    """Serve until a signal.

    Raises `ConfigurationError` before anything is opened, and `Unavailable` where somebody else
    has the port.
    """
    ignore_hangup()
    settings = as_read
    _try_certificate(settings)
    _try_address(settings.host, settings.port)
    _log_to_stderr(settings)
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
    logger.info(
        "a stop takes up to %d s; whatever stops it by force should wait longer",
        settings.stop_seconds_max,
    )
    _open_as_many_as_allowed(settings.sockets_max)
    if settings.workers == 1:
        server = Server(_config(settings, app))
        server.run()
        is_hurried = server.force_exit
    else:
        options = {"host": settings.host, "port": settings.port, "workers": settings.workers}
        config = _config(settings, partial(worker_app, **options))
        workers = Workers(config, sockets=[config.bind_socket()])
        workers.run()
        is_hurried = workers.is_hurried
    if is_hurried:
        sys.exit(1)  # nobody was waited for


def rehearse(settings: Settings) -> None:
    """Raise `ConfigurationError` for what only shows when the parts are made; nothing is opened."""
    _try_certificate(settings)
    build(with_secret(settings))


def worker_app(**options: Any) -> FastAPI:
    """The application of one process of several; everything is read and built anew in it.

    ``options`` are those of the command line, which no worker sees.
    """
    read = partial(load, **options)
    ignore_hangup()
    settings = as_read = read()
    _log_to_stderr(settings)
    if "replica" in settings.model_fields_set:
        # One name for all of them would make them overwrite each other's line in the table.
        settings = settings.model_copy(update={"replica": f"{settings.replica}-{os.getpid()}"})
    gateway = build(settings)
    return create_app(gateway, Reload(gateway, as_read, read))


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


def _try_certificate(settings: Settings) -> None:
    cert, key = settings.tls_cert_file, settings.tls_key_file
    if cert is None:
        return
    try:
        # With a password, OpenSSL would ask the terminal for it.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key, lambda: "")
    except (OSError, ssl.SSLError) as error:
        said = getattr(error, "reason", None) or error.strerror
        raise ConfigurationError(
            "GATEWAY_TLS_CERT_FILE, GATEWAY_TLS_KEY_FILE: a certificate and its key, both PEM and "
            f"without a password, are needed: {said}"
        ) from None


def _try_address(host: str, port: int) -> None:
    """Say what uvicorn would find out last, after the log has named the address as ours."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise ConfigurationError(f"GATEWAY_HOST: {host} is no address of this machine") from None
    failed: list[int] = []
    for family, *_, address in found:
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
        except OSError as error:
            failed.append(error.errno or 0)
    if errno.EADDRINUSE in failed:
        raise Unavailable(
            f"port {port} of {host} is taken, perhaps by another gateway: end that one, or choose "
            "another port with --port or GATEWAY_PORT"
        )
    if len(failed) == len(found):
        name = "GATEWAY_PORT" if errno.EACCES in failed else "GATEWAY_HOST"
        said = os.strerror(failed[0]).lower()
        raise ConfigurationError(f"{name}: nothing can listen on {host}, port {port}: {said}")


def _open_as_many_as_allowed(sockets_max: int) -> None:
    """Raise the limit of open files as far as this process may; workers inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY and most < sockets_max + _OTHER_FILES:
        logger.info("the system allows %d open files, fewer than sockets_max needs", most)


def _log_to_stderr(settings: Settings) -> None:
    is_json = settings.log_format is LogFormat.JSON
    if settings.log_format is LogFormat.AUTO:
        is_json = not logs.is_terminal()
    secrets = logs.secrets_of(getattr(settings, name) for name in Settings.model_fields)
    logs.configure(settings.log_level, is_json=is_json, secrets=secrets)
