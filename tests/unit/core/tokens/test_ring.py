"""Which entries of a document of keys are taken, and what is said about the others."""

import logging
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tokens import KeyRing
from gateway.ports.jwks import DOCUMENT_BYTES_MAX
from tests.unit.core.tokens.forging import as_json, as_jwk, as_jwks, base64url, ec_key, rsa_key

RSA, EC = rsa_key("theirs"), ec_key("ES256", "theirs")
SECRET_PART = "canary7531"


def filled(*entries: object) -> KeyRing:
    ring = KeyRing("login.example")
    ring.update(as_jwks(*entries))
    return ring


def algorithms_of(entry: dict[str, Any]) -> frozenset[str]:
    key = filled(entry).find("k2")
    return frozenset() if key is None else key.algorithms


def test_keys_are_found_by_their_name_alone() -> None:
    ring = filled(as_jwk(RSA, "a"), as_jwk(EC, "b"))
    assert len(ring) == 2
    assert ring.find("a") is not None
    for name in ("c", "", "A", "a "):
        assert ring.find(name) is None


@pytest.mark.parametrize(
    ("entry", "algorithms"),
    [
        (as_jwk(RSA), {"RS256", "RS384", "RS512"}),
        (as_jwk(RSA, alg="RS384"), {"RS384"}),
        (as_jwk(EC), {"ES256"}),
        (as_jwk(EC, alg="ES256"), {"ES256"}),
        (as_jwk(ec_key("ES384")), {"ES384"}),
        (as_jwk(RSA, use=None), {"RS256", "RS384", "RS512"}),
        (as_jwk(RSA, key_ops=["verify"]), {"RS256", "RS384", "RS512"}),
        (as_jwk(RSA, x5c=["MIIB"], x5t="abc", unknown=1), {"RS256", "RS384", "RS512"}),
    ],
)
def test_a_key_is_for_its_alg_or_for_all_of_its_kind(
    entry: dict[str, Any], algorithms: set[str]
) -> None:
    """S02: which of them count is the configuration's business."""
    assert algorithms_of(entry) == algorithms


IGNORED: dict[str, tuple[object, str]] = {
    "a text": ("k2", "not an object"),
    "no kid": (as_jwk(RSA, kid=""), "no usable kid"),
    "a number as kid": (as_jwk(RSA) | {"kid": 7}, "no usable kid"),
    "a kid of several lines": (as_jwk(RSA, "a\nb"), "no usable kid"),
    "a secret": ({"kid": "k2", "kty": "oct", "k": base64url(b"x" * 40)}, "kty 'oct'"),
    "a key of another kind": ({"kid": "k2", "kty": "OKP", "crv": "Ed25519"}, "kty 'OKP'"),
    "no kind": (as_jwk(RSA, kty=None), "kty None"),
    "a private RSA key": (as_jwk(RSA, d=SECRET_PART), "holds a private key"),
    "a part of a private key": (as_jwk(RSA, p=SECRET_PART), "holds a private key"),
    "a private EC key": (as_jwk(EC, d=SECRET_PART), "holds a private key"),
    "a secret beside a public key": (as_jwk(RSA, k=SECRET_PART), "holds a private key"),
    "a key for encryption": (as_jwk(RSA, use="enc"), "use is 'enc'"),
    "a key that does not verify": (as_jwk(RSA, key_ops=["encrypt"]), "key_ops"),
    "operations that are no list": (as_jwk(RSA, key_ops="verify"), "key_ops"),
    "a shared algorithm": (as_jwk(RSA, alg="HS256"), "alg 'HS256'"),
    "no algorithm at all": (as_jwk(RSA, alg="none"), "alg 'none'"),
    "an algorithm of another kind": (as_jwk(RSA, alg="ES256"), "not for ES256"),
    "an algorithm of another curve": (as_jwk(EC, alg="ES384"), "not for ES384"),
    "an algorithm that is a list": (as_jwk(RSA, alg=["RS256"]), "alg ['RS256']"),
    "a short RSA key": (as_jwk(rsa_key("short", 1024)), "2048 to 8192 bits"),
    "no modulus": (as_jwk(RSA, n=None), "no usable n"),
    "an empty modulus": (as_jwk(RSA, n=""), "no usable n"),
    "a modulus that is no text": (as_jwk(RSA, n=7), "no usable n"),
    "a modulus in another spelling": (as_jwk(RSA, n="AQAB=="), "not base64url"),
    "a modulus beyond ASCII": (as_jwk(RSA, n="é"), "no usable n"),
    "an exponent of one": (as_jwk(RSA, e="AQ"), "not an RSA key"),
    "an even exponent": (as_jwk(RSA, e="Ag"), "not an RSA key"),
    "a huge exponent": (as_jwk(RSA, e=base64url(b"\1" * 200)), "exponent is too long"),
    "a point beside the curve": (as_jwk(EC, x=base64url(b"\1" * 32)), "not a point"),
    "a short coordinate": (as_jwk(EC, x=base64url(b"\1" * 31)), "the curve's length"),
    "another curve": (as_jwk(EC, crv="secp256k1"), "crv 'secp256k1'"),
    "a curve too many": (as_jwk(ec.generate_private_key(ec.SECP521R1())), "crv 'P-521'"),
    "a curve that is a list": (as_jwk(EC, crv=["P-256"]), "crv ['P-256']"),
}


