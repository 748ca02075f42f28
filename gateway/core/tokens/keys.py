"""Keys with their names: what signs, what verifies, and what may be shown of them.

A key is made for its algorithms once, when it is configured; a token never chooses among them
(RFC 8725 section 3.1). Making the key object costs as much as a signature check.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)
from jose import jwk

from gateway.core.tokens.claims import is_name
from gateway.core.tokens.form import encode_segment

SECRET_BYTES_MIN = 32
RSA_BITS_MIN = 2048
RSA_BITS_MAX = 8192  # a longer one costs milliseconds per token, which anybody may send

SECRET_ALGORITHMS = ("HS256", "HS384", "HS512")
RSA_ALGORITHMS = ("RS256", "RS384", "RS512")
CURVES: Mapping[str, tuple[str, type[ec.EllipticCurve]]] = {
    "ES256": ("P-256", ec.SECP256R1),
    "ES384": ("P-384", ec.SECP384R1),
}
PUBLIC_KEY_ALGORITHMS = (*RSA_ALGORITHMS, *CURVES)
ALGORITHMS = (*SECRET_ALGORITHMS, *PUBLIC_KEY_ALGORITHMS)

_HASHES = {"ES256": hashes.SHA256, "ES384": hashes.SHA384}
_HALF_OF_A_PAIR = re.compile(rb'-----BEGIN |ssh-(rsa|dss|ed25519)|ecdsa-sha2-|"kty"')

_WRONG_KIND = "a key in PEM is an RSA or an EC key, as its algorithm says"

_Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
_Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class VerifyingKey:
    """A name and what verifies under it; ``verify_until`` (seconds since 1970) ends a retired one.

    ``algorithms`` are those that it may verify: one of our own has exactly one.
    """

    __slots__ = ("_prepared", "_public", "algorithms", "kid", "verify_until")

    def __init__(
        self,
        kid: str,
        prepared: Mapping[str, Any],
        public: _Public | None,
        verify_until: float | None,
    ) -> None:
        if not is_name(kid):
            raise ValueError("a key's name is a short text without control characters")
        self.kid = kid
        self.verify_until = verify_until
        self.algorithms = frozenset(prepared)
        self._prepared = prepared
        self._public = public

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kid={self.kid!r})"

    def verify(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Whether the signature is ours; `KeyError` for an algorithm that the key is not for."""
        return bool(self._prepared[algorithm].verify(signed, signature))

    def as_jwk(self) -> dict[str, str] | None:
        """The public members (RFC 7517), or None: nothing of a secret is public."""
        if self._public is None:
            return None
        (algorithm,) = self._prepared
        return {"kid": self.kid, "use": "sig", "alg": algorithm} | _public_members(self._public)


class _Secret:
    """Compares with the standard library: the token library's way costs 4 % of a connect more."""

    __slots__ = ("_begun",)

    def __init__(self, secret: bytes, algorithm: str) -> None:
        # The secret is hashed into it once: a copy costs less than to begin for each token.
        self._begun = hmac.new(secret, digestmod=f"sha{algorithm[2:]}")

    def verify(self, signed: bytes, signature: bytes) -> bool:
        expected = self._begun.copy()
        expected.update(signed)
        return hmac.compare_digest(expected.digest(), signature)


