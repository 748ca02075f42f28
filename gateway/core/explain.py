"""Why a token may or may not do something, in plain words, for an operator."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.core.tokens import Reading, TokenVerifier
from gateway.domain.channels import check_channel
from gateway.domain.errors import InvalidChannel
from gateway.domain.principal import Action, Permissions, Principal

_NAME_WIDTH = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One step: what was looked at, whether it passed, and the claim or rule that decided."""

    step: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of a token, and of a channel if one was asked about.

    It never holds the token or its signature, and each text fits on a terminal line as it is.
    ``accepted`` is about the token alone; ``allowed`` says what it may do on the channel.
    """

    findings: tuple[Finding, ...]
    accepted: bool
    channel: str | None
    allowed: dict[Action, bool]

    def lines(self) -> list[str]:
        lines = [
            f"{finding.step:<{_NAME_WIDTH}}  {'ok' if finding.passed else 'NO'}  {finding.text}"
            for finding in self.findings
        ]
        verdict = "the token is accepted" if self.accepted else "the token is refused"
        rights = [
            f"{'may' if may else 'may not'} {_words(action)}"
            for action, may in self.allowed.items()
        ]
        return [*lines, "; ".join([verdict, *rights])]

    def as_dict(self) -> dict[str, Any]:
        return {
            "accepted": self.accepted,
            "channel": self.channel,
            "allowed": {str(action): may for action, may in self.allowed.items()},
            "steps": [
                {"step": finding.step, "passed": finding.passed, "detail": finding.text}
                for finding in self.findings
            ],
        }


def explain(
    verifier: TokenVerifier, permissions: Permissions, token: str, channel: str | None = None
) -> Explanation:
    """Take the verifier's own steps one by one and tell what each one saw."""
    findings = []
    for step, reading, why_not in verifier.walk(token):
        if why_not:
            findings.append(Finding(step, False, _one_line(why_not)))
            return Explanation(tuple(findings), False, channel, {})
        text = _TELL[step](reading) if step in _TELL else _revocation(verifier)
        findings.append(Finding(step, True, _one_line(text)))

    allowed = {}
    if channel is not None:
        for finding, action in _decisions(permissions, reading.principal(), channel):
            findings.append(finding)
            if action is not None:
                allowed[action] = finding.passed
    return Explanation(tuple(findings), True, channel, allowed)


def _decisions(
    permissions: Permissions, principal: Principal, channel: str
) -> list[tuple[Finding, Action | None]]:
    try:
        check_channel(channel)
    except InvalidChannel as refusal:
        return [(Finding("channel", False, _one_line(refusal.detail)), None)]
    found: list[tuple[Finding, Action | None]] = []
    for action in Action:
        decision = permissions.decide(principal, action, channel)
        text = _RULES.get(decision.reason, decision.reason)
        step = action.removeprefix("see_")
        found.append((Finding(step, decision.allowed, _one_line(text)), action))
    return found


_RULES = {
    "default": "default: no rule and no grant limits this",
    "grant": "grant: the token grants this channel",
    "role": "role: one of the token's roles may do this here",
}


def _words(action: Action) -> str:
    return action.replace("_", " ")


def _form(reading: Reading) -> str:
    return f"three segments, {len(reading.token)} bytes"


def _header(reading: Reading) -> str:
    return f"alg {reading.header['alg']}, typ {reading.header['typ']}"


def _issuer(reading: Reading) -> str:
    return f"iss is {reading.trust.issuer}"


def _key(reading: Reading) -> str:
    key = reading.key
    if key.verify_until is None:
        return f"kid is {key.kid}, a key of this issuer"
    return f"kid is {key.kid}, a retired key until {_moment(key.verify_until)}"


def _signature(reading: Reading) -> str:
    return f"matches key {reading.key.kid}"


def _audience(reading: Reading) -> str:
    return f"aud is {reading.trust.audience}"


def _times(reading: Reading) -> str:
    left = reading.expires_at - reading.now
    lifetime = _span(reading.expires_at - reading.issued_at)
    validity = (
        f"valid for another {_span(left)}, until"
        if left > 0
        else "valid by the leeway alone, after"
    )
    return (
        f"{validity} {_moment(reading.expires_at)}; "
        f"issued {_moment(reading.issued_at)} for {lifetime}"
    )


def _subject(reading: Reading) -> str:
    login = f", login {reading.session_id}" if reading.session_id else ""
    return f"sub is {reading.subject}; token {reading.token_id}{login}"


def _roles(reading: Reading) -> str:
    return f"role is {', '.join(sorted(reading.roles)) or 'none'}"


def _grants(reading: Reading) -> str:
    if not reading.grants:
        return "none, so grants limit nothing"
    return "; ".join(
        f"{action} on {', '.join(patterns) or 'nothing'}"
        for action, patterns in reading.grants.items()
    )


_TELL: dict[str, Callable[[Reading], str]] = {
    "form": _form,
    "header": _header,
    "issuer": _issuer,
    "key": _key,
    "signature": _signature,
    "audience": _audience,
    "times": _times,
    "subject": _subject,
    "roles": _roles,
    "grants": _grants,
}


def _revocation(verifier: TokenVerifier) -> str:
    return "not revoked" if verifier.checks_revocation else "not looked up here"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f}"


def _span(seconds: float) -> str:
    """A span of time with its two largest units."""
    rest, parts = max(0, int(seconds)), list[str]()
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _one_line(text: str) -> str:
    """Names may hold anything that is printable; a terminal is sent nothing that is not."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
