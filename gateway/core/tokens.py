"""The one place where a token becomes a principal, and the only module that imports python-jose.

python-jose checks signatures well and almost nothing else: it takes tokens without ``aud`` or
``exp``, ignores ``kid`` and ``crit``, accepts many spellings of one token, and lets a
RecursionError escape from a crafted header. So the token's form is checked here before the
library sees it, and the claims are checked here after it.
"""

import base64
import binascii
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from jose import JWTError, jwk, jws

from gateway.domain.channels import is_pattern
from gateway.domain.errors import InvalidToken
from gateway.domain.principal import Action, Principal

TOKEN_BYTES_MAX = 4096
SECRET_BYTES_MIN = 32
ACCESS_TYPE = "at+jwt"  # RFC 9068 section 2.1: an access token says that it is one
ALGORITHMS = ("HS256", "HS384", "HS512")

_SUBJECT_LENGTH_MAX = 150
_ROLES_MAX = 32
_PATTERNS_MAX = 100
_HEADER_KEYS = {"alg", "typ", "kid"}
_ACTIONS = frozenset(map(str, Action))
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A secret with its name; ``verify_until`` (seconds since 1970) ends a retired one."""

    kid: str
    secret: bytes
    verify_until: float | None = None

    def __post_init__(self) -> None:
        if len(self.secret) < SECRET_BYTES_MIN:
            raise ValueError(f"a signing secret has at least {SECRET_BYTES_MIN} bytes")
        if len(set(self.secret)) < 8:
            raise ValueError("a signing secret is random, not a repeated pattern")

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r})"


class TokenIssuer:
    """Signs access tokens with the current key."""

    def __init__(
        self,
        key: SigningKey,
        *,
        algorithm: str,
        issuer: str,
        audience: str,
        lifetime_seconds_max: int,
    ) -> None:
        self._key = key
        self._algorithm = algorithm
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
    ) -> str:
        """Return a signed token; raises `ValueError` for what the verifier would refuse."""
        if not 0 < lifetime_seconds <= self._lifetime_seconds_max:
            raise ValueError(f"a token lives 1 to {self._lifetime_seconds_max} seconds")
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "iat": now,
            "exp": now + lifetime_seconds,
            "jti": secrets.token_urlsafe(16),
        }
        if roles:
            claims["role"] = roles[0] if len(roles) == 1 else list(roles)
        if grants:
            claims["grants"] = {str(action): list(patterns) for action, patterns in grants.items()}
        try:
            _principal_of(claims)
        except InvalidToken as refusal:
            raise ValueError(refusal.detail) from None
        signed: str = jws.sign(
            claims,
            self._key.secret,
            headers={"typ": ACCESS_TYPE, "kid": self._key.kid},
            algorithm=self._algorithm,
        )
        if len(signed) > TOKEN_BYTES_MAX:
            raise ValueError(f"a token has at most {TOKEN_BYTES_MAX} bytes; grant fewer patterns")
        return signed


class TokenVerifier:
    """Turns a token into a `Principal`, or says why not.

    Synchronous and without I/O: a connect needs no round trip, and nothing in a token can make
    the gateway fetch anything.
    """

    def __init__(
        self,
        keys: Sequence[SigningKey],
        *,
        algorithm: str,
        issuer: str,
        audience: str,
        leeway_seconds: int,
        lifetime_seconds_max: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise ValueError(f"the algorithm is one of {', '.join(ALGORITHMS)}")
        self._algorithm = algorithm
        self._issuer = issuer
        self._audience = audience
        self._leeway_seconds = leeway_seconds
        self._lifetime_seconds_max = lifetime_seconds_max
        self._clock = clock
        # Prepared once: making the key object costs as much as the signature check.
        self._keys = {
            key.kid: (jwk.construct(key.secret, algorithm), key.verify_until) for key in keys
        }

    def verify(self, token: str | None) -> Principal:
        """Return who the token speaks for; raises `InvalidToken` with a reason for the client."""
        if not token:
            raise InvalidToken("a token is needed")
        try:
            claims = self._claims(token)
        except (JWTError, ValueError, TypeError, OverflowError, RecursionError, AttributeError):
            # What exactly was wrong with a forged token is nobody's business.
            raise InvalidToken("the token is not valid") from None
        self._check_times(claims)
        if claims.get("iss") != self._issuer:
            raise InvalidToken("the token comes from another issuer")
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise InvalidToken("the token is meant for another audience")
        return _principal_of(claims)

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise ValueError("form")
        signed, dot, signature_text = token.rpartition(".")
        header_text, dot_too, payload_text = signed.partition(".")
        if not dot or not dot_too or "." in payload_text:
            raise ValueError("form")

        header = _json_object(_decode_segment(header_text))
        if not header.keys() <= _HEADER_KEYS or header.get("alg") != self._algorithm:
            raise ValueError("header")
        if header.get("typ") != ACCESS_TYPE:
            raise InvalidToken("the token is not an access token")
        kid = header.get("kid")
        known = self._keys.get(kid) if isinstance(kid, str) else None
        if known is None:
            raise ValueError("key")
        key, verify_until = known
        if verify_until is not None and self._clock() >= verify_until:
            raise InvalidToken("the token was signed with a key that has been retired")

        if not key.verify(signed.encode(), _decode_segment(signature_text)):
            raise ValueError("signature")
        return _json_object(_decode_segment(payload_text))

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._clock()
        issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
        if issued_at > now + self._leeway_seconds:
            raise InvalidToken("the token was issued in the future")
        if "nbf" in claims and _time(claims, "nbf") > now + self._leeway_seconds:
            raise InvalidToken("the token is not valid yet")
        if expires_at <= now - self._leeway_seconds:
            raise InvalidToken("the token has expired")
        if expires_at - issued_at > self._lifetime_seconds_max:
            raise InvalidToken("the token lives longer than is allowed here")


def _decode_segment(text: str) -> bytes:
    """Decode base64url, in its one canonical spelling only.

    Otherwise one valid token has many texts (padding, white space, spare low bits), and
    whatever is keyed by the text can be dodged.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("base64") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text.encode():
        raise ValueError("base64 spelling")
    return data


