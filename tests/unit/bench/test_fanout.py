"""Who has got what, across processes, and publishing in order."""

import os
import socket
import struct

import pytest

from gateway.bench.checker import Misdelivered
from gateway.bench.fanout import Followers, Publisher
from gateway.bench.stream import Stream


def report(pipe: int, worker: int, done: int) -> None:
    os.write(pipe, struct.pack("=IQ", worker, done))


def test_a_message_is_done_when_every_process_has_it() -> None:
    read_end, write_end = os.pipe()
    followers = Followers(read_end, range(1, 3))
    followers.begin(5)
    assert followers.done(9) == 5

    report(write_end, 1, 8)
    report(write_end, 2, 6)
    report(write_end, 2, 7)
    followers.read()

    assert followers.done(9) == 7
    assert followers.done(6) == 6
    os.close(read_end)
    os.close(write_end)


def test_alone_a_leader_waits_for_nobody() -> None:
    assert Followers(0, range(1, 1)).done(4) == 4


def test_messages_go_out_in_their_order() -> None:
    ours, theirs = socket.socketpair()
    publisher = Publisher(ours, Stream([b"a", b"b", b"c"], chunk_bytes=8))

    publisher.publish(2)
    publisher.publish(3)

    assert theirs.recv(10) == b"abcab"
    assert publisher.published == 5
    ours.close()
    theirs.close()


def test_a_server_that_takes_nothing_fails_the_run() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    chunk_bytes = 1 << 24  # more than the kernel keeps for a peer that does not read
    publisher = Publisher(ours, Stream([b"." * 1024], chunk_bytes))

    with pytest.raises(Misdelivered, match="does not take"):
        publisher.publish(chunk_bytes // 1024)
    ours.close()
    theirs.close()
