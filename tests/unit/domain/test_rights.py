"""Who may do what in a namespace that has rules of its own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.channels import matches
from gateway.domain.namespaces import Anyone, Namespace, Namespaces, Who
from gateway.domain.principal import Action, Permissions, Principal

SUBSCRIBE, PUBLISH = Action.SUBSCRIBE, Action.PUBLISH
PRESENCE, HISTORY = Action.SEE_PRESENCE, Action.SEE_HISTORY
STAFF = frozenset({"staff", "boss"})


def who(
    *roles: str, subscribe: list[str] | None = None, publish: list[str] | None = None
) -> Principal:
    asked = {SUBSCRIBE: subscribe, PUBLISH: publish}
    grants = {action: tuple(given) for action, given in asked.items() if given is not None}
    return Principal("alice", "t1", 0, 1, frozenset(roles), grants)


def permissions(namespace: Namespace, name: str = "club", refuse: bool = False) -> Permissions:
    return Permissions(Namespaces(Namespace(), {name: namespace}, unknown_refused=refuse))


def only(action: Action, rule: Who) -> Permissions:
    """The rule for this action alone; everything else is as by default."""
    return permissions(Namespace(**{action.value: rule}))  # type: ignore[arg-type]


NAMED, WILD, OTHER = ["club:a"], ["*"], ["news"]


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize(
    ("rule", "roles", "patterns", "decision"),
    [
        (Anyone.ANY, (), None, (True, "default")),
        (Anyone.ANY, (), NAMED, (True, "grant")),
        (Anyone.ANY, (), OTHER, (False, "grant")),
        (Anyone.GRANT, (), None, (False, "grant")),
        (Anyone.GRANT, ("admin", "staff"), None, (False, "grant")),
        (Anyone.GRANT, (), NAMED, (True, "grant")),
        (Anyone.GRANT, (), ["club:*"], (True, "grant")),
        (Anyone.GRANT, (), WILD, (False, "grant")),
        (Anyone.GRANT, (), ["club*"], (False, "grant")),
        (Anyone.GRANT, (), OTHER, (False, "grant")),
        (Anyone.NOBODY, ("admin", "staff"), NAMED, (False, "namespace")),
        (STAFF, (), None, (False, "role")),
        (STAFF, ("admin",), None, (False, "role")),
        (STAFF, ("Staff",), None, (False, "role")),
        (STAFF, ("staff",), None, (True, "role")),
        (STAFF, ("boss", "x"), NAMED, (True, "grant")),
        (STAFF, ("staff",), OTHER, (False, "grant")),
        (frozenset[str](), ("admin",), None, (False, "role")),
    ],
)
def test_the_rule_of_the_namespace_decides(
    action: Action,
    rule: Who,
    roles: tuple[str, ...],
    patterns: list[str] | None,
    decision: tuple[bool, str],
) -> None:
    alice = who(*roles, subscribe=patterns, publish=patterns)
    allowed, reason = only(action, rule).decide(alice, action, "club:a")
    assert (allowed, reason.partition(":")[0]) == decision


@pytest.mark.parametrize("action", [SUBSCRIBE, PRESENCE, HISTORY])
def test_the_rule_for_one_action_leaves_the_others_alone(action: Action) -> None:
    closed = only(action, Anyone.NOBODY)
    alice = who("publisher")
    may = {each for each in Action if closed.decide(alice, each, "club:a").allowed}
    lost = {SUBSCRIBE: {SUBSCRIBE, PRESENCE, HISTORY}}.get(action, {action})
    assert may == set(Action) - lost
    assert all(closed.decide(alice, each, "news").allowed for each in Action)


def test_whoever_may_not_subscribe_may_see_nothing_and_is_told_that_reason() -> None:
    club = permissions(Namespace(subscribe=STAFF, see_history=frozenset({"auditor"})))
    for action in (SUBSCRIBE, PRESENCE, HISTORY):
        assert club.decide(who("auditor"), action, "club:a") == (
            False,
            "role: subscribing needs one of: boss, staff",
        )
    assert club.decide(who("staff"), HISTORY, "club:a") == (
        False,
        "role: seeing history needs one of: auditor",
    )
    assert club.decide(who("staff", "auditor"), HISTORY, "club:a").allowed


def test_a_channel_without_a_namespace_needs_no_name_in_the_grant() -> None:
    everywhere = Permissions(Namespaces(Namespace(subscribe=Anyone.GRANT)))
    assert everywhere.decide(who(subscribe=WILD), SUBSCRIBE, "news").allowed
    assert not everywhere.decide(who(), SUBSCRIBE, "news").allowed
    assert not everywhere.decide(who(subscribe=WILD), SUBSCRIBE, "club:a").allowed


@pytest.mark.parametrize("action", Action)
def test_in_a_namespace_that_does_not_exist_nobody_may_anything(action: Action) -> None:
    club = permissions(Namespace(), refuse=True)
    told = (False, "namespace: there is no namespace clubs")
    assert club.decide(who("admin", subscribe=["clubs:*"]), action, "clubs:a") == told
    assert club.decide(who("admin"), action, "club:a").allowed
    assert club.decide(who("admin"), action, "news").allowed
    assert club.decide(who("admin"), action, "user:alice").allowed


@pytest.mark.parametrize("action", [SUBSCRIBE, PRESENCE, HISTORY])
def test_a_namespace_opens_nobodys_personal_channel(action: Action) -> None:
    mail = permissions(Namespace(subscribe=Anyone.ANY), "user")
    assert mail.decide(who("admin"), action, "user:bob") == (
        False,
        "personal: this channel belongs to another user",
    )
    assert mail.decide(who(), action, "user:alice").allowed


RULES = st.one_of(
    st.sampled_from(Anyone), st.frozensets(st.sampled_from(["staff", "admin"]), max_size=2)
)
PATTERNS = st.none() | st.lists(
    st.sampled_from(["*", "club:*", "club:a", "user:*", "user:bob", "news"]), max_size=2
)


@given(
    rules=st.tuples(RULES, RULES, RULES, RULES),
    refuse=st.booleans(),
    roles=st.sets(st.sampled_from(["staff", "admin", "reader"])),
    subscribe=PATTERNS,
    publish=PATTERNS,
    action=st.sampled_from(Action),
    channel=st.sampled_from(["club:a", "club:", "news", "x:y", "user:alice", "user:bob"])
    | st.sampled_from(["$news", "news#alice", "news#bob", "club:x#bob", "#bob", "news#", "a#$"])
    | st.text(),
)
def test_every_decision_follows_from_the_rules(
    rules: tuple[Who, Who, Who, Who],
    refuse: bool,
    roles: set[str],
    subscribe: list[str] | None,
    publish: list[str] | None,
    action: Action,
    channel: str,
) -> None:
    names = ("subscribe", "publish", "see_presence", "see_history")
    namespace = Namespace(**dict(zip(names, rules, strict=True)))  # type: ignore[arg-type]
    alice = who(*roles, subscribe=subscribe, publish=publish)
    decision = Permissions(
        Namespaces(Namespace(), {"club": namespace, "user": namespace}, unknown_refused=refuse)
    ).decide(alice, action, channel)

    head, colon, _ = channel.partition(":")
    prefix = head + ":" if head and colon else ""
    agreed = namespace if prefix in ("club:", "user:") else Namespace()
    patterns = publish if action is PUBLISH else subscribe
    granted = patterns is None or any(matches(each, channel) for each in patterns)
    named = any(each.startswith(prefix) and matches(each, channel) for each in patterns or ())

    def passes(rule: Who) -> bool:
        if isinstance(rule, frozenset):
            return bool(roles & rule)
        return {"any": True, "grant": named, "nobody": False}[rule]

    expected = granted and not (refuse and prefix not in ("", "club:", "user:"))
    for each in {action} if action is PUBLISH else {action, SUBSCRIBE}:
        expected = expected and passes(getattr(agreed, each.value))
    if action is not PUBLISH and prefix == "user:" and channel != "user:alice":
        expected = expected and named
    user = re.search("#([^#]*)$", channel)
    if action is not PUBLISH:
        for sign, is_closed in (
            ("$", channel.startswith("$")),
            (
                channel[: user.start() + 1] if user else "",
                user and user[1][:1].isalnum() and user[1] != "alice",
            ),
        ):
            if is_closed:
                expected = expected and any(
                    each.startswith(sign) and matches(each, channel) for each in subscribe or ()
                )
    assert decision.allowed is expected
    rule = decision.reason.partition(":")[0]
    assert rule in {"role", "grant", "personal", "namespace"} | ({"default"} if expected else set())


@pytest.mark.parametrize(
    ("channel", "subscribe", "allowed"),
    [
        ("$secret", None, False),
        ("$secret", ["*"], False),
        ("$secret", ["$*"], True),
        ("$secret", ["$other"], False),
        ("not$secret", None, True),
        ("dialog#alice", None, True),
        ("dialog#bob", None, False),
        ("dialog#bob", ["dialog*"], False),
        ("dialog#bob", ["dialog#*"], True),
        ("club:dialog#bob", None, False),
        ("club:dialog#alice", None, True),
        ("#alice", None, True),
        ("#bob", None, False),
        ("dialog#", None, True),
        ("aZ09_-.:@~#$", None, True),
    ],
)
@pytest.mark.parametrize("action", [SUBSCRIBE, Action.SEE_HISTORY, Action.SEE_PRESENCE])
def test_reserved_names(
    action: Action, channel: str, subscribe: list[str] | None, allowed: bool
) -> None:
    alice = who(subscribe=subscribe)
    assert Permissions(Namespaces()).decide(alice, action, channel).allowed is allowed
    unreserved = Permissions(Namespaces(Namespace(reserved_names=False)))
    granted = subscribe is None or any(matches(each, channel) for each in subscribe)
    assert unreserved.decide(alice, action, channel).allowed is granted


def test_reserved_names_do_not_keep_anybody_from_publishing() -> None:
    publisher = who("publisher")
    for channel in ("$secret", "dialog#bob"):
        assert Permissions(Namespaces()).decide(publisher, PUBLISH, channel).allowed
