"""Keys for the server API, made on the command line."""

import hashlib
import json
import tomllib

from gateway.configuration import load
from tests.unit.cli.running import run


def test_what_is_printed_admits_the_key_and_shows_it_once() -> None:
    result = run("api-key", "shop", "--method", "publish", "--channel", "shop:*")
    assert result.exit_code == 0
    key = result.stdout.splitlines()[0].rpartition(" ")[2]
    assert result.stdout.count(key) == 1
    (section,) = tomllib.loads(result.stdout)["api_keys"]
    assert section == {
        "name": "shop",
        "key_sha256": hashlib.sha256(key.encode()).hexdigest(),
        "methods": ["publish"],
        "channels": ["shop:*"],
    }
    (admitted,) = load(env_file=None, api_keys=[section]).api_keys
    assert admitted.name == "shop"


def test_programs_get_json_and_each_key_is_another() -> None:
    first, second = (json.loads(run("api-key", "all", "--json").stdout) for _ in range(2))
    assert first.keys() == {"key", "name", "key_sha256"}
    assert first["key"] != second["key"]
    assert len(first["key"]) >= 43


def test_a_mistake_is_said_and_nothing_is_made() -> None:
    for arguments in (["a b"], ["shop", "--method", "publisch"], ["shop", "--channel", "a b"]):
        result = run("api-key", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr
