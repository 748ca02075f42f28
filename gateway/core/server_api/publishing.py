"""Publishing for other servers: many requests, one round trip."""

from collections.abc import Sequence

from gateway.core.hub import Hub
from gateway.core.server_api.callers import Caller
from gateway.core.server_api.refusals import Outcome, said
from gateway.domain.errors import GatewayError, LimitReached
from gateway.domain.messages import Draft
from gateway.domain.namespaces import Namespaces
from gateway.protocols.centrifuge import codes
from gateway.protocols.server_api import answers, requests
from gateway.protocols.server_api.answers import ApiError, error_object
from gateway.protocols.server_api.requests import Publishing


class Publisher:
    def __init__(self, hub: Hub, namespaces: Namespaces) -> None:
        self._hub = hub
        self._namespaces = namespaces

    async def publish(self, caller: Caller, publishing: Sequence[Publishing]) -> list[Outcome]:
        """Publish in order, and answer each on its own."""
        drafts = [draft for request in publishing for draft in _drafts(request)]
        outcomes = iter(await self._publish_all(caller, drafts))
        results: list[Outcome] = []
        for request in publishing:
            if isinstance(request, requests.Publish):
                results.append(next(outcomes))
            else:
                responses = [_response(next(outcomes)) for _ in request.channels]
                results.append({"responses": responses})
        return results

    async def _publish_all(self, caller: Caller, drafts: Sequence[Draft]) -> list[Outcome]:
        is_known = [not self._namespaces.refuses(draft.channel) for draft in drafts]
        known = [draft for draft, known in zip(drafts, is_known, strict=True) if known]
        try:
            outcomes = iter(await self._hub.publish_many(caller.principal, known) if known else ())
        except LimitReached as limit:
            return [said(caller, limit)] * len(drafts)
        results: list[Outcome] = []
        for known_one in is_known:
            outcome = next(outcomes) if known_one else None
            if outcome is None:
                results.append(ApiError(codes.UNKNOWN_CHANNEL))
            elif isinstance(outcome, GatewayError):
                results.append(said(caller, outcome))
            else:
                results.append(answers.published(outcome))
        return results


def _drafts(request: Publishing) -> list[Draft]:
    data, is_kept, tags, key = request.content
    return [Draft(each, data, key, tags=tags, is_kept=is_kept) for each in request.all_channels]


def _response(outcome: Outcome) -> dict[str, object]:
    if isinstance(outcome, ApiError):
        return {"error": error_object(outcome)}
    return {"result": outcome}
