"""The requests of clients of the Centrifuge protocol that have no WebSocket."""

from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.core.centrifuge.emulation import Emulation, Entrance
from gateway.core.centrifuge.wire import ClientWire
from gateway.domain.errors import InvalidRequest, TooBig
from gateway.protocols.centrifuge.json import JSON
from gateway.sockets.asgi import headers_of, query_of
from gateway.sockets.centrifuge_http import ClientStream, Form, readable_by
from gateway.sockets.door import Door

_NAME_MAX = 100
_PREFLIGHT_SECONDS = b"600"


def _as_events(payload: bytes) -> bytes:
    return b"".join(b"data: %b\n\n" % line for line in payload.split(b"\n"))


def _as_lines(payload: bytes) -> bytes:
    return payload + b"\n"


# The first line is a comment: with it, a browser knows at once that its request was taken. (An
# empty line would do, but a reader in use loses what follows one that comes alone.)
EVENTS = Form(ClientWire(JSON, _as_events), b"text/event-stream", b":\n\n")
LINES = Form(ClientWire(JSON, _as_lines), b"application/json")


class ClientRequests:
    """Each method answers one path."""

    def __init__(self, door: Door, emulation: Emulation) -> None:
        self._door = door
        self._emulation = emulation

    def routes(self) -> list[Route]:
        return [
            self._route("/connection/sse", self._events, "GET", "POST"),
            self._route("/connection/http_stream", self._lines, "POST"),
            self._route("/emulation", self._emulate, "POST"),
        ]

    def _route(
        self, path: str, answer: Callable[[Request], Awaitable[Response]], *methods: str
    ) -> Route:
        async def checked(request: Request) -> Response:
            headers = headers_of(request.scope)
            if refusal := self._door.origin_refusal(headers):
                raise refusal
            if request.method == "OPTIONS":
                return _preflight(headers.get("origin"), methods)
            return await answer(request)

        route = Route(path, checked, methods=[*methods, "OPTIONS"])
        # Starlette adds it to GET, and it would begin a stream that nobody gets.
        route.methods = {*methods, "OPTIONS"}
        return route

    async def _events(self, request: Request) -> Response:
        """What is said first is in the URL, as an ``EventSource`` can say it, or in the body."""
        if request.method == "POST":
            return await self._stream(request, EVENTS)
        if not self._door.token_in_url_allowed:
            raise InvalidRequest("a token in the URL is turned off here; use POST")
        words = query_of(request.scope).get("cf_connect", [""])
        if len(words) != 1:
            raise InvalidRequest("cf_connect was given twice")
        return self._begin(request, EVENTS, words[0])

    async def _lines(self, request: Request) -> Response:
        return await self._stream(request, LINES)

    async def _stream(self, request: Request, form: Form) -> Response:
        self._door.check_room()  # before its body is read
        body = await _body(request, self._door.message_bytes_max)
        return self._begin(request, form, _text(body))

    def _begin(self, request: Request, form: Form, first_words: str) -> Response:
        scope = request.scope
        address = self._door.address_of(scope.get("client"), headers_of(scope))
        return ClientStream(self._door, self._emulation, form, first_words, address)

    async def _emulate(self, request: Request) -> Response:
        """Any replica answers; 204 says that the one with the client's stream has got it."""
        most = self._door.message_bytes_max
        # Inside a string of JSON nearly every quote takes two bytes.
        session, node, data = _said(await _body(request, 2 * most + 1024))
        if len(data.encode()) > most:
            raise TooBig(f"what a client says at once is at most {most} bytes")
        await self._emulation.hand_over(Entrance(session, node), data)
        head = dict(_decoded(readable_by(headers_of(request.scope).get("origin"))))
        return Response(status_code=204, headers=head)


def _preflight(origin: str | None, methods: tuple[str, ...]) -> Response:
    head = [
        *readable_by(origin),
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-allow-headers", b"content-type"),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    ]
    return Response(status_code=204, headers=dict(_decoded(head)))


def _decoded(head: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head]


async def _body(request: Request, most: int) -> bytes:
    """The whole body; raises `TooBig` without reading on."""
    read, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise TooBig(f"the body is larger than {most} bytes")
            read.append(chunk)
    except ClientDisconnect:
        raise InvalidRequest("the client has left") from None
    return b"".join(read)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the body is no UTF-8") from None


def _said(body: bytes) -> tuple[str, str, str]:
    refusal = InvalidRequest('the body is {"session": …, "node": …, "data": …}')
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise refusal from None
    if not isinstance(given, dict):
        raise refusal
    session, node, data = (given.get(name) for name in ("session", "node", "data"))
    if not (isinstance(session, str) and isinstance(node, str) and isinstance(data, str)):
        raise refusal
    if max(len(session), len(node)) > _NAME_MAX:
        raise refusal
    return session, node, data
