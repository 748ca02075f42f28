"""A page of a channel's history, as clients and servers of the protocol ask for it."""

from gateway.core.centrifuge.refusals import Refusal
from gateway.core.hub import Hub
from gateway.domain.history import HistoryQuery
from gateway.domain.messages import BEGINNING, Position
from gateway.domain.principal import Principal
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.results import HistoryResult, publication_of


async def read_history(
    hub: Hub,
    asking: Principal,
    channel: str,
    *,
    since: Position | None,
    limit: int,
    is_reverse: bool,
    page_max: int,
) -> HistoryResult:
    """``limit`` 0 asks for the position alone, one below for as much as there may be.

    Raises `Refusal` for a position that says nothing, and what `Hub.history` raises.
    """
    if since is not None and is_reverse and not since.offset:
        raise Refusal(codes.BAD_REQUEST)
    if since is not None and not since.epoch and since.offset:
        # Whichever epoch it is; the one to ask about has to be known.
        top = (await hub.history(asking, channel, HistoryQuery(None, 0))).top
        since = Position(top.epoch, since.offset)
    most = page_max if limit < 0 else min(limit, page_max)
    start = since if since is not None or is_reverse else BEGINNING
    found = await hub.history(asking, channel, HistoryQuery(start, most, is_reverse))
    if since is not None and since.epoch not in ("", found.top.epoch):
        raise Refusal(codes.UNRECOVERABLE_POSITION)
    publications = [publication_of(message) for message in found.messages]
    return HistoryResult(publications, found.top.epoch, found.top.offset)
