"""Tokens made by hand, so that the library under test has no say in how they look."""

import base64
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.core.tokens import SigningKey, TokenIssuer, TokenVerifier
from gateway.domain.errors import InvalidToken

SECRET = b"a-secret-for-tests-only-0123456789-abcdefghijklmnop"
OLD_SECRET = b"an-older-secret-for-tests-9876543210-zyxwvutsrqponm"
NOW = 1_790_000_000
LEEWAY = 5
LIFETIME_MAX = 86_400
RETIRED_AT = NOW + 1000

HEADER: dict[str, Any] = {"alg": "HS256", "typ": "at+jwt", "kid": "k2"}
CLAIMS: dict[str, Any] = {
    "iss": "the-issuer",
    "aud": "the-audience",
    "sub": "alice",
    "jti": "token-1",
    "iat": NOW,
    "exp": NOW + 600,
}


def make_verifier(now: float = NOW, **changes: Any) -> TokenVerifier:
    keys = [SigningKey("k1", OLD_SECRET, verify_until=RETIRED_AT), SigningKey("k2", SECRET)]
    given: dict[str, Any] = {
        "algorithm": "HS256",
        "issuer": "the-issuer",
        "audience": "the-audience",
        "leeway_seconds": LEEWAY,
        "lifetime_seconds_max": LIFETIME_MAX,
        "clock": lambda: now,
    }
    return TokenVerifier(changes.pop("keys", keys), **(given | changes))


def make_issuer(**changes: Any) -> TokenIssuer:
    given: dict[str, Any] = {
        "algorithm": "HS256",
        "issuer": "the-issuer",
        "audience": "the-audience",
        "lifetime_seconds_max": LIFETIME_MAX,
    }
    key = changes.pop("key", SigningKey("k2", SECRET))
    return TokenIssuer(key, **(given | changes))


VERIFIER = make_verifier()


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def as_json(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def seal(signed: str, secret: bytes = SECRET, digest: str = "sha256") -> str:
    return f"{signed}.{base64url(hmac.digest(secret, signed.encode(), digest))}"


def forge(
    header: object = HEADER,
    claims: object = CLAIMS,
    secret: bytes = SECRET,
    digest: str = "sha256",
) -> str:
    """A token that is signed correctly, whatever it says; bytes stand for themselves."""
    return seal(f"{base64url(as_json(header))}.{base64url(as_json(claims))}", secret, digest)


def header_with(**changes: object) -> str:
    return forge(header=HEADER | changes)


def claims_with(**changes: object) -> str:
    return forge(claims=CLAIMS | changes)


def without(members: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in members.items() if key != name}


def refusal_of(token: Any, verifier: TokenVerifier = VERIFIER) -> str:
    with pytest.raises(InvalidToken) as refusal:
        verifier.verify(token)
    return refusal.value.detail


VALID = forge()
SIGNED, _, SIGNATURE = VALID.rpartition(".")
HEADER_TEXT, _, CLAIMS_TEXT = SIGNED.partition(".")
