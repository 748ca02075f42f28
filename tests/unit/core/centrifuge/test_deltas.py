"""What those recover who get differences in place of messages."""

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest

from gateway.core.centrifuge import deltas
from gateway.core.centrifuge.deltas import ChannelDeltas
from gateway.core.centrifuge.wire import ClientWire
from gateway.domain.messages import Message, Position
from gateway.protocols.centrifuge import fossil
from gateway.protocols.centrifuge.json import JSON
from gateway.protocols.centrifuge.results import Publication

WORDS = " ".join(f"word-{n}" for n in range(60))


def publications(count: int, words: str = WORDS) -> list[Publication]:
    return [
        Publication(json.dumps({"n": n, "words": words}).encode(), n) for n in range(1, count + 1)
    ]


def is_patched(chain: Sequence[Publication]) -> list[bool]:
    return [bool(each.patch) for each in chain]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What differences were worked out for."""
    targets: list[bytes] = []
    create = fossil.create

    def noted(source: bytes, target: bytes) -> bytes:
        targets.append(target)
        return create(source, target)

    monkeypatch.setattr(fossil, "create", noted)
    return targets


def test_the_first_is_whole_and_the_others_lead_on_from_it() -> None:
    given = publications(3)
    chain = ChannelDeltas().chained(given)
    assert is_patched(chain) == [False, True, True]
    assert [each._replace(patch=b"") for each in chain] == given
    for previous, each in pairwise(chain):
        assert fossil.apply(each.patch, previous.data) == each.data
    assert ChannelDeltas().chained([]) == []


def test_who_comes_later_makes_no_new_work(made: list[bytes]) -> None:
    channel = ChannelDeltas()
    assert channel.chained(publications(3)) == channel.chained(publications(3))
    assert len(made) == 2


def test_what_was_worked_out_for_all_is_not_again_for_one(made: list[bytes]) -> None:
    channel, wire, given = ChannelDeltas(), ClientWire(JSON, bytes), publications(3)
    for each in given:
        message = Message("room", each.data, "id", "u", 1.0, Position("e", each.offset))
        channel.frame(wire, [message], is_fresh=False)
    assert is_patched(channel.chained(given)) == [False, True, True]
    assert len(made) == 2


def test_nobody_waits_for_much_that_is_new(
    made: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deltas, "_NEW_MAX", 2)
    channel, given = ChannelDeltas(), publications(6)
    assert is_patched(channel.chained(given)) == [False, True, True, False, False, False]
    assert is_patched(channel.chained(given)) == [False, True, True, True, True, False]
    assert len(made) == 4
    # What is known goes out behind what is not, too.
    later = given[2:]
    early = [publications(1, WORDS + str(n))[0] for n in range(4)]
    assert is_patched(channel.chained([*early, *later]))[-3:] == [True, True, False]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deltas, "_KNOWN_MAX", 3)
    channel = ChannelDeltas()
    channel.chained(publications(6))
    assert len(channel._known) == 3
    monkeypatch.setattr(deltas, "_KNOWN_BYTES_MAX", 50)
    assert is_patched(channel.chained(publications(6, WORDS + "."))) == [False, *[True] * 5]
    assert sum(len(each or b"") for each in channel._known.values()) <= 50
    assert channel._known_bytes == sum(len(each or b"") for each in channel._known.values())
