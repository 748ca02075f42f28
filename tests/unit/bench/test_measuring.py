"""The requests that are sent over REST, and the figures made of their answers."""

import orjson

from gateway.bench.figures import Measurement
from gateway.bench.measuring import BATCH, batch_call, rest_figures, single_call
from gateway.bench.stream import DATA_BYTES
from gateway.bench.target import Kind, Target

TARGET = Target(Kind.GATEWAY, "127.0.0.1", 8000, "bench")


def test_a_single_request_carries_one_message_and_its_token() -> None:
    head, _, body = single_call(TARGET, "a.b.c").partition(b"\r\n\r\n")

    assert head.startswith(b"POST /publish/bench HTTP/1.1\r\n")
    assert b"Authorization: Bearer a.b.c\r\n" in head
    assert b"Content-Length: %d" % len(body) in head
    assert len(orjson.loads(body)["data"]) == DATA_BYTES


def test_a_batch_carries_a_hundred() -> None:
    head, _, body = batch_call(TARGET, "").partition(b"\r\n\r\n")

    assert head.startswith(b"POST /publish HTTP/1.1\r\n")
    assert b"Authorization" not in head
    messages = orjson.loads(body)["messages"]
    assert len(messages) == BATCH == 100
    assert {message["channel"] for message in messages} == {"bench"}


def test_single_requests_are_compared_with_an_empty_one_and_batches_with_single_ones() -> None:
    single, batches, empty = ([Measurement(rate)] for rate in (600.0, 15_000.0, 1000.0))

    figures = {figure.name: figure for figure in rest_figures(single, batches, empty)}

    assert figures["rest-single"].ratio == 0.6
    assert figures["rest-batch"].ratio == 25
