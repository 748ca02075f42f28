"""What is agreed about channels, and what differs from namespace to namespace."""

from collections.abc import Iterator, Set
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from gateway.domain.namespaces import (
    Anyone,
    Delta,
    Namespace,
    Namespaces,
    RecoveryMode,
    SlowConsumer,
    Who,
)
from gateway.settings.base import Topic, split_words

NamespaceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-.@~#$]{1,100}$")]

_RIGHTS = ("subscribe", "publish", "see_presence", "see_history")
_WORDS = ", ".join(Anyone)


class UnknownNamespaces(StrEnum):
    DEFAULT = "default"
    REFUSE = "refuse"


def _roles_or_a_word(value: object) -> object:
    """In a file a list is a list; so a word that was misspelled is not taken for a role."""
    if isinstance(value, str):
        if value not in list(Anyone):
            raise ValueError(f"a list of roles, or one of {_WORDS}")
        return [value]
    if value == []:
        raise ValueError("a list of roles names one at least; nobody is written nobody")
    if isinstance(value, list) and not set(Anyone).isdisjoint(map(str, value)):
        raise ValueError(f"{_WORDS} are no roles; each stands alone, outside of a list")
    return value


def _a_word_alone(roles: list[str]) -> list[str]:
    if len(roles) > 1 and not set(Anyone).isdisjoint(roles):
        raise ValueError(f"{_WORDS} are no roles; each stands alone")
    return roles


WhoMay = Annotated[list[str], BeforeValidator(_roles_or_a_word)]
"""Roles, or one of the words of `Anyone` alone."""

Roles = Annotated[list[str], NoDecode, BeforeValidator(split_words), AfterValidator(_a_word_alone)]
"""The same, written in the environment with commas; empty is nobody."""


class NamespaceSettings(BaseModel, extra="forbid"):
    """What differs for the channels ``NAME:…``; None is as everywhere."""

    slow_consumer: SlowConsumer | None = None
    history_messages: int | None = Field(None, ge=0)
    history_seconds: int | None = Field(None, ge=1)
    presence: bool | None = None
    join_leave: bool | None = None
    subscribe: WhoMay | None = None
    publish: WhoMay | None = None
    see_presence: WhoMay | None = None
    see_history: WhoMay | None = None
    archive: bool | None = None
    archive_days: int | None = Field(None, ge=0)
    reserved_names: bool | None = None
    personal_channel: bool | None = None
    delta: Delta | None = None
    force_positioning: bool | None = None
    force_recovery: bool | None = None
    force_recovery_mode: RecoveryMode | None = None
    auto_cache_recover: bool | None = None
    force_push_join_leave: bool | None = None

    def over(self, everywhere: Namespace) -> Namespace:
        """What holds here: what is given, and the rest as everywhere."""
        given: dict[str, Any] = {name: value for name, value in self if value is not None}
        if "history_messages" in given:
            given["history_length"] = given.pop("history_messages")
        for right in given.keys() & set(_RIGHTS):
            given[right] = _who(given[right])
        return everywhere._replace(**given)


