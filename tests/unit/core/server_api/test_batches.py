"""What of a batch goes together."""

import pytest

from gateway.core.server_api.batches import check_size, groups_of
from gateway.protocols.server_api.answers import ApiError
from gateway.protocols.server_api.requests import Broadcast, Content, Info, Publish, Request

PUBLISH = Publish("room", Content(b"1"))
BROADCAST = Broadcast(["room", "hall"], Content(b"1"))


def numbered(*requests: Request) -> dict[int, Request]:
    return dict(enumerate(requests))


def test_what_is_published_in_a_row_goes_together() -> None:
    requests = numbered(PUBLISH, BROADCAST, Info(), PUBLISH, PUBLISH)
    assert groups_of(requests, is_parallel=False) == [[0, 1], [2], [3, 4]]


def test_in_parallel_all_that_is_published_goes_together() -> None:
    requests = numbered(PUBLISH, Info(), BROADCAST, Info(), PUBLISH)
    assert groups_of(requests, is_parallel=True) == [[0, 2, 4], [1], [3]]


def test_messages_count_and_commands_do() -> None:
    check_size([PUBLISH, BROADCAST], 2, 3)
    with pytest.raises(ApiError):
        check_size([PUBLISH, BROADCAST], 2, 2)
    with pytest.raises(ApiError):
        check_size([], 4, 3)
