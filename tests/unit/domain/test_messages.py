"""How positions are written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import InvalidRequest
from gateway.domain.messages import BEGINNING, Position

epochs = st.text("abcXYZ019_-", min_size=1, max_size=32)
positions = st.builds(Position, epochs, st.integers(0, 10**15 - 1)) | st.just(BEGINNING)


@given(positions)
def test_what_is_written_is_read_again(position: Position) -> None:
    assert Position.parse(str(position)) == position


@given(st.text() | st.text("ab:0\u06611- +\n", max_size=8))
def test_what_is_read_was_written_so_and_all_else_is_refused(text: str) -> None:
    try:
        position = Position.parse(text)
    except InvalidRequest:
        return
    assert str(position) == text


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "a", "a:", ":1", ":00", "a:01", "a:-1", "a:+1", "a:1.0", "a: 1", " a:1", "a:1\n",
        "a:b:1", "a:1:", "a:\u0661", "ñ:1", "a b:1", "a:1e3", "1-0",
        "a:" + "9" * 16, "x" * 33 + ":1",
    ],
)  # fmt: skip
def test_a_position_has_one_spelling(text: str) -> None:
    with pytest.raises(InvalidRequest, match="EPOCH:OFFSET"):
        Position.parse(text)


def test_the_beginning_can_be_written() -> None:
    assert str(BEGINNING) == ":0"
