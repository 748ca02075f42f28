"""Which agreement holds for a channel."""

from gateway.domain.namespaces import Namespace, Namespaces, SlowConsumer


def test_a_channel_follows_its_namespace_and_others_the_default() -> None:
    prices = Namespace(SlowConsumer.LATEST_ONLY)
    namespaces = Namespaces(Namespace(), {"prices": prices})

    assert namespaces.of("prices:EUR") == prices
    assert namespaces.of("prices") == Namespace()
    assert namespaces.of("news:a") == Namespace()
