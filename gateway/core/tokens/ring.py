"""The public keys of another issuer, as its JWKS document (RFC 7517) lists them."""

import hashlib
import logging
from collections.abc import Callable
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.core.tokens.claims import is_name
from gateway.core.tokens.form import Refused, decode_segment, shown
from gateway.core.tokens.keys import CURVES, PUBLIC_KEY_ALGORITHMS, RSA_ALGORITHMS, PublicKey
from gateway.ports.jwks import DOCUMENT_BYTES_MAX

KEYS_MAX = 100

_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_EXPONENT_BITS_MAX = 33  # a longer one makes every check slow and nobody has it

logger = logging.getLogger(__name__)


class KeyRing:
    """The keys of one issuer, in memory; looking one up never waits for anything.

    ``name`` is the issuer, for the log. Whoever refreshes the ring says with `when_unknown` what
    becomes of a kid that is not here.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._keys: dict[str, PublicKey] = {}
        self._digest = b""
        self._unknown: Callable[[], float | None] = lambda: None

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str) -> PublicKey | None:
        return self._keys.get(kid)

    def when_unknown(self, ask: Callable[[], float | None]) -> None:
        """Let ``ask`` answer `seconds_until_known`."""
        self._unknown = ask

    def seconds_until_known(self) -> float | None:
        """When a kid that is not here may be known; None: it will not be, the token is wrong."""
        return self._unknown()

    def update(self, document: bytes) -> None:
        """Replace all keys by those of the document; raises `ValueError` and keeps them.

        An entry that cannot be used is ignored with its reason in the log, and the others are
        taken: an issuer may add kinds of keys that nobody here knows.
        """
        digest = hashlib.sha256(document).digest()
        if digest == self._digest:
            return  # and its reasons have been logged before
        entries = _entries(document)
        keys: dict[str, PublicKey] = {}
        for index, entry in enumerate(entries):
            try:
                key = _key(entry)
                if key.kid in keys:
                    raise ValueError("another one has the same kid")
            except ValueError as reason:
                logger.warning("entry %d in the keys of %s ignored: %s", index, self.name, reason)
            else:
                keys[key.kid] = key
        self._keys, self._digest = keys, digest
        logger.info("%d keys of %s are known", len(keys), self.name)

    def clear(self) -> None:
        """Forget all keys: nothing says any more that they are still the issuer's."""
        self._keys, self._digest = {}, b""


def _entries(document: bytes) -> list[Any]:
    if len(document) > DOCUMENT_BYTES_MAX:
        raise ValueError(f"a document of keys has at most {DOCUMENT_BYTES_MAX} bytes")
    try:
        value = orjson.loads(document)
    except orjson.JSONDecodeError:
        raise ValueError("the document of keys is not JSON") from None
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise ValueError("the document of keys has no list of keys")
    if len(entries) > KEYS_MAX:
        raise ValueError(f"a document of keys has at most {KEYS_MAX} of them")
    return entries


def _key(entry: Any) -> PublicKey:
    """Raises `ValueError` with a reason that names no value but kid, kty, alg, use and crv."""
    if not isinstance(entry, dict):
        raise ValueError("not an object")
    kid, kind, algorithm = entry.get("kid"), entry.get("kty"), entry.get("alg")
    if not isinstance(kid, str) or not is_name(kid):
        raise ValueError("no usable kid")
    name = f"kid {shown(kid)}"
    if kind not in ("RSA", "EC"):
        raise ValueError(f"{name}: kty {shown(kind)} is not a kind of key that is used here")
    if _PRIVATE_MEMBERS & entry.keys():
        raise ValueError(f"{name}: holds a private key, which everybody has read by now")
    if entry.get("use", "sig") != "sig":
        raise ValueError(f"{name}: use is {shown(entry['use'])}")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError(f"{name}: key_ops is without verify")
    if algorithm is not None and algorithm not in PUBLIC_KEY_ALGORITHMS:
        raise ValueError(f"{name}: alg {shown(algorithm)} is not used here")
    try:
        public, fitting = _rsa(entry) if kind == "RSA" else _ec(entry)
        return PublicKey(kid, public, fitting if algorithm is None else (algorithm,))
    except Refused:
        raise ValueError(f"{name}: a member is not base64url") from None
    except ValueError as reason:
        raise ValueError(f"{name}: {reason}") from None


def _rsa(entry: dict[Any, Any]) -> tuple[rsa.RSAPublicKey, tuple[str, ...]]:
    modulus, exponent = _number(entry, "n"), _number(entry, "e")
    if exponent.bit_length() > _EXPONENT_BITS_MAX:
        raise ValueError("the exponent is too long")
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key(), RSA_ALGORITHMS
    except ValueError:
        raise ValueError("n and e are not an RSA key") from None


def _ec(entry: dict[Any, Any]) -> tuple[ec.EllipticCurvePublicKey, tuple[str, ...]]:
    for algorithm, (name, curve) in CURVES.items():
        if entry.get("crv") == name:
            size = (curve().key_size + 7) // 8
            numbers = ec.EllipticCurvePublicNumbers(
                _number(entry, "x", size), _number(entry, "y", size), curve()
            )
            try:
                return numbers.public_key(), (algorithm,)
            except ValueError:
                raise ValueError("x and y are not a point of the curve") from None
    raise ValueError(f"crv {shown(entry.get('crv'))} is not used here")


def _number(entry: dict[Any, Any], name: str, size: int | None = None) -> int:
    text = entry.get(name)
    if not isinstance(text, str) or not text or not text.isascii():
        raise ValueError(f"no usable {name}")
    data = decode_segment(text)
    if size is not None and len(data) != size:
        raise ValueError(f"{name} has not the curve's length")
    return int.from_bytes(data, "big")
