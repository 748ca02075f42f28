"""Passwords become hashes here, and nowhere else; the only module that imports passlib."""

import asyncio
import contextlib
import logging
import os
import re
import secrets
import sys
import threading
import unicodedata
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from gateway.domain.accounts import PASSWORD_LENGTH_MAX
from gateway.domain.errors import InvalidRequest, LimitReached

with warnings.catch_warnings():
    # passlib 1.7.4 is older than both deprecations. Its backend is loaded here, too, because
    # it would otherwise warn at the first login.
    warnings.filterwarnings("ignore", "'crypt' is deprecated", DeprecationWarning)
    warnings.filterwarnings("ignore", r"Accessing argon2\.__version__", DeprecationWarning)
    from passlib.context import CryptContext
    from passlib.hash import argon2

    argon2.set_backend("argon2_cffi")

_HASHES_OF_OURS = "$argon2id$"
_RETRY_SECONDS = 2.0
_NICENESS = 10
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 characters, none of which look alike
_LENGTH = 26  # of 5 bits each
_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")

T = TypeVar("T")

logger = logging.getLogger(__name__)


def make_password() -> str:
    """A random password of 130 bits; a double click selects all of it."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


class Verdict(NamedTuple):
    """``better_hash`` is to be stored in place of the old one, made with weaker parameters."""

    is_right: bool
    better_hash: str | None = None


_WRONG = Verdict(False)


class Passwords:
    """Hashes and verifies in threads of its own, at a lower priority than the event loop.

    Spellings that Unicode calls compatible (NFKC) are one password. When ``waiting_max`` calls
    wait for a thread, further ones raise `LimitReached`: a flood of logins must cost neither
    memory nor the time of the sockets.
    """

    def __init__(self, *, threads: int = 1, waiting_max: int = 100) -> None:
        self._waiting_max = waiting_max
        self._waiting = 0
        self._free = asyncio.Semaphore(threads)
        # The least that OWASP advises: 19 MiB for each running thread, and 20 to 40 ms.
        self._context = CryptContext(
            schemes=["argon2"],
            argon2__type="ID",
            argon2__time_cost=2,
            argon2__memory_cost=19_456,
            argon2__parallelism=1,
        )
        self._threads = ThreadPoolExecutor(
            threads, thread_name_prefix="passwords", initializer=_lower_priority
        )
        # What unknown users are compared with; made now, so that no login pays for it.
        self._nobody = self._threads.submit(self._hash, make_password())

    def close(self) -> None:
        """Wait for the threads; call it when nobody waits for an answer any more."""
        self._threads.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def hash(self, password: str) -> str:
        """What to store for a password; raises `InvalidRequest` for one that cannot be used."""
        usable = _usable(password)
        if usable is None:
            raise InvalidRequest(f"a password is text of at most {PASSWORD_LENGTH_MAX} characters")
        return await self._in_thread(lambda: self._hash(usable))

    async def verify(self, password: str, stored: str | None) -> Verdict:
        """Compare with a stored hash; None is an unknown user, and takes the same time.

        A stored hash that cannot be used is a wrong password, and an error in the log.
        """
        usable = _usable(password)
        if usable is None:
            return _WRONG  # whoever the user is, so the time tells nothing
        return await self._in_thread(lambda: self._verify(usable, stored))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._free.locked() and self._waiting >= self._waiting_max:
            raise LimitReached("too many logins at once", _RETRY_SECONDS)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except BaseException:
            self._free.release()
            raise
        # A thread cannot be stopped: it is free when it has ended, not when its caller has left.
        running.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(running)

    def _hash(self, password: str) -> str:
        return str(self._context.hash(password))

    def _verify(self, password: str, stored: str | None) -> Verdict:
        if stored is not None:
            try:
                if not stored.startswith(_HASHES_OF_OURS):
                    raise ValueError("scheme")
                return Verdict(*self._context.verify_and_update(password, stored))
            except (ValueError, TypeError, AttributeError):
                # Not even the error's text, as passlib puts the hash into it.
                logger.error("a stored password hash cannot be used: its user cannot log in")
        self._context.verify(password, self._nobody.result())
        return _WRONG


def _usable(password: str) -> str | None:
    """The one spelling that is hashed; None for what must not get that far."""
    if len(password) > 4 * PASSWORD_LENGTH_MAX:
        return None  # normalising can shorten a text, and takes long for a very long one
    normal = unicodedata.normalize("NFKC", password)
    if len(normal) > PASSWORD_LENGTH_MAX or _HALF_CHARACTER.search(normal):
        return None
    return normal


def _lower_priority() -> None:
    # On Linux priorities belong to threads; elsewhere the same call would mean a process.
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
