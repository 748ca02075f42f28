"""The promise of whatever remembers the revocations."""

from abc import abstractmethod
from typing import Protocol

from gateway.domain.revocations import Revocation


class RevocationLog(Protocol):
    """The revocations, kept so that they hold even when everything else has been restarted.

    Every adapter keeps these promises; ``tests/contracts/test_revocation_log.py`` checks them:

    - what was added is there, until it expires, once `add` has returned;
    - there is one entry for a kind and a subject, and it only ever gets stricter;
    - subjects are the same only if they are the same text, character by character.

    Every call raises `Unavailable` when the log cannot be reached in time.
    """

    @abstractmethod
    async def add(self, revocation: Revocation) -> None:
        """Remember it; may be repeated.

        Of an entry that is there already and this one, the later ``before`` and the later
        ``expires_at`` are kept, and the user and the reason of the one with the later ``before``.
        """

    @abstractmethod
    async def live(self, now: float) -> list[Revocation]:
        """All that have not expired; no order is promised."""

    @abstractmethod
    async def prune(self, now: float) -> int:
        """Forget the expired ones; return how many that were."""
