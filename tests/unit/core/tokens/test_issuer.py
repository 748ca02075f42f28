"""What the issuer signs, and what it refuses to sign."""

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tokens import RefreshClaims, SigningKey
from gateway.domain.principal import Action, Principal
from tests.unit.core.tokens.forging import (
    FAMILIES,
    HEADER,
    LIFETIME_MAX,
    NOW,
    SECRET,
    ec_key,
    make_issuer,
    make_verifier,
    private_pem,
    rsa_key,
)


def test_the_issuer_signs_with_the_current_key() -> None:
    """S10"""
    token = make_issuer().issue("alice", lifetime_seconds=60)
    header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
    assert header == HEADER


def verify_now(token: str) -> Principal:
    return make_verifier(time.time()).verify(token)


def test_what_the_issuer_signs_the_verifier_accepts() -> None:
    before = int(time.time())
    token = make_issuer().issue(
        "alice",
        lifetime_seconds=60,
        roles=["publisher", "reader"],
        grants={Action.PUBLISH: ["news.*"], Action.SUBSCRIBE: ["*", "user:*"]},
    )
    principal = verify_now(token)
    assert principal.subject == "alice"
    assert principal.roles == {"publisher", "reader"}
    assert principal.grants == {Action.PUBLISH: ("news.*",), Action.SUBSCRIBE: ("*", "user:*")}
    assert before <= principal.issued_at <= time.time()
    assert principal.expires_at == principal.issued_at + 60


def test_no_two_tokens_have_the_same_id() -> None:
    issuer = make_issuer()
    ids = {verify_now(issuer.issue("alice", lifetime_seconds=60)).token_id for _ in range(50)}
    assert len(ids) == 50


@given(
    subject=st.text(max_size=155),
    roles=st.lists(st.text(max_size=5), max_size=3),
    patterns=st.lists(st.text("ab*? \n", max_size=5), max_size=3),
)
def test_the_issuer_refuses_exactly_what_the_verifier_would_refuse(
    subject: str, roles: list[str], patterns: list[str]
) -> None:
    grants = {Action.PUBLISH: patterns}
    try:
        token = make_issuer().issue(subject, lifetime_seconds=60, roles=roles, grants=grants)
    except ValueError:
        return
    principal = verify_now(token)
    assert principal.subject == subject
    assert principal.roles == set(roles)
    assert principal.grants == {Action.PUBLISH: tuple(patterns)}


@pytest.mark.parametrize("lifetime", [0, -1, LIFETIME_MAX + 1])
def test_a_lifetime_that_the_verifier_would_refuse_is_not_signed(lifetime: int) -> None:
    with pytest.raises(ValueError, match="lives 1 to 86400 seconds"):
        make_issuer().issue("alice", lifetime_seconds=lifetime)


@pytest.mark.parametrize("subject", ["", "a\nb", "x" * 151, "\udcff"])
def test_a_subject_that_the_verifier_would_refuse_is_not_signed(subject: str) -> None:
    with pytest.raises(ValueError, match="usable sub"):
        make_issuer().issue(subject, lifetime_seconds=60)


def test_a_token_longer_than_the_verifier_reads_is_not_signed() -> None:
    patterns = [f"{number:0>100}" for number in range(50)]
    with pytest.raises(ValueError, match="at most 4096 bytes"):
        make_issuer().issue("alice", lifetime_seconds=60, grants={Action.PUBLISH: patterns})


# Access tokens of a login.


def test_a_token_of_a_login_names_it() -> None:
    token = make_issuer().issue("alice", lifetime_seconds=60, session_id="login-1")
    assert verify_now(token).session_id == "login-1"
    assert verify_now(make_issuer().issue("alice", lifetime_seconds=60)).session_id == ""


def test_the_moment_of_issue_can_be_given() -> None:
    """S13: a user's tokens may count from a moment on, so a new one is not older than that."""
    moment = int(time.time()) + 3
    token = make_issuer().issue("alice", lifetime_seconds=60, issued_at=moment)
    assert (verify_now(token).issued_at, verify_now(token).expires_at) == (moment, moment + 60)


@pytest.mark.parametrize("session", ["a\nb", "x" * 151, "\udcff"])
def test_a_login_that_the_verifier_would_refuse_is_not_signed(session: str) -> None:
    with pytest.raises(ValueError, match="usable sid"):
        make_issuer().issue("alice", lifetime_seconds=60, session_id=session)
    with pytest.raises(ValueError, match="usable sid"):
        make_issuer().issue_refresh("alice", session, 0, NOW, NOW + 60)


# Refresh tokens.

MONTH = 30 * 86_400


def signing_key(algorithm: str) -> SigningKey:
    if algorithm.startswith("HS"):
        return SigningKey("k2", SECRET, algorithm=algorithm)
    pair = rsa_key() if algorithm.startswith("RS") else ec_key(algorithm)
    return SigningKey("k2", private_pem(pair), algorithm=algorithm)


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_what_the_issuer_signs_the_verifier_accepts_in_every_family(algorithm: str) -> None:
    key = signing_key(algorithm)
    issuer, verifier = make_issuer(key=key), make_verifier(NOW + 5, keys=[key])
    refresh = issuer.issue_refresh("alice", "login-1", 7, NOW, NOW + MONTH)
    assert verifier.verify_refresh(refresh) == RefreshClaims("alice", "login-1", 7, NOW + MONTH)
    access = issuer.issue("alice", lifetime_seconds=60, issued_at=NOW)
    assert verifier.verify(access).subject == "alice"


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_the_same_refresh_token_can_be_signed_again(algorithm: str) -> None:
    """S16, S17: a repeated refresh gets the same successor, and nobody has to store it."""
    arguments = ("alice", "login-1", 7, NOW, NOW + MONTH)
    one = make_issuer(key=signing_key(algorithm)).issue_refresh(*arguments)
    assert make_issuer(key=signing_key(algorithm)).issue_refresh(*arguments) == one


def test_each_generation_of_each_login_has_a_token_id_of_its_own() -> None:
    """S04"""
    issuer = make_issuer()
    ids = {
        claims_of(issuer.issue_refresh("alice", login, generation, NOW, NOW + 60))["jti"]
        for login in ("1", "11", "login")
        for generation in (0, 1, 11, 111)
    }
    assert len(ids) == 12


def test_a_refresh_token_holds_what_the_next_refresh_needs_and_no_rights() -> None:
    token = make_issuer().issue_refresh("alice", "login-1", 0, NOW, NOW + 60)
    claims = claims_of(token)
    assert claims.keys() == {"iss", "aud", "sub", "iat", "exp", "jti", "sid", "gen"}
    assert (claims["sid"], claims["gen"], claims["iat"]) == ("login-1", 0, NOW)


@pytest.mark.parametrize("lifetime", [0, -1, 400 * 86_400 + 1])
def test_a_refresh_token_has_a_limit_of_its_own(lifetime: int) -> None:
    with pytest.raises(ValueError, match="lives 1 to 34560000 seconds"):
        make_issuer().issue_refresh("alice", "login-1", 0, NOW, NOW + lifetime)


@pytest.mark.parametrize(("session", "generation"), [("", 0), ("s", -1), ("s", 1 << 53)])
def test_a_refresh_token_that_the_verifier_would_refuse_is_not_signed(
    session: str, generation: int
) -> None:
    with pytest.raises(ValueError, match=r"usable (sid|gen)"):
        make_issuer().issue_refresh("alice", session, generation, NOW, NOW + 60)


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims
