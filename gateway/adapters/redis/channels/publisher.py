"""Publishing: many callers, one pipeline."""

import asyncio
import contextlib
import hashlib
import secrets
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import hiredis

from gateway.adapters.redis.channels.envelope import encode_body, fingerprint
from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.places.pipe import Failure, NotSent, Pipe, Unanswered
from gateway.adapters.redis.script import Script
from gateway.adapters.redis.shared.news import Marker
from gateway.domain.errors import GatewayError, KeyReused, Unavailable
from gateway.domain.messages import Position, Publication, Receipt
from gateway.domain.namespaces import Namespaces

PUBLISH = Script("channels/publish")
# In a cluster a message goes to the one node that has its channel, not to all of them.
SHARDED_PUBLISH = Script("channels/publish", ("redis.call('PUBLISH'", "redis.call('SPUBLISH'"))

_REPLAYED, _KEY_REUSED = 1, 2  # the script's first word
_PIPELINE_MAX = 500
_QUEUE_MAX = 10_000
_MARK_SECONDS = 1.0  # until what may not have been marked is marked again, if nobody publishes

_UNKNOWN = object()  # stands for a reply

Outcome = Receipt | GatewayError


class _Call(NamedTuple):
    publications: Sequence[Publication]
    answer: asyncio.Future[list[Outcome]]

    def settle(self, outcomes: list[Outcome]) -> None:
        if not self.answer.done():  # the caller may have gone away
            self.answer.set_result(outcomes)


class Publisher:
    """Sends what has gathered while the previous pipeline was under way as the next one.

    At low load a message leaves at once; under load the pipelines grow by themselves, and a
    publish costs a tenth of a round trip. One pipeline at a time also keeps the order in which
    callers asked. When more than 10,000 messages wait, further ones are refused.
    """

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        namespaces: Namespaces,
        *,
        position_seconds: int,
        idempotency_seconds: int,
        script: Script = PUBLISH,
        marker: Marker | None = None,
    ) -> None:
        """``marker``: where the marks for the archive are not on this Redis."""
        self._pipe = pipe
        self._script = script
        self._keys = keys
        self._namespaces = namespaces
        self._marker = marker or Marker(keys, namespaces)
        self._position_seconds = position_seconds
        self._idempotency_seconds = idempotency_seconds
        self._calls: deque[_Call] = deque()
        self._waiting = 0  # messages in all the calls
        self._wake = asyncio.Event()

    async def publish(self, publications: Sequence[Publication]) -> list[Outcome]:
        """`Broker.publish`."""
        return await self.send(publications)

    def send(self, publications: Sequence[Publication]) -> "asyncio.Future[list[Outcome]]":
        """Take them now, in the order of the calls; the future has what `publish` returns."""
        # A plain future: a caller that goes away does not unsend its messages.
        answer: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        if self._waiting + len(publications) > _QUEUE_MAX:
            refusal = Unavailable("too many messages are waiting to be published")
            answer.set_result([refusal] * len(publications))
            return answer
        self._calls.append(_Call(publications, answer))
        self._waiting += len(publications)
        self._wake.set()
        return answer

    @property
    def waiting_count(self) -> int:
        """Messages that have not been sent yet."""
        return self._waiting

    async def run(self) -> None:
        """Publish what is asked for until cancelled."""
        try:
            while True:
                try:
                    async with asyncio.timeout(_MARK_SECONDS if self._marker.unsure else None):
                        await self._wake.wait()
                except TimeoutError:
                    await self._mark_again()
                while self._calls:
                    await self._send_some()
                self._wake.clear()
        finally:
            self._pipe.close()
            self._refuse_waiting(Unavailable("the gateway is stopping"))

    def _refuse_waiting(self, why: Unavailable) -> None:
        while self._calls:
            call = self._calls.popleft()
            self._waiting -= len(call.publications)
            call.settle([why] * len(call.publications))

    async def _send_some(self) -> None:
        calls = self._take()
        publications = [publication for call in calls for publication in call.publications]
        outcomes: list[Outcome]
        try:
            outcomes = await self._send(publications)
        except Failure as error:
            why = str(error)
            trouble = Unavailable(why) if isinstance(error, NotSent) else _unknown(why)
            outcomes = [trouble] * len(publications)
            if error.is_silence:
                # They have waited as long as it took, and would wait as long again for the same.
                self._refuse_waiting(Unavailable(why))
        except BaseException:
            stopping = Unavailable("the gateway is stopping", outcome_unknown=True)
            for call in calls:
                call.settle([stopping] * len(call.publications))
            raise
        answers = iter(outcomes)
        for call in calls:
            call.settle(list(islice(answers, len(call.publications))))

    def _take(self) -> list["_Call"]:
        """The next pipeline: whole calls, of at least one and about 500 messages."""
        taken: list[_Call] = []
        count = 0
        while self._calls and count < _PIPELINE_MAX:
            call = self._calls.popleft()
            taken.append(call)
            count += len(call.publications)
        self._waiting -= count
        return taken

    async def _send(self, publications: list[Publication]) -> list[Outcome]:
        epoch, life = secrets.token_hex(4), await self._pipe.open()
        runs = runs_of(publications)
        commands = [self._command([publications[i] for i in run], epoch, life) for run in runs]
        replies = await self._execute(commands, publications, life)
        missing = [i for i, reply in enumerate(replies) if _is_error(reply, "NOSCRIPT")]
        if missing:
            # A restarted Redis has forgotten the script, and has therefore run none of these.
            load = ("SCRIPT", "LOAD", self._script.text)
            commands = [load, *(commands[i] for i in missing)]
            try:
                _, *again = await self._execute(commands, publications, life)
            except (NotSent, Unanswered):
                if len(missing) == len(runs):
                    raise
                again = [_UNKNOWN] * len(missing)  # others of these have been published
            for i, reply in zip(missing, again, strict=True):
                replies[i] = reply
        outcomes: dict[int, Outcome] = {}
        for run, reply in zip(runs, replies, strict=True):
            answers = _outcomes([publications[i] for i in run], reply)
            outcomes.update(zip(run, answers, strict=True))
        return [outcomes[i] for i in range(len(publications))]

    async def _execute(
        self,
        commands: list[tuple[Any, ...]],
        publications: list[Publication],
        life: str | None = None,
    ) -> list[Any]:
        """Execute them, and behind them mark the channels that the archive has to look at."""
        channels = self._marker.channels_of(publications)
        marks = self._marker.commands(channels)
        try:
            replies = await self._pipe.execute([*commands, *marks], life)
        except Unanswered:
            self._marker.doubt(channels)
            raise
        self._marker.sent(channels, replies[len(commands) :])
        if channels:
            await self._marker.settled()
        return replies[: len(commands)]

    async def _mark_again(self) -> None:
        with contextlib.suppress(NotSent, Unanswered):
            await self._execute([], [])

    def _command(self, run: list[Publication], epoch: str, life: str) -> tuple[Any, ...]:
        first = run[0]
        generation, _, process = life.partition(" ")
        channel, key = first.channel, first.idempotency_key
        namespace = self._namespaces.of(channel)
        keys = [self._keys.state(channel), self._keys.stream(channel)]
        if key:
            digest = hashlib.sha256(f"{first.user}\n{key}".encode()).hexdigest()[:32]
            keys.append(self._keys.idempotency(channel, digest))
        return self._script.call(
            keys,
            self._keys.topic(channel),
            epoch,
            namespace.history_length if first.is_kept else 0,
            namespace.history_seconds,
            self._position_seconds,
            self._idempotency_seconds,
            fingerprint(first) if key else "",
            first.id,
            generation,
            process,
            *map(encode_body, run),
        )


