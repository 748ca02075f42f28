"""What a client says is carried out, in order, and answered."""

import asyncio
from collections.abc import Sequence
from itertools import groupby

from gateway.core.centrifuge.client import Client, Stage
from gateway.core.centrifuge.handlers import HANDLERS, publish_all
from gateway.core.centrifuge.refusals import Ending, Refusal, error_of
from gateway.domain.errors import Denied, GatewayError
from gateway.protocols.centrifuge import codes
from gateway.protocols.centrifuge.commands import Command, Connect, Pong, Publish, Send, Subscribe


async def carry_out(client: Client, *commands: Command) -> None:
    """Carry out commands in order; subscriptions that stand together go side by side."""
    try:
        for kind, group in groupby(commands, type):
            if client.stage is Stage.GONE:
                return
            await _carry_out(client, kind, list(group))
    except Ending as ending:
        client.disconnect(ending.disconnect)


async def _carry_out(client: Client, kind: type[Command], run: Sequence[Command]) -> None:
    is_first = client.stage is Stage.NEW
    if client.stage is Stage.REFUSED or is_first is not (kind is Connect):
        raise Ending(codes.BAD_FRAME)
    if kind is Send:
        raise Ending(codes.NO_HANDLER)
    if kind is Publish:
        answers = await publish_all(client, [each for each in run if isinstance(each, Publish)])
        client.socket.send(
            client.wire.codec.joined([client.wire.codec.reply(*answer) for answer in answers])
        )
    elif kind is Subscribe and len(run) > 1:
        async with asyncio.TaskGroup() as group:
            for command in run:
                group.create_task(_answer_apart(client, command))
    else:
        for command in run:
            if kind is Connect and client.stage is not Stage.NEW:
                raise Ending(codes.BAD_FRAME)
            await _answer(client, command)


async def _answer_apart(client: Client, command: Command) -> None:
    try:
        await _answer(client, command)
    except Ending as ending:
        client.disconnect(ending.disconnect)


async def _answer(client: Client, command: Command) -> None:
    assert not isinstance(command, Send | Pong)  # those have no id, and are seen to elsewhere
    try:
        result = await HANDLERS[type(command)](client, command)
    except Refusal as refusal:
        client.refuse(command, refusal.error)
    except GatewayError as refusal:
        if isinstance(refusal, Denied):
            client.note_denial(refusal)
        client.refuse(command, error_of(refusal))
    else:
        if result is not None:
            client.reply(command.id, result)
