"""What takes the word from a token before it expires."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.domain.principal import Principal


class RevocationKind(StrEnum):
    """What a revocation's subject names: a token's jti, a login's id, or a user."""

    TOKEN = "token"
    SESSION = "session"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Revocation:
    """These tokens are valid no longer, and the sockets that they opened are to be closed.

    ``user`` is whose sockets are meant. ``before`` is for a user only: it revokes the tokens that
    were issued before it. After ``expires_at`` no token that it means could be valid anyway, so
    it may be forgotten. Both are whole seconds since 1970. ``reason`` is one short word.
    """

    kind: RevocationKind
    subject: str
    user: str
    before: int
    expires_at: int
    reason: str

    @classmethod
    def read(cls, fields: Any) -> "Revocation":
        """What was written as an object and came back; raises `ValueError` for what is none.

        Everything is checked here: a value of another type would be found where all revocations
        are gone through, and end that.
        """
        try:
            kind = RevocationKind(fields["kind"])
            texts = [fields[name] for name in ("subject", "user", "reason")]
            seconds = [fields[name] for name in ("before", "expires_at")]
        except (KeyError, TypeError) as error:
            raise ValueError("not a revocation") from error
        if not all(type(text) is str for text in texts):
            raise ValueError("not texts")
        if not all(type(number) is int for number in seconds):
            raise ValueError("not whole seconds")
        subject, user, reason = texts
        before, expires_at = seconds
        return cls(kind, subject, user, before, expires_at, reason)

    def means(self, principal: Principal) -> bool:
        match self.kind:
            case RevocationKind.TOKEN:
                return principal.token_id == self.subject
            case RevocationKind.SESSION:
                return principal.session_id == self.subject
            case RevocationKind.USER:
                return principal.subject == self.subject and principal.issued_at < self.before
