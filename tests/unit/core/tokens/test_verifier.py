"""What the verifier answers, to whatever comes."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import InvalidToken
from gateway.domain.principal import Principal
from tests.unit.core.tokens.forging import (
    CLAIMS,
    HEADER,
    LEEWAY,
    NOW,
    VALID,
    VERIFIER,
    base64url,
    claims_with,
    forge,
    header_with,
    make_verifier,
    refusal_of,
)


def test_a_list_of_audiences_that_contains_ours_is_accepted() -> None:
    assert VERIFIER.verify(claims_with(aud=["another", "the-audience"])).subject == "alice"


# What a refusal and a printed object give away.


CANARY = "canary7531"


@pytest.mark.parametrize(
    "token",
    [
        CANARY,
        f"{CANARY}.{CANARY}.{CANARY}",
        header_with(kid=CANARY),
        header_with(alg=CANARY),
        header_with(typ=CANARY),
        header_with(**{CANARY: 1}),
        claims_with(iss=CANARY),
        claims_with(aud=CANARY),
        claims_with(sub=CANARY + "\n"),
        claims_with(jti=CANARY * 20),
        claims_with(exp=CANARY),
        claims_with(role={CANARY: CANARY}),
        claims_with(grants={CANARY: CANARY}),
        claims_with(grants={"publish": [CANARY + " "]}),
    ],
)
def test_a_refusal_repeats_nothing_of_the_token(token: str) -> None:
    """S21: it ends up in close reasons, responses and logs."""
    detail = refusal_of(token)
    assert CANARY not in detail
    assert not any(part in detail for part in token.split("."))


def test_a_refusal_carries_no_other_exception_with_it() -> None:
    """S22: a context would be printed with its arguments."""
    with pytest.raises(InvalidToken) as refusal:
        VERIFIER.verify(CANARY)
    assert refusal.value.__suppress_context__
    assert refusal.value.__cause__ is None


# Revocation.


def test_the_check_is_asked_last_and_its_refusal_is_the_answer() -> None:
    """S04: with the principal, so by token id and login, never by the text."""
    asked = []

    def check(principal: Principal) -> None:
        asked.append((principal.token_id, principal.session_id))
        raise InvalidToken("the token has been revoked: logout")

    verifier = make_verifier(check=check)
    token = claims_with(sid="login-1")
    assert refusal_of(token, verifier) == "the token has been revoked: logout"
    assert asked == [("token-1", "login-1")]
    for wrong in (token + "=", claims_with(exp=NOW - LEEWAY), claims_with(role=[1])):
        refusal_of(wrong, verifier)
    assert len(asked) == 1
    assert verifier.checks_revocation
    assert not VERIFIER.checks_revocation


def test_a_check_that_says_nothing_lets_the_token_pass() -> None:
    assert make_verifier(check=lambda _: None).verify(VALID).subject == "alice"


def test_a_failing_check_is_no_refusal_of_the_token() -> None:
    """A bug in it must not look like a forged token."""

    def check(principal: Principal) -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        make_verifier(check=check).verify(VALID)


# Whatever comes: `InvalidToken` or a principal.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def survives(token: Any) -> None:
    with contextlib.suppress(InvalidToken):
        assert isinstance(VERIFIER.verify(token), Principal)


@given(st.text() | st.binary() | json_values)
def test_no_text_makes_the_verifier_stumble(token: Any) -> None:
    """S01"""
    survives(token)


@given(st.lists(st.binary(max_size=60).map(base64url), max_size=5).map(".".join))
def test_no_segments_make_the_verifier_stumble(token: str) -> None:
    """S01"""
    survives(token)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from([*HEADER, "crit", "x"]), json_values, max_size=3))
def test_no_signed_header_makes_the_verifier_stumble(changes: dict[str, Any]) -> None:
    survives(header_with(**changes))
    survives(forge(header=changes))


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from([*CLAIMS, "nbf", "role", "grants"]),
        json_values | st.fixed_dictionaries({"publish": json_values}),
        min_size=1,
        max_size=3,
    )
)
def test_no_signed_claims_make_the_verifier_stumble(changes: dict[str, Any]) -> None:
    survives(claims_with(**changes))
    survives(forge(claims=changes))
