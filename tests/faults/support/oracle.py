"""Whether what was heard fits what was published: a pure function over the journal.

What a listener is promised: offsets that rise by one within an epoch, and every gap either
filled or announced; every acknowledged message that was published while it listened, unless
its loss was announced; nothing twice, nothing that was refused, nothing that nobody published.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tests.faults.support.records import (
    Attempt,
    Heard,
    Journal,
    ListenerLog,
    Outcome,
    Place,
    Told,
    Visit,
)

_EXAMPLES_MAX = 5


@dataclass
class Verdict:
    """Counts, and what must not be; a delivery is one message for one listener."""

    sent_ok: int = 0
    sent_fail: int = 0
    sent_unknown: int = 0
    delivered: int = 0
    announced: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def lost(self) -> int:
        return self.violations["lost"] + self.violations["hole"]

    @property
    def duplicates(self) -> int:
        return self.violations["twice"] + self.violations["again"] + self.violations["copies"]

    def blame(self, kind: str, example: str) -> None:
        self.violations[kind] += 1
        if len(self.examples[kind]) < _EXAMPLES_MAX:
            self.examples[kind].append(example)

    def require_clean(self) -> None:
        """Raise `AssertionError` with examples if a promise was broken."""
        if self.violations:
            shown = [f"{kind} ({n}): {self.examples[kind]}" for kind, n in self.violations.items()]
            raise AssertionError("\n".join([str(self.figures()), *shown]))

    def figures(self) -> dict[str, int]:
        return {
            "ok": self.sent_ok,
            "fail": self.sent_fail,
            "unknown": self.sent_unknown,
            "delivered": self.delivered,
            "announced": self.announced,
            "lost": self.lost,
            "duplicates": self.duplicates,
            "disorder": self.violations["disorder"],
        }


class _Message(NamedTuple):
    id: str
    channel: str
    outcome: Outcome
    began: float  # the first attempt
    place: Place | None


class _Gap(NamedTuple):
    """Announced: what comes after the one and before the other, both excluded."""

    after: Place
    before: Place

    def covers(self, place: Place, ranks: dict[str, int]) -> bool:
        if self.after.epoch == self.before.epoch == place.epoch:
            return self.after.offset < place.offset < self.before.offset
        if self.after.epoch == self.before.epoch:
            return False
        if place.epoch == self.after.epoch:
            return place.offset > self.after.offset
        if place.epoch == self.before.epoch:
            return place.offset < self.before.offset
        first, last = ranks.get(self.after.epoch, -1), ranks.get(self.before.epoch, -1)
        return first < ranks[place.epoch] < last


@dataclass
class _Account:
    """What a listener got, or was told that it will not get."""

    heard: set[tuple[Place, str]] = field(default_factory=set)
    gaps: list[_Gap] = field(default_factory=list)
    top: dict[str, int] = field(default_factory=dict)  # the highest offset heard of each epoch

    def add(self, other: "_Account") -> None:
        self.heard |= other.heard
        self.gaps += other.gaps
        for epoch, offset in other.top.items():
            self.top[epoch] = max(offset, self.top.get(epoch, 0))

    def is_past(self, place: Place) -> bool:
        return place.offset < self.top.get(place.epoch, 0)


def judge(journal: Journal) -> Verdict:
    """Look at everything; listeners whose last visit is open must have had time to catch up."""
    verdict = Verdict()
    messages = _messages(journal.attempts)
    for message in messages.values():
        match message.outcome:
            case Outcome.OK:
                verdict.sent_ok += 1
            case Outcome.FAIL:
                verdict.sent_fail += 1
            case Outcome.UNKNOWN:
                verdict.sent_unknown += 1
    _check_agreement(journal, verdict)
    _check_publishers(journal.attempts, verdict)
    ranks = _ranks(journal)
    acknowledged: defaultdict[str, list[_Message]] = defaultdict(list)
    for message in messages.values():
        if message.outcome is Outcome.OK and message.place is not None:
            acknowledged[message.channel].append(message)
    for log in journal.listeners:
        _check_listener(log, messages, acknowledged[log.channel], ranks, verdict)
    return verdict


def _messages(attempts: Iterable[Attempt]) -> dict[str, _Message]:
    by_id: defaultdict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        by_id[attempt.id].append(attempt)
    return {id: _settle(id, tries) for id, tries in by_id.items()}


def _settle(id: str, tries: Sequence[Attempt]) -> _Message:
    """One that was repeated with its key is known once any answer was a yes."""
    outcomes = {attempt.outcome for attempt in tries}
    outcome = next(o for o in (Outcome.OK, Outcome.UNKNOWN, Outcome.FAIL) if o in outcomes)
    # The last of them: after a loss of state, a repetition is stored in the new epoch.
    place = next((a.place for a in reversed(tries) if a.place is not None), None)
    return _Message(id, tries[0].channel, outcome, min(a.began for a in tries), place)


def _ranks(journal: Journal) -> dict[str, int]:
    """Epochs in the order in which they appeared."""
    first: dict[str, float] = {}
    for attempt in journal.attempts:
        if attempt.place is not None:
            _note(first, attempt.place.epoch, attempt.ended)
    for log in journal.listeners:
        for visit in log.visits:
            for heard in visit.heard():
                _note(first, heard.place.epoch, heard.time)
    return {epoch: rank for rank, epoch in enumerate(sorted(first, key=first.__getitem__))}


def _note(first: dict[str, float], epoch: str, time: float) -> None:
    first[epoch] = min(time, first.get(epoch, time))


def _check_agreement(journal: Journal, verdict: Verdict) -> None:
    """Everybody has the same message at the same place, and a message one place an epoch."""
    there: dict[tuple[str, Place], str] = {}
    where: dict[tuple[str, str, str], Place] = {}

    def see(channel: str, place: Place, id: str) -> None:
        if there.setdefault((channel, place), id) != id:
            verdict.blame("disagreement", f"{channel} {place}: {id} and {there[channel, place]}")
        if where.setdefault((channel, id, place.epoch), place) != place:
            verdict.blame("copies", f"{channel} {id}: {place} and another place")

    for attempt in journal.attempts:
        if attempt.place is not None:
            see(attempt.channel, attempt.place, attempt.id)
    for log in journal.listeners:
        for visit in log.visits:
            for heard in visit.heard():
                see(log.channel, heard.place, heard.id)


def _check_publishers(attempts: Sequence[Attempt], verdict: Verdict) -> None:
    """What one publisher sends after an answer stands behind what was answered."""
    rows: defaultdict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        if attempt.place is not None:
            rows[attempt.publisher, attempt.channel].append(attempt)
    for row in rows.values():
        for before, after in pairwise(sorted(row, key=lambda attempt: attempt.began)):
            if before.place is None or after.place is None or before.id == after.id:
                continue
            is_serial = before.ended <= after.began and before.place.epoch == after.place.epoch
            if is_serial and after.place.offset <= before.place.offset:
                verdict.blame("disorder", f"{after.publisher}: {before.place} then {after.place}")


def _check_listener(
    log: ListenerLog,
    messages: dict[str, _Message],
    acknowledged: Sequence[_Message],
    ranks: dict[str, int],
    verdict: Verdict,
) -> None:
    if not log.may_listen:
        for visit in log.visits:
            for heard in visit.heard():
                verdict.blame("leak", f"{log.name} got {heard.id}")
        return
    accounts: list[tuple[Visit, _Account]] = []
    before: set[tuple[str, str]] = set()
    for visit in log.visits:
        accounts.append((visit, _walk(log, visit, messages, verdict)))
        ids = {(heard.id, heard.place.epoch) for heard in visit.heard()}
        if log.resumes:
            for id, _ in ids & before:
                verdict.blame("again", f"{log.name} got {id} on a second connection")
        before |= ids
    if log.resumes and accounts:
        whole = _Account()
        for _, account in accounts:
            whole.add(account)
        accounts = [(_whole_visit(log), whole)]
    for visit, account in accounts:
        _check_account(log, visit, account, acknowledged, ranks, verdict)


def _whole_visit(log: ListenerLog) -> Visit:
    """All connections of one that resumes as one, from the first that knew where it was.

    Who has heard nothing yet comes back without an epoch, and cannot be told that one ended.
    """
    knowing = [visit for visit in log.visits if any(map(_has_place, visit.events))]
    return Visit("", "", (knowing or log.visits[-1:])[0].opened, closed=log.visits[-1].closed)


def _has_place(event: Heard | Told) -> bool:
    return isinstance(event, Heard) or bool(event.fields.get("epoch") or event.fields.get("next"))


def _check_account(
    log: ListenerLog,
    visit: Visit,
    account: _Account,
    acknowledged: Sequence[_Message],
    ranks: dict[str, int],
    verdict: Verdict,
) -> None:
    verdict.delivered += len(account.heard)
    for message in acknowledged:
        place = message.place
        assert place is not None
        # Whoever leaves is owed what came before something that it did get.
        is_owed = message.began >= visit.opened and (visit.is_open or account.is_past(place))
        if not is_owed or (place, message.id) in account.heard:
            continue
        if any(gap.covers(place, ranks) for gap in account.gaps):
            verdict.announced += 1
        else:
            verdict.blame("lost", f"{log.name} never got {message.id} at {place}")


def _walk(
    log: ListenerLog, visit: Visit, messages: dict[str, _Message], verdict: Verdict
) -> _Account:
    """Follow one connection from event to event."""
    account = _Account()
    last = Place.parse(visit.asked) if visit.asked else None
    ids: set[tuple[str, str]] = set()
    dropped = 0
    for event in visit.events:
        if isinstance(event, Told):
            if event.type == "gap" and "next" in event.fields:
                gap = _Gap(Place.parse(event.fields["since"]), Place.parse(event.fields["next"]))
                account.gaps.append(gap)
                if last is not None and _is_beyond(gap.after, last):
                    verdict.blame("hole", f"{log.name}: {last}, then a gap behind {gap.after}")
                last = Place(gap.before.epoch, gap.before.offset - 1)
            elif event.type == "gap":
                dropped += int(event.fields["dropped"])
            elif event.type == "caught_up":
                told = Place(event.fields["epoch"], event.fields["offset"])
                if last is not None and told != last:
                    verdict.blame("hole", f"{log.name}: {last}, and caught up at {told}")
                last = told
            continue
        _check_heard(log, event, messages, ids, verdict)
        place = event.place
        if dropped:
            account.gaps.append(_Gap(Place(place.epoch, place.offset - dropped - 1), place))
        if last is not None:
            _check_step(log, last, place, dropped, verdict)
        dropped, last = 0, place
        account.heard.add((place, event.id))
        account.top[place.epoch] = max(place.offset, account.top.get(place.epoch, 0))
    return account


def _is_beyond(place: Place, last: Place) -> bool:
    return place.epoch == last.epoch and place.offset > last.offset


def _check_step(
    log: ListenerLog, last: Place, place: Place, dropped: int, verdict: Verdict
) -> None:
    if last.epoch not in (place.epoch, ""):
        verdict.blame("hole", f"{log.name}: {last}, then {place} without a word")
    elif place.offset <= last.offset:
        verdict.blame("disorder", f"{log.name}: {last}, then {place}")
    elif place.offset != last.offset + 1 + dropped:
        verdict.blame("hole", f"{log.name}: {last}, then {place}, {dropped} announced")


def _check_heard(
    log: ListenerLog,
    heard: Heard,
    messages: dict[str, _Message],
    ids: set[tuple[str, str]],
    verdict: Verdict,
) -> None:
    message = messages.get(heard.id)
    if message is None or message.channel != log.channel:
        verdict.blame("invented", f"{log.name} got {heard.id}, which nobody published there")
    elif message.outcome is Outcome.FAIL:
        verdict.blame("refused", f"{log.name} got {heard.id}, whose publisher was refused")
    if (heard.id, heard.place.epoch) in ids:
        verdict.blame("twice", f"{log.name} got {heard.id} twice on one connection")
    ids.add((heard.id, heard.place.epoch))
