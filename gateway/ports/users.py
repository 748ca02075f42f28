"""The promise of whatever keeps the accounts."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Protocol

from gateway.domain.accounts import Credentials, User


class Users(Protocol):
    """The accounts, found by name or by id.

    Every adapter keeps these promises; ``tests/contracts/test_users.py`` checks them:

    - a name means the same user in every spelling that `fold_name` makes the same, whatever the
      database itself thinks of upper and lower case; a text that cannot be a name is nobody's;
    - of many that add the same name or e-mail address at once, one gets it;
    - what a call has returned or changed, the next call sees, on every replica;
    - ``tokens_valid_from`` never goes back;
    - a change of a user that does not exist raises `NotFound`.

    Names, addresses and roles that come in have been checked (``domain/accounts.py``). Every call
    raises `Unavailable` when the accounts cannot be reached in time.
    """

    @abstractmethod
    async def add(
        self, name: str, password_hash: str, email: str = "", roles: Iterable[str] = ()
    ) -> User:
        """Create a user; raises `Conflict` when the name or the e-mail address is taken."""

    @abstractmethod
    async def find(self, name: str) -> User | None: ...

    @abstractmethod
    async def find_by_id(self, user_id: int) -> User | None: ...

    @abstractmethod
    async def credentials(self, name: str) -> Credentials | None:
        """The user with the hash of the password: the only call that hands it out."""

    @abstractmethod
    async def page(self, after_id: int, limit: int) -> list[User]:
        """At most so many users with a higher id, in its order; 0 begins."""

    @abstractmethod
    async def count(self) -> int: ...

    @abstractmethod
    async def set_roles(self, name: str, roles: Iterable[str], tokens_valid_from: int) -> User: ...

    @abstractmethod
    async def set_disabled(self, name: str, is_disabled: bool, tokens_valid_from: int) -> User: ...

    @abstractmethod
    async def set_password(self, name: str, password_hash: str, tokens_valid_from: int) -> User: ...

    @abstractmethod
    async def set_tokens_valid_from(self, name: str, tokens_valid_from: int) -> User: ...

    @abstractmethod
    async def upgrade_hash(self, name: str, old_hash: str, new_hash: str) -> bool:
        """Replace the hash if it is still the old one: a password changed meanwhile stays.

        False when it was another one.
        """