def _json_object(data: bytes) -> dict[Any, Any]:
    value = orjson.loads(data)  # refuses NaN, Infinity, lone surrogates and deep nesting
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _time(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 < value < 1 << 53:
        raise InvalidToken(f"the token has no usable {name}")
    return value


def _principal_of(claims: dict[str, Any]) -> Principal:
    return Principal(
        subject=_name(claims, "sub", _SUBJECT_LENGTH_MAX),
        token_id=_name(claims, "jti", _SUBJECT_LENGTH_MAX),
        issued_at=_time(claims, "iat"),
        expires_at=_time(claims, "exp"),
        roles=_roles(claims.get("role", [])),
        grants=_grants(claims.get("grants", {})),
    )


def _name(claims: dict[str, Any], name: str, length_max: int) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or len(value) > length_max or not _NAME.fullmatch(value):
        raise InvalidToken(f"the token has no usable {name}")
    return value


def _roles(value: Any) -> frozenset[str]:
    roles = [value] if isinstance(value, str) else value
    if not isinstance(roles, list) or len(roles) > _ROLES_MAX:
        raise InvalidToken("the token's role is neither a name nor a list of names")
    if not all(isinstance(role, str) and _NAME.fullmatch(role) for role in roles):
        raise InvalidToken("the token's role is neither a name nor a list of names")
    return frozenset(roles)


def _grants(value: Any) -> dict[Action, tuple[str, ...]]:
    refusal = InvalidToken("the token's grants are not lists of channel patterns")
    if not isinstance(value, dict):
        raise refusal
    grants: dict[Action, tuple[str, ...]] = {}
    for action, patterns in value.items():
        if action not in _ACTIONS or not isinstance(patterns, list):
            raise refusal
        if len(patterns) > _PATTERNS_MAX:
            raise refusal
        if not all(isinstance(pattern, str) and is_pattern(pattern) for pattern in patterns):
            raise refusal
        grants[Action(action)] = tuple(patterns)
    return grants
