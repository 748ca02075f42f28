"""The plain protocol: what a client reads, and what its frames mean."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import InvalidRequest
from gateway.domain.messages import Message, Position
from gateway.protocols.plain import (
    Format,
    decode_frame,
    encode_json,
    encode_message,
    encode_notice,
    payload_of,
)

JSON, TEXT, RAW = Format.JSON, Format.TEXT, Format.RAW

# What JSON can carry and orjson can write.
texts = st.text(st.characters(codec="utf-8"), max_size=20)
integers = st.integers(-(2**63), 2**64 - 1)
values = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
anything = st.text(st.characters(exclude_categories=()), max_size=20)  # surrogates, too


def message(data: bytes = b'"Hola canal"', **changes: Any) -> Message:
    position = changes.pop("position", Position("e1", 7))
    given: dict[str, Any] = {"id": "id1", "user": "alice", "time": 1790000000.1234}
    return Message("noticias", data, position=position, **(given | changes))


def test_json_is_one_object_with_these_members_in_this_order() -> None:
    assert encode_message(JSON, message()) == (
        b'{"channel":"noticias","data":"Hola canal","offset":7,"epoch":"e1","id":"id1",'
        b'"user":"alice","time":1790000000.123}'
    )


def test_text_is_for_a_person_to_read() -> None:
    assert encode_message(TEXT, message()) == b"[noticias] Hola canal"
    assert encode_message(TEXT, message(b'{"a":1}')) == b'[noticias] {"a":1}'


def test_raw_is_the_data_alone() -> None:
    assert encode_message(RAW, message()) == b"Hola canal"
    assert encode_message(RAW, message(b"[1,2.50]")) == b"[1,2.50]"
    assert encode_message(RAW, message('"añ\\u00f1o\\n€"'.encode())) == "añño\n€".encode()


@given(data=values, user=texts, epoch=texts, id=texts, offset=st.integers(1, 2**53))
def test_json_carries_everything_back_and_forth(
    data: Any, user: str, epoch: str, id: str, offset: int
) -> None:
    """S37: on one line, whatever it says."""
    encoded = encode_json(
        message(orjson.dumps(data), user=user, id=id, position=Position(epoch, offset))
    )
    assert not {b"\n", b"\r"} & {encoded[i : i + 1] for i in range(len(encoded))}
    assert json.loads(encoded) == {
        "channel": "noticias",
        "data": data,
        "offset": offset,
        "epoch": epoch,
        "id": id,
        "user": user,
        "time": 1790000000.123,
    }


@pytest.mark.parametrize(
    "data",
    [b"1.10", b"-0.0", b"1E2", b"12345678901234567890123", b'"\\u00f1\\/"', b'{"b":1,"a":2}'],
)
def test_data_is_embedded_as_it_was_spelled(data: bytes) -> None:
    assert b'"data":' + data + b',"offset"' in encode_json(message(data))


@pytest.mark.parametrize(
    "user", ['a"b', "a\\b", "a\nb", "a\u2028b", "\x1b[31m", '","data":"forged']
)
def test_no_user_can_write_another_member(user: str) -> None:
    """S37"""
    decoded = json.loads(encode_json(message(user=user)))
    assert (decoded["user"], decoded["data"]) == (user, "Hola canal")
    assert len(decoded) == 7


@given(texts)
def test_the_payload_of_a_text_is_the_text(text: str) -> None:
    assert payload_of(orjson.dumps(text)) == text.encode()


@pytest.mark.parametrize("data", [b'"a"', b'"a" ', b'"\\u0061"'])
def test_however_a_text_is_written_its_payload_is_the_same(data: bytes) -> None:
    assert payload_of(data) == b"a"


@given(values.filter(lambda value: not isinstance(value, str)))
def test_the_payload_of_anything_else_is_its_json(value: Any) -> None:
    assert payload_of(orjson.dumps(value)) == orjson.dumps(value)


def test_a_notice_has_a_type_and_no_data() -> None:
    notice = encode_notice("error", error="denied", detail='say "please"\n')
    assert json.loads(notice) == {"type": "error", "error": "denied", "detail": 'say "please"\n'}
    assert b"\n" not in notice


@pytest.mark.parametrize("name", Format)
def test_a_format_is_found_by_its_name(name: Format) -> None:
    assert Format.parse(str(name)) is name


@pytest.mark.parametrize("name", ["", "JSON", "xml", "json ", "raw\n"])
def test_another_format_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="json, text or raw"):
        Format.parse(name)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"data": "hi"}', b'"hi"'),
        (' \n{"data": [1, 2]}', b"[1,2]"),
        ('{"data": null}', b"null"),
        ('{"data": {"data": 1}}', b'{"data":1}'),
        ('{"data": 1, "more": 2}', b'{"data":1,"more":2}'),
        ('{"other": 1}', b'{"other":1}'),
        ("{}", b"{}"),
        ("hi", b'"hi"'),
        ("", b'""'),
        ("[1, 2]", b'"[1, 2]"'),
        ("7", b'"7"'),
        ('"hi"', b'"\\"hi\\""'),
    ],
)
def test_a_json_frame_publishes_an_object_or_a_text(text: str, data: bytes) -> None:
    assert decode_frame(JSON, text) == data


@given(text=texts, format=st.sampled_from([TEXT, RAW]))
def test_in_the_other_formats_a_frame_publishes_itself(text: str, format: Format) -> None:
    assert json.loads(decode_frame(format, text)) == text
    assert json.loads(decode_frame(format, '{"data": 1}')) == '{"data": 1}'


@given(values)
def test_what_a_json_frame_says_is_what_is_published(value: Any) -> None:
    assert json.loads(decode_frame(JSON, json.dumps({"data": value}))) == value


@given(text=texts.filter(lambda text: not text.lstrip().startswith("{")), format=...)
def test_a_text_goes_through_unchanged_in_every_format(text: str, format: Format) -> None:
    published = message(decode_frame(format, text))
    assert encode_message(RAW, published) == text.encode()


@given(text=anything | anything.map("{".__add__), format=...)
def test_no_frame_raises_anything_but_a_refusal(text: str, format: Format) -> None:
    """S42"""
    try:
        data = decode_frame(format, text)
    except InvalidRequest:
        return
    json.loads(data)


@pytest.mark.parametrize(
    "text",
    ["{", '{"data"', '{"data": NaN}', '{"data": 1e400}', '{"data": "\\ud800"}', "{} {}", "{'a':1}"],
)
def test_what_starts_like_an_object_must_be_one(text: str) -> None:
    """S42"""
    with pytest.raises(InvalidRequest, match="starts like a JSON object"):
        decode_frame(JSON, text)


@pytest.mark.parametrize("depth", [255, 300, 1000, 1100, 100_000])
def test_nesting_that_cannot_be_written_again_is_refused(depth: int) -> None:
    """S42"""
    with pytest.raises(InvalidRequest):
        decode_frame(JSON, '{"data":' + "[" * depth + "]" * depth + "}")


@pytest.mark.parametrize("format", Format)
def test_a_lone_surrogate_is_refused(format: Format) -> None:
    """S42"""
    with pytest.raises(InvalidRequest, match="UTF-8"):
        decode_frame(format, "a\ud800b")
