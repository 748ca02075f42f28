"""What there is to know about a channel, over HTTP."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response

from gateway.core.attendance import Attendance
from gateway.core.hub import Hub
from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import Position
from gateway.protocols.plain import encode_json
from gateway.web import answers
from gateway.web.auth import Authenticate
from gateway.web.document import TOKEN, ChannelName, answering, problems

_PAGE = 100
_LISTING_MAX = 1000
_EXAMPLE = {
    "channel": "noticias",
    "epoch": "5f3c9a2e",
    "offset": 42,
    "complete": True,
    "messages": [
        {
            "channel": "noticias",
            "data": "Hola canal",
            "offset": 42,
            "epoch": "5f3c9a2e",
            "id": "9b6c1f0e4d2a7b8800000000",
            "user": "alice",
            "time": 1790000000.123,
        }
    ],
}


Limit = Annotated[int, Query(ge=1, le=_LISTING_MAX, description="At most so many.")]
Cursor = Annotated[
    str,
    Query(
        max_length=200, description="The `cursor` of the page before, which is `null` at the end."
    ),
]


def router(
    hub: Hub, attendance: Attendance, authenticate: Authenticate, *, history_page_max: int
) -> APIRouter:
    routes = APIRouter(tags=["channels"])

    @routes.get(
        "/channels", openapi_extra=TOKEN, **answering(answers.Channels, 401, 403, 404, 422, 503)
    )
    async def channels(
        request: Request, limit: Limit = _PAGE, cursor: Cursor = ""
    ) -> dict[str, object]:
        """The channels that somebody listens to, by name. Needs the role `admin`.

        Channels of namespaces without presence are not among them. A page may hold less than
        `limit`, also nothing, though there are more: go on while `cursor` is not `null`.
        """
        page = await attendance.channels(authenticate(request), limit, cursor)
        return {
            "channels": [
                {"channel": name, "members": count.members, "connections": count.connections}
                for name, count in page.channels
            ],
            "cursor": page.cursor or None,
        }

    @routes.get(
        "/channels/{channel:path}/presence",
        openapi_extra=TOKEN,
        **answering(answers.Presence, 401, 403, 404, 422, 503),
    )
    async def presence(
        request: Request, channel: ChannelName, limit: Limit = _PAGE, cursor: Cursor = ""
    ) -> dict[str, object]:
        """Who listens to a channel, on all replicas. Needs the right to subscribe to it.

        `members` is the number of users, `connections` that of their connections; `users` is a
        page of them by name. Whoever is there all the time while pages are read is in one.
        """
        count, page = await attendance.members(authenticate(request), channel, limit, cursor)
        return {
            "channel": channel,
            "members": count.members,
            "connections": count.connections,
            "users": [{"user": user, "connections": each} for user, each in page.members],
            "cursor": page.cursor or None,
        }

    @routes.get(
        "/channels/{channel:path}/history",
        response_class=Response,
        responses={
            **problems(401, 403, 404, 422, 503),
            200: {
                "description": "The kept messages, and the channel's position.",
                "model": answers.History,
                "content": {"application/json": {"example": _EXAMPLE}},
            },
        },
        openapi_extra=TOKEN,
    )
    async def history(
        request: Request,
        channel: ChannelName,
        limit: Annotated[
            int, Query(ge=0, le=history_page_max, description="At most so many; 0: position only.")
        ] = min(_PAGE, history_page_max),
        since: Annotated[
            str | None,
            Query(
                description="`EPOCH:OFFSET` of the last message that you have, or `:0` for the "
                "beginning: the first messages after it. Without it, the newest ones.",
                examples=["5f3c9a2e:42"],
            ),
        ] = None,
        reverse: Annotated[
            bool, Query(description="Newest first; with `since`, the messages before it.")
        ] = False,
    ) -> Response:
        """The last messages of a channel. Needs the right to subscribe to it.

        `epoch` and `offset` are the position of its last message, `""` and `0` where there is
        none. To read all that is kept, start with `since=:0` and go on with the position of the
        last message of each page. `complete` is false where messages after `since` are missing,
        for they are no longer kept, or the channel has started again under another epoch.

        Where the channel's namespace has an archive, pages go on there, into earlier epochs, too;
        `complete` is false for a page that goes from one epoch into another.
        """
        principal = authenticate(request)
        query = HistoryQuery(None if since is None else Position.parse(since), limit, reverse)
        answer = await hub.history(principal, channel, query)
        return Response(
            _encode(channel, answer),
            headers={"Cache-Control": "no-store"},
            media_type="application/json",
        )

    return routes


def _encode(channel: str, history: History) -> bytes:
    # Written here, because the data of the messages goes out as it was published.
    return b'{"channel":%b,"epoch":%b,"offset":%d,"complete":%b,"messages":[%b]}' % (
        orjson.dumps(channel),
        orjson.dumps(history.top.epoch),
        history.top.offset,
        b"true" if history.is_complete else b"false",
        b",".join(map(encode_json, history.messages)),
    )
