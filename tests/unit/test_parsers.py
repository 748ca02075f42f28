"""No input makes a parser raise anything but its own refusal, or take long, or take much.

docs/security.md lists the parsers; `make fuzz` runs these tests for longer.
"""

import contextlib
import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.parsing.table import PARSERS, Parser
from tests.unit.test_security_table import PROOF, names_in

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
PIECES: tuple[bytes, ...] = (
    b"\0",
    b"\r\n",
    b"\n",
    b":",
    b'"',
    b"{",
    b"}",
    b"[",
    b"%",
    b"%ff",
    b",",
    b"-",
    b".",
    b"9",
)
PIECES += (b"99999999999999999999", b"1e999", b"\\ud800", b"\xff", b"null", b"\xed\xa0\x80", b" ")

DEEP: Any = []
for _ in range(300):  # orjson reads it, and would not write it
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (None, True, 0, -1, 1.5, 1e308, 10**15, 2**63, 10**40)
ODD += ("", "x", "\ud800", [], {}, [None], DEEP)

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "50"))
SLOW = {"settings", "the TOML file"}  # some milliseconds each

# What is cheap to send and might be dear to read: deep, long, repeated, and never-ending.
HEAVY = {
    "brackets": b"[",
    "objects": b'{"a":',
    "digits": b"9",
    "letters": b"a",
    "commas": b",",
    "colons": b":",
    "percents": b"%41",
    "ampersands": b"a=&",
    "spaces": b" ",
    "line breaks": b"\n",
    "quotes": b'"',
    "backslashes": b"\\",
    "dots": b".",
    "semicolons": b"a;",
    "high bytes": b"\xff",
    "empty frames": b"\x01\x80\0\0\0\0",
    "masked pings": b"\x89\x80\0\0\0\0",
    "deltas": b"1@0,",
    "connections": b"\r\nconnection:,,,",
}


@st.composite
def spoilt(draw: st.DrawFn, samples: tuple[bytes, ...]) -> bytes:
    """A good input with a few bytes cut, put in, changed or said twice."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(start + draw(st.integers(0, 8)), len(data))
        put = draw(st.sampled_from(PIECES) | st.binary(max_size=4) | st.just(bytes(data[:start])))
        data[start:end] = put
    return bytes(data)


def odd(sample: bytes) -> Iterator[bytes]:
    """A good JSON object or array with each of its values replaced by each odd one."""
    for index in range(sum(1 for _ in _places(json.loads(sample)))):
        for value in ODD:
            changed = json.loads(sample)
            place, key = [*_places(changed)][index]
            place[key] = value
            yield json.dumps(changed).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _holds_values(sample: bytes) -> bool:
    try:
        return isinstance(json.loads(sample), dict | list)
    except ValueError:
        return False


@pytest.mark.hypothesis  # its plugin marks only what is decorated; `make fuzz` asks for the mark
@pytest.mark.parametrize("name", PARSERS)
def test_no_input_raises_anything_but_a_refusal(name: str) -> None:
    parser = PARSERS[name]

    @settings(max_examples=EXAMPLES // 5 if name in SLOW else EXAMPLES)
    @given(spoilt(parser.samples) | st.binary(max_size=300))
    def run(data: bytes) -> None:
        _read(parser, data)

    run()


@pytest.mark.parametrize("name", PARSERS)
def test_no_value_in_json_raises_anything_but_a_refusal(name: str) -> None:
    parser = PARSERS[name]
    for sample in filter(_holds_values, parser.samples):
        for data in odd(sample):
            _read(parser, data)


@pytest.mark.parametrize("name", PARSERS)
def test_a_good_input_is_read(name: str) -> None:
    """Or the test above would spoil what was never good."""
    parser = PARSERS[name]
    if name != "settings":  # each of its samples is good for some of the settings
        for sample in parser.samples:
            parser.read(sample)


@pytest.mark.parametrize("name", PARSERS)
def test_no_input_takes_long_or_much(name: str) -> None:
    parser = PARSERS[name]
    for what, piece in HEAVY.items():
        for start in (b"", parser.samples[0][: len(parser.samples[0]) // 2]):
            data = (start + piece * (parser.bytes_max // len(piece)))[: parser.bytes_max]
            # By the processor's clock: what others do on this machine does not count.
            before = time.thread_time()
            _read(parser, data)
            assert time.thread_time() - before < 1.0, what
    tracemalloc.start()
    try:
        for what in ("brackets", "digits", "ampersands", "line breaks", "empty frames"):
            piece = HEAVY[what]
            data = (piece * (parser.bytes_max // len(piece)))[: parser.bytes_max]
            tracemalloc.reset_peak()
            held = tracemalloc.get_traced_memory()[0]
            _read(parser, data)
            assert tracemalloc.get_traced_memory()[1] - held < 40_000_000, what
    finally:
        tracemalloc.stop()


def test_the_list_of_parsers_names_all_of_them_and_tests_that_exist() -> None:
    section = (
        DOCUMENT.read_text().partition("## Parsers and what fuzzes them")[2].partition("\n## ")[0]
    )
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    assert [row[0].strip() for row in rows[1:]] == [*PARSERS]
    for _, writer, proof in rows[1:]:
        assert writer.strip()
        named = PROOF.findall(proof)
        assert named
        assert [f"{path}::{name}" for path, name in named if name not in names_in(path)] == []


def _read(parser: Parser, data: bytes) -> None:
    with contextlib.suppress(*parser.refusals):
        parser.read(data)
