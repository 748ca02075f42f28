"""Which clients are in a channel, asked of every replica; and telling who comes and goes.

The shared table counts connections by user; which of them are clients of this protocol, and
what is known of each, only the replica knows that carries them.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import groupby
from typing import Any

import orjson

from gateway.core.centrifuge.subscription import Subscription
from gateway.core.centrifuge.wire import ClientWire
from gateway.core.hub import Hub
from gateway.core.signals import Signals
from gateway.core.subscriber import Wire
from gateway.core.tasks import Tasks
from gateway.domain.errors import TooBig, Unavailable
from gateway.protocols.centrifuge.results import ClientInfo, Join, Leave, Push

_QUESTION, _ANSWER, _CROSSINGS = "clients?", "clients", "client_crossings"
_WAITING_MAX = 1000
_CLIENTS_MAX = 1000  # of one replica in one answer
_UNTOLD_MAX = 10_000
_TOGETHER_MAX = 200

logger = logging.getLogger(__name__)


class _Question:
    def __init__(self) -> None:
        self.infos: list[ClientInfo] = []
        self.answers = 0
        self.is_whole = True
        self.answered = asyncio.Event()


class Census:
    def __init__(
        self,
        hub: Hub,
        signals: Signals,
        tasks: Tasks,
        *,
        wait_seconds: float = 1.0,
    ) -> None:
        self._hub = hub
        self._signals = signals
        self._tasks = tasks
        self._wait_seconds = wait_seconds
        self._questions: dict[str, _Question] = {}
        # Who has come and gone and has not been told of yet; beyond the limit the oldest go.
        self._untold: deque[tuple[str, bool, ClientInfo]] = deque(maxlen=_UNTOLD_MAX)
        self._is_telling = False
        signals.on(_QUESTION, self._asked)
        signals.on(_ANSWER, self._answered)
        signals.on(_CROSSINGS, self._told)

    # Asking.

    async def clients_of(self, channel: str) -> list[ClientInfo]:
        """The clients in the channel on all replicas.

        Raises `Unavailable` where not every replica answers in time, and `TooBig` where there
        are more than an answer may carry: half a list would look like a whole one.
        """
        if len(self._questions) >= _WAITING_MAX:
            raise Unavailable("too many ask who is in a channel")
        number, question = secrets.token_hex(8), _Question()
        self._questions[number] = question
        try:
            async with asyncio.timeout(self._wait_seconds):
                body = {"number": number, "channel": channel}
                replicas = await self._signals.send(_QUESTION, body)
                while question.answers < replicas:
                    question.answered.clear()
                    await question.answered.wait()
        except TimeoutError:
            raise Unavailable("not every replica said who is in the channel") from None
        finally:
            del self._questions[number]
        if not question.is_whole:
            raise TooBig(f"a replica has more than {_CLIENTS_MAX} clients in the channel")
        return question.infos

    def _asked(self, signal: dict[str, Any]) -> None:
        listeners = self._hub.listeners(str(signal["channel"]))
        infos = [
            one.client_info for one in listeners if isinstance(one, Subscription) and one.is_counted
        ]
        self._tasks.start(self._answer(str(signal["number"]), infos), "census")

    async def _answer(self, number: str, infos: list[ClientInfo]) -> None:
        is_whole = len(infos) <= _CLIENTS_MAX
        clients = [_written(info) for info in infos] if is_whole else []
        try:
            await self._signals.send(
                _ANSWER, {"number": number, "clients": clients, "is_whole": is_whole}
            )
        except Unavailable:
            return  # who asked stops waiting, and says that an answer is missing

    def _answered(self, signal: dict[str, Any]) -> None:
        question = self._questions.get(signal["number"])
        if question is not None:
            question.infos += [_read(written) for written in signal["clients"]]
            question.is_whole &= bool(signal["is_whole"])
            question.answers += 1
            question.answered.set()

    # Telling.

    def joined(self, subscription: Subscription) -> None:
        self._note(subscription, has_joined=True)

    def left(self, subscription: Subscription) -> None:
        self._note(subscription, has_joined=False)

    def _note(self, subscription: Subscription, *, has_joined: bool) -> None:
        if not subscription.tells_crossings:
            return
        self._untold.append((subscription.channel, has_joined, subscription.client_info))
        if not self._is_telling:
            self._is_telling = True
            self._tasks.start(self._tell(), "join and leave")

    async def _tell(self) -> None:
        try:
            while self._untold:
                count = min(len(self._untold), _TOGETHER_MAX)
                some = [self._untold.popleft() for _ in range(count)]
                crossings = [[channel, joined, *_written(info)] for channel, joined, info in some]
                try:
                    await self._signals.send(_CROSSINGS, {"crossings": crossings})
                except Unavailable as trouble:
                    # Not again: it may have been sent. Who needs certainty asks for presence.
                    logger.warning("join and leave pushes may be lost: %s", trouble.detail)
        finally:
            self._is_telling = False

    def _told(self, signal: dict[str, Any]) -> None:
        for channel, crossings in groupby(signal["crossings"], lambda each: str(each[0])):
            pushes = [_push(joined, _read(written)) for _, joined, *written in crossings]
            self._hub.notify(channel, partial(_frame, channel, pushes))


def _push(joined: bool, info: ClientInfo) -> Push:
    return Join(info) if joined else Leave(info)


def _frame(channel: str, pushes: Iterable[Push], wire: Wire) -> bytes:
    if not isinstance(wire, ClientWire) or not wire.tells_crossings:
        return b""  # plain sockets hear of users, by the shared table
    return wire.pushes(channel, pushes)


def _written(info: ClientInfo) -> list[str]:
    return [info.user, info.client, info.conn_info.decode(), info.chan_info.decode()]


def _read(written: Any) -> ClientInfo:
    if not isinstance(written, list) or not all(type(text) is str for text in written):
        raise ValueError("not a client")
    user, client, conn_info, chan_info = written
    for info in filter(None, (conn_info, chan_info)):
        orjson.loads(info)  # what is not JSON would break the frame that it is embedded in
        if "\n" in info:
            raise ValueError("not on one line")
    return ClientInfo(user, client, conn_info.encode(), chan_info.encode())