def _unknown(why: str) -> Unavailable:
    return Unavailable(
        f"{why}: whether the message was published is unknown, and repeating it is safe with an "
        "Idempotency-Key",
        outcome_unknown=True,
    )


def _is_error(reply: Any, code: str) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith(code)


def runs_of(publications: Sequence[Publication]) -> list[list[int]]:
    """Divide into runs of the script, by index: a channel's messages share one.

    What Redis spends on a message of a batch falls from 16 µs to 9. A message with an
    idempotency key has a run of its own, and what comes after it on its channel starts another,
    so that every channel keeps its order; and so does what is kept after what is not.
    """
    runs: list[list[int]] = []
    open_runs: dict[str, list[int]] = {}
    for index, publication in enumerate(publications):
        run = open_runs.get(publication.channel)
        if publication.idempotency_key:
            open_runs.pop(publication.channel, None)
            runs.append([index])
        elif run is not None and publications[run[0]].is_kept is publication.is_kept:
            run.append(index)
        else:
            run = open_runs[publication.channel] = [index]
            runs.append(run)
    return runs


def _outcomes(run: Sequence[Publication], reply: Any) -> list[Outcome]:
    """What the script's reply says of each message of its run."""
    if reply is _UNKNOWN:
        return [_unknown("Redis was lost in between")] * len(run)
    if isinstance(reply, hiredis.ReplyError):
        # The script ran into an error before it sent anything: no memory, read-only, loading.
        why = str(reply).partition(" script:")[0].rstrip(".")[:100]
        return [Unavailable(f"Redis refused the message: {why}")] * len(run)
    if reply[0] == _KEY_REUSED:
        return [KeyReused("this Idempotency-Key was used for another message")]
    if reply[0] == _REPLAYED:
        _, id, epoch, offset = reply
        position = Position(epoch.decode(), int(offset))
        return [Receipt(run[0].channel, id.decode(), position, replayed=True)]
    _, epoch, top = reply
    before, epoch_text = int(top) - len(run), epoch.decode()
    return [
        Receipt(each.channel, each.id, Position(epoch_text, before + nth), replayed=False)
        for nth, each in enumerate(run, 1)
    ]
