"""Sending commands to the nodes of a Redis Cluster, and following where they point."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import hiredis

from gateway.adapters.redis.cluster.generations import ClusterGenerations
from gateway.adapters.redis.cluster.map import ClusterMap
from gateway.adapters.redis.cluster.slots import Node, slot_of
from gateway.adapters.redis.places.connection import FixedPlace
from gateway.adapters.redis.places.pipe import Commands, NotSent, Pipe, Unanswered
from gateway.adapters.redis.script import Script
from gateway.domain.errors import Unavailable

_TRIES = 10
_ID_LENGTH = 8  # of a node's id, enough to tell a few from each other
_PAUSE_SECONDS = 0.05
# What a node answers without having done anything: the same command may be sent again.
_ELSEWHERE = ("MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN")

Command = tuple[Any, ...]


class ClusterNodes(NamedTuple):
    """What a pipe has to know of the cluster."""

    map: ClusterMap
    generations: ClusterGenerations
    timeout_seconds: float


class NodePipe(Pipe):
    """A pipe to one node, which knows the generation of the data there.

    The run of the process is told with the node that it is of: a channel that moves comes to
    another process, and has lost nothing. It has where its node was started again.
    """

    def __init__(self, cluster: ClusterNodes, node: Node, *, name: str) -> None:
        place = FixedPlace(cluster.map.address_of(node))
        super().__init__(place, name=name, timeout_seconds=cluster.timeout_seconds)
        self._cluster = cluster
        self._id = node.id

    async def open(self) -> str:
        """`Pipe.open`; raises `NotSent` also where the node has no slots any more."""
        try:
            node = self._cluster.map.view.masters.get(self._id)
            if node is None:
                raise NotSent("another node of the Redis Cluster has taken over")
            generation = await self._cluster.generations.of(node)
        except Unavailable as error:
            raise NotSent(error.detail) from None
        await self._connected()
        self.generation = generation  # the place knows of none
        return f"{generation} {self._id[:_ID_LENGTH]}:{self._run}" if self._run else generation

    async def execute(self, commands: Sequence[Command], made_for: str | None = None) -> list[Any]:
        life = await self.open()
        if made_for is not None and not _goes_on(made_for, life):
            raise NotSent("another node of the Redis Cluster has taken over, or this one is new")
        generation = self.generation
        try:
            return await super().execute(commands)
        finally:
            self.generation = generation


def _goes_on(made_for: str, life: str) -> bool:
    """Whether what was made for one life may be sent to another: of a node elsewhere, too."""
    (before, _, old_run), (now, _, run) = made_for.partition(" "), life.partition(" ")
    is_same_node = old_run.partition(":")[0] == run.partition(":")[0]
    return before == now and (old_run == run or not is_same_node)


class _Unit(NamedTuple):
    """Commands that stand or fall together: one, or a transaction."""

    start: int
    end: int
    slot: int | None

    def answer(self, replies: Sequence[Any]) -> str:
        """The redirection among its replies, or ""."""
        for reply in replies[self.start : self.end]:
            if isinstance(reply, hiredis.ReplyError) and str(reply).startswith(_ELSEWHERE):
                return str(reply)
        return ""


class ClusterPipe(NodePipe):
    """A pipe to a node that goes on to others with what is there by now.

    While slots move from node to node, commands are answered with where they belong. They have
    not been carried out then, so sending them once more makes no second copy. What has taken
    over with data of its own is another matter: that gets only what was made for its generation.
    """

    def __init__(
        self, cluster: ClusterNodes, node: Node, *, name: str, scripts: Collection[Script]
    ) -> None:
        super().__init__(cluster, node, name=name)
        self._name_of_others = name
        self._scripts = {script.sha: script.text for script in scripts}
        self._others: dict[str, NodePipe] = {}

    async def execute(self, commands: Sequence[Command], made_for: str | None = None) -> list[Any]:
        life = await self.open()
        replies = await super().execute(commands, made_for)
        for _ in range(_TRIES):
            todo = _redirected(commands, replies)
            if not todo:
                break
            await self._follow(todo, commands, replies, life)
        return replies

    def close(self) -> None:
        super().close()
        for pipe in self._others.values():
            pipe.close()
        self._others.clear()

    async def _follow(
        self, todo: Sequence[_Unit], commands: Sequence[Command], replies: list[Any], made_for: str
    ) -> None:
        answers = {unit: unit.answer(replies) for unit in todo}
        if any(not answer.startswith("ASK") for answer in answers.values()):
            await asyncio.sleep(_PAUSE_SECONDS)
        if any(answer.startswith("MOVED") for answer in answers.values()):
            await self._cluster.map.look()
        by_pipe: dict[tuple[NodePipe | None, bool], list[_Unit]] = {}
        for unit, answer in answers.items():
            is_asking = answer.startswith("ASK")
            by_pipe.setdefault((self._target(unit, answer), is_asking), []).append(unit)
        for (pipe, is_asking), units in by_pipe.items():
            if pipe is not None:
                await self._send(pipe, is_asking, units, commands, replies, made_for)

    def _target(self, unit: _Unit, answer: str) -> NodePipe | None:
        """None for what nobody has now: it is looked for once more."""
        try:
            if answer.startswith("ASK"):
                host, _, port = answer.split()[2].rpartition(":")
                node = self._cluster.map.view.node_at(host, int(port))
            else:
                assert unit.slot is not None
                node = self._cluster.map.owner(unit.slot)
        except (Unavailable, ValueError, IndexError):
            return None
        if node is None or node.id == self._id:
            return self if node else None
        pipe = self._others.get(node.id)
        if pipe is None:
            pipe = NodePipe(self._cluster, node, name=self._name_of_others)
            self._others[node.id] = pipe
        return pipe

    async def _send(
        self,
        pipe: NodePipe,
        is_asking: bool,
        units: Sequence[_Unit],
        commands: Sequence[Command],
        replies: list[Any],
        made_for: str,
    ) -> None:
        batch: list[Command] = []
        for unit in units:
            if is_asking:
                batch.append(("ASKING",))
            batch += [self._with_text(command) for command in commands[unit.start : unit.end]]
        try:
            # What is on its way to a node is as exact as it was where it comes from.
            if pipe is self:
                answers = iter(await super().execute(batch, made_for))
            else:
                answers = iter(await pipe.execute(batch, None if is_asking else made_for))
        except NotSent:
            return
        for unit in units:
            if is_asking:
                next(answers)
            for index in range(unit.start, unit.end):
                replies[index] = next(answers)

    def _with_text(self, command: Command) -> Command:
        """Another node may not know the script, and this one sends too seldom to teach it."""
        if command[0] == "EVALSHA":
            return ("EVAL", self._scripts[command[1]], *command[2:])
        return command


def _redirected(commands: Sequence[Command], replies: Sequence[Any]) -> list[_Unit]:
    """What may be sent again; not where something later of its channel has been carried out."""
    if not any(
        isinstance(reply, hiredis.ReplyError) and str(reply).startswith(_ELSEWHERE)
        for reply in replies
    ):
        return []
    todo: list[_Unit] = []
    passed: set[int] = set()
    for unit in reversed(units_of(commands)):
        if unit.slot is None:
            continue
        if unit.answer(replies):
            if unit.slot not in passed:
                todo.append(unit)
        elif commands[unit.start][0] == "EVALSHA":
            passed.add(unit.slot)
    return todo[::-1]


def units_of(commands: Sequence[Command]) -> list[_Unit]:
    units = []
    start = 0
    while start < len(commands):
        end = start + 1
        first = commands[start]
        if first[0] == "MULTI":
            while commands[end - 1][0] != "EXEC":
                end += 1
            slot: int | None = slot_of(commands[start + 1][1])
        elif first[0] == "EVALSHA":
            slot = slot_of(first[3])
        else:
            slot = None if first[0] == "SCRIPT" else slot_of(str(first[1]))
        units.append(_Unit(start, end, slot))
        start = end
    return units


class RoutedPipe(Commands):
    """Sends each command to the node that has its key; one call at a time, as with every pipe."""

    def __init__(self, cluster: ClusterNodes, *, name: str, scripts: Collection[Script]) -> None:
        self.cluster = cluster
        self._name = name
        self._scripts = scripts
        self._nodes: dict[str, tuple[Node, ClusterPipe]] = {}

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        by_node: dict[str, list[int]] = {}
        everywhere: list[int] = []
        for unit in units_of(commands):
            indices = list(range(unit.start, unit.end))
            if unit.slot is None:
                everywhere += indices  # a script that is loaded in front of its calls
                continue
            try:
                node = self.cluster.map.owner(unit.slot)
            except Unavailable as error:
                raise NotSent(error.detail) from None
            by_node.setdefault(node.id, [*everywhere]).extend(indices)
        async with asyncio.TaskGroup() as tasks:
            asked = [
                (indices, tasks.create_task(self._ask(id, [commands[i] for i in indices])))
                for id, indices in by_node.items()
            ]
        replies: dict[int, Any] = {}
        failures: list[NotSent | Unanswered] = []
        for indices, task in asked:
            answers = task.result()
            if isinstance(answers, list):
                replies.update(zip(indices, answers, strict=True))
            else:
                failures.append(answers)
        if failures and len(failures) == len(asked) and isinstance(failures[0], NotSent):
            raise failures[0]
        if failures:
            raise Unanswered(str(failures[0]))
        return [replies[index] for index in range(len(commands))]

    def close(self) -> None:
        for _, pipe in self._nodes.values():
            pipe.close()
        self._nodes.clear()

    async def _ask(self, id: str, commands: list[Command]) -> list[Any] | NotSent | Unanswered:
        try:
            return await self._pipe(id).execute(commands)
        except (NotSent, Unanswered) as error:
            return error

    def _pipe(self, id: str) -> ClusterPipe:
        masters = self.cluster.map.view.masters
        for gone in [known for known in self._nodes if known not in masters]:
            self._nodes.pop(gone)[1].close()
        node = masters[id]
        known = self._nodes.get(id)
        if known is not None and known[0][:3] == node[:3]:
            return known[1]
        if known is not None:
            known[1].close()
        pipe = ClusterPipe(self.cluster, node, name=self._name, scripts=self._scripts)
        self._nodes[id] = node, pipe
        return pipe
