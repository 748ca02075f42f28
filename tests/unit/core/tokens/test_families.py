"""The attacks that do not depend on the algorithm, and those on the choice of it."""

import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tokens import PublicKey, SigningKey
from tests.unit.core.tokens.forging import (
    CLAIMS,
    FAMILIES,
    HEADER,
    NOW,
    as_json,
    base64url,
    ec_key,
    family,
    make_verifier,
    public_pem,
    refusal_of,
    rsa_key,
    without,
)

every_family = pytest.mark.parametrize("algorithm", FAMILIES)
PAIRED = tuple(name for name in FAMILIES if not name.startswith("HS"))
every_pair = pytest.mark.parametrize("algorithm", PAIRED)

VALID = {algorithm: family(algorithm).forge() for algorithm in FAMILIES}


@every_family
def test_a_valid_token_is_accepted(algorithm: str) -> None:
    assert family(algorithm).verifier().verify(VALID[algorithm]).subject == "alice"


@every_family
def test_an_edited_token_is_refused(algorithm: str) -> None:
    """S03: one token has one text."""
    valid, verifier = VALID[algorithm], family(algorithm).verifier()
    signed, _, signature = valid.rpartition(".")
    header, _, claims = signed.partition(".")
    for token in [
        valid + "=",
        valid + "==",
        valid + "\n",
        valid + " ",
        valid + "A",
        valid[:-1],
        valid + ".",
        signed + ".",
        signed,
        f"{claims}.{header}.{signature}",
        f"{header}.{claims}.{signature[::-1]}",
        f"{header}.{claims}.{signature}{signature}",
        f"{header}=.{claims}.{signature}",
        f"{header}.{claims}.{base64url(bytes(len(signature) * 3 // 4))}",
        f"{header}.{base64url(as_json(CLAIMS | {'role': 'admin'}))}.{signature}",
        f"{base64url(b'[' * 1000)}.{claims}.{signature}",
    ]:
        assert "valid" in refusal_of(token, verifier)


@every_family
@given(data=st.data())
def test_no_mutation_of_a_valid_token_is_accepted(algorithm: str, data: st.DataObject) -> None:
    """S03"""
    valid = VALID[algorithm]
    start = data.draw(st.integers(0, len(valid)))
    removed = data.draw(st.integers(0, 3))
    put = data.draw(st.text(st.characters(codec="ascii"), max_size=3))
    edited = valid[:start] + put + valid[start + removed :]
    if edited != valid:
        refusal_of(edited, family(algorithm).verifier())


@every_family
@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp", "iat", "jti"])
def test_every_claim_is_required(algorithm: str, name: str) -> None:
    """S05"""
    one = family(algorithm)
    refusal_of(one.forge(claims=without(CLAIMS, name)), one.verifier())
    refusal_of(one.forge(claims=CLAIMS | {name: None}), one.verifier())


@every_family
@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": None},
        {"typ": "rt+jwt"},
        {"typ": "JWT"},
        {"kid": "k3"},
        {"kid": None},
        {"kid": ["k2"]},
        {"jku": "https://127.0.0.1:9/keys.json"},
        {"x5u": "https://127.0.0.1:9/cert.pem"},
        {"jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"]},
        {"b64": False},
    ],
    ids=str,
)
def test_a_header_that_asks_for_anything_else_is_refused(
    algorithm: str, changes: dict[str, Any]
) -> None:
    """S02, S06, S07: signed with the right key, and refused nevertheless."""
    one = family(algorithm)
    refusal_of(one.forge(changes), one.verifier())


@every_family
def test_each_key_verifies_under_its_own_algorithm_alone(algorithm: str) -> None:
    """S02: the token does not choose how it is verified."""
    one = family(algorithm)
    for other in FAMILIES:
        if other == algorithm:
            continue
        # The right key with another name of an algorithm, and another key's correct signature.
        refusal_of(one.forge({"alg": other}), one.verifier())
        refusal_of(family(other).forge(), one.verifier())
        refusal_of(family(other).forge({"alg": algorithm}), one.verifier())


@every_family
def test_another_key_of_the_same_kind_signs_in_vain(algorithm: str) -> None:
    refusal_of(family(algorithm, "foreign").forge(), family(algorithm).verifier())


