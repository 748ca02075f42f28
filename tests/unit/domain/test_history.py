"""What makes an answer complete; `tests/contracts/test_history.py` asks the adapters."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.history import HistoryQuery, history_of
from gateway.domain.messages import BEGINNING, Message, Position


def messages(*offsets: int) -> list[Message]:
    return [Message("room", b"1", "id", "alice", 1.0, Position("e", n)) for n in offsets]


def complete(since: Position, limit: int, found: list[Message], top: int = 9) -> bool:
    return history_of(HistoryQuery(since, limit), Position("e", top), found).is_complete


def test_the_answer_starts_right_behind_since() -> None:
    assert complete(Position("e", 3), 2, messages(4, 5))
    assert not complete(Position("e", 3), 2, messages(5, 6))


def test_the_answer_leaves_nothing_out() -> None:
    assert not complete(Position("e", 3), 3, messages(4, 6, 7))


def test_an_answer_that_is_not_full_reaches_the_top() -> None:
    assert complete(Position("e", 3), 100, messages(4, 5), top=5)
    assert not complete(Position("e", 3), 100, messages(4, 5), top=6)


def test_going_back_an_answer_that_is_not_full_reaches_the_first_message() -> None:
    def back(since: int, found: list[Message]) -> bool:
        query = HistoryQuery(Position("e", since), 3, is_reverse=True)
        return history_of(query, Position("e", 9), found).is_complete

    assert back(9, messages(8, 7, 6))
    assert back(3, messages(2, 1))
    assert not back(4, messages(3, 2))
    assert not back(9, messages(7, 6, 5))
    assert back(1, [])


def test_the_beginning_is_of_every_epoch_and_nothing_else_is() -> None:
    query = HistoryQuery(None, 1)
    assert query.is_about("e")
    assert query._replace(since=BEGINNING).is_about("e")
    assert not query._replace(since=Position("", 1)).is_about("e")
    assert not query._replace(since=Position("f", 1)).is_about("e")


@given(
    st.none() | st.builds(Position, st.sampled_from(["", "e", "f"]), st.integers(0, 9)),
    st.integers(0, 9),
    st.booleans(),
)
def test_the_question_for_the_first_page_is_about_every_epoch(
    since: Position | None, limit: int, is_reverse: bool
) -> None:
    query = HistoryQuery(since, limit, is_reverse).from_the_start()
    assert query.is_about("e")
    assert query[1:] == (limit, is_reverse)
