"""Which keys are taken, what they sign, and what is shown of them."""

import ast
import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import gateway
from gateway.core.tokens import PUBLIC_KEY_ALGORITHMS, PublicKey, SigningKey
from gateway.core.tokens.keys import KeySet
from tests.unit.core.tokens.forging import (
    FAMILIES,
    NOW,
    OLD_SECRET,
    SECRET,
    PrivateKey,
    as_json,
    as_jwk,
    ec_key,
    forge,
    make_issuer,
    make_verifier,
    private_pem,
    public_pem,
    rsa_key,
)


@pytest.mark.parametrize("algorithm", ["none", "PS256", "ES512", "EdDSA", "HS1", "hs256", ""])
def test_a_key_cannot_be_for_another_kind_of_algorithm(algorithm: str) -> None:
    """S02"""
    with pytest.raises(ValueError, match="the algorithm is one of"):
        SigningKey("k2", SECRET, algorithm=algorithm)
    with pytest.raises(ValueError, match="the algorithm is one of"):
        PublicKey.from_pem("k2", public_pem(rsa_key()), algorithm)


def test_a_secret_beyond_ascii_signs_with_its_own_bytes() -> None:
    """Otherwise a token of another issuer with the same secret would not verify here."""
    secret = "ein-Schlüssel-für-Tests-mit-Umlauten-äöüß-0123".encode()
    verifier = make_verifier(keys=[SigningKey("k2", secret)])
    assert verifier.verify(forge(secret=secret)).subject == "alice"


@pytest.mark.parametrize("secret", [b"", b"short", b"0123456789abcdef" + b"0123456789abcde"])
def test_a_key_shorter_than_its_digest_is_refused(secret: bytes) -> None:
    """S08"""
    with pytest.raises(ValueError, match="at least 32 bytes"):
        SigningKey("k", secret)


@pytest.mark.parametrize("secret", [b"a" * 64, bytes(64), b"secret" * 10, b"changeme" * 4])
def test_a_key_that_nobody_rolled_dice_for_is_refused(secret: bytes) -> None:
    """S08"""
    with pytest.raises(ValueError, match="random"):
        SigningKey("k", secret)


@pytest.mark.parametrize(
    "make",
    [lambda: SigningKey("k2", SECRET), make_issuer, make_verifier],
    ids=["key", "issuer", "verifier"],
)
def test_no_printed_object_shows_a_secret(make: Callable[[], object]) -> None:
    """S51"""
    thing = make()
    for text in (repr(thing), str(thing), f"{thing}"):
        assert SECRET.decode() not in text
        assert base64.b64encode(SECRET).decode() not in text
    assert repr(SigningKey("k2", SECRET)) == "SigningKey(kid='k2')"


# Key pairs.

PAIRS = {"RS256": rsa_key(), "ES256": ec_key(), "ES384": ec_key("ES384")}


@pytest.mark.parametrize("algorithm", PUBLIC_KEY_ALGORITHMS)
def test_a_key_pair_signs_with_one_half_and_verifies_with_the_other(algorithm: str) -> None:
    pair = rsa_key() if algorithm.startswith("RS") else ec_key(algorithm)
    signing = SigningKey("k", private_pem(pair), algorithm=algorithm)
    verifying = PublicKey.from_pem("k", public_pem(pair), algorithm)
    signature = signing.sign(b"data")
    for key in (signing, verifying):
        assert key.verify(algorithm, b"data", signature)
        assert not key.verify(algorithm, b"date", signature)


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_the_same_data_has_the_same_signature(algorithm: str) -> None:
    """S16: what is issued again for a repeated request has the same text."""
    secret = SECRET
    if algorithm in PUBLIC_KEY_ALGORITHMS:
        secret = private_pem(rsa_key() if algorithm.startswith("RS") else ec_key(algorithm))
    signing = SigningKey("k", secret, algorithm=algorithm)
    assert signing.sign(b"data") == signing.sign(b"data") != signing.sign(b"date")


@pytest.mark.parametrize("algorithm", PUBLIC_KEY_ALGORITHMS)
def test_a_key_is_of_its_algorithms_kind_and_size(algorithm: str) -> None:
    """S02: RS512 with an EC key, or ES256 on another curve, is an error of configuration."""
    strangers = [
        pair
        for own, pair in PAIRS.items()
        if own != algorithm and not (own == "RS256" and algorithm.startswith("RS"))
    ]
    assert strangers
    for pair in [*strangers, ec.generate_private_key(ec.SECP521R1())]:
        with pytest.raises(ValueError, match="is not for"):
            SigningKey("k", private_pem(pair), algorithm=algorithm)
        with pytest.raises(ValueError, match="is not for"):
            PublicKey.from_pem("k", public_pem(pair), algorithm)


