"""How long a fault was felt, read from the journal."""

import math
from itertools import pairwise

from tests.faults.support.records import Journal, Outcome


def recovery_seconds(journal: Journal, healed_at: float) -> float:
    """How long after the end of a fault the last listener heard something published since."""
    began = {a.id: a.began for a in journal.attempts if a.outcome is Outcome.OK}
    last = healed_at
    for log in journal.listeners:
        if not log.may_listen:
            continue
        fresh = [
            heard.time
            for visit in log.visits
            for heard in visit.heard()
            if began.get(heard.id, 0.0) >= healed_at
        ]
        assert fresh, f"{log.name} heard nothing that was published after the fault"
        last = max(last, min(fresh))
    return last - healed_at


def publishing_recovery_seconds(journal: Journal, healed_at: float) -> float:
    """How long after the end of a fault the first message was acknowledged."""
    acknowledged = [a.ended for a in journal.attempts if a.outcome is Outcome.OK]
    later = [ended for ended in acknowledged if ended >= healed_at]
    assert later, "nothing was acknowledged after the fault"
    return min(later) - healed_at


def interruption_seconds(journal: Journal, broken_at: float) -> float:
    """The longest silence that a listener lived through after the fault began."""
    longest = 0.0
    for log in journal.listeners:
        times = [heard.time for visit in log.visits for heard in visit.heard()]
        gaps = [after - before for before, after in pairwise(times) if after >= broken_at]
        longest = max([longest, *gaps])
    return longest


def notice_seconds(journal: Journal, type: str, since: float) -> list[float]:
    """When each listener was first told this after that moment, in seconds from it."""
    found = []
    for log in journal.listeners:
        times = [t.time for visit in log.visits for t in visit.told(type) if t.time >= since]
        found += [min(times) - since] if times else []
    return found


def latency_p99_seconds(journal: Journal, since: float = 0.0, until: float = math.inf) -> float:
    """From the begin of the request to the listener's ear, of 99 in 100 deliveries."""
    began = {a.id: a.began for a in journal.attempts if a.outcome is Outcome.OK}
    latencies = sorted(
        heard.time - began[heard.id]
        for log in journal.listeners
        for visit in log.visits
        for heard in visit.heard()
        if since < began.get(heard.id, 0.0) < until
    )
    return latencies[int(len(latencies) * 0.99)]
