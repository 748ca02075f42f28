"""Every way in which the gateway says no, in the domain's words.

The doors translate them once: ``web/problems.py`` to HTTP statuses, ``sockets/closing.py`` to
close codes. ``detail`` is meant for the caller: it never carries a token or a secret.
"""


class GatewayError(Exception):
    """Base of all expected refusals; anything else that escapes is a bug.

    ``code`` names the kind for programs; it is part of the interface.
    """

    code = "error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidChannel(GatewayError):
    """The name breaks the channel grammar."""

    code = "invalid_channel"


class InvalidRequest(GatewayError):
    """The caller's words cannot be understood, or contradict each other."""

    code = "invalid_request"


class InvalidToken(GatewayError):
    """No token, or one that the verifier refuses."""

    code = "invalid_token"


class ExpiredToken(InvalidToken):
    """A token that was right once; the caller gets a new one and tries again."""


class InvalidCredentials(GatewayError):
    """A name and a password that do not belong together; it never says which of them is wrong."""

    code = "invalid_credentials"


class Denied(GatewayError):
    """The caller is known and may not do this; the detail names the rule that decided."""

    code = "denied"


class Dismissed(Denied):
    """Another server ends the connection, with a code for applications that its client knows."""

    def __init__(self, detail: str, close_code: int) -> None:
        super().__init__(detail)
        self.close_code = close_code


class TooBig(GatewayError):
    """A message or a request over its limit."""

    code = "too_big"


class KeyReused(GatewayError):
    """An idempotency key came back with another message."""

    code = "key_reused"


class Conflict(GatewayError):
    """What is asked for exists already."""

    code = "conflict"


class NotFound(GatewayError):
    """There is no such thing, or it is none of the caller's business that there is."""

    code = "not_found"


class LimitReached(GatewayError):
    """A limit of the caller or of the whole replica is used up.

    ``retry_after_seconds`` is when trying again makes sense.
    """

    code = "limit_reached"

    def __init__(self, detail: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(GatewayError):
    """Something outside cannot be reached right now.

    ``outcome_unknown`` is True when the command had been sent: it may have been carried out.
    """

    code = "unavailable"

    def __init__(
        self, detail: str, retry_after_seconds: float = 1.0, outcome_unknown: bool = False
    ) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds
        self.outcome_unknown = outcome_unknown


class Crowded(Unavailable):
    """Too many came at once; each is given a time of its own to come back."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__("too many connect at once", retry_after_seconds)


class Restarting(Unavailable):
    """This replica stops: whoever comes back at the given time finds another one, or its next."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__("this replica restarts", retry_after_seconds)
