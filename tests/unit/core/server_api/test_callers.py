"""What a key or a token opens."""

import pytest

from gateway.core.server_api.callers import ApiKey, ApiKeys, caller_with_token, digest_of
from gateway.domain.errors import Denied, InvalidToken
from gateway.domain.namespaces import Anyone, Namespace, Namespaces
from gateway.domain.principal import Action, Permissions, Principal

KEYS = ApiKeys(
    [
        ApiKey("all", digest_of("first")),
        ApiKey("shop", digest_of("second"), channels=("shop:*",)),
        ApiKey("watch", digest_of("third"), methods=frozenset({"info"})),
        ApiKey("both", digest_of("fourth"), frozenset({"channels", "publish"}), ("shop:*",)),
    ]
)


def principal(*roles: str, grants: dict[Action, tuple[str, ...]] | None = None) -> Principal:
    return Principal("paula", "t", 0, 0, frozenset(roles), grants or {})


@pytest.mark.parametrize("text", ["", "firs", "first ", "FIRST", "all", digest_of("first").hex()])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        KEYS.caller(text)


def test_every_key_is_found_by_itself() -> None:
    names = [KEYS.caller(text).name for text in ("first", "second", "third", "fourth")]
    assert names == ["all", "shop", "watch", "both"]


def test_a_key_without_limits_is_for_everything() -> None:
    caller = KEYS.caller("first")
    for method in ("publish", "disconnect", "info", "batch"):
        caller.require(method)
    caller.require_channel("any:room")


def test_a_key_for_channels_does_not_reach_past_them() -> None:
    caller = KEYS.caller("second")
    caller.require("history")
    caller.require_channel("shop:1")
    with pytest.raises(Denied, match="shop is for other channels"):
        caller.require_channel("room")
    with pytest.raises(Denied, match="disconnect is about none"):
        caller.require("disconnect")


def test_a_key_for_methods_is_for_no_other() -> None:
    caller = KEYS.caller("third")
    caller.require("info")
    with pytest.raises(Denied, match="watch may not call publish"):
        caller.require("publish")
    KEYS.caller("fourth").require("channels")  # it is named


def test_a_token_is_for_publishing_and_an_administrator_s_for_everything() -> None:
    publisher = caller_with_token(principal("publisher"))
    publisher.require("broadcast")
    with pytest.raises(Denied):
        publisher.require("history")
    caller_with_token(principal("admin")).require("disconnect")
    limited = caller_with_token(principal("admin", grants={Action.SUBSCRIBE: ("news.*",)}))
    with pytest.raises(Denied):
        limited.require_channel("room")
    with pytest.raises(Denied):
        limited.require("disconnect")


def test_a_backend_is_no_user_and_stays_in_its_channels() -> None:
    nobody = Namespace(subscribe=Anyone.NOBODY, publish=Anyone.NOBODY)
    permissions = Permissions(Namespaces(nobody, {"shop": nobody}, unknown_refused=True))
    everything, shop = KEYS.caller("first").principal, KEYS.caller("second").principal
    for action in Action:
        for channel in ("room", "$room", "room#alice"):
            assert permissions.decide(everything, action, channel).allowed
        assert permissions.decide(shop, action, "shop:1").allowed
        assert not permissions.decide(shop, action, "room").allowed
        assert not permissions.decide(everything, action, "unknown:room").allowed
        assert not permissions.decide(principal("admin"), action, "room").allowed
