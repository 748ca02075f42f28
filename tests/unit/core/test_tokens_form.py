"""What a token must look like before anybody reads what it says: form, spelling, header and key."""

import contextlib
import hashlib
import json
import socket
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.tokens import TOKEN_BYTES_MAX, SigningKey
from gateway.domain.errors import InvalidToken
from gateway.domain.principal import Principal
from tests.unit.core.forging import (
    CLAIMS,
    CLAIMS_TEXT,
    HEADER,
    HEADER_TEXT,
    OLD_SECRET,
    SECRET,
    SIGNATURE,
    SIGNED,
    VALID,
    VERIFIER,
    as_json,
    base64url,
    claims_with,
    forge,
    header_with,
    make_verifier,
    refusal_of,
    seal,
    without,
)

# Form.


NOT_A_TOKEN: dict[str, Any] = {
    "nothing": None,
    "an empty text": "",
    "a space": " ",
    "one dot": ".",
    "two dots": "..",
    "three dots": "...",
    "a word": "abc",
    "two segments": SIGNED,
    "four segments": VALID + "." + SIGNATURE,
    "five segments, as an encrypted token has": f"{SIGNED}.a.b.{SIGNATURE}",
    "no header": f".{CLAIMS_TEXT}.{SIGNATURE}",
    "no claims": f"{HEADER_TEXT}..{SIGNATURE}",
    "no signature": SIGNED + ".",
    "segments in another order": f"{CLAIMS_TEXT}.{HEADER_TEXT}.{SIGNATURE}",
    "the scheme in front": f"Bearer {VALID}",
    "two tokens": f"{VALID},{VALID}",
    "bytes": VALID.encode(),
    "a number": 7,
    "a list": [VALID],
    "a dictionary": {"token": VALID},
    "a letter beyond ASCII": VALID[:-1] + "é",
    "full-width letters": "".join(chr(ord(letter) + 0xFEE0) for letter in VALID),
    "a lone surrogate": VALID + "\ud800",
    "a NUL at the end": VALID + "\0",
    "a NUL inside": VALID.replace(".", ".\0", 1),
    "250 KB of letters": "a" * 250_000,
    "250 KB in the claims": f"{HEADER_TEXT}.{'a' * 250_000}.{SIGNATURE}",
    "250 KB of dots": "." * 250_000,
    "one byte too long": forge(claims=CLAIMS | {"x": "y" * TOKEN_BYTES_MAX}),
    "a header of nested brackets": f"{base64url(b'[' * 1000)}.{CLAIMS_TEXT}.{SIGNATURE}",
    "a header of nested objects": ".".join([base64url(b'{"a":' * 600), CLAIMS_TEXT, SIGNATURE]),
    "a header of nothing": seal(f".{CLAIMS_TEXT}"),
    "a header that is a list": forge(header=[HEADER]),
    "a header that is a text": forge(header="HS256"),
    "a header that is null": forge(header=b"null"),
    "a header that is cut off": forge(header=as_json(HEADER)[:-1]),
    "a header with more behind it": forge(header=as_json(HEADER) + b"{}"),
    "a header in UTF-16": forge(header=json.dumps(HEADER).encode("utf-16")),
    "claims of nothing": forge(claims=b""),
    "claims that are a list": forge(claims=[CLAIMS]),
    "claims that are a text": forge(claims="alice"),
    "claims that are cut off": forge(claims=as_json(CLAIMS)[:-1]),
    "claims that are not UTF-8": forge(claims=as_json(CLAIMS).replace(b"alice", b"\xff")),
    "claims with a lone surrogate": forge(claims=as_json(CLAIMS).replace(b"alice", b"\\ud800")),
    "claims of nested brackets": forge(claims=b"[" * 2000),
    "claims with a deep value": forge(claims=as_json(CLAIMS)[:-1] + b',"x":' + b"[" * 2000),
}


@pytest.mark.parametrize("token", NOT_A_TOKEN.values(), ids=NOT_A_TOKEN.keys())
def test_what_is_not_formed_like_a_token_is_refused(token: Any) -> None:
    """S01, S09: and no other exception escapes."""
    refusal_of(token)


def test_without_a_token_the_refusal_asks_for_one() -> None:
    assert refusal_of(None) == refusal_of("") == "a token is needed"


# Spelling: one token has one text, or whatever is keyed by the text can be dodged (S03).


