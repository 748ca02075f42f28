"""Who is asking, what they may do, and which rule says so."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from gateway.domain.channels import PERSONAL_NAMESPACE, matches
from gateway.domain.errors import Denied

ADMIN_ROLE = "admin"


class Action(StrEnum):
    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class Principal:
    """The verified claims of one token.

    ``grants`` maps an action to channel patterns. An action that is absent is not limited by
    grants; an action that is present is limited to its patterns, and an empty list is nothing.
    ``session_id`` names the login that the token came from; "" if it came from none.
    Times are seconds since 1970.
    """

    subject: str
    token_id: str
    issued_at: int
    expires_at: int
    roles: frozenset[str] = frozenset()
    grants: dict[Action, tuple[str, ...]] = field(default_factory=dict)
    session_id: str = ""

    @property
    def is_admin(self) -> bool:
        return ADMIN_ROLE in self.roles

    def require_admin(self) -> None:
        if not self.is_admin:
            raise Denied(f"role: this needs the role {ADMIN_ROLE}")


class Decision(NamedTuple):
    """``reason`` starts with the rule that decided: ``role``, ``grant`` or ``personal``."""

    allowed: bool
    reason: str


class Permissions:
    """The rules that turn a principal, an action and a channel into a decision."""

    def __init__(self, publish_roles: frozenset[str]) -> None:
        self._publish_roles = publish_roles
        self._publish_roles_text = ", ".join(sorted(publish_roles)) or "none"

    def require(self, principal: Principal, action: Action, channel: str) -> None:
        """Raise `Denied` with the deciding rule unless the principal may do this."""
        decision = self.decide(principal, action, channel)
        if not decision.allowed:
            raise Denied(decision.reason)

    def decide(self, principal: Principal, action: Action, channel: str) -> Decision:
        if action is Action.PUBLISH and not principal.roles & self._publish_roles:
            return Decision(False, f"role: publishing needs one of: {self._publish_roles_text}")

        patterns = principal.grants.get(action)
        if patterns is not None and not any(matches(pattern, channel) for pattern in patterns):
            return Decision(False, f"grant: the token grants {action} on other channels only")

        if action is Action.SUBSCRIBE and not _owns(principal, channel, patterns):
            return Decision(False, "personal: this channel belongs to another user")
        return Decision(True, "grant" if patterns is not None else "default")


def _owns(principal: Principal, channel: str, patterns: tuple[str, ...] | None) -> bool:
    """Whether the channel is nobody's, the principal's own, or opened to it by name.

    A grant opens another user's channel only where it names the namespace itself: a token for
    everything public ("*") must not read everybody's mail.
    """
    prefix = PERSONAL_NAMESPACE + ":"
    if not channel.startswith(prefix) or channel == prefix + principal.subject:
        return True
    return any(
        pattern.startswith(prefix) and matches(pattern, channel) for pattern in patterns or ()
    )
