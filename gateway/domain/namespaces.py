"""What is agreed about channels by their namespace."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from gateway.domain.channels import PERSONAL_NAMESPACE, namespace_of


class SlowConsumer(StrEnum):
    """What becomes of a reader for whom more waits than its outbox holds.

    - ``disconnect``: it is closed, and may come back for what it missed;
    - ``drop_oldest``: the oldest messages go, and a gap notice stands in their place;
    - ``latest_only``: while it lags, only the newest message waits for it: for prices and
      positions, where an old value is worth nothing.
    """

    DISCONNECT = "disconnect"
    DROP_OLDEST = "drop_oldest"
    LATEST_ONLY = "latest_only"


class Delta(StrEnum):
    """What a client of the Centrifuge protocol may ask for instead of whole messages.

    - ``none``;
    - ``fossil``: what differs from the message before.
    """

    NONE = "none"
    FOSSIL = "fossil"


class RecoveryMode(StrEnum):
    """What a client of the Centrifuge protocol gets that comes back.

    - ``stream``: every message that it missed;
    - ``cache``: the newest one, which says all there is to say.
    """

    STREAM = "stream"
    CACHE = "cache"


class Anyone(StrEnum):
    """Who may, where no role decides.

    - ``any``: whoever has a token;
    - ``grant``: only a token whose grants name the channel, or a pattern in its namespace;
    - ``nobody``.
    """

    ANY = "any"
    GRANT = "grant"
    NOBODY = "nobody"


Who = Anyone | frozenset[str]
"""Who may do something: one of these words, or whoever has one of these roles."""

PUBLISH_ROLES = frozenset({"publisher", "admin"})


class Namespace(NamedTuple):
    """``history_length`` is in messages; 0 keeps none. Each publish starts the seconds anew.

    ``presence``: who listens can be asked for; ``join_leave``: listeners are told who comes and
    goes. Who may see presence or history must be allowed to subscribe, too. ``archive``: what is
    published is also kept for good, or for ``archive_days`` where that is not 0.

    ``reserved_names``: ``$…`` is open only to tokens that name it, and ``…#USER`` to that user.
    ``personal_channel``: clients of the Centrifuge protocol are subscribed to ``#USER`` of this
    namespace when they connect. The rest is about these clients, too: with ``force_positioning``
    they are told of messages that are lost, with ``force_recovery`` they may recover, where there
    is history, and with ``force_push_join_leave`` they hear who comes and goes, whether they ask
    for it or not; without, those that ask. ``auto_cache_recover``: in mode ``cache`` they get the
    newest message whenever they subscribe.
    """

    slow_consumer: SlowConsumer = SlowConsumer.DISCONNECT
    history_length: int = 100
    history_seconds: int = 300
    presence: bool = True
    join_leave: bool = False
    subscribe: Who = Anyone.ANY
    publish: Who = PUBLISH_ROLES
    see_presence: Who = Anyone.ANY
    see_history: Who = Anyone.ANY
    archive: bool = False
    archive_days: int = 0
    reserved_names: bool = True
    personal_channel: bool = False
    delta: Delta = Delta.NONE
    force_positioning: bool = True
    force_recovery: bool = True
    force_recovery_mode: RecoveryMode = RecoveryMode.STREAM
    auto_cache_recover: bool = False
    force_push_join_leave: bool = True


_EVERYWHERE = Namespace()


class Override(NamedTuple):
    """What one subscription does otherwise than its namespace says.

    As whoever signed a token, or has a key, wants it; None: as the namespace says.

    ``presence``: it counts among those who are there. ``join_leave``: others hear of its coming
    and going. The rest are the options of `Namespace` by the same names.
    """

    presence: bool | None = None
    join_leave: bool | None = None
    force_recovery: bool | None = None
    force_positioning: bool | None = None
    force_push_join_leave: bool | None = None


AS_EVERYBODY = Override()


class Namespaces:
    """The agreements by name; a namespace that is not listed is like the default one.

    Everybody holds the same object, and asks it each time: what it says may change.
    """

    def __init__(
        self,
        default: Namespace = _EVERYWHERE,
        named: Mapping[str, Namespace] = MappingProxyType({}),
        *,
        unknown_refused: bool = False,
    ) -> None:
        self.default = default
        self.named = dict(named)
        self.unknown_refused = unknown_refused

    def of(self, channel: str) -> Namespace:
        return self.named.get(namespace_of(channel), self.default)

    def refuses(self, channel: str) -> bool:
        """Whether the channel is in a namespace that is not listed, and must be."""
        if not self.unknown_refused:
            return False
        name = namespace_of(channel)
        return name not in self.named and name not in ("", PERSONAL_NAMESPACE)

    def personal_channels(self, user: str) -> list[str]:
        """The channels of this user's own to which its clients are subscribed at once."""
        everywhere = ["#" + user] if self.default.personal_channel else []
        named = (name for name, each in self.named.items() if each.personal_channel)
        return [*everywhere, *(f"{name}:#{user}" for name in named)]

    @property
    def has_archive(self) -> bool:
        """Whether anything at all is archived."""
        return any(each.archive for each in (self.default, *self.named.values()))

    def replace(self, other: "Namespaces") -> None:
        """Say from now on what the other one says."""
        self.default = other.default
        self.named = other.named
        self.unknown_refused = other.unknown_refused
