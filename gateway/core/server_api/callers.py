"""Who calls, and which methods and channels that opens."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple

from gateway.domain.channels import matches
from gateway.domain.errors import Denied, InvalidToken
from gateway.domain.principal import Action, Backend, Principal

_FOR_PUBLISHERS = frozenset({"publish", "broadcast"})
_ABOUT_NO_CHANNEL = frozenset({"disconnect", "refresh", "channels", "info", "rpc"})


class ApiKey(NamedTuple):
    """``digest`` is SHA-256 of the key: whoever reads it cannot call with it.

    ``methods`` and ``channels`` (patterns) are what it is good for; None: all.
    """

    name: str
    digest: bytes
    methods: frozenset[str] | None = None
    channels: tuple[str, ...] | None = None


class Caller(NamedTuple):
    """``principal`` is whom the hub asks about: the backend that has a key, or a token's user."""

    name: str
    principal: Principal
    methods: frozenset[str] | None = None
    channels: tuple[str, ...] | None = None

    def require(self, method: str) -> None:
        """Raises `Denied`. A batch needs no right: each of its commands does."""
        if method == "batch":
            return
        if self.methods is not None and method not in self.methods:
            raise Denied(f"key: {self.name} may not call {method}")
        if self.methods is None and self.channels is not None and method in _ABOUT_NO_CHANNEL:
            # It would reach past its channels; whoever wants that names the method.
            raise Denied(f"key: {self.name} is for channels, and {method} is about none")

    def require_channel(self, channel: str) -> None:
        """Raises `Denied`."""
        if not self.sees(channel):
            raise Denied(f"key: {self.name} is for other channels")

    def sees(self, channel: str) -> bool:
        return self.channels is None or any(matches(each, channel) for each in self.channels)


class ApiKeys:
    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self.replace(keys)

    def replace(self, keys: Sequence[ApiKey]) -> None:
        """From now on these are the keys; what was asked before is carried out."""
        self._keys = [(key.digest, _caller_with(key)) for key in keys]

    def caller(self, text: str) -> Caller:
        """Who has this key; raises `InvalidToken`."""
        given = digest_of(text)
        found: Caller | None = None
        # All of them, always: how long it takes says nothing about the keys.
        for digest, caller in self._keys:
            if hmac.compare_digest(digest, given):
                found = caller
        if found is None:
            raise InvalidToken("there is no such API key")
        return found


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def caller_with_token(principal: Principal) -> Caller:
    """A token's user: an administrator for everything, anybody else to publish.

    Where it may publish is decided as it is everywhere.
    """
    methods = None if principal.is_admin else _FOR_PUBLISHERS
    channels = principal.grants.get(Action.SUBSCRIBE) if principal.is_admin else None
    return Caller(f"the token of {principal.subject!a}", principal, methods, channels)


def _caller_with(key: ApiKey) -> Caller:
    grants = {}
    if key.channels is not None:
        grants = {Action.SUBSCRIBE: key.channels, Action.PUBLISH: key.channels}
    principal = Backend(f"api:{key.name}", token_id="", issued_at=0, expires_at=0, grants=grants)
    return Caller(key.name, principal, key.methods, key.channels)
