"""The numbers, and that clients look at them."""

import json

from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.codes import Disconnect, Error, Unsubscribe
from gateway.protocols.frames import REASON_BYTES_MAX

DISCONNECTS = [each for each in vars(codes).values() if isinstance(each, Disconnect)]
UNSUBSCRIBES = [each for each in vars(codes).values() if isinstance(each, Unsubscribe)]
ERRORS = [each for each in vars(codes).values() if isinstance(each, Error)]


def test_every_disconnect_has_a_reason_that_a_client_takes_for_one() -> None:
    assert len(DISCONNECTS) > 10
    for code, reason in DISCONNECTS:
        assert 3000 <= code < 4000
        assert 0 < len(reason.encode()) <= REASON_BYTES_MAX
        try:
            json.loads(reason)
        except ValueError:
            continue
        raise AssertionError(f"{reason} parses as JSON")


def test_no_number_stands_for_two_things() -> None:
    for group in (DISCONNECTS, UNSUBSCRIBES, ERRORS):
        assert len({each[0] for each in group}) == len(group)
        assert all(each[1] for each in group)


def test_what_a_client_does_about_it_follows_from_the_number() -> None:
    reconnects = {codes.SHUTDOWN, codes.SERVER_ERROR, codes.EXPIRED, codes.SLOW, codes.NO_PONG}
    ends = {codes.INVALID_TOKEN, codes.BAD_FRAME, codes.STALE, codes.DENIED, codes.NO_HANDLER}
    assert all(code < 3500 for code, _ in reconnects)
    assert all(code >= 3500 for code, _ in ends)
    assert codes.BY_SERVER.code < 2500 <= codes.POSITION_LOST.code < codes.TOKEN_RAN_OUT.code
    temporary = {error.code for error in ERRORS if error.temporary}
    assert temporary == {100, 111}
