"""Turns a token into a principal, or says why not."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gateway.core.tokens.claims import RefreshClaims
from gateway.core.tokens.client import (
    ConnectionToken,
    SubscriptionToken,
    connection_of,
    subscription_of,
)
from gateway.core.tokens.form import (
    ACCESS_TYPE,
    CLIENT_TYPE,
    NOT_VALID,
    REFRESH_TYPE,
    Expired,
    Refused,
    type_of,
)
from gateway.core.tokens.issuer import REFRESH_SECONDS_MAX
from gateway.core.tokens.keys import ALGORITHMS, PUBLIC_KEY_ALGORITHMS, KeySet, VerifyingKey
from gateway.core.tokens.ring import KeyRing
from gateway.core.tokens.steps import (
    ACCESS_STEPS,
    CLIENT_STEPS,
    REFRESH_STEPS,
    Reading,
    Rules,
    Step,
    Trust,
)
from gateway.domain.errors import ExpiredToken, GatewayError, InvalidToken
from gateway.domain.principal import Principal

# What the libraries below may let escape for input that nobody has thought of.
_STUMBLES = (ValueError, TypeError, KeyError, OverflowError, RecursionError, AttributeError)

Check = Callable[[Principal], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ExternalIssuer:
    """Somebody else whose access tokens count here, as far as its own keys signed them.

    It is trusted with every subject and every role: its "alice" is our "alice".
    """

    issuer: str
    audience: str
    algorithms: Sequence[str]
    keys: KeyRing

    def __post_init__(self) -> None:
        if not self.algorithms or not set(self.algorithms) <= set(PUBLIC_KEY_ALGORITHMS):
            raise ValueError(f"the algorithms are among {', '.join(PUBLIC_KEY_ALGORITHMS)}")


class TokenVerifier:
    """Knows the issuers and their keys; synchronous and without I/O.

    A connect needs no round trip, and nothing in a token can make the gateway fetch anything
    from a place that the token names. ``check`` is asked last, about tokens that are right and
    may yet be no longer wanted; it raises `InvalidToken`.
    """

    def __init__(
        self,
        keys: Sequence[VerifyingKey],
        *,
        issuer: str,
        audience: str,
        leeway_seconds: int,
        lifetime_seconds_max: int,
        external: Sequence[ExternalIssuer] = (),
        check: Check | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = KeySet(keys)
        self._check = check
        self._clock = clock
        # Refused tokens by the step that said no, or "expired" or "revoked".
        self.failures: Counter[str] = Counter()
        own = {issuer: Trust(issuer, audience, frozenset(ALGORITHMS), self._keys)}
        others = {
            other.issuer: Trust(
                other.issuer, other.audience, frozenset(other.algorithms), other.keys
            )
            for other in external
        }
        if len(own | others) < 1 + len(external):
            raise ValueError("every issuer needs a name of its own")
        self._access = Rules(ACCESS_TYPE, own | others, leeway_seconds, lifetime_seconds_max)
        # Only our own keys make refresh tokens, and the limit of access tokens is not theirs.
        self._refresh = Rules(REFRESH_TYPE, own, leeway_seconds, REFRESH_SECONDS_MAX)
        # Only our own keys, too: another issuer signs "JWT" for purposes that we know nothing of.
        self._client = Rules(CLIENT_TYPE, own, leeway_seconds, lifetime_seconds_max, keys[-1].kid)

    @property
    def checks_revocation(self) -> bool:
        return self._check is not None

    def verify(self, token: str | None) -> Principal:
        """Return who the access token speaks for.

        Raises `InvalidToken` with a reason for the client (`ExpiredToken` where it was right
        once), and `Unavailable` while the keys of the token's issuer are not known well enough
        to refuse it.
        """
        principal = self._read(token, self._access, ACCESS_STEPS).principal()
        self._check_revocation(principal)
        return principal

    def verify_connection(self, token: str) -> ConnectionToken:
        """`verify` for a client of the Centrifuge protocol: an access token, or a "JWT" one."""
        if type_of(token) == CLIENT_TYPE:
            reading = self._read(token, self._client, CLIENT_STEPS)
        else:
            reading = self._read(token, self._access, ACCESS_STEPS)
        verified = _or_invalid(connection_of, reading)
        self._check_revocation(verified.principal)
        return verified

    def verify_subscription(self, token: str) -> SubscriptionToken:
        """What the subscription token says; raises `InvalidToken`."""
        reading = self._read(token, self._client, CLIENT_STEPS)
        verified = _or_invalid(subscription_of, reading)
        self._check_revocation(reading.principal())
        return verified

    def verify_refresh(self, token: str | None) -> RefreshClaims:
        """Return what the refresh token says; raises `InvalidToken`."""
        read = self._read(token, self._refresh, REFRESH_STEPS)
        return RefreshClaims(read.subject, read.session_id, read.generation, read.expires_at)

    def walk(self, token: str | None) -> Iterator[tuple[str, Reading, str]]:
        """Verify an access token for an operator: each step's name, what is known, and why not.

        These are the very steps of `verify`; the last one is the first that said no.
        """
        reading = Reading(token, self._access, self._clock())
        for name, step in (*ACCESS_STEPS, ("revocation", self._revocation)):
            why_not = _refusal(step, reading)
            yield name, reading, why_not
            if why_not:
                return

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public halves of our own keys, as a document (RFC 7517); secrets have none."""
        return self._keys.jwks(self._clock())

    def _read(self, token: Any, rules: Rules, steps: Sequence[tuple[str, Step]]) -> Reading:
        reading = Reading(token, rules, self._clock())
        name = ""
        try:
            for each in steps:
                name, step = each
                step(reading)
        except Expired as refusal:
            self.failures["expired"] += 1
            raise ExpiredToken(refusal.detail) from None
        except Refused as refusal:
            self.failures[name] += 1
            raise InvalidToken(refusal.detail) from None
        except _STUMBLES:
            self.failures[name] += 1
            raise InvalidToken(NOT_VALID) from None
        return reading

    def _check_revocation(self, principal: Principal) -> None:
        if self._check is not None:
            try:
                self._check(principal)
            except InvalidToken:
                self.failures["revoked"] += 1
                raise

    def _revocation(self, reading: Reading) -> None:
        if self._check is not None:
            self._check(reading.principal())


def _or_invalid(read: Callable[[Reading], T], reading: Reading) -> T:
    try:
        return read(reading)
    except Refused as refusal:
        raise InvalidToken(refusal.detail) from None


def _refusal(step: Step, reading: Reading) -> str:
    """Why the step says no, for an operator; "" if it says yes."""
    try:
        step(reading)
    except Refused as refusal:
        return refusal.exact
    except GatewayError as refusal:
        return refusal.detail
    except _STUMBLES as error:
        return f"cannot be read ({type(error).__name__})"
    return ""
