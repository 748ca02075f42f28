"""Requests are read strictly: what was not understood is never left out."""

import base64
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import Position
from gateway.domain.namespaces import Override
from gateway.protocols.server_api import requests
from gateway.protocols.server_api.reading import METHODS, read
from gateway.protocols.server_api.requests import BadRequest, NotSupported, Target

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(
    (
        *("channel", "channels", "data", "b64data", "user", "client", "session", "tags", "limit"),
        *("since", "reverse", "pattern", "disconnect", "whitelist", "expired", "expire_at"),
        *("info", "commands", "parallel", "recover_since"),
    )
)
LATER = int(time.time()) + 1000


@given(st.sampled_from(sorted(METHODS)), VALUES | st.dictionaries(NAMES, VALUES))
def test_whatever_comes_is_read_or_refused(method: str, params: object) -> None:
    refusal: Exception | None = None
    try:
        read(method, params)
    except (BadRequest, NotSupported) as error:
        refusal = error
    assert refusal is None or str(refusal)


@given(VALUES.filter(lambda value: value is not None))
def test_any_data_is_the_same_in_base64(value: object) -> None:
    plain = read("publish", {"channel": "room", "data": value})
    assert isinstance(plain, requests.Publish)
    encoded = base64.b64encode(plain.content.data).decode()
    again = read("publish", {"channel": "room", "data": None, "b64data": encoded})
    assert isinstance(again, requests.Publish)
    assert again == plain


def test_everything_that_can_be_said_is_read() -> None:
    tags = {"a": "b"}
    params: dict[str, Any] = {"data": [1], "tags": tags, "idempotency_key": "k"}
    content = requests.Content(b"[1]", True, b'{"a":"b"}', "k")
    assert read("publish", {"channel": "c", **params}) == requests.Publish("c", content)
    assert read("broadcast", {"channels": ["c"], **params}) == requests.Broadcast(["c"], content)
    target = Target("u", "id", "s")
    whom = {"user": "u", "client": "id", "session": "s"}
    since = {"epoch": "e", "offset": 3}
    subscribe = {**whom, "channel": "c", "info": {}, "data": 1, "expire_at": LATER}
    assert read("subscribe", {**subscribe, "recover_since": since}) == requests.Subscribe(
        target, "c", b"{}", b"1", LATER, Position("e", 3)
    )
    assert read("unsubscribe", {**whom, "channel": "c"}) == requests.Unsubscribe(target, "c")
    why = {"code": 4000, "reason": "r"}
    assert read("disconnect", {**whom, "whitelist": ["w"], "disconnect": why}) == (
        requests.Disconnect(target, ["w"], 4000, "r")
    )
    refresh = {**whom, "expired": True, "expire_at": LATER, "info": 1}
    assert read("refresh", refresh) == requests.Refresh(target, True, LATER, b"1")
    over = {"user": "u", "expire_at": 1000}
    assert read("refresh", over) == requests.Refresh(Target("u"), True, 0, b"")
    history = {"channel": "c", "limit": -1, "since": since, "reverse": True}
    assert read("history", history) == requests.History("c", -1, Position("e", 3), True)
    assert read("channels", {}) == requests.Channels("*")
    assert read("batch", {"commands": [{"info": {}}], "parallel": True}) == requests.Batch(
        [("info", {})], True
    )


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("info", []),
        ("info", {"chanel": 1}),
        ("publish", {"channel": "c"}),
        ("publish", {"data": 1}),
        ("publish", {"channel": "c", "data": 1, "skip_history": "yes"}),
        ("publish", {"channel": "c", "data": 1, "b64data": "MQ=="}),
        ("publish", {"channel": "c", "b64data": "*"}),
        ("publish", {"channel": "c", "data": 1, "tags": {str(n): "" for n in range(9)}}),
        ("publish", {"channel": "c", "data": 1, "tags": {"a": "b" * 2050}}),
        ("publish", {"channel": "c", "data": 1, "idempotency_key": "k" * 256}),
        ("broadcast", {"channels": [1], "data": 1}),
        ("subscribe", {"channel": "c"}),
        ("subscribe", {"user": "u", "channel": "c", "expire_at": 1000}),
        ("subscribe", {"user": "u", "channel": "c", "recover_since": {"offset": -1}}),
        ("subscribe", {"user": "u", "channel": "c", "recover_since": {"ofset": 1}}),
        ("disconnect", {"user": "u", "disconnect": {"code": 2999}}),
        ("disconnect", {"user": "u", "disconnect": {"code": 5000}}),
        ("disconnect", {"user": "u", "disconnect": {"reason": "ñ" * 62}}),
        ("history", {"channel": "c", "limit": True}),
        ("history", {"channel": "c", "limit": -2}),
        ("channels", {"pattern": "[a]"}),
        ("batch", {"commands": [{"info": {}, "rpc": {}}]}),
    ],
)
def test_what_is_wrong_is_refused(method: str, params: object) -> None:
    with pytest.raises(BadRequest):
        read(method, params)


@pytest.mark.parametrize("field", ["version", "version_epoch"])
def test_what_is_not_done_is_refused(field: str) -> None:
    with pytest.raises(NotSupported, match=field):
        read("publish", {"channel": "c", "data": 1, field: 1})
    assert read("publish", {"channel": "c", "data": 1, field: 0, "delta": True})


def test_a_subscription_may_do_otherwise_than_its_namespace() -> None:
    override = {"presence": {"value": False}, "join_leave": {}, "force_recovery": None}
    request = read("subscribe", {"user": "u", "channel": "c", "override": override})
    assert isinstance(request, requests.Subscribe)
    assert request.override == Override(presence=False, join_leave=False)


@pytest.mark.parametrize(
    "override",
    [{"presence": True}, {"presence": {"value": 1}}, {"x": {}}, {"presence": {"x": 1}}, [1]],
)
def test_an_override_that_there_is_not_is_refused(override: object) -> None:
    with pytest.raises(BadRequest):
        read("subscribe", {"user": "u", "channel": "c", "override": override})


def test_an_epoch_that_cannot_be_ours_matches_nothing() -> None:
    request = read("history", {"channel": "c", "since": {"epoch": "a b", "offset": 1}})
    assert request == requests.History("c", 0, Position("_", 1))


def test_a_method_that_there_is_not_is_told_apart() -> None:
    with pytest.raises(KeyError):
        read("nonsense", {})
