"""Which commands may be sent once more after a node of a cluster has answered that it has not."""

import hiredis

from gateway.adapters.redis.cluster.pipe import _redirected, units_of
from gateway.adapters.redis.cluster.slots import slot_of

MOVED = hiredis.ReplyError("MOVED 1 10.0.0.1:6379")
TORN = hiredis.ReplyError("TRYAGAIN Multiple keys request during rehashing of slot")


def run(room: str) -> tuple[str, ...]:
    return ("EVALSHA", "sha", "1", f"{{{room}}}:state", "argument")


READ = [("MULTI",), ("HMGET", "{a}:state", "e"), ("XRANGE", "{a}:stream"), ("EXEC",)]


def test_a_transaction_is_one_unit_and_has_the_slot_of_its_first_key() -> None:
    units = units_of([("SCRIPT", "LOAD", "text"), *READ, run("b"), ("ZREM", "{c}:x", "1")])
    slots = [None, slot_of("a"), slot_of("b"), slot_of("c")]
    assert [(unit.start, unit.end) for unit in units] == [(0, 1), (1, 5), (5, 6), (6, 7)]
    assert [unit.slot for unit in units] == slots


def test_what_was_not_carried_out_is_sent_again() -> None:
    commands = [run("a"), run("b"), run("a")]
    todo = _redirected(commands, [MOVED, [0], TORN])
    assert [unit.start for unit in todo] == [0, 2]


def test_nothing_is_sent_behind_what_came_later_on_its_channel() -> None:
    commands = [run("a"), run("b"), run("a"), run("a")]
    assert [unit.start for unit in _redirected(commands, [TORN, TORN, [0], TORN])] == [1, 3]


def test_a_transaction_that_was_refused_is_found() -> None:
    queued = [b"OK", MOVED, MOVED, hiredis.ReplyError("EXECABORT Transaction discarded")]
    assert [unit.start for unit in _redirected(READ, queued)] == [0]
    torn = [b"OK", b"QUEUED", b"QUEUED", TORN]
    assert [unit.start for unit in _redirected(READ, torn)] == [0]


def test_other_errors_are_answers() -> None:
    error = hiredis.ReplyError("OOM command not allowed")
    assert _redirected([run("a"), run("b")], [error, [0]]) == []
