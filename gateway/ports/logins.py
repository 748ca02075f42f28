"""The promise of whatever keeps the logins."""

from abc import abstractmethod
from typing import Protocol

from gateway.domain.accounts import Login


class Logins(Protocol):
    """The logins of all users: which generation of each one's refresh tokens is valid.

    Every adapter keeps these promises; ``tests/contracts/test_logins.py`` checks them:

    - of many who rotate the same generation at once, on all replicas, exactly one gets a login;
    - an ended or expired login stays as it is, and no login comes back to life;
    - what a call has returned or changed, the next call sees, on every replica.

    Every call raises `Unavailable` when the logins cannot be reached in time.
    """

    @abstractmethod
    async def start(self, user_id: int, login_id: str, expires_at: float) -> Login:
        """Begin at generation 0.

        Raises `NotFound` where there is no such user, `Conflict` where the id is in use.
        """

    @abstractmethod
    async def find(self, login_id: str) -> Login | None:
        """The login, also when it has ended or expired."""

    @abstractmethod
    async def rotate(self, login_id: str, generation: int, now: float) -> Login | None:
        """Go on from this generation to the next and return the login as it is then.

        None when there is no such login, when it is no longer alive, or when another generation
        is valid; `find` tells which.
        """

    @abstractmethod
    async def end(self, login_id: str, now: float) -> bool:
        """End it; False when there was nothing to end. An expired login is ended, too."""

    @abstractmethod
    async def end_all(self, user_id: int, now: float, except_id: str = "") -> list[str]:
        """End all logins of the user but one; return the ids of those that this call ended."""

    @abstractmethod
    async def live(self, user_id: int) -> list[Login]:
        """The user's logins that are neither ended nor expired, the oldest first."""

    @abstractmethod
    async def count_live(self, now: float) -> int: ...

    @abstractmethod
    async def prune(self, before: float) -> int:
        """Forget what ended or expired before this time; return how many that were.

        Keep a login for as long as a token of its could come back: a reuse of one that is
        forgotten cannot be told from a forgery.
        """
