"""What a running gateway takes on from settings that changed, and what it says of the rest."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.app import build
from gateway.configuration import ConfigurationError, load
from gateway.core.server_api.callers import digest_of
from gateway.domain.errors import Crowded, InvalidToken, LimitReached
from gateway.domain.namespaces import Anyone
from gateway.reload import RELOADABLE, Reload
from gateway.replica import Gateway
from gateway.settings import NamespaceSettings, Settings
from tests.support.servers import SECRET

pytestmark = pytest.mark.usefixtures("no_settings")


class Reloading:
    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.gateway: Gateway = build(load(jwt_secret=SECRET))
        self.reload = Reload(self.gateway, load(jwt_secret=SECRET), self._read)

    def _read(self) -> Settings:
        return load(**{"jwt_secret": SECRET} | self.given)

    def __call__(self, **given: Any) -> None:
        self.given = given
        self.reload()


@pytest.fixture
def reload() -> Iterator[Reloading]:
    level = logging.getLogger().level
    yield Reloading()
    logging.getLogger().setLevel(level)


def test_everything_that_is_agreed_about_channels_can_be_changed() -> None:
    assert Settings.model_fields.keys() >= RELOADABLE
    for name in NamespaceSettings.model_fields:
        assert RELOADABLE & {name, f"{name}_roles"}


def test_what_changed_is_in_force_and_what_went_is_as_by_default(reload: Reloading) -> None:
    gateway = reload.gateway
    reload(
        publish_roles="any",
        history_messages=3,
        namespaces={"club": {"subscribe": "nobody"}},
        unknown_namespaces="refuse",
        allowed_origins="https://app.example",
        publish_rate_max=1,
        sockets_max=5,
        handshakes_per_second_max=1,
        handshakes_burst_max=1,
        log_level="warning",
    )
    gateway.door.room.check()
    with pytest.raises(Crowded):
        gateway.door.room.check()
    everywhere = gateway.namespaces.of("news")
    assert (everywhere.publish, everywhere.history_length) == (Anyone.ANY, 3)
    assert gateway.namespaces.of("club:a").subscribe is Anyone.NOBODY
    assert gateway.namespaces.refuses("other:a")
    assert gateway.door.allowed_origins == {"https://app.example"}
    assert gateway.door.room.sockets_max == 5
    assert logging.getLogger().level == logging.WARNING
    gateway.publish_rate.spend("alice", 2)
    with pytest.raises(LimitReached):
        gateway.publish_rate.spend("alice", 1)

    reload()
    assert gateway.namespaces.of("club:a") == gateway.namespaces.of("news")
    assert not gateway.namespaces.refuses("other:a")
    assert gateway.door.allowed_origins == set()
    gateway.publish_rate.spend("alice", 1000)


def test_keys_of_the_server_api_come_and_go(reload: Reloading) -> None:
    keys, named = reload.gateway.api_keys, {"name": "shop", "key_sha256": digest_of("k").hex()}
    reload(api_keys=[named], api_key="first " + SECRET)
    assert keys.caller("k").sees("anything")
    reload(api_keys=[{**named, "channels": ["shop:*"]}], api_key="second " + SECRET)
    assert not keys.caller("k").sees("anything")
    assert keys.caller("second " + SECRET).name == "GATEWAY_API_KEY"
    with pytest.raises(InvalidToken):
        keys.caller("first " + SECRET)
    reload()
    for gone in ("k", "second " + SECRET):
        with pytest.raises(InvalidToken):
            keys.caller(gone)


def test_what_waits_for_a_restart_is_named_until_then(
    reload: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        caplog.clear()
        reload(port=1, jwt_secret="another" + SECRET, sockets_max=5)
        (warning,) = [each.message for each in caplog.records if each.levelname == "WARNING"]
        assert warning.endswith(": GATEWAY_PORT, GATEWAY_JWT_SECRET")
    caplog.clear()
    reload(sockets_max=5)
    assert [each.levelname for each in caplog.records] == ["INFO"]
    assert reload.gateway.door.room.sockets_max == 5


def test_what_cannot_be_used_changes_nothing(
    reload: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    reload(sockets_max=5)
    caplog.clear()
    reload(sockets_max=6, namespaces={"a b": {}})
    (record,) = caplog.records
    assert (record.levelname, "nothing has changed" in record.message) == ("ERROR", True)
    assert reload.gateway.door.room.sockets_max == 5
    with pytest.raises(ConfigurationError):
        reload._read()