def test_a_short_rsa_key_is_refused() -> None:
    """S08"""
    short = rsa_key("short", 1024)
    with pytest.raises(ValueError, match="2048 to 8192 bits"):
        SigningKey("k", private_pem(short), algorithm="RS256")
    with pytest.raises(ValueError, match="2048 to 8192 bits"):
        PublicKey.from_pem("k", public_pem(short), "RS256")


@pytest.mark.parametrize(
    "secret",
    [
        public_pem(rsa_key()),
        public_pem(ec_key()),
        private_pem(rsa_key()),
        b"\n  " + public_pem(rsa_key()),
        b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDfoo me@example",
        as_json(as_jwk(rsa_key())),
    ],
)
def test_half_of_a_key_pair_is_no_secret(secret: bytes) -> None:
    """S02: with HS256 and our public key as the secret, everybody could sign."""
    with pytest.raises(ValueError, match="not one half of a key pair"):
        SigningKey("k", secret)


@pytest.mark.parametrize("pem", [b"", b"canary7531", SECRET, public_pem(rsa_key()), b"\0" * 100])
def test_what_is_no_private_key_is_refused_without_repeating_it(pem: bytes) -> None:
    """S51"""
    with pytest.raises(ValueError, match="not a private key in PEM") as refusal:
        SigningKey("k", pem, algorithm="RS256")
    assert "canary" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_a_private_key_with_a_password_or_of_another_kind_is_refused() -> None:
    locked = rsa_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    with pytest.raises(ValueError, match="without a password"):
        SigningKey("k", locked, algorithm="RS256")
    with pytest.raises(ValueError, match="an RSA or an EC key"):
        SigningKey("k", private_pem(Ed25519PrivateKey.generate()), algorithm="ES256")


@pytest.mark.parametrize("pem", [b"", SECRET, private_pem(rsa_key())])
def test_what_is_no_public_key_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match="not a public key in PEM"):
        PublicKey.from_pem("k", pem, "RS256")
    with pytest.raises(ValueError, match="an RSA or an EC key"):
        PublicKey.from_pem("k", public_pem(Ed25519PrivateKey.generate()), "ES256")


@pytest.mark.parametrize("kid", ["", "a\nb", "x" * 151, "\x1b[31m"])
def test_a_name_that_could_break_a_log_line_is_no_kid(kid: str) -> None:
    """S37"""
    with pytest.raises(ValueError, match="short text"):
        SigningKey(kid, SECRET)


# What others may see.


def test_only_public_members_of_the_valid_keys_are_shown() -> None:
    """S51: for /.well-known/jwks.json; a secret has no public half."""
    keys = KeySet(
        [
            SigningKey("secret", SECRET),
            SigningKey("rsa", private_pem(rsa_key()), algorithm="RS512"),
            PublicKey.from_pem("ec", public_pem(ec_key()), "ES256", verify_until=NOW + 1),
            PublicKey.from_pem("over", public_pem(ec_key("ES384")), "ES384", verify_until=NOW),
        ]
    )
    assert keys.jwks(NOW) == {
        "keys": [
            as_jwk(rsa_key(), "rsa", alg="RS512"),
            as_jwk(ec_key(), "ec", alg="ES256"),
        ]
    }
    assert KeySet([SigningKey("secret", SECRET)]).jwks(NOW) == {"keys": []}


def test_no_two_keys_have_the_same_name() -> None:
    """S10"""
    with pytest.raises(ValueError, match="a name of its own"):
        KeySet([SigningKey("k", SECRET), SigningKey("k", OLD_SECRET)])


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_no_printed_key_shows_its_private_half(pair: PrivateKey) -> None:
    """S51"""
    algorithm = next(name for name, other in PAIRS.items() if other is pair)
    key = SigningKey("k", private_pem(pair), algorithm=algorithm)
    assert repr(key) == str(key) == "SigningKey(kid='k')"


# Rules about our own source.


def trees() -> dict[str, ast.Module]:
    root = Path(gateway.__file__).parent
    return {
        path.relative_to(root).as_posix(): ast.parse(path.read_text())
        for path in root.rglob("*.py")
    }


def test_only_one_module_imports_the_jwt_library() -> None:
    """S02: there is one place where a token can be decoded."""
    importers = {
        name
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(a.name.startswith("jose") for a in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jose"))
    }
    assert importers == {"core/tokens/keys.py"}


def test_the_library_is_asked_only_for_keys_and_signatures() -> None:
    """S02: its own decoding takes any algorithm where none is named, and much more."""
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(trees()["core/tokens/keys.py"])
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in {"jwk", "jws", "jwt", "jwe"}
    }
    assert used == {"jwk.construct"}


def test_the_package_ecdsa_is_installed_but_never_imported() -> None:
    """S59: python-jose brings it along, and it has a flaw that nobody will mend."""
    script = "import sys, gateway.app; print(sorted({'ecdsa', 'rsa'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
