"""What takes the word from a token before it expires."""

from dataclasses import dataclass
from enum import StrEnum

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

    def means(self, principal: Principal) -> bool:
        match self.kind:
            case RevocationKind.TOKEN:
                return principal.token_id == self.subject
            case RevocationKind.SESSION:
                return principal.session_id == self.subject
            case RevocationKind.USER:
                return principal.subject == self.subject and principal.issued_at < self.before
