"""What a Redis Cluster says of itself."""

import pytest

from gateway.adapters.redis.cluster.slots import SLOTS, Node, read_replication, read_view, slot_of

A, B, C, D = (letter * 40 for letter in "abcd")
INFO = b"cluster_state:ok\r\ncluster_slots_ok:16384\r\ncluster_current_epoch:12\r\n"
NODES = f"""\
{A} 10.0.0.1:6379@16379,one.example myself,master - 0 0 3 connected 0-99 200 [99->-{B}] [5-<-{B}]
{B} 10.0.0.2:6380@16380 master - 0 1700000000000 12 connected 100-199 201-16383
{C} 10.0.0.3:6379@16379 master,fail - 1 1 7 disconnected
{D} 10.0.0.4:6379@16379 slave {B} 0 1700000000000 12 connected
""".encode()
ASKED = ("asked.example", 7000)


@pytest.mark.parametrize(
    ("key", "same"),
    [
        ("{room}:state", "room"),
        ("gw:{room}:x", "room"),
        ("a{}b", "a{}b"),
        ("{a}{b}", "a"),
        ("{a", "{a"),
    ],
)
def test_the_slot_is_that_of_the_first_tag(key: str, same: str) -> None:
    if same != key:
        assert slot_of(key) == slot_of(same)
    else:
        assert slot_of(key) not in (slot_of(""), slot_of("a"))


def test_slots_are_those_of_redis() -> None:
    assert slot_of("123456789") == 12739  # the check value of its specification
    assert slot_of("") == 0


def test_the_view_names_masters_that_have_slots_and_who_has_which() -> None:
    view = read_view(INFO, NODES, ASKED)
    one, two = Node(A, "one.example", 6379, 3), Node(B, "10.0.0.2", 6380, 12)

    assert (view.is_up, view.epoch) == (True, 12)
    assert dict(view.masters) == {A: one, B: two}
    owners = [view.owner(slot) for slot in (0, 99, 100, 199, 200, 201, SLOTS - 1)]
    assert owners == [one, one, two, two, one, two, two]
    hosts = [host for host, _ in view.places]
    assert hosts == ["one.example", "10.0.0.2", "10.0.0.3", "10.0.0.4"]


def test_a_slot_that_nobody_has_has_no_owner() -> None:
    nodes = f"{A} 10.0.0.1:6379@16379 myself,master - 0 0 3 connected 0-99\n".encode()
    view = read_view(INFO, nodes, ASKED)
    assert view.owner(100) is None
    assert view.owner(99) is not None


def test_a_node_that_does_not_know_its_address_is_where_it_was_asked() -> None:
    nodes = f"{A} :0@0 myself,master - 0 0 3 connected 0-16383\n".encode()
    assert read_view(INFO, nodes, ASKED).masters == {A: Node(A, "asked.example", 7000, 3)}


def test_an_ipv6_address_keeps_its_colons() -> None:
    nodes = f"{A} 2001:db8::1:6379@16379 myself,master - 0 0 3 connected 0-16383\n".encode()
    assert read_view(INFO, nodes, ASKED).masters[A][1:3] == ("2001:db8::1", 6379)


def test_a_redirection_finds_its_node_also_without_a_host() -> None:
    view = read_view(INFO, NODES, ASKED)
    assert view.node_at("10.0.0.2", 6380) == view.node_at("", 6380) == view.masters[B]
    assert view.node_at("10.0.0.9", 6380) is None
    assert view.node_at("10.0.0.4", 6379) is None  # it is no master


@pytest.mark.parametrize("nodes", [b"nonsense", f"{A} x myself,master - 0 0 1 c 0-9".encode()])
def test_what_is_not_an_answer_is_refused(nodes: bytes) -> None:
    with pytest.raises(ValueError):
        read_view(INFO, nodes, ASKED)


def test_a_cluster_that_is_down_says_so() -> None:
    assert not read_view(b"cluster_state:fail\r\n", NODES, ASKED).is_up


def test_a_master_says_whether_it_remembers_a_take_over() -> None:
    zeros, other = "0" * 40, "3f" * 20
    for predecessor, has_taken_over in ((zeros, False), (other, True)):
        text = f"# Replication\r\nrole:master\r\nmaster_replid:{A}\r\nmaster_replid2:{predecessor}"
        assert read_replication(text.encode()) == (A, has_taken_over)


@pytest.mark.parametrize("answer", [b"role:slave\r\nmaster_replid:1\r\n", b"", None])
def test_what_is_not_of_a_master_is_refused(answer: bytes | None) -> None:
    with pytest.raises(ValueError):
        read_replication(answer)
