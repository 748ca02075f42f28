"""Tokens of other issuers, and what their keys may and may not sign."""

from typing import Any

import pytest

from gateway.core.tokens import ExternalIssuer, KeyRing, TokenVerifier
from gateway.domain.errors import InvalidToken, Unavailable
from tests.unit.core.tokens.forging import (
    CLAIMS,
    LEEWAY,
    LIFETIME_MAX,
    NOW,
    VALID,
    as_jwk,
    as_jwks,
    ec_key,
    family,
    forge,
    make_verifier,
    refusal_of,
    rsa_key,
    without,
)

THEIRS, OTHERS = rsa_key("theirs"), ec_key("ES256", "others")
THEIR_CLAIMS = CLAIMS | {"iss": "https://login.example", "aud": "our-gateway"}
OTHER_CLAIMS = CLAIMS | {"iss": "https://other.example", "aud": "our-gateway"}


def ring_of(*entries: object) -> KeyRing:
    ring = KeyRing("test")
    ring.update(as_jwks(*entries))
    return ring


def with_issuers(*algorithms: str, check: Any = None, now: float = NOW) -> TokenVerifier:
    """A verifier that trusts two others; both name their key k2, as we do."""
    return make_verifier(
        now,
        check=check,
        external=[
            ExternalIssuer(
                "https://login.example",
                "our-gateway",
                algorithms or ("RS256",),
                ring_of(as_jwk(THEIRS)),
            ),
            ExternalIssuer(
                "https://other.example", "our-gateway", ["ES256"], ring_of(as_jwk(OTHERS))
            ),
        ],
    )


def theirs(claims: Any = THEIR_CLAIMS, algorithm: str = "RS256", **header: Any) -> str:
    return family(algorithm, "theirs").forge(header, claims)


def others(claims: Any = OTHER_CLAIMS, **header: Any) -> str:
    return family("ES256", "others").forge(header, claims)


def test_tokens_of_every_issuer_are_accepted_side_by_side() -> None:
    verifier = with_issuers()
    for token in (VALID, theirs(), others()):
        assert verifier.verify(token).subject == "alice"


def test_each_issuer_has_only_its_own_keys() -> None:
    """S07: the same kid, another issuer."""
    verifier = with_issuers("RS256", "ES256")
    for token in (
        theirs(CLAIMS | {"aud": "our-gateway"}),
        theirs(CLAIMS),
        theirs(OTHER_CLAIMS),
        others(THEIR_CLAIMS),
        others(CLAIMS),
        forge(claims=THEIR_CLAIMS),
        forge(claims=OTHER_CLAIMS),
        theirs(kid="k1"),
        theirs(kid="k3"),
    ):
        assert refusal_of(token, verifier) == "the token is not valid"


@pytest.mark.parametrize(
    "issuer", ["https://login.example/", "https://third.example", "", None, ["the-issuer"], {}]
)
def test_an_issuer_that_nobody_configured_is_refused(issuer: object) -> None:
    """S05"""
    refused = refusal_of(theirs(THEIR_CLAIMS | {"iss": issuer}), with_issuers())
    assert refused == "the token comes from another issuer"


def test_each_issuer_has_an_audience_of_its_own() -> None:
    """S05: what it signed for somebody else is not for us."""
    token = theirs(THEIR_CLAIMS | {"aud": "the-audience"})
    assert "audience" in refusal_of(token, with_issuers())
    assert "audience" in refusal_of(forge(claims=CLAIMS | {"aud": "our-gateway"}), with_issuers())


def test_an_issuers_algorithms_are_configured() -> None:
    """S02: a key without alg could verify more."""
    token = theirs(algorithm="RS384")
    assert refusal_of(token, with_issuers()) == "the token is not valid"
    assert with_issuers("RS384").verify(token).subject == "alice"
    assert refusal_of(theirs(), with_issuers("ES256")) == "the token is not valid"


@pytest.mark.parametrize("algorithms", [[], ["HS256"], ["RS256", "HS256"], ["none"], ["PS256"]])
def test_another_issuer_signs_with_key_pairs_only(algorithms: list[str]) -> None:
    """S02: whoever could verify a shared secret could sign with it, too."""
    with pytest.raises(ValueError, match="the algorithms are among"):
        ExternalIssuer("https://login.example", "us", algorithms, KeyRing("test"))


def test_no_two_issuers_have_the_same_name() -> None:
    one = ExternalIssuer("the-issuer", "us", ["RS256"], KeyRing("test"))
    two = ExternalIssuer("https://login.example", "us", ["RS256"], KeyRing("test"))
    for external in ([one], [two, two]):
        with pytest.raises(ValueError, match="every issuer needs a name of its own"):
            make_verifier(external=external)


def test_an_external_token_is_as_strict_about_everything_else() -> None:
    """S05, S07"""
    verifier = with_issuers()
    for token in (
        theirs(typ="JWT"),
        theirs(jku="https://127.0.0.1:9/"),
        theirs(THEIR_CLAIMS | {"exp": NOW - LEEWAY}),
        theirs(THEIR_CLAIMS | {"exp": NOW + LIFETIME_MAX + 1}),
        theirs(without(THEIR_CLAIMS, "jti")),
        theirs() + "=",
    ):
        refusal_of(token, verifier)


def test_a_new_key_takes_over_while_the_old_one_is_still_listed() -> None:
    """S10"""
    ring = ring_of(as_jwk(THEIRS, "old"))
    verifier = make_verifier(
        external=[ExternalIssuer("https://login.example", "our-gateway", ["RS256"], ring)]
    )
    old = theirs(kid="old")
    new = family("RS256", "new").forge({"kid": "new"}, THEIR_CLAIMS)
    assert verifier.verify(old).subject == "alice"
    refusal_of(new, verifier)
    ring.update(as_jwks(as_jwk(THEIRS, "old"), as_jwk(rsa_key("new"), "new")))
    assert verifier.verify(old).subject == verifier.verify(new).subject == "alice"
    ring.update(as_jwks(as_jwk(rsa_key("new"), "new")))
    assert verifier.verify(new).subject == "alice"
    refusal_of(old, verifier)


def test_an_unknown_key_that_may_come_is_no_refusal() -> None:
    """S07: the answer is to try again, and the token has no say in where keys come from."""
    ring = KeyRing("test")
    ring.when_unknown(lambda: 2.5)
    verifier = make_verifier(
        external=[ExternalIssuer("https://login.example", "our-gateway", ["RS256"], ring)]
    )
    with pytest.raises(Unavailable, match="not known here yet") as trouble:
        verifier.verify(theirs())
    assert trouble.value.retry_after_seconds == 2.5
    # Whatever is wrong before the key is wrong for good, and asks for nothing.
    ring.when_unknown(lambda: pytest.fail("asked"))
    for token in (theirs(jku="x"), theirs(kid=None), theirs(CLAIMS), theirs() + "=", theirs(alg=1)):
        refusal_of(token, verifier)


def test_a_refresh_token_of_another_issuer_is_refused() -> None:
    """S06: only our own keys make one."""
    claims = CLAIMS | {"sid": "login-1", "gen": 0}
    for issuer, reason in [
        ("https://login.example", "the token comes from another issuer"),
        ("the-issuer", "the token is not valid"),  # under our name, with its key
    ]:
        token = theirs(claims | {"iss": issuer}, typ="rt+jwt")
        with pytest.raises(InvalidToken, match=reason):
            with_issuers().verify_refresh(token)
