"""What a token must look like before anybody reads what it says, and how one is spelled."""

import base64
import binascii
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

TOKEN_BYTES_MAX = 4096
ACCESS_TYPE = "at+jwt"  # RFC 9068 section 2.1: an access token says that it is one
REFRESH_TYPE = "rt+jwt"
CLIENT_TYPE = "JWT"  # what libraries write where nobody tells them otherwise

NOT_VALID = "the token is not valid"
_SHOWN_LENGTH_MAX = 80
# From the alphabet for URLs to the other one, whose own letters mean nothing here.
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/***")


class Refused(Exception):
    """A step said no. ``detail`` is for the client; ``exact`` is for an operator alone.

    What exactly was wrong with a forged token is nobody else's business.
    """

    def __init__(self, detail: str, exact: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.exact = exact or detail


class Expired(Refused):
    """The token was right in all else."""


class Segments(NamedTuple):
    """The three segments of a token; ``signed`` is what the signature is about."""

    signed: bytes
    header: dict[Any, Any]
    claims: dict[Any, Any]
    signature: bytes


def split(token: str) -> Segments:
    """Take a token apart without believing any of it; raises `Refused`."""
    if not token:
        raise Refused("a token is needed")
    if len(token) > TOKEN_BYTES_MAX or not token.isascii():
        raise Refused(NOT_VALID, f"longer than {TOKEN_BYTES_MAX} bytes, or not ASCII")
    signed, dot, signature_text = token.rpartition(".")
    header_text, dot_too, claims_text = signed.partition(".")
    if not dot or not dot_too or "." in claims_text:
        raise Refused(NOT_VALID, "not three segments with dots between them")
    return Segments(
        signed.encode(),
        _header(header_text),
        _object(claims_text, "claims"),
        decode_segment(signature_text, "signature"),
    )


def type_of(token: str) -> object:
    """What the token says that it is, without believing it; None where it cannot be read."""
    try:
        return _object(token[:TOKEN_BYTES_MAX].partition(".")[0], "header").get("typ")
    except Refused:
        return None


def join(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """The part of a token that gets signed."""
    return f"{encode_segment(orjson.dumps(header))}.{encode_segment(orjson.dumps(claims))}"


def encode_segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_segment(text: str, name: str = "text") -> bytes:
    """Decode base64url, in its one canonical spelling only; raises `Refused`.

    Otherwise one valid token has many texts (padding, white space, spare low bits), and
    whatever is keyed by the text can be dodged.
    """
    letters = text.encode().translate(_FROM_URL)
    padded = letters + b"==="[: -len(letters) % 4]
    try:
        data = binascii.a2b_base64(padded)
    except binascii.Error:
        raise Refused(NOT_VALID, f"the {name} segment is not base64url") from None
    # The decoder skips what it does not know; encoding again shows whatever it skipped.
    if binascii.b2a_base64(data, newline=False) != padded:
        raise Refused(
            NOT_VALID, f"the {name} segment is not in the one canonical spelling of base64url"
        )
    return data


def shown(value: object) -> str:
    """A value from a token for an operator's eyes: short, on one line, nothing unprintable."""
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH_MAX else text[:_SHOWN_LENGTH_MAX] + "…"


@lru_cache(maxsize=16)
def _header(text: str) -> dict[Any, Any]:
    """Nobody changes it; all the tokens of an issuer share one header, letter by letter."""
    return _object(text, "header")


def _object(text: str, name: str) -> dict[Any, Any]:
    data = decode_segment(text, name)
    try:
        value = orjson.loads(data)  # refuses NaN, Infinity, lone surrogates and deep nesting
    except orjson.JSONDecodeError:
        raise Refused(NOT_VALID, f"the {name} segment is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(NOT_VALID, f"the {name} segment is not a JSON object")
    return value
