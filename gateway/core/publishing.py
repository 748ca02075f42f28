"""Publishing: who may, how much, and what a draft becomes."""

import secrets
import time
from collections import Counter
from collections.abc import Sequence

from gateway.core.limits import RateLimit
from gateway.domain.channels import check_channel
from gateway.domain.errors import GatewayError, LimitReached, TooBig
from gateway.domain.messages import Draft, Publication, Receipt, message_id
from gateway.domain.principal import Action, Permissions, Principal
from gateway.ports.broker import Broker
from gateway.protocols.plain import payload_of

PUBLISHED, REPLAYED = "published", "replayed"


class Publishing:
    def __init__(
        self,
        broker: Broker,
        permissions: Permissions,
        publish_rate: RateLimit,
        *,
        message_bytes_max: int,
    ) -> None:
        self._broker = broker
        self._permissions = permissions
        self._publish_rate = publish_rate
        self._message_bytes_max = message_bytes_max
        # Messages by what became of them: `PUBLISHED`, `REPLAYED`, or the code of the error.
        self.outcomes: Counter[str] = Counter()

    async def publish(self, principal: Principal, draft: Draft) -> Receipt:
        """Publish one message; raises what `publish_many` answers or raises."""
        (outcome,) = await self.publish_many(principal, [draft])
        if isinstance(outcome, GatewayError):
            raise outcome
        return outcome

    async def publish_many(
        self, principal: Principal, drafts: Sequence[Draft]
    ) -> list[Receipt | GatewayError]:
        """Publish in order; each entry is answered on its own, in the same order.

        Entries are a `Receipt`, or `InvalidChannel`, `Denied`, `TooBig`, `KeyReused` or
        `Unavailable`. Raises `LimitReached` for all of them.
        """
        try:
            self._publish_rate.spend(principal.subject, len(drafts))
        except LimitReached as limit:
            self.outcomes[limit.code] += len(drafts)
            raise
        outcomes: dict[int, Receipt | GatewayError] = {}
        publications: list[Publication] = []
        now, request_id = time.time(), secrets.token_hex(8)
        refusals: dict[str, GatewayError | None] = {}
        for index, draft in enumerate(drafts):
            if draft.channel not in refusals:  # a batch is often for one channel
                refusals[draft.channel] = self._refusal(principal, draft.channel)
            refusal = refusals[draft.channel] or self._too_big(draft.data)
            if refusal is not None:
                outcomes[index] = refusal
            else:
                publications.append(
                    Publication(
                        channel=draft.channel,
                        data=draft.data,
                        id=message_id(f"{request_id}{index:08x}", draft.client),
                        user=principal.subject,
                        time=now,
                        idempotency_key=draft.idempotency_key,
                        tags=draft.tags,
                        is_kept=draft.is_kept,
                        trace=draft.trace,
                        info=draft.info,
                    )
                )
        answers = iter(await self._broker.publish(publications) if publications else ())
        result = [outcomes.get(index) or next(answers) for index in range(len(drafts))]
        for outcome in result:
            self.outcomes[_word_for(outcome)] += 1
        return result

    def _refusal(self, principal: Principal, channel: str) -> GatewayError | None:
        try:
            self._permissions.require(principal, Action.PUBLISH, check_channel(channel))
        except GatewayError as refusal:
            return refusal
        return None

    def _too_big(self, data: bytes) -> GatewayError | None:
        bytes_max = self._message_bytes_max
        # Encoding makes a text longer; what counts is what was said.
        if len(data) > bytes_max and len(payload_of(data)) > bytes_max:
            return TooBig(f"a message has at most {bytes_max} bytes")
        return None


def _word_for(outcome: Receipt | GatewayError) -> str:
    if isinstance(outcome, Receipt):
        return REPLAYED if outcome.replayed else PUBLISHED
    return outcome.code
