"""The steps from a text to a verified reading of it, in the order in which they are taken.

Each looks at one thing, notes it in the `Reading`, and raises `Refused` with two reasons: one
for the client and one for the operator. There is no second implementation of any of them.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

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
    CLIENT_TYPE,
    NOT_VALID,
    REFRESH_TYPE,
    Expired,
    Refused,
    encode_segment,
    shown,
    split,
)
from gateway.core.tokens.keys import ALGORITHMS, VerifyingKey
from gateway.domain.errors import Unavailable
from gateway.domain.principal import Action, Principal

_HEADER_KEYS = {"alg", "typ", "kid"}
_KINDS = {
    ACCESS_TYPE: "an access token",
    REFRESH_TYPE: "a refresh token",
    CLIENT_TYPE: "a token of the Centrifuge client protocol",
}


class Keys(Protocol):
    """The keys of one issuer; neither call waits for anything."""

    def find(self, kid: str) -> VerifyingKey | None: ...

    def seconds_until_known(self) -> float | None:
        """When a kid that was not found may be known; None: it will not be."""


class Trust(NamedTuple):
    """Which keys and algorithms speak for an issuer, and to which audience."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    keys: Keys


class Rules(NamedTuple):
    """What a kind of token has to keep to; ``trusts`` maps an issuer's name to its trust.

    ``kid`` names the key of a token that names none, where that is allowed.
    """

    kind: str
    trusts: Mapping[str, Trust]
    leeway_seconds: int
    lifetime_seconds_max: int
    kid: str = ""


class Reading:
    """What is known of one token so far; a step's part is there once it has passed."""

    __slots__ = (
        "claims",
        "expires_at",
        "generation",
        "grants",
        "header",
        "issued_at",
        "key",
        "now",
        "roles",
        "rules",
        "session_id",
        "signature",
        "signed",
        "subject",
        "token",
        "token_id",
        "trust",
    )

    header: dict[Any, Any]
    claims: dict[Any, Any]
    signed: bytes
    signature: bytes
    trust: Trust
    key: VerifyingKey
    issued_at: int
    expires_at: int
    subject: str
    token_id: str
    session_id: str
    roles: frozenset[str]
    grants: dict[Action, tuple[str, ...]]
    generation: int

    def __init__(self, token: Any, rules: Rules, now: float) -> None:
        self.token = token
        self.rules = rules
        self.now = now

    def principal(self) -> Principal:
        return Principal(
            subject=self.subject,
            token_id=self.token_id,
            issued_at=self.issued_at,
            expires_at=self.expires_at,
            roles=self.roles,
            grants=self.grants,
            session_id=self.session_id,
        )


Step = Callable[[Reading], None]


def _form(reading: Reading) -> None:
    reading.signed, reading.header, reading.claims, reading.signature = split(reading.token)


def _fill_in(reading: Reading) -> None:
    """What libraries leave out unless they are told: the key's name, and an id.

    What was signed makes an id, so that the token can be revoked; the signature itself would
    not do, for that of an elliptic curve has a twin.
    """
    reading.header = {"kid": reading.rules.kid, **reading.header}
    if "jti" not in reading.claims:
        digest = hashlib.sha256(reading.signed).digest()
        reading.claims = {**reading.claims, "jti": encode_segment(digest[:16])}


def _header(reading: Reading) -> None:
    header, kind = reading.header, reading.rules.kind
    if not header.keys() <= _HEADER_KEYS:
        more = ", ".join(shown(name) for name in header if name not in _HEADER_KEYS)
        raise Refused(NOT_VALID, f"the header holds more than alg, typ and kid: {more}")
    if header.get("alg") not in ALGORITHMS:
        raise Refused(NOT_VALID, f"alg is {shown(header.get('alg'))}")
    if header.get("typ") != kind:
        raise Refused(
            f"the token is not {_KINDS[kind]}", f"typ is {shown(header.get('typ'))}, not {kind}"
        )


