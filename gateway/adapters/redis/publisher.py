"""Publishing: many callers, one pipeline."""

import asyncio
import hashlib
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import hiredis

from gateway.adapters.redis.envelope import encode_body, fingerprint
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.pipe import NotSent, Pipe, Unanswered
from gateway.domain.errors import GatewayError, KeyReused, Unavailable
from gateway.domain.messages import Position, Publication, Receipt

_SCRIPT = files("gateway.adapters.redis").joinpath("publish.lua").read_text()
_SCRIPT_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_KEY_REUSED = 2
_PIPELINE_MAX = 500
_QUEUE_MAX = 10_000

Outcome = Receipt | GatewayError


@dataclass(frozen=True, slots=True)
class Retention:
    """How long Redis keeps what belongs to a channel. Lengths in messages, times in seconds."""

    history_length: int
    history_seconds: int
    state_seconds: int
    idempotency_seconds: int


class Publisher:
    """Sends what has gathered while the previous pipeline was under way as the next one.

    At low load a message leaves at once; under load the pipelines grow by themselves, and a
    publish costs a tenth of a round trip. One pipeline at a time also keeps the order in which
    callers asked. When more than 10,000 messages wait, further ones are refused.
    """

    def __init__(self, pipe: Pipe, keys: Keys, retention: Retention) -> None:
        self._pipe = pipe
        self._keys = keys
        self._retention = retention
        self._waiting: deque[tuple[Publication, asyncio.Future[Outcome]]] = deque()
        self._wake = asyncio.Event()

    async def publish(self, publications: Sequence[Publication]) -> list[Outcome]:
        """`Broker.publish`."""
        if len(self._waiting) + len(publications) > _QUEUE_MAX:
            return [Unavailable("too many messages are waiting to be published")] * len(
                publications
            )
        loop = asyncio.get_running_loop()
        answers = [loop.create_future() for _ in publications]
        self._waiting.extend(zip(publications, answers, strict=True))
        self._wake.set()
        # Shielded by being plain futures: a caller that goes away does not unsend its message.
        return [await answer for answer in answers]

    async def run(self) -> None:
        """Publish what is asked for until cancelled."""
        try:
            while True:
                await self._wake.wait()
                while self._waiting:
                    await self._send_some()
                self._wake.clear()
        finally:
            self._pipe.close()
            while self._waiting:
                self._answer(self._waiting.popleft()[1], Unavailable("the gateway is stopping"))

    async def _send_some(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(_PIPELINE_MAX, len(self._waiting)))]
        outcomes: list[Outcome]
        try:
            outcomes = await self._send([publication for publication, _ in taken])
        except NotSent as error:
            outcomes = [Unavailable(str(error))] * len(taken)
        except Unanswered as error:
            trouble = Unavailable(
                f"{error}: whether the message was published is unknown, and repeating it is safe "
                "with an Idempotency-Key",
                outcome_unknown=True,
            )
            outcomes = [trouble] * len(taken)
        except BaseException:
            stopping = Unavailable("the gateway is stopping", outcome_unknown=True)
            for _, answer in taken:
                self._answer(answer, stopping)
            raise
        for (_, answer), outcome in zip(taken, outcomes, strict=True):
            self._answer(answer, outcome)

    async def _send(self, publications: list[Publication]) -> list[Outcome]:
        epoch = secrets.token_hex(4)
        commands = [self._command(publication, epoch) for publication in publications]
        replies = await self._pipe.execute(commands)
        missing = [i for i, reply in enumerate(replies) if _is_error(reply, "NOSCRIPT")]
        if missing:
            # A restarted Redis has forgotten the script, and has therefore run none of these.
            load = ("SCRIPT", "LOAD", _SCRIPT)
            _, *again = await self._pipe.execute([load, *(commands[i] for i in missing)])
            for i, reply in zip(missing, again, strict=True):
                replies[i] = reply
        return [
            self._outcome(publication, reply)
            for publication, reply in zip(publications, replies, strict=True)
        ]

    def _command(self, publication: Publication, epoch: str) -> tuple[Any, ...]:
        channel, key, keep = publication.channel, publication.idempotency_key, self._retention
        digest = (
            hashlib.sha256(f"{publication.user}\n{key}".encode()).hexdigest()[:32] if key else ""
        )
        return (
            "EVALSHA",
            _SCRIPT_SHA,
            3,
            self._keys.state(channel),
            self._keys.stream(channel),
            self._keys.idempotency(channel, digest),
            self._keys.topic(channel),
            encode_body(publication),
            publication.id,
            epoch,
            keep.history_length,
            keep.history_seconds,
            keep.state_seconds,
            keep.idempotency_seconds if key else "",
            fingerprint(publication) if key else "",
        )

    @staticmethod
    def _outcome(publication: Publication, reply: Any) -> Outcome:
        if isinstance(reply, hiredis.ReplyError):
            # The script ran into an error before it sent anything: no memory, read-only, loading.
            why = str(reply).partition(" script:")[0].rstrip(".")[:100]
            return Unavailable(f"Redis refused the message: {why}")
        if reply == [_KEY_REUSED]:
            return KeyReused("this Idempotency-Key was used for another message")
        replayed, id, epoch, offset = reply
        return Receipt(
            publication.channel, id.decode(), Position(epoch.decode(), int(offset)), bool(replayed)
        )

    @staticmethod
    def _answer(answer: asyncio.Future[Outcome], outcome: Outcome) -> None:
        if not answer.done():
            answer.set_result(outcome)


def _is_error(reply: Any, code: str) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith(code)
