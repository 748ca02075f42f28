"""Around every request: its id, its count, its line in the log, and what browsers are told."""

import logging
import re
import secrets
import time
from collections.abc import Iterable, Sequence

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.core.addresses import Network, is_trusted
from gateway.core.metrics import HttpCounts
from gateway.protocols.answers import Headers, with_safe

REQUEST_ID = "gateway.request_id"  # where the scope of a request carries it
HSTS_SECONDS = "gateway.hsts_seconds"  # and how long a browser is to insist on TLS

_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,64}")
PROBES = {"/livez", "/readyz", "/health", "/metrics"}  # asked all the time, by machines
_PATH_LENGTH_MAX = 200

logger = logging.getLogger("gateway.access")


class Access:
    """ASGI middleware. A path is logged without its query, where tokens stand.

    The id comes from ``X-Request-ID`` where that is one, so that a line can be found by what the
    caller or the balancer knows; it goes back in the response, and stands in every line that the
    log gets meanwhile.

    ``trusted_networks`` are the proxies that are believed where they say that a client speaks TLS.
    """

    def __init__(
        self,
        app: ASGIApp,
        counts: HttpCounts,
        *,
        is_logged: bool,
        hsts_seconds: int,
        trusted_networks: Sequence[Network],
    ) -> None:
        self._app = app
        self._counts = counts
        self._is_logged = is_logged
        self._hsts_seconds = hsts_seconds
        self._trusted_networks = trusted_networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope[REQUEST_ID] = _id_of(scope)
        scope[HSTS_SECONDS] = (
            self._hsts_seconds if self._hsts_seconds and self._is_tls(scope) else 0
        )
        started = time.perf_counter()
        status, is_stream = 500, False

        async def send_on(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = safe_headers(scope, message.get("headers", ()))
                headers.append((b"x-request-id", request_id.encode()))
                is_stream = any(
                    name == b"content-type" and value.startswith(b"text/event-stream")
                    for name, value in headers
                )
                message = {**message, "headers": headers}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_on)
            finally:
                self._note(scope, status, time.perf_counter() - started, is_stream=is_stream)

    def _is_tls(self, scope: Scope) -> bool:
        if scope["scheme"] == "https":
            return True
        said = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        peer = (scope.get("client") or ("",))[0]
        return said == [b"https"] and is_trusted(peer, self._trusted_networks)

    def _note(self, scope: Scope, status: int, seconds: float, *, is_stream: bool) -> None:
        path = scope["path"]
        is_frequent = path in PROBES
        if not is_stream:
            self._counts.statuses[str(status)] += 1
            if not is_frequent:
                self._counts.seconds.observe(seconds)
        if self._is_logged:
            logger.log(
                logging.DEBUG if is_frequent else logging.INFO,
                "request",
                extra={
                    "method": scope["method"],
                    "path": path[:_PATH_LENGTH_MAX],
                    "status": status,
                    "duration_ms": round(seconds * 1000, 2),
                },
            )


def path_of(scope: Scope) -> str:
    """The path as this application knows it, also inside of another one."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def safe_headers(scope: Scope, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of the answer to a request, with what browsers are to be told."""
    return with_safe(headers, scope.get(HSTS_SECONDS, 0))


def _id_of(scope: Scope) -> str:
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(given) == 1 and _SANE_ID.fullmatch(given[0]):
        return str(given[0].decode())
    return secrets.token_hex(8)
