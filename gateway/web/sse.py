"""Listening over plain HTTP: a channel as Server-Sent Events."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Response

from gateway.web.document import TOKEN, ChannelName, problems

_EXAMPLE = (
    "retry: 2000\n\n"
    "id: 5f3c9a2e:42\n"
    'data: {"channel":"noticias","data":"Hola canal","offset":42,"epoch":"5f3c9a2e",'
    '"id":"9b6c1f0e4d2a7b8800000000","user":"alice","time":1790000000.123}\n\n'
)


def _parameter(name: str, description: str, place: str = "query") -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "schema": {"type": "string"}}


# For the reader alone: the door, which sockets share, reads and checks them.
_PARAMETERS = [
    _parameter("format", "`json` (default), `text` or `raw`: what the data of an event is."),
    _parameter("since", "`EPOCH:OFFSET`: first everything that came after this position."),
    _parameter("history", "A number: first so many of the newest messages."),
    _parameter("token", "The token, for a page, which can set no header."),
    _parameter("ticket", "What `POST /ticket` gave, instead of a token; it opens one stream."),
    _parameter("Last-Event-ID", "Where a browser goes on; instead of `since`.", "header"),
]


def router(stream: Callable[[str], Response]) -> APIRouter:
    """``stream`` makes the response that goes on for as long as the client listens."""
    routes = APIRouter(tags=["channels"])

    @routes.get(
        "/sse/{channel:path}",
        response_class=Response,
        openapi_extra={"parameters": _PARAMETERS, **TOKEN},
        responses={
            **problems(401, 403, 404, 422, 429, 503),
            200: {
                "description": "Events until somebody ends it.",
                "content": {"text/event-stream": {"example": _EXAMPLE}},
            },
        },
    )
    async def listen(channel: ChannelName) -> Response:
        """The messages of a channel as they are published, for `EventSource` and `curl -N`.

        The id of an event is its position, with which a browser comes back by itself and misses
        nothing. With `json` there are also events of the types `gap`, `caught_up`, `expires` and
        `end`, the last one with the reason.

        A browser comes back after the end of a stream, and after a broken connection. After any
        answer but 200 it gives up for good (the standard says so), also after 429 and 503: then
        the page has to make a new `EventSource`, with `since`. So it has to after each end of a
        stream that a ticket opened, for a ticket opens one.
        """
        return stream(channel)

    return routes
