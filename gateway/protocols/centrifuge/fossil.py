"""Deltas in the form of the Fossil version control system: a text that makes one text of another.

``SIZE\\n`` is the length of the result. Then come instructions: ``COUNT@OFFSET,`` copies from the
source, ``COUNT:BYTES`` inserts. ``SUM;`` ends it, a checksum of the result. Numbers are in base 64
with digits of its own. https://fossil-scm.org/home/doc/trunk/www/delta_format.wiki
"""

import re
from struct import unpack

_DIGITS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_BLOCK = 16  # shorter matches are not looked for
# Looking for something to copy costs a third of a microsecond for each byte that is nowhere, and
# everybody waits for it. After so many of them the rest is inserted as it is.
_MISSES_MAX = 2048
_CANDIDATES_MAX = 16  # of one block: a source that repeats itself must not cost more and more
_INSTRUCTION = re.compile(rb"([0-9A-Za-z_~]+)([@:;])(?:([0-9A-Za-z_~]+),)?")
_MASK = 0xFFFFFFFF


class BadDelta(Exception):
    """This delta was made of something else, or is none."""


def create(source: bytes, target: bytes) -> bytes:
    """A delta with ``apply(create(source, target), source) == target``; not the shortest one."""
    parts = [_number(len(target)), b"\n"]
    begin, end = _common(source, target)
    if begin:
        parts += [_number(begin), b"@0,"]
    _middle(parts, source, target[begin : len(target) - end])
    if end:
        parts += [_number(end), b"@", _number(len(source) - end), b","]
    parts += [_number(_checksum(target)), b";"]
    return b"".join(parts)


def _common(source: bytes, target: bytes) -> tuple[int, int]:
    """How much is the same at the beginning, and of the rest at the end."""
    most = min(len(source), len(target))
    begin = _agreement(source, 0, target, 0, most)
    if begin < _BLOCK:
        begin = 0  # a copy of a few bytes is longer than they are
    most -= begin
    end = _agreement(source[::-1], 0, target[::-1], 0, most)
    return begin, end if end >= _BLOCK else 0


def _agreement(source: bytes, at: int, target: bytes, there: int, most: int) -> int:
    """The length up to which both are the same from there on; halving is faster than counting."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if source[at + low : at + middle] == target[there + low : there + middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _middle(parts: list[bytes], source: bytes, target: bytes) -> None:
    """Copy the blocks of the source that are found anywhere in the target; insert the rest."""
    if not target:
        return
    if len(target) < _BLOCK or len(source) < _BLOCK:
        _insert(parts, target)
        return
    blocks: dict[bytes, list[int]] = {}
    for at in range(0, len(source) - _BLOCK + 1, _BLOCK):
        known = blocks.setdefault(source[at : at + _BLOCK], [])
        if len(known) < _CANDIDATES_MAX:
            known.append(at)
    pending = there = misses = 0
    while there <= len(target) - _BLOCK and misses < _MISSES_MAX:
        found = blocks.get(target[there : there + _BLOCK])
        if found is None:
            there += 1
            misses += 1
            continue
        length, at = max(
            (_agreement(source, at, target, there, min(len(source) - at, len(target) - there)), at)
            for at in found
        )
        back = 0
        while back < min(at, there - pending) and source[at - back - 1] == target[there - back - 1]:
            back += 1
        if pending < there - back:
            _insert(parts, target[pending : there - back])
        parts += [_number(length + back), b"@", _number(at - back), b","]
        pending = there = there + length
    if pending < len(target):
        _insert(parts, target[pending:])


def _insert(parts: list[bytes], text: bytes) -> None:
    parts += [_number(len(text)), b":", text]


def apply(delta: bytes, source: bytes) -> bytes:
    """The other text; raises `BadDelta`."""
    head, line_break, _ = delta.partition(b"\n")
    if not line_break:
        raise BadDelta("it has no size")
    size, at = _value(head), len(head) + 1
    parts: list[bytes] = []
    while found := _INSTRUCTION.match(delta, at):
        count, kind, offset = _value(found[1]), found[2], found[3]
        if kind == b";":
            return _checked(b"".join(parts), size, count)
        if kind == b"@" and offset is not None:
            begin, at = _value(offset), found.end()
            parts.append(source[begin : begin + count])
        elif kind == b":":
            begin, at = found.end(2), found.end(2) + count
            parts.append(delta[begin:at])
        else:
            break
        if len(parts[-1]) != count:
            raise BadDelta("it copies what is not there")
    raise BadDelta("it does not come to its end")


def _checked(target: bytes, size: int, checksum: int) -> bytes:
    if len(target) != size or _checksum(target) != checksum:
        raise BadDelta("the result is not the one it was made for")
    return target


def _checksum(text: bytes) -> int:
    """The sum of the text's 32-bit words, in big-endian order, the last one filled with zeros."""
    padded = text + bytes(-len(text) % 4)
    words: tuple[int, ...] = unpack(f">{len(padded) // 4}I", padded)
    return sum(words) & _MASK


def _number(value: int) -> bytes:
    digits = bytearray()
    while True:
        value, digit = divmod(value, 64)
        digits.append(_DIGITS[digit])
        if not value:
            return bytes(reversed(digits))


def _value(digits: bytes) -> int:
    value = 0
    for digit in digits:
        if digit not in _VALUES:
            raise BadDelta("a number has other digits")
        value = value * 64 + _VALUES[digit]
    return value
