"""What tokens say to a client of the Centrifuge protocol, besides who it is.

Two kinds. A *connection token* says who connects: an access token does, too, and so does a
``typ: JWT`` one, which is what the libraries of such applications sign, if one of our own keys
signed it and it keeps to every other rule. A *subscription token* opens one channel to one user.
Its ``channel`` claim tells them apart: the one must have it, the other must not, and an access
token is never a subscription token. Neither is good for anything outside of this protocol: every
other door wants ``at+jwt``.
"""

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from gateway.core.tokens.claims import name_of
from gateway.core.tokens.form import Refused, shown
from gateway.core.tokens.steps import Reading
from gateway.domain.channels import check_channel
from gateway.domain.errors import InvalidChannel
from gateway.domain.namespaces import AS_EVERYBODY, Override
from gateway.domain.principal import Principal

_SUBS_MAX = 128


class ServerSub(NamedTuple):
    """A channel to which the token subscribes its client; ``info`` and ``data`` are JSON."""

    info: bytes = b""
    data: bytes = b""
    override: Override = AS_EVERYBODY


class ConnectionToken(NamedTuple):
    """``info`` is JSON or empty. At ``ends_at``, in seconds since 1970, a new one is needed."""

    principal: Principal
    info: bytes
    subs: Mapping[str, ServerSub]
    ends_at: int


class SubscriptionToken(NamedTuple):
    """``client`` is "" where any connection of the user may use it."""

    subject: str
    channel: str
    client: str
    info: bytes
    data: bytes
    ends_at: int
    override: Override = AS_EVERYBODY


def connection_of(reading: Reading) -> ConnectionToken:
    """What a verified token says; raises `Refused`."""
    claims = reading.claims
    if "channel" in claims:
        raise Refused("a subscription token opens no connection")
    return ConnectionToken(reading.principal(), _json(claims, "info"), _subs(claims), _end(reading))


def subscription_of(reading: Reading) -> SubscriptionToken:
    """What a verified token says; raises `Refused`."""
    claims = reading.claims
    channel = claims.get("channel")
    if not isinstance(channel, str):
        raise Refused("the token opens no channel", f"channel is {shown(channel)}")
    client = name_of(claims, "client") if claims.get("client") else ""
    info, data = _json(claims, "info"), _json(claims, "data")
    override = _override(claims)
    return SubscriptionToken(reading.subject, channel, client, info, data, _end(reading), override)


def _end(reading: Reading) -> int:
    """When the session ends that the token begins: ``expire_at``, or with the token itself.

    No session outlives the longest token that could be had now, whatever its own one says.
    """
    value = reading.claims.get("expire_at")
    if value is None:
        return reading.expires_at
    if type(value) is not int or not abs(value) < 1 << 53:
        raise Refused("the token has no usable expire_at", f"expire_at is {shown(value)}")
    latest = int(reading.now) + reading.rules.lifetime_seconds_max
    return min(value, latest) if value > 0 else latest


def _subs(claims: dict[str, Any]) -> dict[str, ServerSub]:
    channels, subs = claims.get("channels", []), claims.get("subs", {})
    if not isinstance(channels, list) or not isinstance(subs, dict):
        raise Refused("the token's channels are no list, or its subs no object")
    found: dict[str, ServerSub] = {}
    for name in (*channels, *subs):
        try:
            channel = check_channel(name if isinstance(name, str) else "")
        except InvalidChannel:
            raise Refused("the token names an impossible channel", f"it is {shown(name)}") from None
        options = subs.get(channel, {})
        if not isinstance(options, dict):
            raise Refused("the token's subs are not objects")
        info, data = _json(options, "info"), _json(options, "data")
        found[channel] = ServerSub(info, data, _override(options))
    if len(found) > _SUBS_MAX:
        raise Refused(f"a token subscribes to at most {_SUBS_MAX} channels")
    return found


def _override(claims: dict[str, Any]) -> Override:
    """Names that are not ours are left to whoever knows them."""
    given = claims.get("override") or {}
    if not isinstance(given, dict):
        raise Refused("the token's override is no object")
    values: dict[str, bool] = {}
    for name in Override._fields:
        if (option := given.get(name)) is None:
            continue
        value = option.get("value", False) if isinstance(option, dict) else None
        if not isinstance(value, bool):
            raise Refused(f'the token\'s override of {name} is no {{"value": true or false}}')
        values[name] = value
    return Override(**values)


def _json(claims: dict[str, Any], name: str) -> bytes:
    """One JSON value, or one in Base64 under the same name with b64 in front."""
    value = claims.get(name)
    if encoded := claims.get("b64" + name):
        try:
            value = orjson.loads(base64.b64decode(encoded, validate=True))
        except (ValueError, TypeError):
            raise Refused(f"the token's b64{name} is no JSON in Base64") from None
    elif name not in claims:
        return b""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
        raise Refused(f"the token's {name} is nested too deeply") from None
