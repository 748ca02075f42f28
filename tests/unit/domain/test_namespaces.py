"""Which agreement holds for a channel."""

import pytest

from gateway.domain.namespaces import Anyone, Namespace, Namespaces, SlowConsumer

PRICES = Namespace(SlowConsumer.LATEST_ONLY)


def test_a_channel_follows_its_namespace_and_others_the_default() -> None:
    namespaces = Namespaces(Namespace(), {"prices": PRICES})
    assert namespaces.of("prices:EUR") == PRICES
    assert namespaces.of("prices") == Namespace()
    assert namespaces.of("news:a") == Namespace()


@pytest.mark.parametrize(
    ("channel", "refused"),
    [
        ("prices:EUR", False),
        ("prices:EUR:x", False),
        ("news:a", True),
        ("Prices:EUR", True),
        ("prices", False),
        (":a", False),
        ("user:alice", False),
        ("users:alice", True),
    ],
)
def test_a_namespace_that_is_not_listed_may_be_refused(channel: str, refused: bool) -> None:
    named = {"prices": PRICES}
    assert Namespaces(Namespace(), named, unknown_refused=True).refuses(channel) is refused
    assert not Namespaces(Namespace(), named).refuses(channel)


def test_whoever_holds_the_agreements_sees_the_new_ones() -> None:
    namespaces = Namespaces(Namespace(), {"prices": PRICES})
    closed = Namespace(subscribe=Anyone.NOBODY)
    namespaces.replace(Namespaces(closed, {"news": Namespace()}, unknown_refused=True))
    assert namespaces.of("prices:EUR") == namespaces.of("room") == closed
    assert namespaces.of("news:a") == Namespace()
    assert namespaces.refuses("prices:EUR")