@pytest.mark.parametrize(("entry", "reason"), IGNORED.values(), ids=IGNORED.keys())
def test_an_entry_that_cannot_be_used_is_ignored_with_its_reason(
    caplog: pytest.LogCaptureFixture, entry: object, reason: str
) -> None:
    """S02, S07: and the others are taken."""
    ring = filled(entry, as_jwk(RSA, "good"))
    assert len(ring) == 1
    assert ring.find("good") is not None
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "entry 0 in the keys of login.example ignored: " in line
    assert reason in line
    assert SECRET_PART not in line
    assert line.isprintable()


def test_of_two_keys_with_one_name_the_first_one_counts(caplog: pytest.LogCaptureFixture) -> None:
    """S07: keys are not tried in turn."""
    ring = filled(as_jwk(RSA), as_jwk(EC))
    key = ring.find("k2")
    assert key is not None
    assert "RS256" in key.algorithms
    assert "another one has the same kid" in caplog.text


def test_an_update_replaces_all_keys() -> None:
    """S10: a key that is listed no longer verifies no longer."""
    ring = filled(as_jwk(RSA, "a"))
    ring.update(as_jwks(as_jwk(EC, "b")))
    assert ring.find("a") is None
    assert ring.find("b") is not None
    ring.update(as_jwks())
    assert len(ring) == 0


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>down for maintenance</html>",
        b'{"keys": null}',
        b'{"keys": {"kid": "a"}}',
        b'{"keys": [',
        b"[" * 5000,
        b'{"keys": [NaN]}',
        b"\xff",
        b" " * (DOCUMENT_BYTES_MAX + 1),
        as_json({"keys": [as_jwk(EC, str(number)) for number in range(101)]}),
    ],
)
def test_what_is_no_document_of_keys_changes_nothing(document: bytes) -> None:
    ring = filled(as_jwk(RSA, "a"))
    with pytest.raises(ValueError, match=r"document of keys"):
        ring.update(document)
    assert ring.find("a") is not None


def test_a_hundred_keys_are_taken() -> None:
    assert len(filled(*(as_jwk(EC, str(number)) for number in range(100)))) == 100


def test_the_same_document_is_read_once(caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise its reasons would fill the log, every few minutes."""
    caplog.set_level(logging.INFO)
    ring = filled({"kid": "x", "kty": "oct"}, as_jwk(RSA))
    lines = len(caplog.records)
    key = ring.find("k2")
    ring.update(as_jwks({"kid": "x", "kty": "oct"}, as_jwk(RSA)))
    assert ring.find("k2") is key
    assert len(caplog.records) == lines
    ring.clear()
    assert len(ring) == 0
    ring.update(as_jwks({"kid": "x", "kty": "oct"}, as_jwk(RSA)))
    assert len(ring) == 1


def test_without_anybody_who_refreshes_an_unknown_key_stays_unknown() -> None:
    assert KeyRing("test").seconds_until_known() is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    st.sampled_from([as_jwk(RSA), as_jwk(EC)]),
    st.dictionaries(
        st.sampled_from(["kid", "kty", "alg", "use", "key_ops", "n", "e", "x", "y", "crv", "d"]),
        values,
        max_size=3,
    ),
)
def test_no_entry_makes_the_ring_stumble(entry: dict[str, Any], changes: dict[str, Any]) -> None:
    assert len(filled(entry | changes)) <= 1
