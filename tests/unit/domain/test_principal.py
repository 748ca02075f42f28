"""Who may do what, and which rule says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.channels import matches
from gateway.domain.errors import Denied
from gateway.domain.namespaces import Namespace, Namespaces
from gateway.domain.principal import GRANTABLE, Action, Permissions, Principal

SUBSCRIBE, PUBLISH = Action.SUBSCRIBE, Action.PUBLISH
PERMISSIONS = Permissions(Namespaces())


def who(
    subject: str = "alice", *roles: str, grants: dict[Action, tuple[str, ...]] | None = None
) -> Principal:
    return Principal(subject, "t1", 0, 1, frozenset(roles), grants or {})


def test_anybody_with_a_token_may_subscribe() -> None:
    assert PERMISSIONS.decide(who(), SUBSCRIBE, "news") == (True, "default")


@pytest.mark.parametrize("role", ["publisher", "admin"])
def test_a_publishing_role_may_publish(role: str) -> None:
    assert PERMISSIONS.decide(who("alice", role), PUBLISH, "news") == (True, "role")


@pytest.mark.parametrize(
    "roles",
    [(), ("reader",), ("notadmin",), ("Admin",), ("admin ",), ("publisher,admin",), ("a", "dmin")],
)
def test_nothing_but_exactly_that_role_lets_publish(roles: tuple[str, ...]) -> None:
    """S32: a name that only contains a role is another name."""
    decision = PERMISSIONS.decide(who("alice", *roles), PUBLISH, "news")
    assert decision == (False, "role: publishing needs one of: admin, publisher")


def test_without_publishing_roles_nobody_may_publish() -> None:
    nobody = Permissions(Namespaces(Namespace(publish=frozenset())))
    decision = nobody.decide(who("alice", "admin"), PUBLISH, "news")
    assert decision == (False, "role: publishing needs one of: none")


@pytest.mark.parametrize("action", GRANTABLE)
def test_grants_limit_an_action_to_their_patterns(action: Action) -> None:
    """S33"""
    alice = who("alice", "publisher", grants={action: ("news.*", "chat")})
    assert PERMISSIONS.decide(alice, action, "news.sport") == (True, "grant")
    assert PERMISSIONS.decide(alice, action, "chat") == (True, "grant")
    decision = PERMISSIONS.decide(alice, action, "other")
    assert decision == (False, f"grant: the token grants {action} on other channels only")


@pytest.mark.parametrize("action", GRANTABLE)
def test_an_empty_grant_grants_nothing(action: Action) -> None:
    assert not PERMISSIONS.decide(who("a", "admin", grants={action: ()}), action, "news").allowed


def test_a_grant_for_one_action_leaves_the_other_alone() -> None:
    alice = who("alice", "publisher", grants={PUBLISH: ("news",)})
    assert PERMISSIONS.decide(alice, SUBSCRIBE, "other").allowed
    bob = who("bob", "publisher", grants={SUBSCRIBE: ("news",)})
    assert PERMISSIONS.decide(bob, PUBLISH, "other").allowed


def test_a_grant_does_not_replace_the_role() -> None:
    decision = PERMISSIONS.decide(who(grants={PUBLISH: ("*",)}), PUBLISH, "news")
    assert not decision.allowed
    assert decision.reason.startswith("role:")


def test_a_user_may_read_the_personal_channel_of_that_user() -> None:
    assert PERMISSIONS.decide(who("alice"), SUBSCRIBE, "user:alice").allowed


@pytest.mark.parametrize(
    "channel",
    ["user:bob", "user:", "user:alic", "user:alice2", "user:Alice", "user:alice:x", "user:*"],
)
def test_a_personal_channel_of_another_user_is_closed(channel: str) -> None:
    """S33"""
    for principal in (who("alice"), who("alice", "admin")):
        decision = PERMISSIONS.decide(principal, SUBSCRIBE, channel)
        assert decision == (False, "personal: this channel belongs to another user")


@pytest.mark.parametrize("pattern", ["*", "u*", "user*", "*:bob", "*bob", "use*:bob"])
def test_a_grant_that_does_not_name_the_namespace_opens_nobodys_mail(pattern: str) -> None:
    """S33"""
    alice = who("alice", grants={SUBSCRIBE: (pattern,)})
    assert matches(pattern, "user:bob")
    assert not PERMISSIONS.decide(alice, SUBSCRIBE, "user:bob").allowed


def test_a_grant_for_one_users_channel_does_not_open_another_ones() -> None:
    """S33"""
    alice = who("alice", grants={SUBSCRIBE: ("*", "user:carol")})
    assert PERMISSIONS.decide(alice, SUBSCRIBE, "user:carol").allowed
    assert not PERMISSIONS.decide(alice, SUBSCRIBE, "user:bob").allowed


@pytest.mark.parametrize("pattern", ["user:bob", "user:*", "user:b*"])
def test_a_grant_that_names_the_namespace_opens_it(pattern: str) -> None:
    alice = who("alice", grants={SUBSCRIBE: ("news", pattern)})
    assert PERMISSIONS.decide(alice, SUBSCRIBE, "user:bob") == (True, "grant")


def test_a_grant_limits_the_own_personal_channel_too() -> None:
    alice = who("alice", grants={SUBSCRIBE: ("news",)})
    assert not PERMISSIONS.decide(alice, SUBSCRIBE, "user:alice").allowed


def test_a_publisher_may_write_to_everybodys_personal_channel() -> None:
    assert PERMISSIONS.decide(who("alice", "publisher"), PUBLISH, "user:bob").allowed


@pytest.mark.parametrize("channel", ["user", "users:bob", "User:bob", "x:user:bob"])
def test_only_the_namespace_user_is_personal(channel: str) -> None:
    assert PERMISSIONS.decide(who("alice"), SUBSCRIBE, channel).allowed


def test_require_raises_the_deciding_rule() -> None:
    PERMISSIONS.require(who(), SUBSCRIBE, "news")
    with pytest.raises(Denied, match=r"^personal: "):
        PERMISSIONS.require(who(), SUBSCRIBE, "user:bob")


def test_only_the_role_admin_makes_an_admin() -> None:
    who("alice", "admin").require_admin()
    for roles in ([], ["notadmin"], ["ADMIN"], ["publisher"]):
        with pytest.raises(Denied, match=r"^role: "):
            who("alice", *roles).require_admin()


@given(
    subject=st.sampled_from(["alice", "bob"]),
    roles=st.sets(st.sampled_from(["publisher", "admin", "notadmin", "reader"])),
    grants=st.dictionaries(
        st.sampled_from(GRANTABLE),
        st.lists(
            st.sampled_from(["*", "news", "user:*", "user:bob", "user:carol", "n*"]), max_size=2
        ).map(tuple),
    ),
    action=st.sampled_from(GRANTABLE),
    channel=st.sampled_from(["news", "other", "user:alice", "user:bob"]),
)
def test_every_decision_follows_from_the_three_rules(
    subject: str,
    roles: set[str],
    grants: dict[Action, tuple[str, ...]],
    action: Action,
    channel: str,
) -> None:
    has_role = action is SUBSCRIBE or bool(roles & {"publisher", "admin"})
    granted = action not in grants or any(matches(p, channel) for p in grants[action])
    opened = any(p.startswith("user:") and matches(p, channel) for p in grants.get(action, ()))
    personal = action is SUBSCRIBE and channel.startswith("user:") and channel != f"user:{subject}"
    decision = PERMISSIONS.decide(who(subject, *roles, grants=grants), action, channel)
    assert decision.allowed == (has_role and granted and (opened or not personal))
