"""How a pipeline of publications is divided into runs of the publish script."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.redis.channels.publisher import runs_of
from gateway.domain.messages import Publication

publications = st.lists(
    st.builds(
        Publication,
        channel=st.sampled_from("abc"),
        data=st.just(b"1"),
        id=st.just("id"),
        user=st.just("alice"),
        time=st.just(1.0),
        idempotency_key=st.sampled_from(["", "", "key"]),
    ),
    max_size=30,
)


@given(publications)
def test_every_message_is_in_one_run_and_its_channel_keeps_its_order(
    given_order: list[Publication],
) -> None:
    sent = [index for run in runs_of(given_order) for index in run]
    assert sorted(sent) == list(range(len(given_order)))
    for channel in "abc":
        of_channel = [index for index in sent if given_order[index].channel == channel]
        assert of_channel == sorted(of_channel)


@given(publications)
def test_a_run_is_of_one_channel_and_a_key_stands_alone(given_order: list[Publication]) -> None:
    for run in runs_of(given_order):
        assert len({given_order[index].channel for index in run}) == 1
        assert len(run) == 1 or not any(given_order[index].idempotency_key for index in run)


def test_the_messages_of_a_batch_share_one_run_per_channel() -> None:
    batch = [Publication(channel, b"1", "id", "alice", 1.0) for channel in "abab"]
    assert runs_of(batch) == [[0, 2], [1, 3]]
