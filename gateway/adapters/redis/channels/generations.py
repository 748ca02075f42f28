"""When a replica took over, the epochs that it knows are over.

It may lack the last messages, and would give their offsets to others; what it lacks nobody can
tell. So a channel's state says in which generation of the data (`Place.generation`) its epoch
began, and in another one the epoch that follows is a function of the two: ``publish.lua`` begins
it with the next message, and until then whoever reads knows it already. Listeners learn of their
possible loss at once, also where nobody publishes. See ``docs/decisions/0016-generations.md``.
"""

import hashlib


def is_over(began_in: bytes | None, generation: str) -> bool:
    """Whether an epoch that began then is over; where "" says that nobody knew, it is not.

    Where generations are numbers, as on a cluster, an epoch of a later one goes on: its channel
    was moved, with all that it has, from a master that took over to one that has not since.
    """
    earlier = (began_in or b"").decode()
    if "" in (earlier, generation) or earlier == generation:
        return False
    if earlier.isdecimal() and generation.isdecimal():
        return int(earlier) < int(generation)
    return True


def next_epoch(epoch: str, generation: str) -> str:
    """The epoch that follows in this one, as ``publish.lua`` names it."""
    text = f"{epoch} {generation}".encode()
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()[:8]
