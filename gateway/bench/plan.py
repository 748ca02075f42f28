"""How much is measured: numbers of sockets, runs and seconds."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Plan:
    fan_out_sockets: int = 1000
    crowd_sockets: int = 15_000
    connect_sockets: int = 5000
    channels: int = 1000
    row_outstanding: int = 200
    in_flight: int = 128  # handshakes at a time
    pairs: int = 5  # of the headline figure
    pairs_short: int = 3  # of the others
    warm_up_seconds: float = 0.3
    seconds: float = 1.5
    crowd_seconds: float = 2.5
    latency_rate: float = 20.0
    latency_seconds: float = 5.0

    def with_sockets(self, sockets: int) -> "Plan":
        """No scenario with more sockets than that, and the crowd with exactly so many."""
        return replace(
            self,
            crowd_sockets=sockets,
            fan_out_sockets=min(self.fan_out_sockets, sockets),
            connect_sockets=min(self.connect_sockets, sockets),
            channels=min(self.channels, sockets),
            row_outstanding=min(self.row_outstanding, max(1, sockets // 5)),
        )


FULL = Plan()
QUICK = Plan(
    fan_out_sockets=200,
    crowd_sockets=1000,
    connect_sockets=500,
    channels=100,
    row_outstanding=20,
    pairs=2,
    pairs_short=1,
    warm_up_seconds=0.1,
    seconds=0.4,
    crowd_seconds=0.5,
    latency_seconds=1.0,
)
