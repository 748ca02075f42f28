"""The names of everything this gateway keeps in Redis.

All keys of a channel share its hash tag, so that one script may touch them on a cluster, and so
do the keys of each other purpose, which therefore stands on one node as a whole. A checked
channel name has no braces and no wildcard, so nothing here needs quoting.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    prefix: str

    def topic(self, channel: str) -> str:
        """The pub/sub channel that carries a channel's messages."""
        return f"{self.prefix}:{{{channel}}}"

    def state(self, channel: str) -> str:
        return f"{self.prefix}:{{{channel}}}:state"

    def stream(self, channel: str) -> str:
        return f"{self.prefix}:{{{channel}}}:stream"

    def idempotency(self, channel: str, digest: str) -> str:
        return f"{self.prefix}:{{{channel}}}:key:{digest}"

    def probe(self, replica: str) -> str:
        """A pub/sub channel of one replica's own, through which it sees that it still hears."""
        return f"{self.prefix}:probe:{replica}"

    @property
    def signals(self) -> str:
        """The pub/sub channel through which replicas speak to each other."""
        return f"{self.prefix}:signals"

    @property
    def generations(self) -> str:
        """What the masters of a cluster have taken over; where the signals are."""
        return f"{self.prefix}:{{{self.signals}}}:generations"

    @property
    def revocations(self) -> str:
        return f"{self.prefix}:revocations"

    @property
    def replicas(self) -> str:
        return f"{self.prefix}:{{connected}}:replicas"

    def users(self, replica: str) -> str:
        return f"{self.prefix}:{{connected}}:users:{replica}"

    def members(self, channel: str) -> str:
        return f"{self.prefix}:{{{channel}}}:members"

    def member_names(self, channel: str) -> str:
        return f"{self.prefix}:{{{channel}}}:names"

    def held(self, channel: str, holder: str) -> str:
        """What one holder (a replica during one lease) holds of a channel's members."""
        return f"{self.prefix}:{{{channel}}}:held:{holder}"

    def holdings(self, holder: str) -> str:
        """The channels of a holder. It shares its tag with the leases, see ``lease.lua``."""
        return f"{self.prefix}:{{presence}}:channels:{holder}"

    @property
    def presence(self) -> str:
        return f"{self.prefix}:{{presence}}:table"

    @property
    def leases(self) -> str:
        return f"{self.prefix}:{{presence}}:leases"

    @property
    def ended_leases(self) -> str:
        return f"{self.prefix}:{{presence}}:ended"

    def bucket(self, key: str) -> str:
        """What is left of a limit. All share a tag: one script takes from several of them."""
        return f"{self.prefix}:{{limits}}:{key}"

    def mark(self, key: str) -> str:
        return f"{self.prefix}:{{limits}}:mark:{key}"

    def ticket(self, digest: str) -> str:
        return f"{self.prefix}:{{tickets}}:{digest}"

    @property
    def archive_marks(self) -> str:
        """The channels that the archive has to look at. One tag with the lead: one script."""
        return f"{self.prefix}:{{archive}}:marks"

    @property
    def archive_lead(self) -> str:
        return f"{self.prefix}:{{archive}}:lead"
