"""What the publisher adds to its pipelines for the archive."""

import hiredis
import pytest

from gateway.adapters.redis.keys import Keys
from gateway.adapters.redis.shared import news
from gateway.adapters.redis.shared.news import Marker
from gateway.domain.messages import Publication
from gateway.domain.namespaces import Namespace, Namespaces

KEY = "gw:{archive}:marks"


@pytest.fixture
def marker() -> Marker:
    return Marker(Keys("gw"), Namespaces(Namespace(), {"kept": Namespace(archive=True)}))


def publications(*channels: str) -> list[Publication]:
    return [Publication(channel, b"1", "id", "alice", 1.0) for channel in channels]


def marked(marker: Marker, channels: set[str]) -> list[str]:
    return [word for (_, _, *words) in marker.commands(channels) for word in words[::2]]


def test_a_pipeline_marks_each_archived_channel_once(marker: Marker) -> None:
    channels = marker.channels_of(publications("kept:a", "room", "kept:b", "kept:a"))
    ((command, key, *words),) = marker.commands(channels)

    assert (command, key) == ("HSET", KEY)
    assert set(words[::2]) == {"kept:a", "kept:b"}
    assert len(words) == 4


def test_where_nothing_is_archived_nothing_is_sent(marker: Marker) -> None:
    assert marker.commands(marker.channels_of(publications("room"))) == []
    marker.sent(set(), [])
    assert not marker.unsure


def test_no_two_pipelines_and_no_two_replicas_use_the_same_token(marker: Marker) -> None:
    other = Marker(Keys("gw"), Namespaces())
    tokens = {each.commands({"kept:a"})[0][3] for each in (marker, other) for _ in range(10)}

    assert len(tokens) == 20


def test_what_may_not_have_come_through_goes_out_again(marker: Marker) -> None:
    marker.doubt({"kept:a"})
    channels = marker.channels_of(publications("kept:b"))
    assert sorted(marked(marker, channels)) == ["kept:a", "kept:b"]
    marker.sent(channels, [hiredis.ReplyError("OOM")])
    assert marker.unsure == {"kept:a", "kept:b"}
    marker.sent(marker.channels_of([]), [2])
    assert not marker.unsure


def test_what_is_sent_again_is_bounded(marker: Marker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "_UNSURE_MAX", 1500)
    for n in range(3000):
        marker.doubt({f"kept:{n}"})
    assert len(marker.unsure) == 1500
    assert len(marker.channels_of(publications("kept:x"))) == 1001
