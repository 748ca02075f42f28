"""The requests of clients of the Centrifuge protocol that have no WebSocket."""

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.core.centrifuge.emulation import Emulation, Entrance
from gateway.core.centrifuge.wire import ClientWire
from gateway.domain.errors import InvalidRequest, TooBig
from gateway.protocols.centrifuge.commands import BadCommand
from gateway.protocols.centrifuge.json import JSON
from gateway.protocols.centrifuge.one_way import ONE_WAY_JSON
from gateway.sockets.asgi import headers_of, query_of
from gateway.sockets.centrifuge_http import ClientStream, Form
from gateway.sockets.door import Door
from gateway.sockets.flavours import BINARY_MEDIA_TYPE, NO_PROTOBUF, Flavour, flavour_of_body

EVENTS_PATH, LINES_PATH = "/connection/sse", "/connection/http_stream"
ONE_WAY_EVENTS_PATH, ONE_WAY_LINES_PATH = "/connection/uni_sse", "/connection/uni_http_stream"
_NAME_MAX = 100
_PREFLIGHT_SECONDS = "600"


def _as_events(payload: bytes) -> bytes:
    return b"".join(b"data: %b\n\n" % line for line in payload.split(b"\n"))


def _as_lines(payload: bytes) -> bytes:
    return payload + b"\n"


# The first line is a comment: with it, a browser knows at once that its request was taken. (An
# empty line would do, but a reader in use loses what follows one that comes alone.)
EVENTS = Form(ClientWire(JSON, _as_events), b"text/event-stream", b":\n\n")
LINES = Form(ClientWire(JSON, _as_lines), b"application/json")
ONE_WAY_EVENTS = Form(ClientWire(ONE_WAY_JSON, _as_events), EVENTS.media_type, b":\n\n", True)
ONE_WAY_LINES = Form(ClientWire(ONE_WAY_JSON, _as_lines), LINES.media_type, is_one_way=True)


class ClientRequests:
    """Each method answers one path."""

    def __init__(self, door: Door, emulation: Emulation) -> None:
        self._door = door
        self._emulation = emulation

    def routes(self) -> list[Route]:
        return [
            self._route(EVENTS_PATH, partial(self._first, EVENTS), "GET", "POST"),
            self._route(LINES_PATH, self._replies, "POST"),
            self._route(ONE_WAY_EVENTS_PATH, partial(self._first, ONE_WAY_EVENTS), "GET", "POST"),
            self._route(ONE_WAY_LINES_PATH, partial(self._first, ONE_WAY_LINES), "POST"),
            self._route("/emulation", self._emulate, "POST"),
        ]

    def _route(
        self, path: str, answer: Callable[[Request], Awaitable[Response]], *methods: str
    ) -> Route:
        async def checked(request: Request) -> Response:
            if refusal := self._door.origin_refusal(headers_of(request.scope)):
                raise refusal
            return _preflight(methods) if request.method == "OPTIONS" else await answer(request)

        route = Route(path, checked, methods=[*methods, "OPTIONS"])
        # Starlette adds it to GET, and it would begin a stream that nobody gets.
        route.methods = {*methods, "OPTIONS"}
        route.app = self._readable(route.app)
        return route

    def _readable(self, app: ASGIApp) -> ASGIApp:
        """A page of another origin that may connect may also read, be it why it was refused.

        No cookie counts here.
        """

        async def readable(scope: Scope, receive: Receive, send: Send) -> None:
            headers = headers_of(scope)
            origin = headers.get("origin")

            async def send_readable(message: Message) -> None:
                if message["type"] == "http.response.start" and origin is not None:
                    allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
                    message["headers"] = [*message["headers"], allowed, (b"vary", b"origin")]
                await send(message)

            is_foreign = origin is None or self._door.origin_refusal(headers) is not None
            await app(scope, receive, send if is_foreign else send_readable)

        return readable

    async def _first(self, form: Form, request: Request) -> Response:
        """What is said first is in the URL, as an ``EventSource`` can say it, or in the body."""
        if request.method == "POST":
            return self._begin(request, form, _text(await self._first_words(request)))
        if not self._door.token_in_url_allowed:
            raise InvalidRequest("a token in the URL is turned off here; use POST")
        words = query_of(request.scope).get("cf_connect", [""])
        if len(words) != 1:
            raise InvalidRequest("cf_connect was given twice")
        return self._begin(request, form, words[0])

    async def _replies(self, request: Request) -> Response:
        """In the spelling in which it asks."""
        flavour = _flavour(request)
        words = await self._first_words(request)
        if flavour.is_binary:
            form = Form(flavour.messages, BINARY_MEDIA_TYPE.encode())
            return self._begin(request, form, words)
        return self._begin(request, LINES, _text(words))

    async def _first_words(self, request: Request) -> bytes:
        self._door.room.check()  # before its body is read
        return await _body(request, self._door.message_bytes_max)

    def _begin(self, request: Request, form: Form, first_words: str | bytes) -> Response:
        scope = request.scope
        address = self._door.address_of(scope.get("client"), headers_of(scope))
        return ClientStream(self._door, self._emulation, form, first_words, address)

    async def _emulate(self, request: Request) -> Response:
        """Any replica answers; 204 says that the one with the client's stream has got it."""
        most = self._door.message_bytes_max
        codec = _flavour(request).messages.codec
        try:
            # Inside a string of JSON nearly every quote takes two bytes.
            session, node, payload = codec.said(await _body(request, 2 * most + 1024))
        except BadCommand as refusal:
            raise InvalidRequest(str(refusal)) from None
        if max(len(session), len(node)) > _NAME_MAX:
            raise InvalidRequest("there is no session or node of such a name")
        if len(payload.encode() if isinstance(payload, str) else payload) > most:
            raise TooBig(f"what a client says at once is at most {most} bytes")
        await self._emulation.hand_over(Entrance(session, node), payload)
        return Response(status_code=204)


def _flavour(request: Request) -> Flavour:
    flavour = flavour_of_body(request.headers.get("content-type", ""))
    if flavour is None:
        raise InvalidRequest(NO_PROTOBUF)
    return flavour


def _preflight(methods: tuple[str, ...]) -> Response:
    head = {
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": "content-type",
        "Access-Control-Max-Age": _PREFLIGHT_SECONDS,
    }
    return Response(status_code=204, headers=head)


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
