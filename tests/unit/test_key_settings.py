"""Keys in the settings: which are taken, which are refused, and what is made of them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.configuration import ConfigurationError, describe, load
from gateway.domain.errors import InvalidToken, Unavailable
from gateway.signing import make_issuer, make_keepers, make_verifier, with_secret
from tests.unit.core.tokens.forging import as_jwk, as_jwks, ec_key, private_pem, public_pem, rsa_key

pytestmark = pytest.mark.usefixtures("no_settings")

SECRET = "a-secret-for-tests-only-0123456789-abcdefghijklmnop"
OLD_SECRET = "an-older-secret-for-tests-9876543210-zyxwvutsrqponm"
CANARY = "canary7531"
FAR = 4_000_000_000

Environ = Callable[..., None]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Environ:
    """Sets GATEWAY_ names; what is not a text is written in JSON."""

    def set_all(**values: Any) -> None:
        for name, value in values.items():
            text = value if isinstance(value, str) else json.dumps(value)
            monkeypatch.setenv(f"GATEWAY_{name.upper()}", text)

    return set_all


@pytest.fixture
def private_key(tmp_path: Path) -> str:
    path = tmp_path / "private.pem"
    path.write_bytes(private_pem(rsa_key()))
    return str(path)


@pytest.fixture
def public_key(tmp_path: Path) -> str:
    path = tmp_path / "public.pem"
    path.write_bytes(public_pem(rsa_key()))
    return str(path)


@pytest.fixture
def jwks(tmp_path: Path) -> str:
    path = tmp_path / "jwks.json"
    path.write_bytes(as_jwks(as_jwk(ec_key())))
    return str(path)


def refusal(**overrides: Any) -> str:
    with pytest.raises(ConfigurationError) as error:
        load(**overrides)
    text = str(error.value)
    assert len(text.splitlines()) == 1
    assert CANARY not in text
    return text


# Our own key.


def test_a_private_key_signs_and_its_public_half_is_shown(
    environ: Environ, private_key: str
) -> None:
    environ(jwt_algorithm="RS256", jwt_private_key_file=private_key, jwt_kid="2026")
    settings = load()
    verifier = make_verifier(settings)
    token = make_issuer(settings).issue("alice", lifetime_seconds=60)
    assert verifier.verify(token).subject == "alice"
    assert verifier.jwks() == {"keys": [as_jwk(rsa_key(), "2026", alg="RS256")]}
    assert with_secret(settings) is settings
    assert settings.has_signing_key


def test_a_private_key_is_enough_in_production(environ: Environ, private_key: str) -> None:
    """S08"""
    environ(jwt_algorithm="RS256", jwt_private_key_file=private_key, env="production")
    assert with_secret(load()).jwt_secret is None


def test_the_algorithm_and_the_key_belong_together(environ: Environ, private_key: str) -> None:
    """S02"""
    environ(jwt_secret=SECRET)
    for algorithm in ("RS256", "ES384"):
        assert "RS* and ES* sign with a private key" in refusal(jwt_algorithm=algorithm)
    assert "HS* with jwt_secret" in refusal(jwt_private_key_file=Path(private_key))


def test_a_key_file_that_is_not_there_is_refused() -> None:
    text = refusal(jwt_algorithm="RS256", jwt_private_key_file="/nowhere/key.pem")
    assert text == "GATEWAY_JWT_PRIVATE_KEY_FILE: /nowhere/key.pem is not a file"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CANARY.encode(), "not a private key in PEM without a password"),
        (private_pem(rsa_key("short", 1024)), "an RSA key has 2048 to 8192 bits"),
        (private_pem(ec_key()), "an EC key on secp256r1 is not for RS256"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_refused_in_one_line(
    environ: Environ, tmp_path: Path, content: bytes, reason: str
) -> None:
    """S51"""
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    environ(jwt_algorithm="RS256", jwt_private_key_file=str(path))
    for use in (with_secret, make_issuer, make_verifier):
        with pytest.raises(ConfigurationError) as error:
            use(load())
        assert str(error.value) == f"GATEWAY_JWT_PRIVATE_KEY_FILE: {path}: {reason}"


# Retired keys.


def test_a_gateway_can_change_from_a_secret_to_a_key_pair_and_back(
    environ: Environ, private_key: str, public_key: str
) -> None:
    """S10: nobody has to log in anew."""
    environ(jwt_secret=SECRET)
    old = make_issuer(load()).issue("alice", lifetime_seconds=600)
    environ(
        jwt_algorithm="RS256",
        jwt_private_key_file=private_key,
        jwt_kid="2",
        jwt_retired_keys=[
            {"kid": "1", "secret": SECRET, "algorithm": "HS256", "verify_until": FAR}
        ],
    )
    new = make_issuer(load()).issue("alice", lifetime_seconds=600)
    for token in (old, new):
        assert make_verifier(load()).verify(token).subject == "alice"
    assert [key["kid"] for key in make_verifier(load()).jwks()["keys"]] == ["2"]

    retired = {"kid": "2", "public_key_file": public_key, "verify_until": FAR}
    environ(
        jwt_algorithm="HS256",
        jwt_kid="3",
        jwt_retired_keys=[retired | {"algorithm": "RS256"}],
    )
    verifier = make_verifier(load_without_private_key())
    assert verifier.verify(new).subject == "alice"
    assert [key["kid"] for key in verifier.jwks()["keys"]] == ["2"]
    with pytest.raises(InvalidToken):
        verifier.verify(old)


def load_without_private_key() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GATEWAY_JWT_PRIVATE_KEY_FILE")
        return load()


def test_a_retired_key_without_an_algorithm_has_that_of_the_current_one(environ: Environ) -> None:
    environ(
        jwt_secret=SECRET,
        jwt_algorithm="HS512",
        jwt_retired_keys=[{"kid": "old", "secret": OLD_SECRET, "verify_until": FAR}],
    )
    settings = load()
    (key,) = settings.jwt_retired_keys
    assert key.algorithm_or(settings.jwt_algorithm) == "HS512"
    make_verifier(settings)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"secret": None}, "a retired key has a secret or a public_key_file"),
        ({"public_key_file": "pyproject.toml"}, "pyproject.toml is not a file"),
        ({"algorithm": "RS256"}, "a secret is for HS*, not for RS256; say which"),
        ({"algorithm": "none"}, "JWT_RETIRED_KEYS.0.ALGORITHM: "),
        ({"kid": ""}, "JWT_RETIRED_KEYS.0.KID: "),
    ],
)
def test_a_retired_key_that_fits_nothing_is_refused(
    environ: Environ, changes: dict[str, Any], reason: str
) -> None:
    key = {"kid": "old", "secret": OLD_SECRET, "verify_until": FAR}
    environ(jwt_secret=SECRET, jwt_retired_keys=[key | changes])
    assert reason in refusal()


def test_a_retired_public_key_is_for_no_secret_algorithm(environ: Environ, public_key: str) -> None:
    """S02: nothing signed with it as a secret may ever count."""
    key = {"kid": "old", "public_key_file": public_key, "verify_until": FAR}
    environ(jwt_secret=SECRET, jwt_retired_keys=[key])
    assert "a public key is for RS* and ES*, not for HS256" in refusal()
    environ(jwt_retired_keys=[key | {"secret": OLD_SECRET}])
    assert "a secret or a public_key_file" in refusal()


# Other issuers.


def other(**changes: Any) -> list[dict[str, Any]]:
    entry = {
        "issuer": "https://login.example",
        "audience": "us",
        "jwks_url": "https://login.example/jwks.json",
    } | changes
    return [{name: value for name, value in entry.items() if value is not None}]


async def test_an_issuer_with_a_file_of_keys_is_accepted(environ: Environ, jwks: str) -> None:
    environ(
        jwt_secret=SECRET,
        jwt_issuers=other(jwks_url=None, jwks_file=jwks, algorithms=["ES256"]),
    )
    settings = load()
    (keeper,) = make_keepers(settings)
    verifier = make_verifier(settings, keepers=[keeper])
    environ(
        jwt_algorithm="ES256",
        jwt_private_key_file=str(Path(jwks).with_name("ec.pem")),
        jwt_kid="k2",
        jwt_issuer="https://login.example",
        jwt_audience="us",
        jwt_issuers=[],
    )
    Path(jwks).with_name("ec.pem").write_bytes(private_pem(ec_key()))
    token = make_issuer(load()).issue("alice", lifetime_seconds=60)
    with pytest.raises(Unavailable):
        verifier.verify(token)
    assert await keeper.refresh()
    assert verifier.verify(token).subject == "alice"


def test_issuers_are_read_from_the_toml_file(environ: Environ, tmp_path: Path, jwks: str) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        "[[jwt_issuers]]\n"
        'issuer = "https://login.example"\naudience = "us"\nalgorithms = ["RS256", "ES256"]\n'
        'jwks_url = "https://login.example/jwks.json"\n'
        "[[jwt_issuers]]\n"
        f'issuer = "https://other.example"\naudience = "us"\njwks_file = "{jwks}"\n'
    )
    environ(config=str(config))
    settings = load()
    assert [entry.algorithms for entry in settings.jwt_issuers] == [["RS256", "ES256"], ["RS256"]]
    shown = {name: value for name, value, _ in describe(settings)}
    assert shown["GATEWAY_JWT_ISSUERS"] == "https://login.example, https://other.example"
    assert len(make_keepers(settings)) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issuer": None}, "JWT_ISSUERS.0.ISSUER: Field required"),
        ({"audience": None}, "JWT_ISSUERS.0.AUDIENCE: Field required"),
        ({"audience": ""}, "JWT_ISSUERS.0.AUDIENCE: "),
        ({"algorithms": []}, "JWT_ISSUERS.0.ALGORITHMS: "),
        ({"algorithms": ["HS256"]}, "JWT_ISSUERS.0.ALGORITHMS: another issuer signs with RS256"),
        ({"algorithms": ["RS256", "none"]}, "JWT_ISSUERS.0.ALGORITHMS: "),
        ({"jwks_url": None}, "come from a jwks_url or from a jwks_file"),
        ({"jwks_file": __file__}, "come from a jwks_url or from a jwks_file"),
        ({"jwks_url": None, "jwks_file": "/nowhere"}, "/nowhere is not a file"),
        ({"jwks_url": f"http://{CANARY}/keys"}, "written like https://login.example/jwks.json"),
        ({"jwks_url": f"https://{CANARY}:x@a/keys"}, "written like https://"),
        ({"jwks_uri": CANARY}, "JWT_ISSUERS.0.JWKS_URI: no such setting"),
        ({"issuer": "gateway"}, "every issuer needs a name of its own"),
    ],
)
def test_an_issuer_that_cannot_be_trusted_is_refused(
    environ: Environ, changes: dict[str, Any], reason: str
) -> None:
    environ(jwt_issuers=other(**changes))
    assert reason in refusal()


def test_no_issuer_is_named_twice(environ: Environ) -> None:
    environ(jwt_issuers=other() * 2)
    assert "every issuer needs a name of its own" in refusal()


def test_a_verifier_without_the_keepers_of_its_issuers_is_not_made(environ: Environ) -> None:
    """Otherwise their tokens would all be refused, and nobody would know why."""
    environ(jwt_secret=SECRET, jwt_issuers=other())
    with pytest.raises(ValueError, match="shorter"):
        make_verifier(load())


def test_the_http_client_is_imported_only_for_a_url(jwks: str) -> None:
    """Its import costs as much as all the rest of a start."""
    script = """
import json, os, sys
import gateway.app
from gateway.signing import make_keepers
from gateway.configuration import load
def keepers(**source):
    entry = {"issuer": "a", "audience": "us", **source}
    make_keepers(load(env_file=None, jwt_issuers=[entry]))
    return "httpx2" in sys.modules
print(keepers(jwks_file=sys.argv[1]), keepers(jwks_url="https://login.example/keys"))
"""
    command = [sys.executable, "-c", script, jwks]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False True"


# How long tokens live.


def test_an_access_token_lives_no_longer_than_any_token_may(environ: Environ) -> None:
    settings = load()
    assert (settings.access_token_seconds, settings.refresh_token_seconds) == (900, 2_592_000)
    assert settings.refresh_grace_seconds == 10
    environ(jwt_lifetime_seconds_max="600")
    assert "access_token_seconds is at most jwt_lifetime_seconds_max" in refusal()
    assert load(access_token_seconds=600).access_token_seconds == 600
