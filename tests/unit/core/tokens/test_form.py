"""What a token must look like before anybody reads what it says, and how it is spelled."""

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tokens import TOKEN_BYTES_MAX
from tests.unit.core.tokens.forging import (
    CLAIMS,
    CLAIMS_TEXT,
    HEADER,
    HEADER_TEXT,
    SIGNATURE,
    SIGNED,
    VALID,
    VERIFIER,
    as_json,
    base64url,
    claims_with,
    forge,
    refusal_of,
    seal,
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
