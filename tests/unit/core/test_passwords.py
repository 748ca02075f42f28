"""Passwords: what is right, what is refused, and what neither shows nor stops anything."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gateway.core.passwords import Passwords, Verdict, make_password
from gateway.domain.errors import InvalidRequest, LimitReached

RIGHT, WRONG = Verdict(True), Verdict(False)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    with Passwords() as passwords:
        yield passwords


class Gate:
    """Work for a thread that lasts until the test lets it end."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.running = 0
        self.running_max = 0

    def pass_through(self) -> None:
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        assert self.open.wait(10)
        self.running -= 1


async def until(condition: Callable[[], object]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it never came to that")


async def test_the_right_password_is_right_and_another_is_not(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    assert await passwords.verify("correct horse", stored) == RIGHT
    assert await passwords.verify("correct house", stored) == WRONG


async def test_a_hash_is_argon2id_with_the_least_that_owasp_advises(passwords: Passwords) -> None:
    assert (await passwords.hash("x")).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_the_same_password_has_another_hash_each_time(passwords: Passwords) -> None:
    assert await passwords.hash("x") != await passwords.hash("x")


async def test_a_hash_with_weaker_parameters_comes_with_a_better_one(passwords: Passwords) -> None:
    stored = passwords._context.using(argon2__memory_cost=64, argon2__time_cost=1).hash("x")
    verdict = await passwords.verify("x", stored)
    assert verdict.is_right
    assert verdict.better_hash is not None
    assert await passwords.verify("x", verdict.better_hash) == RIGHT
    assert await passwords.verify("y", stored) == WRONG


async def test_an_unknown_user_has_no_right_password(passwords: Passwords) -> None:
    assert await passwords.verify("", None) == WRONG
    assert await passwords.verify("x", None) == WRONG


async def test_an_unknown_user_costs_as_much_as_a_wrong_password(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S27: counted in calls of the function that costs the time, with its parameters."""
    stored = await passwords.hash("right")
    costs: list[str] = []
    handler = passwords._context.handler("argon2")
    verify = handler.verify

    def counted(secret: str, hash: str) -> bool:
        costs.append(hash.rpartition("$")[0].rpartition("$")[0])
        return bool(verify(secret, hash))

    monkeypatch.setattr(handler, "verify", counted)
    for hash in (stored, None, "broken", "$argon2id$broken"):
        costs.clear()
        assert await passwords.verify("wrong", hash) == WRONG
        assert costs[-1:] == ["$argon2id$v=19$m=19456,t=2,p=1"]
        assert len(costs) == (2 if hash == "$argon2id$broken" else 1)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "x",
        "\x00",
        "\ud800",
        "$argon2id$",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0",
        "$argon2id$v=19$m=19456,t=2,p=1$!$!",
        "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHRzYWx0$gHpjbBYOPmoZ3OiLG1mUYnBrPsIyFSH7",
        "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHRzYWx0$gHpjbBYOPmoZ3OiLG1mUYnBrPsIyFSH7EFzmmtQHD5w",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
    ],
)
async def test_a_stored_hash_that_cannot_be_used_is_a_wrong_password(
    passwords: Passwords, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    """S31, S21: an error in the log that does not show the hash."""
    with caplog.at_level(logging.DEBUG):
        assert await passwords.verify("x", stored) == WRONG
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "a stored password hash cannot be used: its user cannot log in"
    assert record.exc_info is None
    assert len(stored) < 2 or stored not in caplog.text


@pytest.mark.parametrize("password", ["x" * 1025, "x" * 5000, "\ufdfa" * 60, "\ud800", "a\udfff"])
async def test_a_password_that_cannot_be_used_never_reaches_argon2(
    passwords: Passwords, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S31"""
    stored = await passwords.hash("right")
    monkeypatch.setattr(passwords, "_context", None)
    with pytest.raises(InvalidRequest):
        await passwords.hash(password)
    assert await passwords.verify(password, stored) == WRONG
    assert await passwords.verify(password, None) == WRONG


@pytest.mark.parametrize("password", ["", "x" * 1024, "\U0001f511" * 1024, "e\u0301" * 1024])
async def test_a_password_up_to_the_limit_is_used(passwords: Passwords, password: str) -> None:
    assert await passwords.verify(password, await passwords.hash(password)) == RIGHT


async def test_nothing_after_a_nul_is_cut_off(passwords: Passwords) -> None:
    """S31"""
    stored = await passwords.hash("a\x00b")
    assert await passwords.verify("a\x00b", stored) == RIGHT
    assert await passwords.verify("a\x00c", stored) == WRONG
    assert await passwords.verify("a", stored) == WRONG


async def test_a_password_is_the_same_however_the_keyboard_spells_it(passwords: Passwords) -> None:
    """S31: NFC on one system, NFD on another."""
    stored = await passwords.hash("caf\u00e9 \ufb01ne")
    assert await passwords.verify("cafe\u0301 fine", stored) == RIGHT
    assert await passwords.verify("cafe fine", stored) == WRONG


async def test_whoever_comes_when_too_many_wait_is_sent_away() -> None:
    """S30"""
    gate = Gate()
    with Passwords(threads=2, waiting_max=3) as passwords:
        async with asyncio.TaskGroup() as group:
            try:
                for _ in range(5):
                    group.create_task(passwords._in_thread(gate.pass_through))
                await until(lambda: gate.running == 2)
                for call in (passwords.verify("x", None), passwords.hash("x")):
                    with pytest.raises(LimitReached) as refusal:
                        await call
                    assert refusal.value.retry_after_seconds > 0
            finally:
                gate.open.set()
        assert gate.running_max == 2
        assert await passwords.verify("x", None) == WRONG


async def test_a_caller_who_leaves_while_waiting_makes_room() -> None:
    gate = Gate()
    with Passwords(threads=1, waiting_max=1) as passwords:
        async with asyncio.TaskGroup() as group:
            try:
                group.create_task(passwords._in_thread(gate.pass_through))
                await until(lambda: gate.running)
                waiting = group.create_task(passwords.verify("x", None))
                await until(lambda: passwords._waiting)
                waiting.cancel()
                await until(waiting.done)
                waiting = group.create_task(passwords.verify("x", None))
                await until(lambda: passwords._waiting)
            finally:
                gate.open.set()
        assert await waiting == WRONG


async def test_a_caller_who_leaves_does_not_free_a_thread_that_is_still_at_work() -> None:
    """S30: or clients who hang up would make all others wait without a limit."""
    gate = Gate()
    with Passwords(threads=1, waiting_max=0) as passwords:
        async with asyncio.TaskGroup() as group:
            try:
                running = group.create_task(passwords._in_thread(gate.pass_through))
                await until(lambda: gate.running)
                running.cancel()
                await until(running.done)
                with pytest.raises(LimitReached):
                    await passwords.verify("x", None)
            finally:
                gate.open.set()
        await until(lambda: not passwords._free.locked())
        assert await passwords.verify("x", None) == WRONG


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority")
async def test_threads_yield_to_the_event_loop(passwords: Passwords) -> None:
    """S30"""
    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    theirs = await passwords._in_thread(
        lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    )
    assert theirs == min(ours + 10, 19) or theirs == 10
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == ours


async def test_a_system_that_refuses_the_priority_still_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    with Passwords() as passwords:
        assert await passwords.verify("x", await passwords.hash("x")) == RIGHT


async def test_the_loop_goes_on_while_a_password_is_hashed(passwords: Passwords) -> None:
    """S30: nothing is hashed on the loop's own thread."""
    on_loop = threading.get_ident()
    assert await passwords._in_thread(threading.get_ident) != on_loop
    start, turns = time.monotonic(), 0
    task = asyncio.create_task(passwords.verify("x", None))
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    assert await task == WRONG
    assert turns > 10, time.monotonic() - start


def test_closing_ends_the_threads() -> None:
    before = threading.active_count()
    with Passwords(threads=2) as passwords:
        asyncio.run(passwords.hash("x"))
    assert threading.active_count() == before


def test_the_library_warns_nobody_even_where_warnings_are_errors() -> None:
    program = (
        "import asyncio\n"
        "from gateway.core.passwords import Passwords\n"
        "async def main():\n"
        "    with Passwords() as passwords:\n"
        "        print((await passwords.verify('x', await passwords.hash('x'))).is_right)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_made_password_is_long_random_and_easy_to_copy() -> None:
    """S50"""
    made = {make_password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(password) == 26 for password in made)
    characters = set("".join(made))
    assert "".join(characters).isalnum()
    assert len(characters) == 32
    assert not characters & set("l1o0")
