"""What a token says: each claim read strictly, or refused with a reason.

Every function takes claims whose signature has been verified, or that are about to be signed,
and raises `Refused`.
"""

import re
from dataclasses import dataclass
from typing import Any

from gateway.core.tokens.form import Refused, shown
from gateway.domain.channels import is_pattern
from gateway.domain.principal import GRANTABLE, Action

_NAME_LENGTH_MAX = 150
_ROLES_MAX = 32
_PATTERNS_MAX = 100
_ACTIONS = frozenset(action.value for action in GRANTABLE)
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class RefreshClaims:
    """What a verified refresh token says; ``expires_at`` is in seconds since 1970."""

    subject: str
    session_id: str
    generation: int
    expires_at: int


def is_name(text: str) -> bool:
    """Whether the text can stand in a log line as it is."""
    return len(text) <= _NAME_LENGTH_MAX and _NAME.fullmatch(text) is not None


def name_of(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or len(value) > _NAME_LENGTH_MAX or not _NAME.fullmatch(value):
        raise Refused(f"the token has no usable {name}", f"{name} is {shown(value)}")
    return value


def session_of(claims: dict[str, Any]) -> str:
    """The login that the token belongs to; "" if it belongs to none."""
    return name_of(claims, "sid") if "sid" in claims else ""


def time_of(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 < value < 1 << 53:
        raise Refused(f"the token has no usable {name}", f"{name} is {shown(value)}")
    return value


def generation_of(claims: dict[str, Any]) -> int:
    value = claims.get("gen")
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise Refused("the token has no usable gen", f"gen is {shown(value)}")
    return value


def roles_of(claims: dict[str, Any]) -> frozenset[str]:
    value = claims.get("role", [])
    roles = [value] if isinstance(value, str) else value
    if not isinstance(roles, list) or len(roles) > _ROLES_MAX:
        raise _bad_role(value)
    for role in roles:
        if not isinstance(role, str) or not _NAME.fullmatch(role):
            raise _bad_role(value)
    return frozenset(roles)


def grants_of(claims: dict[str, Any]) -> dict[Action, tuple[str, ...]]:
    """What cannot be understood is refused: it must not be taken for no limit."""
    value = claims.get("grants", {})
    if not isinstance(value, dict):
        raise _bad_grants(f"grants is {shown(value)}")
    grants: dict[Action, tuple[str, ...]] = {}
    for action, patterns in value.items():
        if action not in _ACTIONS:
            raise _bad_grants(f"{shown(action)} is no action that can be granted")
        if not isinstance(patterns, list) or len(patterns) > _PATTERNS_MAX:
            raise _bad_grants(f"{action} is no list of up to {_PATTERNS_MAX} patterns")
        for pattern in patterns:
            if not isinstance(pattern, str) or not is_pattern(pattern):
                raise _bad_grants(f"{shown(pattern)} is no pattern of channels")
        grants[Action(action)] = tuple(patterns)
    return grants


def _bad_role(value: object) -> Refused:
    return Refused(
        "the token's role is neither a name nor a list of names", f"role is {shown(value)}"
    )


def _bad_grants(exact: str) -> Refused:
    return Refused("the token's grants are not lists of channel patterns", exact)
