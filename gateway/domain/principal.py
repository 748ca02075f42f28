"""Who is asking, what they may do, and which rule says so."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from gateway.domain.channels import (
    PERSONAL_NAMESPACE,
    is_private,
    matches,
    namespace_of,
    user_of,
)
from gateway.domain.errors import Denied
from gateway.domain.namespaces import Anyone, Namespaces, Who

ADMIN_ROLE = "admin"


class Action(StrEnum):
    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    SEE_PRESENCE = "see_presence"
    SEE_HISTORY = "see_history"


GRANTABLE = (Action.SUBSCRIBE, Action.PUBLISH)
"""What a token's grants speak of; who may subscribe by them may look by them, too."""

_DOING = {
    Action.SUBSCRIBE: "subscribing",
    Action.PUBLISH: "publishing",
    Action.SEE_PRESENCE: "seeing presence",
    Action.SEE_HISTORY: "seeing history",
}


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


class Backend(Principal):
    """The operator's own back end, known by a key; no token and no ticket becomes one.

    What namespaces allow their users says nothing about it; its grants do, for all that it does.
    """

    __slots__ = ()


class Decision(NamedTuple):
    """``reason`` starts with the rule that decided.

    That is ``role``, ``grant``, ``personal`` or ``namespace``, or ``default`` where none did.
    """

    allowed: bool
    reason: str


class Permissions:
    """The rules that turn a principal, an action and a channel into a decision."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces

    def require(self, principal: Principal, action: Action, channel: str) -> None:
        """Raise `Denied` with the deciding rule unless the principal may do this."""
        decision = self.decide(principal, action, channel)
        if not decision.allowed:
            raise Denied(decision.reason)

    def decide(self, principal: Principal, action: Action, channel: str) -> Decision:
        """Never raises, whatever the channel is called; that is checked elsewhere."""
        if self._namespaces.refuses(channel):
            return Decision(False, f"namespace: there is no namespace {namespace_of(channel)}")
        if isinstance(principal, Backend):
            return _judge(principal, action, channel, Anyone.ANY)
        namespace = self._namespaces.of(channel)
        if action is Action.PUBLISH:
            return _judge(principal, action, channel, namespace.publish)
        if namespace.reserved_names and (refusal := _reserved(principal, channel)):
            return Decision(False, refusal)
        decision = _judge(principal, Action.SUBSCRIBE, channel, namespace.subscribe)
        if action is Action.SUBSCRIBE or not decision.allowed:
            return decision
        is_presence = action is Action.SEE_PRESENCE
        who = namespace.see_presence if is_presence else namespace.see_history
        return _judge(principal, action, channel, who)


def _judge(principal: Principal, action: Action, channel: str, who: Who) -> Decision:
    if who is Anyone.NOBODY:
        return Decision(False, f"namespace: {_DOING[action]} is open to nobody here")
    if isinstance(who, frozenset) and not principal.roles & who:
        roles = ", ".join(sorted(who)) or "none"
        return Decision(False, f"role: {_DOING[action]} needs one of: {roles}")

    granted_by = Action.PUBLISH if action is Action.PUBLISH else Action.SUBSCRIBE
    patterns = principal.grants.get(granted_by)
    if patterns is not None and not any(matches(pattern, channel) for pattern in patterns):
        return Decision(False, f"grant: the token grants {granted_by} on other channels only")
    if who is Anyone.GRANT and not _is_named(channel, patterns):
        return Decision(False, f"grant: {_DOING[action]} needs a token that grants this channel")

    if action is not Action.PUBLISH and not _owns(principal, channel, patterns):
        return Decision(False, "personal: this channel belongs to another user")
    if patterns is not None:
        return Decision(True, "grant")
    return Decision(True, "role" if isinstance(who, frozenset) else "default")


def _reserved(principal: Principal, channel: str) -> str:
    """Why the name of the channel keeps the principal out; "" where it does not."""
    patterns = principal.grants.get(Action.SUBSCRIBE)
    if is_private(channel) and not _is_named(channel, patterns, "$"):
        return "grant: this channel needs a token that names it"
    user = user_of(channel)
    if user and user != principal.subject:
        # A grant opens it only by its whole sign, or "news*" would open everybody's.
        before = channel[: len(channel) - len(user)]
        if not _is_named(channel, patterns, before):
            return "personal: this channel belongs to another user"
    return ""


def _owns(principal: Principal, channel: str, patterns: tuple[str, ...] | None) -> bool:
    """Whether the channel is nobody's, the principal's own, or opened to it by name."""
    prefix = PERSONAL_NAMESPACE + ":"
    if isinstance(principal, Backend) or not channel.startswith(prefix):
        return True
    if channel == prefix + principal.subject:
        return True
    return _is_named(channel, patterns)


def _is_named(channel: str, patterns: tuple[str, ...] | None, prefix: str | None = None) -> bool:
    """Whether a grant opens a channel that is closed to others.

    It does only where it names the namespace itself, or the ``prefix``: a token for everything
    public ("*") must not read everybody's mail.
    """
    if prefix is None:
        namespace = namespace_of(channel)
        prefix = namespace + ":" if namespace else ""
    return any(
        pattern.startswith(prefix) and matches(pattern, channel) for pattern in patterns or ()
    )