@every_pair
@pytest.mark.parametrize(("hs", "digest"), [("HS256", "sha256"), ("HS512", "sha512")])
def test_a_public_key_is_never_taken_for_a_secret(algorithm: str, hs: str, digest: str) -> None:
    """S02: everybody knows it, and could sign with it."""
    pair: Any = rsa_key() if algorithm.startswith("RS") else ec_key(algorithm)
    verifier = family(algorithm).verifier()
    der = pair.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for known in (public_pem(pair), public_pem(pair).strip(), der):
        for alg in (hs, algorithm):
            header, claims = HEADER | {"alg": alg}, as_json(CLAIMS)
            signed = f"{base64url(as_json(header))}.{base64url(claims)}"
            mac = hmac.digest(known, signed.encode(), digest)
            refusal_of(f"{signed}.{base64url(mac)}", verifier)


def test_keys_of_several_algorithms_stand_side_by_side() -> None:
    """S10: a gateway may change its algorithm without ending anybody's session."""
    old = SigningKey("k1", b"an-older-secret-for-tests-9876543210-zyxwvutsrqponm", NOW + 100)
    verifier = make_verifier(keys=[old, family("ES256").key])
    assert verifier.verify(VALID["ES256"]).subject == "alice"
    header = {"alg": "HS256", "kid": "k1"}
    signed = f"{base64url(as_json(HEADER | header))}.{base64url(as_json(CLAIMS))}"
    assert verifier.verify(f"{signed}.{base64url(old.sign(signed.encode()))}").subject == "alice"
    # Each under its own name and with its own algorithm only.
    refusal_of(family("ES256").forge({"kid": "k1"}), verifier)
    refusal_of(family("HS256").forge(), verifier)


def test_a_signature_of_rsa_in_another_padding_is_refused() -> None:
    """S02"""
    signed = VALID["RS256"].rpartition(".")[0]
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    signature = rsa_key().sign(signed.encode(), pss, hashes.SHA256())
    refusal_of(f"{signed}.{base64url(signature)}", family("RS256").verifier())


def test_a_number_beyond_the_modulus_is_no_signature_of_rsa() -> None:
    """S03: s and s + n are the same modulo n."""
    signed, _, _ = VALID["RS256"].rpartition(".")
    modulus = rsa_key().public_key().public_numbers().n
    number = int.from_bytes(family("RS256").sign(signed.encode()), "big") + modulus
    for size in (256, 257):
        if number.bit_length() <= size * 8:
            signature = base64url(number.to_bytes(size, "big"))
            refusal_of(f"{signed}.{signature}", family("RS256").verifier())


def test_a_signature_in_der_or_with_zeros_is_refused() -> None:
    """S03; and (0, 0) once satisfied a well-known library."""
    signed, _, _ = VALID["ES256"].rpartition(".")
    der = ec_key().sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
    for signature in (der, bytes(64), bytes(63) + b"\1", b"\xff" * 64, bytes(96)):
        refusal_of(f"{signed}.{base64url(signature)}", family("ES256").verifier())


def test_the_twin_of_an_ecdsa_signature_names_the_same_token() -> None:
    """S04: (r, s) and (r, n - s) are both right by design, so nothing is keyed by the text."""
    signed, _, _ = VALID["ES256"].rpartition(".")
    signature = family("ES256").sign(signed.encode())
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = signature[:32] + (order - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    verifier = family("ES256").verifier()
    one, other = (f"{signed}.{base64url(text)}" for text in (signature, twin))
    assert one != other
    assert verifier.verify(one).token_id == verifier.verify(other).token_id == "token-1"


@every_pair
def test_a_retired_key_pair_verifies_with_its_public_half_until_its_end(algorithm: str) -> None:
    """S10"""
    pair: Any = rsa_key() if algorithm.startswith("RS") else ec_key(algorithm)
    retired = PublicKey.from_pem("k2", public_pem(pair), algorithm, verify_until=NOW + 10)
    assert make_verifier(NOW + 9, keys=[retired]).verify(VALID[algorithm]).subject == "alice"
    assert "retired" in refusal_of(VALID[algorithm], make_verifier(NOW + 10, keys=[retired]))
