"""Tokens of the Centrifuge client protocol: what they may leave out, and what they are not."""

import base64
from typing import Any

import pytest

from gateway.core.tokens import ConnectionToken, ServerSub, SubscriptionToken
from gateway.core.tokens.form import decode_segment
from gateway.domain.errors import ExpiredToken, InvalidToken
from gateway.domain.namespaces import Override
from gateway.domain.principal import Action
from tests.unit.core.tokens.forging import (
    CLAIMS,
    HEADER,
    LIFETIME_MAX,
    NOW,
    OLD_SECRET,
    VERIFIER,
    base64url,
    family,
    forge,
    make_verifier,
    without,
)

CLIENT_HEADER = {"alg": "HS256", "typ": "JWT"}


def client(**claims: Any) -> str:
    return forge(header=CLIENT_HEADER, claims=without(CLAIMS, "jti") | claims)


def refusal(token: str, *, subscription: bool = False) -> str:
    verify = VERIFIER.verify_subscription if subscription else VERIFIER.verify_connection
    with pytest.raises(InvalidToken) as refusal:
        verify(token)
    return refusal.value.detail


def test_an_access_token_opens_a_connection() -> None:
    token = VERIFIER.verify_connection(forge())
    assert token == ConnectionToken(VERIFIER.verify(forge()), b"", {}, NOW + 600)


def test_what_libraries_leave_out_is_not_missed() -> None:
    token = VERIFIER.verify_connection(client(role="admin", grants={"publish": ["a*"]}))
    principal = token.principal
    assert (principal.subject, principal.issued_at, principal.expires_at) == (
        "alice",
        NOW,
        NOW + 600,
    )
    assert principal.roles == {"admin"}
    assert principal.grants == {Action.PUBLISH: ("a*",)}


def test_a_token_without_an_id_gets_one_that_is_its_own() -> None:
    """So it can be revoked like any other."""
    first, second = (VERIFIER.verify_connection(client(n=n)).principal.token_id for n in (1, 2))
    assert len(first) == len(second) == 22
    assert first != second
    assert VERIFIER.verify_connection(client(n=1)).principal.token_id == first
    assert VERIFIER.verify_connection(client(jti="mine")).principal.token_id == "mine"


def test_a_twin_of_a_signature_does_not_make_another_token() -> None:
    """So a revocation cannot be dodged: who has (r, s) has (r, -s), which is as valid."""
    ours = family("ES256")
    token = ours.forge({"alg": "ES256", "typ": "JWT"}, without(CLAIMS, "jti"))
    signed, _, signature = token.rpartition(".")
    raw = decode_segment(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other_s = (order - int.from_bytes(raw[32:])).to_bytes(32)
    twin = f"{signed}.{base64url(raw[:32] + other_s)}"
    verify = ours.verifier().verify_connection
    assert twin != token
    assert verify(twin).principal.token_id == verify(token).principal.token_id


def test_a_revoked_token_is_refused() -> None:
    def check(principal: Any) -> None:
        raise InvalidToken(f"revoked: {principal.subject}")

    verifier = make_verifier(check=check)
    for verify in (verifier.verify_connection, verifier.verify_subscription):
        with pytest.raises(InvalidToken, match="revoked: alice"):
            verify(client() if verify == verifier.verify_connection else client(channel="a"))


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "iat", "exp"])
def test_nothing_else_may_be_missing(name: str) -> None:
    refusal(forge(header=CLIENT_HEADER, claims=without(CLAIMS, name)))


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"sub": ""},
        {"iat": NOW + 60},
        {"nbf": NOW + 60},
        {"exp": NOW + LIFETIME_MAX + 1},
        {"role": 1},
        {"grants": {"read": ["*"]}},
        {"expire_at": "soon"},
        {"expire_at": 1.5},
        {"expire_at": True},
        {"expire_at": 1 << 53},
        {"channels": "a"},
        {"channels": [1]},
        {"channels": ["a b"]},
        {"channels": [f"c{n}" for n in range(129)]},
        {"subs": []},
        {"subs": {"a": 1}},
        {"subs": {"": {}}},
    ],
)
def test_all_other_rules_hold(claims: dict[str, Any]) -> None:
    refusal(client(**claims))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "jwt"},
        {"typ": "rt+jwt"},
        {"typ": None},
        {"kid": "k1"},
        {"kid": "k3"},
        {"kid": None},
        {"alg": "none"},
        {"alg": "HS512"},
        {"jku": "https://127.0.0.1:9/keys"},
        {"crit": []},
    ],
)
def test_headers_are_read_as_strictly(header: dict[str, Any]) -> None:
    refusal(forge(header=CLIENT_HEADER | header, claims=CLAIMS))
    refusal(
        forge(header=CLIENT_HEADER | header, claims=CLAIMS | {"channel": "a"}), subscription=True
    )


def test_a_token_that_names_no_key_is_of_the_current_one() -> None:
    refusal(forge(header=CLIENT_HEADER, claims=CLAIMS, secret=OLD_SECRET))
    named = forge(header=CLIENT_HEADER | {"kid": "k1"}, claims=CLAIMS, secret=OLD_SECRET)
    assert VERIFIER.verify_connection(named).principal.subject == "alice"


def test_a_key_pair_signs_them_as_well() -> None:
    ours = family("ES256")
    token = ours.forge({"alg": "ES256", "typ": "JWT"})
    assert ours.verifier().verify_connection(token).principal.subject == "alice"


