"""The methods, one by one and in batches."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.core.attendance import Attendance
from gateway.core.centrifuge.census import Census
from gateway.core.centrifuge.reading import read_history
from gateway.core.centrifuge.refusals import Refusal
from gateway.core.hub import Hub
from gateway.core.server_api.batches import check_size, groups_of, reply
from gateway.core.server_api.callers import Caller
from gateway.core.server_api.nodes import Nodes
from gateway.core.server_api.orders import Orders
from gateway.core.server_api.publishing import Publisher
from gateway.core.server_api.refusals import Outcome, Result, note, said
from gateway.domain.channels import check_channel
from gateway.domain.errors import Denied, GatewayError
from gateway.domain.namespaces import Namespaces
from gateway.domain.principal import Action, Permissions
from gateway.ports.broker import Broker
from gateway.protocols.centrifuge import codes
from gateway.protocols.server_api import answers, requests
from gateway.protocols.server_api.answers import ApiError
from gateway.protocols.server_api.reading import METHODS, read
from gateway.protocols.server_api.requests import BadRequest, NotSupported, Publishing, Request


class ServerApi:
    def __init__(
        self,
        hub: Hub,
        broker: Broker,
        attendance: Attendance,
        census: Census,
        permissions: Permissions,
        namespaces: Namespaces,
        orders: Orders,
        nodes: Nodes,
        *,
        batch_messages_max: int,
        history_page_max: int,
    ) -> None:
        self._hub = hub
        self._publisher = Publisher(hub, namespaces)
        self._broker = broker
        self._attendance = attendance
        self._census = census
        self._permissions = permissions
        self._namespaces = namespaces
        self._orders = orders
        self._nodes = nodes
        self._batch_messages_max = batch_messages_max
        self._history_page_max = history_page_max

    async def call(self, caller: Caller, method: str, params: object) -> Result:
        """The result of a method.

        Raises `ApiError`, and `Denied` where the caller may not call this method at all.
        """
        if method not in METHODS:
            raise ApiError(codes.METHOD_NOT_FOUND)
        try:
            caller.require(method)
        except Denied as denial:
            note(caller, denial)
            raise
        request = _read(method, params)
        check_size([request], 1, self._batch_messages_max)
        if isinstance(request, requests.Batch):
            return {"replies": await self._batch(caller, request)}
        return _raised(await self._carry_out(caller, request))

    # Batches.

    async def _batch(self, caller: Caller, batch: requests.Batch) -> list[Result]:
        """Each command is answered on its own; what is published together goes out together."""
        outcomes: dict[int, Outcome] = {}
        read_ones: dict[int, Request] = {}
        for index, (method, params) in enumerate(batch.commands):
            try:
                read_ones[index] = _read_of_batch(caller, method, params)
            except ApiError as error:
                outcomes[index] = error
        check_size(read_ones.values(), len(batch.commands), self._batch_messages_max)

        async def answer(indices: Sequence[int]) -> None:
            group = [read_ones[index] for index in indices]
            done = await self._carry_out_some(caller, group)
            outcomes.update(zip(indices, done, strict=True))

        groups = groups_of(read_ones, is_parallel=batch.is_parallel)
        if batch.is_parallel:
            async with asyncio.TaskGroup() as tasks:
                for group in groups:
                    tasks.create_task(answer(group), name="batch")
        else:
            for group in groups:
                await answer(group)
        return [reply(method, outcomes[index]) for index, (method, _) in enumerate(batch.commands)]

    async def _carry_out_some(self, caller: Caller, group: Sequence[Request]) -> Sequence[Outcome]:
        publishing = [one for one in group if isinstance(one, Publishing)]
        if publishing:
            return await self._publisher.publish(caller, publishing)
        return [await self._carry_out(caller, request) for request in group]

    async def _carry_out(self, caller: Caller, request: Request) -> Outcome:
        if isinstance(request, Publishing):
            (outcome,) = await self._publisher.publish(caller, [request])
            return outcome
        method = _METHODS[type(request)]
        try:
            return await method(self, caller, request)
        except ApiError as error:
            return error
        except Refusal as refusal:
            return ApiError(refusal.error)
        except GatewayError as refusal:
            return said(caller, refusal)

    # Connections.

    async def _subscribe(self, caller: Caller, request: requests.Subscribe) -> Result:
        caller.require_channel(self._known(request.channel))
        refused = await self._orders.subscribe(request)
        if refused:
            raise ApiError(refused[0])
        return {}

    async def _unsubscribe(self, caller: Caller, request: requests.Unsubscribe) -> Result:
        caller.require_channel(check_channel(request.channel))
        await self._orders.unsubscribe(request)
        return {}

    async def _disconnect(self, caller: Caller, request: requests.Disconnect) -> Result:
        await self._orders.disconnect(request)
        return {}

    async def _refresh(self, caller: Caller, request: requests.Refresh) -> Result:
        await self._orders.refresh(request)
        return {}

    # Asking.

    async def _presence(self, caller: Caller, request: requests.Presence) -> Result:
        channel = self._known(request.channel)
        self._permissions.require(caller.principal, Action.SEE_PRESENCE, channel)
        if not self._namespaces.of(channel).presence:
            raise ApiError(codes.NOT_AVAILABLE)
        return answers.presence(await self._census.clients_of(channel))

    async def _presence_stats(self, caller: Caller, request: requests.PresenceStats) -> Result:
        channel = self._known(request.channel)
        count, _ = await self._attendance.members(caller.principal, channel, 1, "")
        return {"num_clients": count.connections, "num_users": count.members}

    async def _history(self, caller: Caller, request: requests.History) -> Result:
        channel = self._with_history(request.channel)
        found = await read_history(
            self._hub,
            caller.principal,
            channel,
            since=request.since,
            limit=request.limit,
            is_reverse=request.is_reverse,
            page_max=self._history_page_max,
        )
        return answers.history(found)

    async def _history_remove(self, caller: Caller, request: requests.HistoryRemove) -> Result:
        channel = self._with_history(request.channel)
        caller.require_channel(channel)
        await self._broker.forget(channel)
        return {}

    async def _channels(self, caller: Caller, request: requests.Channels) -> Result:
        found = await self._nodes.channels(request.pattern)
        return {
            "channels": {
                channel: {"num_clients": count}
                for channel, count in found.items()
                if caller.sees(channel)
            }
        }

    async def _info(self, caller: Caller, request: requests.Info) -> Result:
        return {"nodes": await self._nodes.info()}

    async def _rpc(self, caller: Caller, request: requests.Rpc) -> Result:
        raise ApiError(codes.NOT_AVAILABLE)

    def _known(self, name: str) -> str:
        channel = check_channel(name)
        if self._namespaces.refuses(channel):
            raise ApiError(codes.UNKNOWN_CHANNEL)
        return channel

    def _with_history(self, name: str) -> str:
        channel = self._known(name)
        if not self._namespaces.of(channel).history_length:
            raise ApiError(codes.NOT_AVAILABLE)
        return channel


_METHODS: Mapping[type, Callable[[ServerApi, Caller, Any], Awaitable[Result]]] = {
    requests.Subscribe: ServerApi._subscribe,
    requests.Unsubscribe: ServerApi._unsubscribe,
    requests.Disconnect: ServerApi._disconnect,
    requests.Refresh: ServerApi._refresh,
    requests.Presence: ServerApi._presence,
    requests.PresenceStats: ServerApi._presence_stats,
    requests.History: ServerApi._history,
    requests.HistoryRemove: ServerApi._history_remove,
    requests.Channels: ServerApi._channels,
    requests.Info: ServerApi._info,
    requests.Rpc: ServerApi._rpc,
}


def _read(method: str, params: object) -> Request:
    try:
        return read(method, params)
    except KeyError:
        raise ApiError(codes.METHOD_NOT_FOUND) from None
    except BadRequest as error:
        raise ApiError(codes.BAD_REQUEST, str(error)) from None
    except NotSupported as error:
        raise ApiError(codes.NOT_AVAILABLE, str(error)) from None


def _read_of_batch(caller: Caller, method: str, params: object) -> Request:
    request = _read(method, params)
    if isinstance(request, requests.Batch):
        raise ApiError(codes.BAD_REQUEST, "a batch holds no batch")
    try:
        caller.require(method)
    except Denied as denial:
        raise said(caller, denial) from None
    return request


def _raised(outcome: Outcome) -> Result:
    if isinstance(outcome, ApiError):
        raise outcome
    return outcome