class ChannelSettings(Topic):
    """Each right and each number holds for all channels whose namespace says nothing else."""

    publish_roles: Roles = Field(
        ["publisher", "admin"],
        description="Who may publish, over REST and sockets: roles, or any, grant or nobody.",
    )
    subscribe_roles: Roles = Field(
        [Anyone.ANY.value],
        description="Who may listen: roles; any: with a token; grant: if it grants the channel.",
    )
    see_presence_roles: Roles = Field(
        [Anyone.ANY.value], description="Who of them may ask who else listens."
    )
    see_history_roles: Roles = Field(
        [Anyone.ANY.value], description="Who of them may read what was published before."
    )
    history_messages: int = Field(
        100, ge=0, description="Messages that a channel keeps; the oldest go first. 0 keeps none."
    )
    history_seconds: int = Field(300, ge=1, description="How long a silent channel keeps them.")
    history_page_max: int = Field(
        1000, ge=1, description="Most messages in one answer to a question for history."
    )
    position_seconds: int = Field(
        2_592_000, ge=60, description="How long a silent channel keeps its epoch and offset."
    )
    slow_consumer: SlowConsumer = Field(
        SlowConsumer.DISCONNECT,
        description="Of a reader whose outbox is full: disconnect, drop_oldest (with a gap "
        "notice) or latest_only.",
    )
    presence: bool = Field(
        True, description="Keep, for all replicas together, who listens to a channel."
    )
    join_leave: bool = Field(
        False, description="Tell a channel's listeners which users come and go. Needs presence."
    )
    archive: bool = Field(
        False, description="Keep every message in the database, too, however short history is."
    )
    archive_days: int = Field(0, ge=0, description="How long it is kept there; 0: for ever.")
    reserved_names: bool = Field(
        True,
        description="$NAME is open only to tokens that name it, and NAME#USER to that user.",
    )
    personal_channel: bool = Field(
        False,
        description="Subscribe clients of the Centrifuge protocol to #USER when they connect.",
    )
    delta: Delta = Field(
        Delta.NONE,
        description="What differs from the message before, for clients of the Centrifuge protocol "
        "that ask for it: none or fossil.",
    )
    force_positioning: bool = Field(
        True,
        description="Tell clients of the Centrifuge protocol of messages that are lost, also those "
        "that do not ask for it.",
    )
    force_recovery: bool = Field(
        True,
        description="Let them recover where there is history, also those that do not ask for it.",
    )
    force_recovery_mode: RecoveryMode = Field(
        RecoveryMode.STREAM,
        description="What they recover: stream: all that they missed; cache: the newest message.",
    )
    auto_cache_recover: bool = Field(
        False, description="With cache: they get it whenever they subscribe."
    )
    force_push_join_leave: bool = Field(
        True,
        description="With join_leave: tell who comes and goes also those that do not ask for it.",
    )
    leave_delay_seconds: float = Field(
        1.0,
        ge=0,
        le=60,
        description="How long a user counts as there whose last connection has gone: a page that "
        "reloads goes unnoticed.",
    )
    namespaces: dict[NamespaceName, NamespaceSettings] = Field(
        {}, description="What differs by namespace: [namespaces.NAME] in the TOML file, or JSON."
    )
    unknown_namespaces: UnknownNamespaces = Field(
        UnknownNamespaces.DEFAULT,
        description="Channels whose namespace has no section: default: as those without one; "
        "refuse: there are none.",
    )
    release_delay_seconds: float = Field(
        1.0, ge=0, description="How long a channel stays subscribed after its last socket left."
    )

    def make_namespaces(self) -> Namespaces:
        everywhere = Namespace(
            slow_consumer=self.slow_consumer,
            history_length=self.history_messages,
            history_seconds=self.history_seconds,
            presence=self.presence,
            join_leave=self.join_leave,
            subscribe=_who(self.subscribe_roles),
            publish=_who(self.publish_roles),
            see_presence=_who(self.see_presence_roles),
            see_history=_who(self.see_history_roles),
            archive=self.archive,
            archive_days=self.archive_days,
            reserved_names=self.reserved_names,
            personal_channel=self.personal_channel,
            delta=self.delta,
            force_positioning=self.force_positioning,
            force_recovery=self.force_recovery,
            force_recovery_mode=self.force_recovery_mode,
            auto_cache_recover=self.auto_cache_recover,
            force_push_join_leave=self.force_push_join_leave,
        )
        return Namespaces(
            everywhere,
            {name: given.over(everywhere) for name, given in self.namespaces.items()},
            unknown_refused=self.unknown_namespaces is UnknownNamespaces.REFUSE,
        )

    @model_validator(mode="after")
    def _namespaces_hold_together(self) -> Self:
        """Says everything that is wrong, a line for each."""
        agreed = self.make_namespaces()
        wrong = list(self._contradictions("", agreed.default, frozenset()))
        for name, section in self.namespaces.items():
            where, given = f"[namespaces.{name}] ", section.model_fields_set
            found = self._contradictions(where, agreed.named[name], given)
            # What is wrong everywhere is not wrong once more in each of them.
            wrong += [line for line in found if line.partition("] ")[2] not in wrong]
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    def _contradictions(self, where: str, namespace: Namespace, given: Set[str]) -> Iterator[str]:
        """``given`` is what its own section says: what is as everywhere asks for nothing."""
        yield from (where + line for line in _contradictions_of_recovery(namespace, given))
        if namespace.history_seconds > self.position_seconds:
            yield (
                f"{where}position_seconds is at least every history_seconds: history is lost with "
                "the position of its channel"
            )
        if namespace.archive and not namespace.history_length:
            yield f"{where}archive needs history_messages: from there the messages are taken"
        if namespace.delta is not Delta.NONE and (
            namespace.slow_consumer is SlowConsumer.LATEST_ONLY
        ):
            yield (
                f"{where}delta does not go with latest_only: who skips a message can make nothing "
                "of what differs from it"
            )
        if namespace.join_leave and not namespace.presence:
            yield f"{where}join_leave needs presence, which says who comes and goes"
        if namespace.join_leave and namespace.slow_consumer is SlowConsumer.LATEST_ONLY:
            yield (
                f"{where}join_leave does not go with latest_only: a reader that lags would get a "
                "notice in place of the newest message"
            )


def _who(words: list[str]) -> Who:
    if len(words) == 1 and words[0] in list(Anyone):
        return Anyone(words[0])
    return frozenset(words)


def _contradictions_of_recovery(namespace: Namespace, given: Set[str]) -> Iterator[str]:
    if not namespace.history_length:
        for name in sorted(given & {"force_positioning", "force_recovery"}):
            if getattr(namespace, name):
                yield f"{name} needs history_messages, from which is recovered"
        if namespace.force_recovery_mode is RecoveryMode.CACHE:
            yield "force_recovery_mode = cache needs history_messages: it is the newest of them"
    elif namespace.force_recovery and not namespace.force_positioning:
        yield "force_recovery needs force_positioning: who recovers has a position"
    if namespace.auto_cache_recover and namespace.force_recovery_mode is not RecoveryMode.CACHE:
        yield "auto_cache_recover needs force_recovery_mode = cache"
    if (
        "force_push_join_leave" in given
        and namespace.force_push_join_leave
        and not namespace.join_leave
    ):
        yield "force_push_join_leave needs join_leave: there is nothing to be pushed"