class SigningKey(VerifyingKey):
    """A key that signs: a secret for HS*, a private key in PEM for RS* and ES*."""

    __slots__ = ("_algorithm", "_private")

    def __init__(
        self,
        kid: str,
        secret: bytes,
        verify_until: float | None = None,
        *,
        algorithm: str = "HS256",
    ) -> None:
        _check_algorithm(algorithm, ALGORITHMS)
        self._algorithm = algorithm
        if algorithm in SECRET_ALGORITHMS:
            _check_secret(secret)
            self._private: Any = jwk.construct(secret, algorithm)
            super().__init__(kid, {algorithm: _Secret(secret, algorithm)}, None, verify_until)
            return
        private = _load_private(secret)
        public = private.public_key()
        check_public(public, algorithm)
        self._private = private if algorithm in CURVES else jwk.construct(private, algorithm)
        super().__init__(kid, {algorithm: jwk.construct(public, algorithm)}, public, verify_until)

    @property
    def algorithm(self) -> str:
        return self._algorithm

    def sign(self, data: bytes) -> bytes:
        """The signature; the same data always has the same one, where OpenSSL is 3.2 or newer."""
        if self._algorithm not in CURVES:
            signature: bytes = self._private.sign(data)
            return signature
        # The library draws a random number for each signature. Derived from the data (RFC 6979)
        # it can neither repeat nor make a token that is signed again another text.
        scheme = ec.ECDSA(
            _HASHES[self._algorithm](),
            deterministic_signing=backend.ecdsa_deterministic_supported(),
        )
        r, s = decode_dss_signature(self._private.sign(data, scheme))
        size = (self._private.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


class PublicKey(VerifyingKey):
    """The public half of a key pair: verifies and cannot sign."""

    __slots__ = ()

    def __init__(
        self,
        kid: str,
        public: _Public,
        algorithms: Sequence[str],
        verify_until: float | None = None,
    ) -> None:
        for algorithm in algorithms:
            check_public(public, algorithm)
        prepared = {algorithm: jwk.construct(public, algorithm) for algorithm in algorithms}
        super().__init__(kid, prepared, public, verify_until)

    @classmethod
    def from_pem(
        cls, kid: str, pem: bytes, algorithm: str, verify_until: float | None = None
    ) -> "PublicKey":
        """Raises `ValueError` without any of the key's text."""
        _check_algorithm(algorithm, PUBLIC_KEY_ALGORITHMS)
        try:
            public = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("not a public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
        if not isinstance(public, _Public):
            raise ValueError(_WRONG_KIND)
        return cls(kid, public, [algorithm], verify_until)


class KeySet:
    """Our own keys, by name."""

    def __init__(self, keys: Sequence[VerifyingKey]) -> None:
        self._keys = {key.kid: key for key in keys}
        if len(self._keys) < len(keys):
            raise ValueError("every key needs a name of its own")

    def find(self, kid: str) -> VerifyingKey | None:
        return self._keys.get(kid)

    def seconds_until_known(self) -> None:
        """Our own keys do not change while the gateway runs: an unknown one stays unknown."""

    def jwks(self, now: float) -> dict[str, list[dict[str, str]]]:
        """The public keys that verify now, as a document (RFC 7517)."""
        valid = [
            key for key in self._keys.values() if key.verify_until is None or now < key.verify_until
        ]
        return {"keys": [members for key in valid if (members := key.as_jwk()) is not None]}


def check_public(public: _Public, algorithm: str) -> None:
    """Raise `ValueError` unless the key is of the algorithm's kind and strong enough."""
    if isinstance(public, rsa.RSAPublicKey):
        if algorithm not in RSA_ALGORITHMS:
            raise ValueError(f"an RSA key is not for {algorithm}")
        if not RSA_BITS_MIN <= public.key_size <= RSA_BITS_MAX:
            raise ValueError(f"an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits")
        return
    if algorithm not in CURVES or not isinstance(public.curve, CURVES[algorithm][1]):
        raise ValueError(f"an EC key on {public.curve.name} is not for {algorithm}")


def _check_algorithm(algorithm: str, allowed: Sequence[str]) -> None:
    if algorithm not in allowed:
        raise ValueError(f"the algorithm is one of {', '.join(allowed)}")


def _check_secret(secret: bytes) -> None:
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"a signing secret has at least {SECRET_BYTES_MIN} bytes")
    if len(set(secret)) < 8:
        raise ValueError("a signing secret is random, not a repeated pattern")
    if _HALF_OF_A_PAIR.search(secret):
        raise ValueError("a signing secret is random text, not one half of a key pair")


def _load_private(pem: bytes) -> _Private:
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # TypeError is how the library says that a password is missing.
        raise ValueError("not a private key in PEM without a password") from None
    if not isinstance(private, _Private):
        raise ValueError(_WRONG_KIND)
    return private


def _public_members(public: _Public) -> dict[str, str]:
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    point = public.public_numbers()
    size = (public.key_size + 7) // 8
    (curve,) = [name for name, kind in CURVES.values() if isinstance(public.curve, kind)]
    return {"kty": "EC", "crv": curve, "x": _number(point.x, size), "y": _number(point.y, size)}


def _number(number: int, size: int = 0) -> str:
    return encode_segment(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))
