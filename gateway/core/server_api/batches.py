"""What of a batch goes together."""

from collections.abc import Iterable, Mapping

from gateway.core.server_api.refusals import Outcome, Result
from gateway.protocols.centrifuge import codes
from gateway.protocols.server_api.answers import ApiError, error_object
from gateway.protocols.server_api.requests import Publishing, Request


def check_size(requests: Iterable[Request], commands: int, most: int) -> None:
    """Raise `ApiError` for too many messages or commands."""
    messages = sum(len(each.all_channels) for each in requests if isinstance(each, Publishing))
    if max(messages, commands) > most:
        raise ApiError(codes.LIMIT_EXCEEDED, f"at most {most} messages or commands at once")


def groups_of(requests: Mapping[int, Request], *, is_parallel: bool) -> list[list[int]]:
    """What is published in a row is one group, or in parallel all that is; the rest stays alone."""
    groups: list[list[int]] = []
    publishing: list[int] | None = None
    for index, request in requests.items():
        if not isinstance(request, Publishing):
            groups.append([index])
            if not is_parallel:
                publishing = None
        elif publishing is not None:
            publishing.append(index)
        else:
            publishing = [index]
            groups.append(publishing)
    return groups


def reply(method: str, outcome: Outcome) -> Result:
    if isinstance(outcome, ApiError):
        return {"error": error_object(outcome)}
    return {method: outcome}
