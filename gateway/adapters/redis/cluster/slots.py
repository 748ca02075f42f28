"""What a Redis Cluster says of itself: who has which slot. Without I/O."""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

SLOTS = 16384


def slot_of(key: str) -> int:
    """The slot of a key or a sharded topic: that of what stands between the first braces."""
    start = key.find("{") + 1
    end = key.find("}", start)
    tag = key[start:end] if start and end > start else key
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


class Node(NamedTuple):
    """A master that has slots. ``epoch`` rises when it takes over, and when it is given slots."""

    id: str
    host: str
    port: int
    epoch: int


@dataclass(frozen=True, slots=True)
class View:
    """The cluster as one node sees it.

    ``is_up`` is False where that node is cut off from the most, or slots are missing: it refuses
    commands then. ``places`` are host and port of every node, also of those without slots.
    """

    is_up: bool
    epoch: int
    masters: Mapping[str, Node]
    owners: tuple[str, ...]  # by slot; "" where nobody has it
    places: tuple[tuple[str, int], ...]

    def owner(self, slot: int) -> Node | None:
        return self.masters.get(self.owners[slot])

    def node_at(self, host: str, port: int) -> Node | None:
        """The master that a redirection names; some nodes leave out the host where it is theirs."""
        for node in self.masters.values():
            if node.port == port and host in (node.host, ""):
                return node
        return None


def read_view(info: bytes, nodes: bytes, asked: tuple[str, int]) -> View:
    """Read what CLUSTER INFO and CLUSTER NODES answered; raises `ValueError`.

    ``asked`` is where they were asked: a node that has no peers yet does not know its address.
    """
    facts = dict(line.partition(":")[::2] for line in info.decode().split())
    masters: dict[str, Node] = {}
    owners = [""] * SLOTS
    places = []
    for line in nodes.decode().splitlines():
        words = line.split(" ")
        if len(words) < 8:
            raise ValueError("a line of CLUSTER NODES is too short")
        id, place, flags, epoch, ranges = words[0], words[1], words[2], words[6], words[8:]
        if "noaddr" in flags or "handshake" in flags:
            continue
        host, port = _place(place, asked)
        places.append((host, port))
        # What is on its way to another node stands in brackets, and still belongs to this one.
        owned = [part for part in ranges if not part.startswith("[")]
        if not owned or "master" not in flags.split(","):
            continue
        masters[id] = Node(id, host, port, int(epoch))
        for part in owned:
            first, _, last = part.partition("-")
            slots = range(int(first), int(last or first) + 1)
            owners[slots.start : slots.stop] = [id] * len(slots)
    if len(owners) != SLOTS:
        raise ValueError("CLUSTER NODES names slots that there are none of")
    return View(
        is_up=facts.get("cluster_state") == "ok",
        epoch=int(facts.get("cluster_current_epoch", 0)),
        masters=masters,
        owners=tuple(owners),
        places=tuple(places),
    )


def _place(text: str, asked: tuple[str, int]) -> tuple[str, int]:
    """From ``ip:port@busport,hostname``; a host name that was announced is what is meant."""
    address, _, name = text.partition(",")
    host, _, port = address.partition("@")[0].rpartition(":")
    name = name.partition(",")[0]
    return name or host or asked[0], int(port) or asked[1]


def read_replication(answer: Any) -> tuple[str, bool]:
    """A master's replication id, and whether it remembers to have taken over for another.

    ``answer`` is that of INFO replication; raises `ValueError` where it is not a master's.
    """
    if not isinstance(answer, bytes):
        raise ValueError("no answer")
    facts = dict(line.partition(":")[::2] for line in answer.decode().split())
    if facts.get("role") != "master":
        raise ValueError("not a master")
    return facts["master_replid"], bool(facts.get("master_replid2", "").strip("0"))