def test_a_token_that_was_right_once_is_told_from_a_wrong_one() -> None:
    late = make_verifier(now=NOW + 10_000)
    for token in (forge(), client()):
        with pytest.raises(ExpiredToken, match="the token has expired"):
            late.verify_connection(token)
    with pytest.raises(ExpiredToken):
        late.verify_subscription(client(channel="a"))
    with pytest.raises(InvalidToken) as refusal:
        late.verify_connection(client(aud="other"))
    assert type(refusal.value) is InvalidToken


def test_no_kind_passes_for_another() -> None:
    """S06"""
    connection, subscription, access = client(), client(channel="a"), forge()
    assert refusal(subscription) == "a subscription token opens no connection"
    assert refusal(forge(claims=CLAIMS | {"channel": "a"})) == refusal(subscription)
    assert refusal(connection, subscription=True) == "the token opens no channel"
    for token in (access, forge(claims=CLAIMS | {"channel": "a"})):
        assert "Centrifuge" in refusal(token, subscription=True)
    refresh = forge(header=HEADER | {"typ": "rt+jwt"}, claims=CLAIMS | {"sid": "s", "gen": 1})
    refusal(refresh)
    refusal(refresh, subscription=True)
    for token in (connection, subscription):
        for verify in (VERIFIER.verify, VERIFIER.verify_refresh):
            with pytest.raises(InvalidToken):
                verify(token)


def test_what_a_connection_token_brings() -> None:
    subs = {"b": {"info": {"n": 1}, "data": [2], "override": {}}, "a": {}}
    token = VERIFIER.verify_connection(client(info={"name": "Ana"}, channels=["a", "c"], subs=subs))
    assert token.info == b'{"name":"Ana"}'
    expected = {"a": ServerSub(), "b": ServerSub(b'{"n":1}', b"[2]"), "c": ServerSub()}
    assert token.subs == expected


@pytest.mark.parametrize(
    ("expire_at", "ends_at"),
    [
        (NOW + 10, NOW + 10),
        (NOW + 1000, NOW + 1000),
        (0, NOW + LIFETIME_MAX),
        (-1, NOW + LIFETIME_MAX),
        (NOW + 2 * LIFETIME_MAX, NOW + LIFETIME_MAX),
    ],
)
def test_expire_at_says_when_the_session_ends(expire_at: int, ends_at: int) -> None:
    assert VERIFIER.verify_connection(client(expire_at=expire_at)).ends_at == ends_at


def test_what_a_subscription_token_brings() -> None:
    token = client(channel="$a", client="c1", info=1, data=None, expire_at=NOW + 5)
    expected = SubscriptionToken("alice", "$a", "c1", b"1", b"null", NOW + 5)
    assert VERIFIER.verify_subscription(token) == expected
    token = client(channel="$a")
    expected = SubscriptionToken("alice", "$a", "", b"", b"", NOW + 600)
    assert VERIFIER.verify_subscription(token) == expected


def test_tokens_say_what_a_subscription_does_otherwise() -> None:
    override = {"presence": {"value": False}, "force_recovery": {"value": True}, "later": 1}
    expected = Override(presence=False, force_recovery=True)
    token = client(channel="$a", override=override)
    assert VERIFIER.verify_subscription(token).override == expected
    token = client(subs={"a": {"override": override}, "b": {"override": {"join_leave": {}}}})
    subs = VERIFIER.verify_connection(token).subs
    assert (subs["a"].override, subs["b"].override) == (expected, Override(join_leave=False))


@pytest.mark.parametrize(
    "override", [1, [2], {"presence": True}, {"presence": {"value": 1}}, {"join_leave": []}]
)
def test_an_override_that_cannot_be_read_is_refused(override: object) -> None:
    assert "override" in refusal(client(channel="a", override=override), subscription=True)
    assert "override" in refusal(client(subs={"a": {"override": override}}))


def test_json_may_come_in_base64() -> None:
    encoded = base64.b64encode(b'{"n": 1}').decode()
    token = client(channel="$a", b64info=encoded, b64data=encoded)
    assert VERIFIER.verify_subscription(token)[3:5] == (b'{"n":1}', b'{"n":1}')
    token = client(b64info=encoded, subs={"a": {"b64info": encoded, "b64data": encoded}})
    found = VERIFIER.verify_connection(token)
    assert (found.info, found.subs["a"]) == (b'{"n":1}', ServerSub(b'{"n":1}', b'{"n":1}'))


@pytest.mark.parametrize("encoded", ["*", "eA==", 1, ["MQ=="]])
def test_what_is_no_json_in_base64_is_refused(encoded: object) -> None:
    assert refusal(client(b64info=encoded)) == "the token's b64info is no JSON in Base64"


@pytest.mark.parametrize(
    "claims", [{"channel": 1}, {"channel": None}, {"channel": "a", "client": 1}]
)
def test_a_subscription_token_names_a_channel(claims: dict[str, Any]) -> None:
    refusal(client(**claims), subscription=True)


@pytest.mark.parametrize("text", ["", ".", "a.b.c", "é.b.c", "eyJ9.e30.x", "x" * 5000])
def test_what_is_no_token_at_all(text: str) -> None:
    refusal(text)
    refusal(text, subscription=True)