def low_bit_variants(segment: str) -> list[str]:
    """Other last letters that decode to the same bytes."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    spare_bits = {0: 0, 2: 4, 3: 2}[len(segment) % 4]
    last = alphabet.index(segment[-1])
    return [segment[:-1] + alphabet[last | bits] for bits in range(1, 1 << spare_bits)]


def padded_claims() -> str:
    """Claims of a length that leaves spare bits in the last letter."""
    texts = [base64url(as_json(CLAIMS | {"pad": pad})) for pad in ("", "x", "xx")]
    return next(text for text in texts if len(text) % 4 == 2)


def in_the_other_alphabet() -> str:
    """A signature in which both alphabets differ, written in the one that is not for URLs."""
    tokens = (claims_with(jti=f"token-{number}").rpartition(".") for number in range(1000))
    signed, _, signature = next(token for token in tokens if {"-", "_"} <= set(token[2]))
    return f"{signed}.{signature.replace('-', '+').replace('_', '/')}"


SPELLINGS = {
    "padding": VALID + "=",
    "double padding": VALID + "==",
    "padding of all segments": f"{HEADER_TEXT}==.{CLAIMS_TEXT}==.{SIGNATURE}=",
    "signed with padding in the header": seal(f"{base64url(as_json(HEADER))}==.{CLAIMS_TEXT}"),
    "signed with padding in the claims": seal(f"{HEADER_TEXT}.{padded_claims()}=="),
    "a space at the end": VALID + " ",
    "a space in front": " " + VALID,
    "a line feed at the end": VALID + "\n",
    "a line feed in the signature": f"{SIGNED}.{SIGNATURE[:9]}\n{SIGNATURE[9:]}",
    "a carriage return and a line feed": VALID + "\r\n",
    "junk in the signature": f"{SIGNED}.{SIGNATURE[:9]}!*{SIGNATURE[9:]}",
    "junk behind the signature": VALID + "!",
    "signed with white space in the claims": seal(f"{HEADER_TEXT}.{padded_claims()}\n"),
    "one letter more": VALID + "A",
    "one letter less": VALID[:-1],
    "a signature twice as long": VALID + SIGNATURE,
    "the signature in upper case": f"{SIGNED}.{SIGNATURE.upper()}",
    "the other base64 alphabet": in_the_other_alphabet(),
}


@pytest.mark.parametrize("token", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_another_spelling_of_a_valid_token_is_refused(token: str) -> None:
    refusal_of(token)


def test_spare_bits_of_the_signature_are_refused() -> None:
    for variant in low_bit_variants(SIGNATURE):
        refusal_of(f"{SIGNED}.{variant}")


def test_spare_bits_are_refused_even_where_they_are_signed() -> None:
    claims = padded_claims()
    assert VERIFIER.verify(seal(f"{HEADER_TEXT}.{claims}")).subject == "alice"
    for variant in low_bit_variants(claims):
        refusal_of(seal(f"{HEADER_TEXT}.{variant}"))


def test_changing_any_letter_of_a_valid_token_breaks_it() -> None:
    for index, letter in enumerate(VALID):
        for other in "A_=. \n":
            if other != letter:
                refusal_of(VALID[:index] + other + VALID[index + 1 :])


@given(
    st.integers(0, len(VALID)), st.integers(0, 3), st.text(st.characters(codec="ascii"), max_size=3)
)
def test_no_edited_token_is_valid(start: int, removed: int, put: str) -> None:
    edited = VALID[:start] + put + VALID[start + removed :]
    if edited != VALID:
        refusal_of(edited)


# Algorithms, types and keys.


@pytest.mark.parametrize(
    "algorithm",
    [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "hs256",
        "HS256 ",
        "HS384",
        "HS512",
        "RS256",
        "ES256",
        "PS256",
        "EdDSA",
        "dir",
        "A256KW",
        None,
        256,
        True,
        ["HS256"],
        {"HS256": 1},
    ],
)
def test_another_algorithm_is_refused(algorithm: object) -> None:
    """S02: the token does not choose how it is verified."""
    token = header_with(alg=algorithm)
    for attempt in (token, token.rpartition(".")[0] + "."):
        assert refusal_of(attempt) == "the token is not valid"


def test_a_token_without_an_algorithm_is_refused() -> None:
    refusal_of(forge(header=without(HEADER, "alg")))


@pytest.mark.parametrize(("algorithm", "digest"), [("HS384", "sha384"), ("HS512", "sha512")])
def test_a_correct_signature_of_another_algorithm_is_refused(algorithm: str, digest: str) -> None:
    """S02: signed with the very same secret."""
    refusal_of(forge(header=HEADER | {"alg": algorithm}, digest=digest))
    refusal_of(forge(digest=digest))


@pytest.mark.parametrize("algorithm", ["none", "RS256", "ES256", "HS1", ""])
def test_a_verifier_cannot_be_set_to_another_kind_of_algorithm(algorithm: str) -> None:
    with pytest.raises(ValueError, match="the algorithm is one of"):
        make_verifier(algorithm=algorithm)


@pytest.mark.parametrize("kind", ["rt+jwt", "JWT", "jwt", "AT+JWT", "at+jwt ", "", None, 1, ["at"]])
def test_a_token_of_another_type_is_refused(kind: object) -> None:
    """S06: a refresh token never works as an access token."""
    assert refusal_of(header_with(typ=kind)) == "the token is not an access token"


def test_a_token_without_a_type_is_refused() -> None:
    refusal_of(forge(header=without(HEADER, "typ")))


@pytest.mark.parametrize(
    "kid",
    [
        "k3",
        "",
        "K2",
        "k2 ",
        "../k2",
        "k1\x00",
        "k2' OR '1'='1",
        None,
        2,
        2.0,
        True,
        ["k2"],
        {"k2": 1},
        "/dev/null",
        "http://127.0.0.1/key",
    ],
)
def test_a_token_of_an_unknown_key_is_refused(kid: object) -> None:
    """S07"""
    assert refusal_of(header_with(kid=kid)) == "the token is not valid"


def test_a_token_without_a_key_name_is_refused() -> None:
    """S07: keys are not tried in turn."""
    refusal_of(forge(header=without(HEADER, "kid")))


@pytest.mark.parametrize(("name", "kid"), [("1", 1), ("None", None), ("True", True), ("2.0", 2.0)])
def test_only_a_text_names_a_key(name: str, kid: object) -> None:
    """S07: not something that looks like its name when it is printed."""
    verifier = make_verifier(keys=[SigningKey(name, SECRET)])
    assert verifier.verify(header_with(kid=name)).subject == "alice"
    refusal_of(header_with(kid=kid), verifier)


def test_a_key_verifies_only_under_its_own_name() -> None:
    """S07"""
    refusal_of(header_with(kid="k1"))
    refusal_of(forge(secret=OLD_SECRET))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jku", "https://127.0.0.1:9/keys.json"),
        ("x5u", "https://127.0.0.1:9/cert.pem"),
        ("jwk", {"kty": "oct", "k": base64url(SECRET)}),
        ("x5c", ["MIIB"]),
        ("x5t", "abc"),
        ("crit", ["exp"]),
        ("crit", []),
        ("b64", False),
        ("b64", True),
        ("zip", "DEF"),
        ("cty", "JWT"),
        ("enc", "A128GCM"),
        ("p2c", 2_000_000_000),
        ("ALG", "none"),
    ],
)
def test_a_header_with_anything_more_is_refused_without_fetching_anything(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """S07"""

    def unexpected(*_: object, **__: object) -> None:
        pytest.fail("the verifier opened a connection")

    monkeypatch.setattr(socket, "socket", unexpected)
    monkeypatch.setattr(socket, "getaddrinfo", unexpected)
    assert refusal_of(header_with(**{name: value})) == "the token is not valid"


def test_another_secret_signs_in_vain() -> None:
    for secret in (b"", b"secret", SECRET[:-1], SECRET + b"x", SECRET.swapcase()):
        refusal_of(forge(secret=secret))


def test_another_digest_cannot_stand_for_a_signature() -> None:
    refusal_of(f"{SIGNED}.{base64url(hashlib.sha256(SIGNED.encode()).digest())}")
    refusal_of(f"{SIGNED}.{base64url(bytes(32))}")


# Whatever comes: `InvalidToken` or a principal.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def survives(token: Any) -> None:
    with contextlib.suppress(InvalidToken):
        assert isinstance(VERIFIER.verify(token), Principal)


@given(st.text() | st.binary() | json_values)
def test_no_text_makes_the_verifier_stumble(token: Any) -> None:
    """S01"""
    survives(token)


@given(st.lists(st.binary(max_size=60).map(base64url), max_size=5).map(".".join))
def test_no_segments_make_the_verifier_stumble(token: str) -> None:
    """S01"""
    survives(token)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from([*HEADER, "crit", "x"]), json_values, max_size=3))
def test_no_signed_header_makes_the_verifier_stumble(changes: dict[str, Any]) -> None:
    survives(header_with(**changes))
    survives(forge(header=changes))


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from([*CLAIMS, "nbf", "role", "grants"]),
        json_values | st.fixed_dictionaries({"publish": json_values}),
        min_size=1,
        max_size=3,
    )
)
def test_no_signed_claims_make_the_verifier_stumble(changes: dict[str, Any]) -> None:
    survives(claims_with(**changes))
    survives(forge(claims=changes))
