"""What the header, the key and the times of a token must be."""

import hashlib
import math
import socket
from typing import Any

import pytest

from gateway.core.tokens import SigningKey
from tests.unit.core.tokens.forging import (
    CLAIMS,
    HEADER,
    LEEWAY,
    LIFETIME_MAX,
    NOW,
    OLD_SECRET,
    RETIRED_AT,
    SECRET,
    SIGNED,
    VALID,
    VERIFIER,
    as_json,
    base64url,
    claims_with,
    forge,
    header_with,
    make_verifier,
    refusal_of,
    without,
)

# Algorithms, types and keys.


@pytest.mark.parametrize(
    "algorithm",
    [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "hs256",
        "HS256 ",
        "HS384",
        "HS512",
        "RS256",
        "ES256",
        "PS256",
        "EdDSA",
        "dir",
        "A256KW",
        None,
        256,
        True,
        ["HS256"],
        {"HS256": 1},
    ],
)
def test_another_algorithm_is_refused(algorithm: object) -> None:
    """S02: the token does not choose how it is verified."""
    token = header_with(alg=algorithm)
    for attempt in (token, token.rpartition(".")[0] + "."):
        assert refusal_of(attempt) == "the token is not valid"


def test_a_token_without_an_algorithm_is_refused() -> None:
    refusal_of(forge(header=without(HEADER, "alg")))


@pytest.mark.parametrize(("algorithm", "digest"), [("HS384", "sha384"), ("HS512", "sha512")])
def test_a_correct_signature_of_another_algorithm_is_refused(algorithm: str, digest: str) -> None:
    """S02: signed with the very same secret."""
    refusal_of(forge(header=HEADER | {"alg": algorithm}, digest=digest))
    refusal_of(forge(digest=digest))


@pytest.mark.parametrize("kind", ["rt+jwt", "JWT", "jwt", "AT+JWT", "at+jwt ", "", None, 1, ["at"]])
def test_a_token_of_another_type_is_refused(kind: object) -> None:
    """S06: a refresh token never works as an access token."""
    assert refusal_of(header_with(typ=kind)) == "the token is not an access token"


def test_a_token_without_a_type_is_refused() -> None:
    refusal_of(forge(header=without(HEADER, "typ")))


@pytest.mark.parametrize(
    "kid",
    [
        "k3",
        "",
        "K2",
        "k2 ",
        "../k2",
        "k1\x00",
        "k2' OR '1'='1",
        None,
        2,
        2.0,
        True,
        ["k2"],
        {"k2": 1},
        "/dev/null",
        "http://127.0.0.1/key",
    ],
)
def test_a_token_of_an_unknown_key_is_refused(kid: object) -> None:
    """S07"""
    assert refusal_of(header_with(kid=kid)) == "the token is not valid"


def test_a_token_without_a_key_name_is_refused() -> None:
    """S07: keys are not tried in turn."""
    refusal_of(forge(header=without(HEADER, "kid")))


@pytest.mark.parametrize(("name", "kid"), [("1", 1), ("None", None), ("True", True), ("2.0", 2.0)])
def test_only_a_text_names_a_key(name: str, kid: object) -> None:
    """S07: not something that looks like its name when it is printed."""
    verifier = make_verifier(keys=[SigningKey(name, SECRET)])
    assert verifier.verify(header_with(kid=name)).subject == "alice"
    refusal_of(header_with(kid=kid), verifier)


