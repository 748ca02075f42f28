"""What an operator is told about a token and a channel."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.explain import Explanation, explain
from gateway.core.tokens import ExternalIssuer, KeyRing, TokenVerifier
from gateway.domain.errors import InvalidToken, Unavailable
from gateway.domain.namespaces import Namespaces
from gateway.domain.principal import Permissions, Principal
from tests.unit.core.tokens.forging import (
    CLAIMS,
    HEADER,
    LEEWAY,
    NOW,
    OLD_SECRET,
    VALID,
    VERIFIER,
    base64url,
    claims_with,
    family,
    forge,
    header_with,
    make_verifier,
    without,
)

PERMISSIONS = Permissions(Namespaces())


def told(token: str, channel: str | None = None, verifier: TokenVerifier = VERIFIER) -> Explanation:
    return explain(verifier, PERMISSIONS, token, channel)


def verdicts(explanation: Explanation) -> dict[str, str]:
    return {finding.step: finding.text for finding in explanation.findings}


def refused(token: Any, verifier: TokenVerifier = VERIFIER) -> str:
    """The last step and what it said; all steps before it passed."""
    explanation = told(token, verifier=verifier)
    *before, last = explanation.findings
    assert not explanation.accepted
    assert not last.passed
    assert all(finding.passed for finding in before)
    with pytest.raises((InvalidToken, Unavailable)):
        verifier.verify(token)
    return f"{last.step}: {last.text}"


SPELLING = "is not in the one canonical spelling of base64url"


def spare_bit(token: str) -> str:
    """The same bytes in another spelling: of the last letter, two bits mean nothing."""
    return token[:-1] + chr(ord(token[-1]) + 1)


def test_every_step_of_a_valid_token_is_told() -> None:
    token = claims_with(
        role=["reader", "publisher"],
        grants={"publish": ["news.*"], "subscribe": []},
        sid="login-1",
    )
    explanation = told(token)
    assert explanation.accepted
    assert verdicts(explanation) == {
        "form": f"three segments, {len(token)} bytes",
        "header": "alg HS256, typ at+jwt",
        "issuer": "iss is the-issuer",
        "key": "kid is k2, a key of this issuer",
        "signature": "matches key k2",
        "audience": "aud is the-audience",
        "times": (
            "valid for another 10 min, until 2026-09-21 14:23:20 UTC; "
            "issued 2026-09-21 14:13:20 UTC for 10 min"
        ),
        "subject": "sub is alice; token token-1, login login-1",
        "roles": "role is publisher, reader",
        "grants": "publish on news.*; subscribe on nothing",
        "revocation": "not looked up here",
    }


def test_what_is_absent_is_told_as_such() -> None:
    found = verdicts(told(VALID, verifier=make_verifier(check=lambda _: None)))
    assert found["subject"] == "sub is alice; token token-1"
    assert found["roles"] == "role is none"
    assert found["grants"] == "none, so grants limit nothing"
    assert found["revocation"] == "not revoked"


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "form: a token is needed"),
        ("abc", "form: not three segments with dots between them"),
        ("é", "form: longer than 4096 bytes, or not ASCII"),
        (VALID + "=", "form: the signature segment is not base64url"),
        (spare_bit(VALID), f"form: the signature segment {SPELLING}"),
        (forge(header=b"{"), "form: the header segment is not JSON"),
        (forge(claims=b"[]"), "form: the claims segment is not a JSON object"),
        (header_with(alg="none"), "header: alg is 'none'"),
        (header_with(typ="JWT"), "header: typ is 'JWT', not at+jwt"),
        (
            header_with(jku="a"),
            "header: the header holds more than alg, typ and kid: 'jku'",
        ),
        (claims_with(iss="another"), "issuer: iss is 'another', not 'the-issuer'"),
        (header_with(kid="k3"), "key: kid is 'k3', not a key of 'the-issuer'"),
        (header_with(kid=None), "key: kid is None"),
        (header_with(alg="RS256"), "key: alg is RS256, but key k2 is for HS256"),
        (forge(secret=OLD_SECRET), "signature: the signature does not match key k2"),
        (claims_with(aud=["a"]), "audience: aud is ['a'], not the-audience"),
        (claims_with(exp=NOW - 60), "times: exp was 60 s ago; the leeway is 5 s"),
        (claims_with(iat=NOW + 60), "times: iat is 60 s ahead; the leeway is 5 s"),
        (claims_with(nbf=NOW + 60), "times: nbf is 60 s ahead"),
        (claims_with(exp=NOW + 90_000), "times: exp - iat is 90000 s; at most 86400 s"),
        (claims_with(exp="soon"), "times: exp is 'soon'"),
        (forge(claims=without(CLAIMS, "sub")), "subject: sub is None"),
        (claims_with(sid=""), "subject: sid is ''"),
        (claims_with(role=["a", 1]), "roles: role is ['a', 1]"),
        (claims_with(grants={"read": []}), "grants: 'read' is no action that can be granted"),
        (claims_with(grants={"publish": ["a b"]}), "grants: 'a b' is no pattern of channels"),
        (claims_with(grants={"publish": "a"}), "grants: publish is no list of up to 100 patterns"),
        (claims_with(grants=[]), "grants: grants is []"),
    ],
)
def test_the_first_step_that_says_no_tells_exactly_why(token: str, reason: str) -> None:
    """A client learns less than this about a forged token; an operator has to mend it."""
    assert refused(token) == reason


def test_a_retired_key_is_told_with_its_end() -> None:
    old = forge(HEADER | {"kid": "k1"}, CLAIMS | {"exp": NOW + 5000}, OLD_SECRET)
    assert verdicts(told(old))["key"].startswith("kid is k1, a retired key until 2026-09-21 14:30")
    assert refused(old, make_verifier(NOW + 2000)) == "key: key k1 has been retired"


def test_a_token_within_the_leeway_is_told_as_such() -> None:
    token = claims_with(exp=NOW - LEEWAY + 1)
    assert "valid by the leeway alone, after" in verdicts(told(token))["times"]


def test_a_revoked_token_is_told_with_the_reason() -> None:
    def check(principal: Principal) -> None:
        raise InvalidToken("the token has been revoked: logout")

    verifier = make_verifier(check=check)
    assert refused(VALID, verifier) == "revocation: the token has been revoked: logout"


def test_a_key_that_may_come_is_told_as_such() -> None:
    ring = KeyRing("login.example")
    ring.when_unknown(lambda: 1.0)
    verifier = make_verifier(external=[ExternalIssuer("login.example", "us", ["RS256"], ring)])
    token = family("RS256").forge(claims=CLAIMS | {"iss": "login.example"})
    assert refused(token, verifier).startswith("key: the token's key is not known here")


@pytest.mark.parametrize("algorithm", ["RS256", "ES384"])
def test_tokens_of_every_family_are_told_alike(algorithm: str) -> None:
    one = family(algorithm)
    explanation = told(one.forge(), verifier=one.verifier())
    assert verdicts(explanation)["header"] == f"alg {algorithm}, typ at+jwt"
    assert explanation.accepted


# Channels.


@pytest.mark.parametrize(
    ("claims", "channel", "subscribe", "publish"),
    [
        ({}, "news", "default: no rule and no grant limits this", "role: publishing needs one of"),
        ({"role": "admin"}, "news", "default: no rule", "role: one of the token's roles"),
        (
            {"role": "admin", "grants": {"publish": ["news"], "subscribe": ["a"]}},
            "news",
            "grant: the token grants subscribe on other channels only",
            "grant: the token grants this channel",
        ),
        ({"role": "admin"}, "user:bob", "personal: this channel belongs to another", "role:"),
    ],
)
def test_the_deciding_rule_is_told_for_each_action(
    claims: dict[str, Any], channel: str, subscribe: str, publish: str
) -> None:
    """S33: the rules are those of `Permissions.decide`."""
    explanation = told(claims_with(**claims), channel)
    found = verdicts(explanation)
    assert explanation.accepted
    assert found["subscribe"].startswith(subscribe)
    assert found["publish"].startswith(publish)
    principal = VERIFIER.verify(claims_with(**claims))
    for action, may in explanation.allowed.items():
        assert may is PERMISSIONS.decide(principal, action, channel).allowed


def test_a_channel_that_cannot_exist_is_told_as_such() -> None:
    explanation = told(VALID, "a b")
    assert explanation.accepted
    assert explanation.allowed == {}
    assert not explanation.findings[-1].passed
    assert explanation.findings[-1].step == "channel"


def test_a_refused_token_is_asked_nothing_about_the_channel() -> None:
    explanation = told(VALID + "=", "news")
    assert (explanation.allowed, explanation.channel) == ({}, "news")


# How it is shown.


def test_the_lines_fit_a_terminal() -> None:
    lines = told(claims_with(role="admin"), "news").lines()
    assert lines[0].startswith("form        ok  three segments")
    assert lines[-1].startswith("the token is accepted; may subscribe; may publish; may see ")
    lines = told(VALID + "=", "news").lines()
    assert lines[0].startswith("form        NO  the signature segment is not base64url")
    assert lines[-1] == "the token is refused"
    lines = told(VALID, "news").lines()
    assert "; may subscribe; may not publish; may see presence;" in lines[-1]


def test_the_dictionary_is_written_in_json() -> None:
    shown = json.loads(json.dumps(told(VALID, "news").as_dict()))
    assert shown["accepted"] is True
    assert shown["channel"] == "news"
    assert shown["allowed"] == {
        "subscribe": True,
        "publish": False,
        "see_presence": True,
        "see_history": True,
    }
    assert shown["steps"][0] == {
        "step": "form",
        "passed": True,
        "detail": f"three segments, {len(VALID)} bytes",
    }


@pytest.mark.parametrize(
    "token",
    [
        VALID,
        VALID + "=",
        forge(secret=OLD_SECRET),
        claims_with(exp=1),
        claims_with(sub="a\nb"),
        claims_with(iss="x" * 500),
        "a" * 5000,
        "secret-that-was-pasted-here",
        "secret.that.was-pasted",
    ],
)
def test_neither_the_token_nor_its_signature_is_shown(token: str) -> None:
    """S21: what is shown ends up in tickets and chats."""
    explanation = told(token, "news")
    text = "\n".join(explanation.lines()) + json.dumps(explanation.as_dict())
    assert token not in text
    assert not any(part in text for part in token.split(".") if len(part) > 8)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_nothing_unprintable_reaches_a_terminal(name: str, subject: str, channel: str) -> None:
    """S37: a token may hold control characters, and lines that look like ours."""
    for token in (
        claims_with(iss=name),
        claims_with(sub=subject),
        claims_with(role=[name]),
        header_with(kid=name),
        header_with(**{name: subject}),
    ):
        for line in told(token, channel).lines():
            assert line.isprintable()


@given(st.text() | st.lists(st.binary(max_size=60).map(base64url), max_size=5).map(".".join))
def test_it_accepts_exactly_what_the_verifier_accepts(token: str) -> None:
    try:
        VERIFIER.verify(token)
    except InvalidToken:
        assert not told(token).accepted
    else:
        assert told(token).accepted


def test_what_is_no_text_is_refused_like_by_the_verifier() -> None:
    for token in (7, b"a.b.c", ["a"]):
        assert refused(token).startswith("form: cannot be read")
