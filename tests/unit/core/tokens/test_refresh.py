"""Which refresh tokens are accepted: as strictly as access tokens, and never as one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tokens import RefreshClaims, TokenVerifier
from gateway.domain.errors import InvalidToken
from tests.unit.core.tokens.forging import (
    CLAIMS,
    HEADER,
    LEEWAY,
    NOW,
    OLD_SECRET,
    VALID,
    VERIFIER,
    base64url,
    forge,
    refusal_of,
    without,
)

REFRESH_HEADER = HEADER | {"typ": "rt+jwt"}
REFRESH_CLAIMS = CLAIMS | {"exp": NOW + 30 * 86_400, "sid": "login-1", "gen": 0}
REFRESH = forge(REFRESH_HEADER, REFRESH_CLAIMS)


def refresh_refusal(token: Any, verifier: TokenVerifier = VERIFIER) -> str:
    with pytest.raises(InvalidToken) as refusal:
        verifier.verify_refresh(token)
    return refusal.value.detail


def test_a_valid_refresh_token_is_accepted() -> None:
    """Also longer than an access token may live."""
    claims = VERIFIER.verify_refresh(REFRESH)
    assert claims == RefreshClaims("alice", "login-1", 0, NOW + 30 * 86_400)


def test_a_refresh_token_never_works_as_an_access_token() -> None:
    """S06"""
    assert refusal_of(REFRESH) == "the token is not an access token"
    short = REFRESH_CLAIMS | {"exp": NOW + 600}
    assert refusal_of(forge(REFRESH_HEADER, short)) == "the token is not an access token"


def test_an_access_token_never_works_as_a_refresh_token() -> None:
    """S06"""
    assert refresh_refusal(VALID) == "the token is not a refresh token"
    assert refresh_refusal(forge(claims=REFRESH_CLAIMS)) == "the token is not a refresh token"
    assert "usable sid" in refresh_refusal(forge(REFRESH_HEADER, CLAIMS))


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp", "iat", "jti", "sid", "gen"])
def test_a_refresh_token_without_a_required_claim_is_refused(name: str) -> None:
    """S05"""
    refresh_refusal(forge(REFRESH_HEADER, without(REFRESH_CLAIMS, name)))
    refresh_refusal(forge(REFRESH_HEADER, REFRESH_CLAIMS | {name: None}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gen", "0"),
        ("gen", -1),
        ("gen", 0.0),
        ("gen", True),
        ("gen", False),
        ("gen", 1 << 53),
        ("gen", [0]),
        ("sid", ""),
        ("sid", 7),
        ("sid", "a\nb"),
        ("sid", "x" * 151),
        ("exp", NOW - LEEWAY),
        ("exp", NOW + 400 * 86_400 + 1),
        ("iat", NOW + LEEWAY + 1),
        ("nbf", NOW + LEEWAY + 1),
        ("iss", "another"),
        ("aud", "another"),
    ],
)
def test_a_refresh_token_that_says_anything_else_is_refused(name: str, value: object) -> None:
    """S05"""
    refresh_refusal(forge(REFRESH_HEADER, REFRESH_CLAIMS | {name: value}))


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "a.b.c",
        REFRESH + "=",
        REFRESH + "\n",
        REFRESH.rpartition(".")[0] + ".",
        forge(REFRESH_HEADER, REFRESH_CLAIMS, secret=OLD_SECRET),
        forge(REFRESH_HEADER | {"kid": "k3"}, REFRESH_CLAIMS),
        forge(REFRESH_HEADER | {"alg": "none"}, REFRESH_CLAIMS),
        forge(REFRESH_HEADER | {"jku": "https://127.0.0.1:9/"}, REFRESH_CLAIMS),
        f"{base64url(b'[' * 1000)}.{'a' * 340}.",
    ],
)
def test_a_refresh_token_is_as_strict_about_its_form(token: Any) -> None:
    """S01, S02, S03, S07, S09"""
    refresh_refusal(token)


@given(st.integers(0, len(REFRESH)), st.integers(0, 3), st.text(st.characters(codec="ascii")))
def test_no_edited_refresh_token_is_valid(start: int, removed: int, put: str) -> None:
    """S03"""
    edited = REFRESH[:start] + put + REFRESH[start + removed :]
    if edited != REFRESH:
        refresh_refusal(edited)