def test_a_key_verifies_only_under_its_own_name() -> None:
    """S07"""
    refusal_of(header_with(kid="k1"))
    refusal_of(forge(secret=OLD_SECRET))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jku", "https://127.0.0.1:9/keys.json"),
        ("x5u", "https://127.0.0.1:9/cert.pem"),
        ("jwk", {"kty": "oct", "k": base64url(SECRET)}),
        ("x5c", ["MIIB"]),
        ("x5t", "abc"),
        ("crit", ["exp"]),
        ("crit", []),
        ("b64", False),
        ("b64", True),
        ("zip", "DEF"),
        ("cty", "JWT"),
        ("enc", "A128GCM"),
        ("p2c", 2_000_000_000),
        ("ALG", "none"),
    ],
)
def test_a_header_with_anything_more_is_refused_without_fetching_anything(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """S07"""

    def unexpected(*_: object, **__: object) -> None:
        pytest.fail("the verifier opened a connection")

    monkeypatch.setattr(socket, "socket", unexpected)
    monkeypatch.setattr(socket, "getaddrinfo", unexpected)
    assert refusal_of(header_with(**{name: value})) == "the token is not valid"


def test_another_secret_signs_in_vain() -> None:
    for secret in (b"", b"secret", SECRET[:-1], SECRET + b"x", SECRET.swapcase()):
        refusal_of(forge(secret=secret))


def test_another_digest_cannot_stand_for_a_signature() -> None:
    refusal_of(f"{SIGNED}.{base64url(hashlib.sha256(SIGNED.encode()).digest())}")
    refusal_of(f"{SIGNED}.{base64url(bytes(32))}")


# Rotation.


def test_a_retired_key_verifies_until_its_end_and_not_after() -> None:
    """S10"""
    claims = CLAIMS | {"exp": NOW + 5000}
    old = forge(header=HEADER | {"kid": "k1"}, claims=claims, secret=OLD_SECRET)
    assert make_verifier(RETIRED_AT - 1).verify(old).subject == "alice"
    for moment in (RETIRED_AT, RETIRED_AT + 1):
        assert "retired" in refusal_of(old, make_verifier(moment))


def test_the_new_key_verifies_after_the_end_of_the_old_one() -> None:
    token = claims_with(exp=NOW + 5000)
    assert make_verifier(RETIRED_AT + 1).verify(token).subject == "alice"


def test_a_removed_key_verifies_no_longer() -> None:
    """S10"""
    old = forge(header=HEADER | {"kid": "k1"}, secret=OLD_SECRET)
    assert VERIFIER.verify(old).subject == "alice"
    refusal_of(old, make_verifier(keys=[SigningKey("k2", SECRET)]))


# Issuer, audience, times.


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp", "iat", "jti"])
@pytest.mark.parametrize("how", ["absent", "null"])
def test_a_token_without_a_required_claim_is_refused(name: str, how: str) -> None:
    """S05"""
    claims = without(CLAIMS, name) if how == "absent" else CLAIMS | {name: None}
    assert "token" in refusal_of(forge(claims=claims))


@pytest.mark.parametrize(
    "issuer", ["", "another", "the-issuer ", "The-Issuer", ["the-issuer"], 1, {"the-issuer": 1}]
)
def test_a_token_of_another_issuer_is_refused(issuer: object) -> None:
    """S05"""
    assert refusal_of(claims_with(iss=issuer)) == "the token comes from another issuer"


@pytest.mark.parametrize(
    "audience",
    [
        "",
        "another",
        "the-audience ",
        "xthe-audiencex",
        [],
        ["another"],
        [["the-audience"]],
        [None],
        7,
        True,
        {"the-audience": 1},
    ],
)
def test_a_token_for_another_audience_is_refused(audience: object) -> None:
    """S05"""
    assert refusal_of(claims_with(aud=audience)) == "the token is meant for another audience"


NOT_A_TIME: dict[str, Any] = {
    "a text": str(NOW + 600),
    "a float": NOW + 600.5,
    "a whole float": float(NOW + 600),
    "true": True,
    "null": None,
    "a list": [NOW + 600],
    "an object": {"at": NOW + 600},
    "zero": 0,
    "negative": -(NOW + 600),
    "2 to the power of 53": 1 << 53,
    "2 to the power of 64": 1 << 64,
    "a thousand digits": 10**1000,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "not a number": math.nan,
}


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", NOT_A_TIME.values(), ids=NOT_A_TIME.keys())
def test_what_is_not_a_whole_number_of_seconds_is_no_time(name: str, value: object) -> None:
    """S05: also where the arithmetic of the verifier would overflow."""
    refusal_of(claims_with(**{name: value}))


def test_a_number_written_with_an_exponent_is_no_time() -> None:
    refusal_of(forge(claims=as_json(CLAIMS).replace(str(NOW + 600).encode(), b"1.79e9")))
    refusal_of(forge(claims=as_json(CLAIMS).replace(str(NOW + 600).encode(), b"1e400")))


def test_a_token_ends_at_exp_but_for_the_leeway() -> None:
    assert make_verifier(NOW + 600 + LEEWAY - 1).verify(VALID).subject == "alice"
    for moment in (NOW + 600 + LEEWAY, NOW + 5000):
        assert refusal_of(VALID, make_verifier(moment)) == "the token has expired"


def test_a_token_from_the_future_is_refused_but_for_the_leeway() -> None:
    assert VERIFIER.verify(claims_with(iat=NOW + LEEWAY)).issued_at == NOW + LEEWAY
    refused = refusal_of(claims_with(iat=NOW + LEEWAY + 1))
    assert refused == "the token was issued in the future"
    refusal_of(claims_with(iat=NOW + 3600, exp=NOW + 7200))


def test_a_token_that_lives_too_long_is_refused() -> None:
    assert VERIFIER.verify(claims_with(exp=NOW + LIFETIME_MAX)).expires_at == NOW + LIFETIME_MAX
    for expires_at in (NOW + LIFETIME_MAX + 1, (1 << 53) - 1):
        refused = refusal_of(claims_with(exp=expires_at))
        assert refused == "the token lives longer than is allowed here"


def test_a_token_is_refused_before_nbf_but_for_the_leeway() -> None:
    assert VERIFIER.verify(claims_with(nbf=NOW + LEEWAY)).subject == "alice"
    assert refusal_of(claims_with(nbf=NOW + LEEWAY + 1)) == "the token is not valid yet"


def test_of_a_claim_given_twice_the_last_one_counts() -> None:
    """RFC 7519 section 4 leaves the choice between this and a refusal."""
    twice = as_json(CLAIMS)[:-1] + b',"sub":"bob"}'
    assert VERIFIER.verify(forge(claims=twice)).subject == "bob"


def test_the_signature_is_checked_before_the_claims_are_looked_at() -> None:
    unsigned = forge(claims=CLAIMS | {"exp": 1}, secret=OLD_SECRET)
    assert refusal_of(unsigned) == "the token is not valid"
