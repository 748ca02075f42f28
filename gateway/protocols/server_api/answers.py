"""From what was found to what is answered: objects that `orjson` writes."""

from collections.abc import Iterable
from typing import Any

import orjson

from gateway.domain.messages import Receipt
from gateway.protocols.centrifuge.codes import Error
from gateway.protocols.centrifuge.results import ClientInfo, HistoryResult, Publication


class ApiError(Exception):
    """The answer is this error; ``message`` says more than the words that go with the code."""

    def __init__(self, error: Error, detail: str = "") -> None:
        self.code = error.code
        self.message = f"{error.message}: {detail}" if detail else error.message
        super().__init__(self.message)


def error_object(error: ApiError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message}


def published(receipt: Receipt) -> dict[str, Any]:
    return {"offset": receipt.position.offset, "epoch": receipt.position.epoch}


def presence(infos: Iterable[ClientInfo]) -> dict[str, Any]:
    return {"presence": {info.client: _client(info) for info in infos}}


def history(result: HistoryResult) -> dict[str, Any]:
    return {
        "publications": [_publication(each) for each in result.publications],
        "offset": result.offset,
        "epoch": result.epoch,
    }


def _publication(publication: Publication) -> dict[str, Any]:
    written: dict[str, Any] = {
        "data": orjson.Fragment(publication.data),
        "offset": publication.offset,
    }
    if publication.info is not None:
        written["info"] = _client(publication.info)
    if publication.tags:
        written["tags"] = orjson.Fragment(publication.tags)
    return written


def _client(info: ClientInfo) -> dict[str, Any]:
    written: dict[str, Any] = {"user": info.user, "client": info.client}
    if info.conn_info:
        written["conn_info"] = orjson.Fragment(info.conn_info)
    if info.chan_info:
        written["chan_info"] = orjson.Fragment(info.chan_info)
    return written
