"""Tokens made by hand, so that the library under test has no say in how they look."""

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from gateway.core.tokens import PublicKey, SigningKey, TokenIssuer, TokenVerifier, VerifyingKey
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
        "issuer": "the-issuer",
        "audience": "the-audience",
        "leeway_seconds": LEEWAY,
        "lifetime_seconds_max": LIFETIME_MAX,
        "clock": lambda: now,
    }
    return TokenVerifier(changes.pop("keys", keys), **(given | changes))


def make_issuer(**changes: Any) -> TokenIssuer:
    given: dict[str, Any] = {
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


# Key pairs.

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def rsa_key(name: str = "ours", bits: int = 2048) -> rsa.RSAPrivateKey:
    return _rsa_key(name, bits)


def ec_key(algorithm: str = "ES256", name: str = "ours") -> ec.EllipticCurvePrivateKey:
    return _ec_key(algorithm, name)


# One key per name, for making one takes a while.


@cache
def _rsa_key(name: str, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def _ec_key(algorithm: str, name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1())


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


class Family(NamedTuple):
    """An algorithm with a key named k2: how we verify it, and how it is signed by hand."""

    algorithm: str
    key: VerifyingKey
    sign: Callable[[bytes], bytes]

    def seal(self, signed: str) -> str:
        return f"{signed}.{base64url(self.sign(signed.encode()))}"

    def forge(self, header: Mapping[str, Any] | None = None, claims: object = CLAIMS) -> str:
        header = HEADER | {"alg": self.algorithm} | dict(header or {})
        return self.seal(f"{base64url(as_json(header))}.{base64url(as_json(claims))}")

    def verifier(self, **changes: Any) -> TokenVerifier:
        return make_verifier(keys=[self.key], **changes)


FAMILIES = (
    *("HS256", "HS384", "HS512"),
    *("RS256", "RS384", "RS512"),
    *("ES256", "ES384"),
)
_DIGESTS = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


@cache
def family(algorithm: str, name: str = "ours") -> Family:
    digest = _DIGESTS[algorithm[2:]]
    if algorithm.startswith("HS"):
        secret = SECRET if name == "ours" else SECRET + name.encode()
        return Family(
            algorithm,
            SigningKey("k2", secret, algorithm=algorithm),
            lambda data: hmac.digest(secret, data, digest.name),
        )
    if algorithm.startswith("RS"):
        pair = rsa_key(name)
        return Family(
            algorithm,
            PublicKey.from_pem("k2", public_pem(pair), algorithm),
            lambda data: pair.sign(data, padding.PKCS1v15(), digest),
        )
    curve_pair = ec_key(algorithm, name)
    return Family(
        algorithm,
        PublicKey.from_pem("k2", public_pem(curve_pair), algorithm),
        lambda data: raw_signature(curve_pair, data, digest),
    )


def raw_signature(pair: ec.EllipticCurvePrivateKey, data: bytes, digest: Any) -> bytes:
    """As a token holds it (RFC 7518 section 3.4): both numbers side by side, not in DER."""
    size = pair.key_size // 8
    numbers = decode_dss_signature(pair.sign(data, ec.ECDSA(digest)))
    return b"".join(number.to_bytes(size, "big") for number in numbers)


def as_jwk(pair: PrivateKey, kid: str = "k2", **members: Any) -> dict[str, Any]:
    """The public half as an entry of a JWKS document; a member that is None is left out."""
    entry: dict[str, Any] = {"kid": kid, "use": "sig"}
    if isinstance(pair, rsa.RSAPrivateKey):
        numbers = pair.public_key().public_numbers()
        entry |= {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    else:
        point, size = pair.public_key().public_numbers(), (pair.key_size + 7) // 8
        entry |= {"kty": "EC", "crv": f"P-{pair.key_size}"}
        entry |= {"x": _number(point.x, size), "y": _number(point.y, size)}
    return {name: value for name, value in (entry | members).items() if value is not None}


def as_jwks(*entries: object) -> bytes:
    return as_json({"keys": entries})


def _number(number: int, size: int = 0) -> str:
    return base64url(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


VALID = forge()
SIGNED, _, SIGNATURE = VALID.rpartition(".")
HEADER_TEXT, _, CLAIMS_TEXT = SIGNED.partition(".")
