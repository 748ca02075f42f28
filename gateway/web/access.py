"""Around every request: its id, its count and its line in the log."""

import logging
import re
import secrets
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.core.metrics import HttpCounts

REQUEST_ID = "gateway.request_id"  # where the scope of a request carries it

_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,64}")
_FREQUENT = {"/livez", "/readyz", "/health", "/metrics"}
_PATH_LENGTH_MAX = 200

logger = logging.getLogger("gateway.access")


class Access:
    """ASGI middleware. A path is logged without its query, where tokens stand.

    The id comes from ``X-Request-ID`` where that is one, so that a line can be found by what the
    caller or the balancer knows; it goes back in the response, and stands in every line that the
    log gets meanwhile.
    """

    def __init__(self, app: ASGIApp, counts: HttpCounts, *, is_logged: bool) -> None:
        self._app = app
        self._counts = counts
        self._is_logged = is_logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope[REQUEST_ID] = _id_of(scope)
        started = time.perf_counter()
        status, is_stream = 500, False

        async def send_on(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
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

    def _note(self, scope: Scope, status: int, seconds: float, *, is_stream: bool) -> None:
        path = scope["path"]
        is_frequent = path in _FREQUENT
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


def _id_of(scope: Scope) -> str:
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(given) == 1 and _SANE_ID.fullmatch(given[0]):
        return str(given[0].decode())
    return secrets.token_hex(8)
