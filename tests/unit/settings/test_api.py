"""Keys in the settings."""

import json

import pytest

from gateway.configuration import ConfigurationError, describe, load
from gateway.core.server_api.callers import ApiKeys
from gateway.domain.errors import InvalidToken
from gateway.signing import make_api_keys

KEY = "a-key-for-everything-0123456789-abcdefghijkl"
DIGEST = "ab" * 32


def test_a_key_is_long_and_hidden() -> None:
    settings = load(env_file=None, api_key=KEY)
    assert ("GATEWAY_API_KEY", "(hidden)") in [row[:2] for row in describe(settings)]
    for short in ("", "short", "x" * 64):
        with pytest.raises(ConfigurationError, match="GATEWAY_API_KEY"):
            load(env_file=None, api_key=short)


def test_without_a_setting_no_key_is_known() -> None:
    with pytest.raises(InvalidToken):
        ApiKeys(make_api_keys(load(env_file=None))).caller("")


def test_keys_come_as_json_and_are_shown_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [{"name": "shop", "key_sha256": DIGEST, "methods": ["publish"]}]
    monkeypatch.setenv("GATEWAY_API_KEYS", json.dumps(keys))
    settings = load(env_file=None)
    assert ("GATEWAY_API_KEYS", "shop") in [row[:2] for row in describe(settings)]
    assert settings.api_keys[0].methods == ["publish"]


@pytest.mark.parametrize(
    "keys",
    [
        [{"name": "a", "key_sha256": "no hash"}],
        [{"name": "a b", "key_sha256": DIGEST}],
        [{"name": "a", "key_sha256": DIGEST, "methods": ["publisch"]}],
        [{"name": "a", "key_sha256": DIGEST, "methods": []}],
        [{"name": "a", "key_sha256": DIGEST, "channels": ["a b"]}],
        [{"name": "a", "key_sha256": DIGEST, "chanels": ["a"]}],
        [{"name": "a", "key_sha256": DIGEST}, {"name": "b", "key_sha256": DIGEST}],
        [{"name": "a", "key_sha256": DIGEST}, {"name": "a", "key_sha256": "cd" * 32}],
    ],
)
def test_a_key_that_cannot_be_meant_is_refused(keys: object) -> None:
    with pytest.raises(ConfigurationError):
        load(env_file=None, api_keys=keys)
