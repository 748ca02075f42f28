"""The promise of whatever lists the public keys of another issuer."""

from abc import abstractmethod
from typing import Protocol

DOCUMENT_BYTES_MAX = 256 * 1024


class JwksSource(Protocol):
    """One place, fixed by configuration, where a document of keys (RFC 7517) can be had.

    Every adapter keeps these promises; ``tests/contracts/test_jwks_source.py`` checks them:

    - what comes is what the place holds now, whole; nothing about it is believed or checked;
    - it is at most `DOCUMENT_BYTES_MAX` long, and no more than that is ever held in memory;
    - it comes or fails within the adapter's time limit, however slowly it arrives;
    - it comes from that place and from no other that the place points to.
    """

    @abstractmethod
    async def fetch(self) -> bytes:
        """Return the document; raises `Unavailable` and nothing else."""
