"""Deltas make the second text of the first, for any two texts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocols.centrifuge.fossil import BadDelta, apply, create

text = st.one_of(st.binary(max_size=300), st.text("ab", max_size=300).map(str.encode))
piece = st.binary(min_size=1, max_size=60)


@given(text, text)
def test_a_delta_makes_the_second_of_the_first(source: bytes, target: bytes) -> None:
    assert apply(create(source, target), source) == target


@given(st.lists(piece, min_size=1, max_size=8), st.data())
def test_pieces_in_another_order(pieces: list[bytes], data: st.DataObject) -> None:
    source = b"".join(pieces)
    target = b"".join(data.draw(st.lists(st.sampled_from([*pieces, b"new"]), max_size=10)))
    assert apply(create(source, target), source) == target


def test_a_small_change_is_a_small_delta() -> None:
    source = b'{"prices":[' + b",".join(b"%d" % n for n in range(1000, 1500)) + b"]}"
    target = source.replace(b"1250", b"9")
    assert len(create(source, target)) < 40


def test_what_moved_is_copied() -> None:
    first, second = bytes(range(100)), bytes(range(100, 200))
    assert len(create(first + second, second + first)) < 40


def test_an_example_written_by_hand() -> None:
    # 6 bytes; 4 from offset 2 of the source, then two new ones; the sum of cdef and XY00.
    checksum = (0x63646566 + 0x58590000) & 0xFFFFFFFF
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
    written = ""
    while checksum:
        checksum, digit = divmod(checksum, 64)
        written = digits[digit] + written
    assert apply(f"6\n4@2,2:XY{written};".encode(), b"abcdefgh") == b"cdefXY"


def test_a_source_that_repeats_itself_costs_no_more() -> None:
    source, target = b"a" * 60_000, b"b" + b"a" * 59_000 + b"b" + b"a" * 60_000
    before = time.process_time()
    assert apply(create(source, target), source) == target
    assert time.process_time() - before < 5


def test_a_search_for_what_is_nowhere_ends() -> None:
    known = bytes(range(256))
    source, target = known, b"x" * 9_000 + known + b"x"
    delta = create(source, target)
    assert apply(delta, source) == target
    assert len(delta) > len(target)  # what could have been copied behind that is not found any more


@pytest.mark.parametrize(
    "delta",
    [b"", b"3", b"3\n", b"3\n3@0,", b"3\n9@0,0;", b"3\n3:abc1;", b"!\n0;", b"3\n3@0;"],
)
def test_what_is_no_delta_is_refused(delta: bytes) -> None:
    with pytest.raises(BadDelta):
        apply(delta, b"abc")
