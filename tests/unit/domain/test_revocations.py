"""Which tokens a revocation means."""

from dataclasses import asdict, replace

import pytest

from gateway.domain.principal import Principal
from gateway.domain.revocations import Revocation, RevocationKind

ALICE = Principal(subject="alice", token_id="jti", issued_at=100, expires_at=200, session_id="sid")


def revocation(kind: RevocationKind, subject: str, before: int = 0) -> Revocation:
    return Revocation(kind, subject, "alice", before, 200, "admin")


@pytest.mark.parametrize(
    ("kind", "subject"), [(RevocationKind.TOKEN, "jti"), (RevocationKind.SESSION, "sid")]
)
def test_a_token_and_a_login_are_meant_by_their_id_alone(
    kind: RevocationKind, subject: str
) -> None:
    """S04"""
    assert revocation(kind, subject).means(ALICE)
    assert not revocation(kind, "alice").means(ALICE)
    assert not revocation(kind, subject.upper()).means(ALICE)
    assert not revocation(kind, subject).means(replace(ALICE, token_id="x", session_id="x"))


def test_what_was_written_is_read_back() -> None:
    written = revocation(RevocationKind.USER, "alice", before=101)
    assert Revocation.read(asdict(written)) == written


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "planet"},
        {"kind": []},
        *({name: 1} for name in ("subject", "user", "reason")),
        *({name: value} for name in ("before", "expires_at") for value in ("1", 1.5, True, None)),
    ],
    ids=str,
)
def test_anything_else_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Revocation.read(asdict(revocation(RevocationKind.USER, "alice")) | change)


@pytest.mark.parametrize("value", [None, [], {}, "kind", {"kind": "user"}], ids=str)
def test_what_has_no_fields_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        Revocation.read(value)


def test_of_a_user_the_tokens_are_meant_that_were_issued_before() -> None:
    """S13"""
    assert revocation(RevocationKind.USER, "alice", before=101).means(ALICE)
    assert not revocation(RevocationKind.USER, "alice", before=100).means(ALICE)
    assert not revocation(RevocationKind.USER, "bob", before=101).means(ALICE)
