"""How the answers of broker and archive become one."""

import pytest

from gateway.domain.history import History, HistoryQuery
from gateway.domain.messages import BEGINNING, Message, Position
from gateway.domain.past import answer_of, is_enough, newer_than


def way(*positions: str) -> list[Message]:
    return [
        Message("room", b"1", position, "alice", 1.0, Position.parse(position))
        for position in positions
    ]


def query(since: str | None, limit: int, is_reverse: bool = False) -> HistoryQuery:
    return HistoryQuery(None if since is None else Position.parse(since), limit, is_reverse)


def kept(top: str, *positions: str, is_complete: bool = True) -> History:
    return History(way(*positions), Position.parse(top), is_complete)


@pytest.mark.parametrize(
    ("question", "answer", "enough"),
    [
        (query(None, 2), kept("a:9", "a:8", "a:9"), True),
        (query(None, 3), kept("a:9", "a:8", "a:9"), False),
        (query(None, 0), kept("a:9"), True),
        (query(None, 0), kept(":0"), False),
        (query("a:7", 5), kept("a:9", "a:8", "a:9"), True),
        (query("a:2", 5), kept("a:9", "a:8", "a:9", is_complete=False), False),
        (query("a:9", 5), kept("a:9"), True),
        (query("a:9", 5), kept(":0", is_complete=False), False),
        (query(":0", 5), kept("a:2", "a:1", "a:2"), False),
        (query(":0", 2), kept("a:2", "a:1", "a:2"), False),
        (query("a:3", 2, True), kept("a:9", "a:2", "a:1"), True),
        (query("a:3", 3, True), kept("a:9", "a:2", "a:1"), False),
        (query("a:3", 2, True), kept("a:9", "a:2", is_complete=False), False),
        (query(":0", 2, True), kept("a:9"), True),
    ],
)
def test_the_archive_is_asked_only_for_what_is_not_kept(
    question: HistoryQuery, answer: History, enough: bool
) -> None:
    assert is_enough(question, answer) is enough


@pytest.mark.parametrize(
    ("question", "found", "is_complete"),
    [
        (query("a:1", 3), ["a:2", "a:3", "a:4"], True),
        (query("a:1", 9), ["a:2", "a:3", "a:4", "a:5"], True),
        (query("a:1", 9), ["a:2", "a:4", "a:5"], False),
        (query("a:1", 9), ["a:2", "a:3"], False),
        (query("a:5", 9), [], True),
        (query("a:6", 9), [], False),
        (query("a:4", 0), ["a:5"], True),
        (query("a:3", 0), ["a:5"], False),
        (query("old:1", 2), ["old:2", "old:3"], True),
        (query("old:1", 3), ["old:2", "old:3", "a:1"], False),
        (query("old:1", 9), ["old:2", "old:3"], False),
        (query(":0", 2), ["old:1", "old:2"], True),
        (query(":0", 2), ["old:2", "old:3"], False),
        (query(":0", 9), ["a:1", "a:2", "a:3", "a:4", "a:5"], True),
        (query(":0", 9), ["old:1", "a:1"], False),
        (query("a:4", 2, True), ["a:3", "a:2"], True),
        (query("a:4", 9, True), ["a:3", "a:2", "a:1"], True),
        (query("a:4", 9, True), ["a:3", "a:2"], False),
        (query("a:4", 9, True), ["a:3", "a:2", "a:1", "old:7"], False),
        (query("old:4", 2, True), ["old:3", "old:2"], True),
        (query("a:7", 2, True), ["a:5", "a:4"], False),
        (query(None, 9), ["a:5", "a:2", "old:3"], True),
    ],
)
def test_an_answer_says_whether_it_is_complete(
    question: HistoryQuery, found: list[str], is_complete: bool
) -> None:
    answer = answer_of(question, Position("a", 5), way(*found))
    assert answer.is_complete is is_complete
    assert len(answer.messages) == min(len(found), question.limit)


def test_the_last_messages_come_in_the_order_that_was_asked_for() -> None:
    found = way("a:5", "a:4", "old:3")
    top = Position("a", 5)
    assert answer_of(query(None, 2), top, found).messages == way("a:4", "a:5")
    assert answer_of(query(None, 2, True), top, found).messages == way("a:5", "a:4")


@pytest.mark.parametrize(
    ("archived", "rest"),
    [
        ([], ["b:2", "b:3", "b:4"]),
        (["a:1", "a:2"], ["b:2", "b:3", "b:4"]),
        (["a:1", "b:1", "b:2"], ["b:3", "b:4"]),
        (["b:9"], []),
        (["a:1", "b:3", "c:1"], []),
    ],
)
def test_nothing_comes_twice_where_the_two_meet(archived: list[str], rest: list[str]) -> None:
    answer = kept("b:4", "b:2", "b:3", "b:4")
    assert newer_than(way(*archived), answer) == way(*rest)


def test_a_channel_that_is_nowhere_has_nothing_newer() -> None:
    assert newer_than(way("a:1"), History([], BEGINNING, False)) == []
