"""Signs tokens with the current key."""

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.tokens.claims import (
    generation_of,
    grants_of,
    name_of,
    roles_of,
    session_of,
    time_of,
)
from gateway.core.tokens.form import (
    ACCESS_TYPE,
    REFRESH_TYPE,
    TOKEN_BYTES_MAX,
    Refused,
    encode_segment,
    join,
)
from gateway.core.tokens.keys import SigningKey
from gateway.domain.principal import Action

REFRESH_SECONDS_MAX = 400 * 86_400


class TokenIssuer:
    """Signs what `TokenVerifier` accepts; raises `ValueError` for what it would refuse."""

    def __init__(
        self, key: SigningKey, *, issuer: str, audience: str, lifetime_seconds_max: int
    ) -> None:
        self._key = key
        self._issuer = issuer
        self._audience = audience
        self._lifetime_seconds_max = lifetime_seconds_max

    def issue(
        self,
        subject: str,
        *,
        lifetime_seconds: int,
        roles: Sequence[str] = (),
        grants: Mapping[Action, Sequence[str]] | None = None,
        session_id: str = "",
        issued_at: int | None = None,
    ) -> str:
        """Return a signed access token; ``session_id`` names the login that it belongs to."""
        if not 0 < lifetime_seconds <= self._lifetime_seconds_max:
            raise ValueError(f"a token lives 1 to {self._lifetime_seconds_max} seconds")
        issued_at = int(time.time()) if issued_at is None else issued_at
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "iat": issued_at,
            "exp": issued_at + lifetime_seconds,
            "jti": secrets.token_urlsafe(16),
        }
        if session_id:
            claims["sid"] = session_id
        if roles:
            claims["role"] = roles[0] if len(roles) == 1 else list(roles)
        if grants:
            claims["grants"] = {str(action): list(patterns) for action, patterns in grants.items()}
        _check(claims)
        return self._sign(ACCESS_TYPE, claims)

    def issue_refresh(
        self, subject: str, session_id: str, generation: int, issued_at: int, expires_at: int
    ) -> str:
        """Return a signed refresh token: the same arguments, the same text.

        So nothing of it needs to be stored to answer a repeated refresh with the same successor.
        The text changes when the signing key does; both texts then say the same.
        """
        if not 0 < expires_at - issued_at <= REFRESH_SECONDS_MAX:
            raise ValueError(f"a refresh token lives 1 to {REFRESH_SECONDS_MAX} seconds")
        digest = hashlib.sha256(f"{generation}:{session_id}".encode(errors="replace")).digest()
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "iat": issued_at,
            "exp": expires_at,
            "jti": encode_segment(digest[:16]),
            "sid": session_id,
            "gen": generation,
        }
        _check(claims)
        return self._sign(REFRESH_TYPE, claims)

    def _sign(self, kind: str, claims: dict[str, Any]) -> str:
        header = {"alg": self._key.algorithm, "typ": kind, "kid": self._key.kid}
        signed = join(header, claims)
        token = f"{signed}.{encode_segment(self._key.sign(signed.encode()))}"
        if len(token) > TOKEN_BYTES_MAX:
            raise ValueError(f"a token has at most {TOKEN_BYTES_MAX} bytes; grant fewer patterns")
        return token


def _check(claims: dict[str, Any]) -> None:
    try:
        for name in ("sub", "jti"):
            name_of(claims, name)
        for name in ("iat", "exp"):
            time_of(claims, name)
        session_of(claims)
        roles_of(claims)
        grants_of(claims)
        if "gen" in claims:
            generation_of(claims)
    except Refused as refusal:
        raise ValueError(refusal.detail) from None