def _issuer(reading: Reading) -> None:
    """Nothing but a choice among those that are configured: the signature is still unread."""
    issuer, trusts = reading.claims.get("iss"), reading.rules.trusts
    trust = trusts.get(issuer) if isinstance(issuer, str) else None
    if trust is None:
        known = " or ".join(map(shown, trusts))
        raise Refused("the token comes from another issuer", f"iss is {shown(issuer)}, not {known}")
    reading.trust = trust


def _key(reading: Reading) -> None:
    header, trust = reading.header, reading.trust
    kid, algorithm = header.get("kid"), header["alg"]
    if not isinstance(kid, str):
        raise Refused(NOT_VALID, f"kid is {shown(kid)}")
    key = trust.keys.find(kid)
    if key is None:
        wait_seconds = trust.keys.seconds_until_known()
        if wait_seconds is not None:
            raise Unavailable("the token's key is not known here yet; try again", wait_seconds)
        raise Refused(NOT_VALID, f"kid is {shown(kid)}, not a key of {shown(trust.issuer)}")
    if algorithm not in key.algorithms or algorithm not in trust.algorithms:
        allowed = ", ".join(sorted(key.algorithms & trust.algorithms)) or "nothing"
        raise Refused(NOT_VALID, f"alg is {algorithm}, but key {key.kid} is for {allowed}")
    if key.verify_until is not None and reading.now >= key.verify_until:
        raise Refused(
            "the token was signed with a key that has been retired",
            f"key {key.kid} has been retired",
        )
    reading.key = key


def _signature(reading: Reading) -> None:
    if not reading.key.verify(reading.header["alg"], reading.signed, reading.signature):
        raise Refused(NOT_VALID, f"the signature does not match key {reading.key.kid}")


def _audience(reading: Reading) -> None:
    audience, ours = reading.claims.get("aud"), reading.trust.audience
    if ours not in (audience if isinstance(audience, list) else [audience]):
        raise Refused(
            "the token is meant for another audience", f"aud is {shown(audience)}, not {ours}"
        )


def _times(reading: Reading) -> None:
    claims, now, leeway = reading.claims, reading.now, reading.rules.leeway_seconds
    issued_at, expires_at = time_of(claims, "iat"), time_of(claims, "exp")
    if issued_at > now + leeway:
        raise Refused(
            "the token was issued in the future",
            f"iat is {issued_at - now:.0f} s ahead; the leeway is {leeway} s",
        )
    if "nbf" in claims and (not_before := time_of(claims, "nbf")) > now + leeway:
        raise Refused("the token is not valid yet", f"nbf is {not_before - now:.0f} s ahead")
    if expires_at <= now - leeway:
        raise Expired(
            "the token has expired",
            f"exp was {now - expires_at:.0f} s ago; the leeway is {leeway} s",
        )
    if expires_at - issued_at > reading.rules.lifetime_seconds_max:
        raise Refused(
            "the token lives longer than is allowed here",
            f"exp - iat is {expires_at - issued_at} s; "
            f"at most {reading.rules.lifetime_seconds_max} s",
        )
    reading.issued_at, reading.expires_at = issued_at, expires_at


def _subject(reading: Reading) -> None:
    reading.subject = name_of(reading.claims, "sub")
    reading.token_id = name_of(reading.claims, "jti")
    reading.session_id = session_of(reading.claims)


def _roles(reading: Reading) -> None:
    reading.roles = roles_of(reading.claims)


def _grants(reading: Reading) -> None:
    reading.grants = grants_of(reading.claims)


def _login(reading: Reading) -> None:
    reading.session_id = name_of(reading.claims, "sid")
    reading.generation = generation_of(reading.claims)


_COMMON: tuple[tuple[str, Step], ...] = (
    ("form", _form),
    ("header", _header),
    ("issuer", _issuer),
    ("key", _key),
    ("signature", _signature),
    ("audience", _audience),
    ("times", _times),
    ("subject", _subject),
)
_FORM, *_REST = _COMMON
ACCESS_STEPS = (*_COMMON, ("roles", _roles), ("grants", _grants))
REFRESH_STEPS = (*_COMMON, ("login", _login))
CLIENT_STEPS = (_FORM, ("fill in", _fill_in), *_REST, ("roles", _roles), ("grants", _grants))
