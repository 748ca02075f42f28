"""Which tokens a revocation means."""

from dataclasses import replace

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


def test_of_a_user_the_tokens_are_meant_that_were_issued_before() -> None:
    """S13"""
    assert revocation(RevocationKind.USER, "alice", before=101).means(ALICE)
    assert not revocation(RevocationKind.USER, "alice", before=100).means(ALICE)
    assert not revocation(RevocationKind.USER, "bob", before=101).means(ALICE)
