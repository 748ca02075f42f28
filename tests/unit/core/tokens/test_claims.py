"""What the claims of a token may be, once its signature has been verified."""

import pytest

from gateway.domain.principal import Action, Principal
from tests.unit.core.tokens.forging import (
    NOW,
    VALID,
    VERIFIER,
    claims_with,
    refusal_of,
)


def test_a_valid_token_becomes_a_principal() -> None:
    assert VERIFIER.verify(VALID) == Principal(
        "alice", "token-1", NOW, NOW + 600, frozenset(), grants={}
    )


def test_roles_and_grants_become_part_of_the_principal() -> None:
    grants = {"publish": ["news.*"], "subscribe": []}
    principal = VERIFIER.verify(claims_with(role=["reader", "publisher"], grants=grants))
    assert principal.roles == {"reader", "publisher"}
    assert principal.grants == {Action.PUBLISH: ("news.*",), Action.SUBSCRIBE: ()}


def test_one_role_may_stand_alone() -> None:
    assert VERIFIER.verify(claims_with(role="publisher")).roles == {"publisher"}


def test_claims_that_nobody_here_knows_are_ignored() -> None:
    assert VERIFIER.verify(claims_with(name="Alice", is_admin=True)).roles == frozenset()


@pytest.mark.parametrize("name", ["sub", "jti"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        7,
        True,
        ["alice"],
        {"name": "alice"},
        "x" * 151,
        "a\nb",
        "a\r",
        "\x00",
        "a\x1b[31mb",
        "a\x7f",
        "a\x85b",
        "a\x9bb",
        "a\u2028b",
        "a\u2029",
        "\t",
    ],
)
def test_a_name_that_could_break_a_log_line_is_refused(name: str, value: object) -> None:
    """S37: whatever prints the subject may print it as it is."""
    assert refusal_of(claims_with(**{name: value})) == f"the token has no usable {name}"


@pytest.mark.parametrize("subject", ["alice@example.com", "Zoë", "王", "a b", "x" * 150, "0"])
def test_other_subjects_are_names(subject: str) -> None:
    assert VERIFIER.verify(claims_with(sub=subject)).subject == subject


@pytest.mark.parametrize(
    "role",
    [
        None,
        1,
        True,
        {"admin": True},
        {"name": "admin"},
        [["admin"]],
        [1],
        [None],
        ["admin", 1],
        "",
        [""],
        ["admin", {}],
        ["r"] * 33,
        "admin\n",
        ["\x00"],
    ],
)
def test_a_role_that_is_no_name_is_refused(role: object) -> None:
    """S32"""
    assert "role" in refusal_of(claims_with(role=role))


@pytest.mark.parametrize("role", ["notadmin", "admin,publisher", "Admin", "admin ", "[admin]"])
def test_a_role_is_taken_as_one_whole_word(role: str) -> None:
    """S32"""
    principal = VERIFIER.verify(claims_with(role=role))
    assert principal.roles == {role}
    assert not principal.is_admin


@pytest.mark.parametrize("name", ["roles", "Role", "scope", "groups", "realm_access"])
def test_only_the_claim_role_gives_a_role(name: str) -> None:
    """S32"""
    assert VERIFIER.verify(claims_with(**{name: "admin"})).roles == frozenset()


@pytest.mark.parametrize(
    "grants",
    [
        None,
        [],
        "news.*",
        1,
        True,
        ["news"],
        {"publish": "news.*"},
        {"publish": None},
        {"publish": {"news": 1}},
        {"publish": [1]},
        {"publish": [["news"]]},
        {"publish": [None]},
        {"publish": [""]},
        {"publish": ["a b"]},
        {"publish": ["a\n"]},
        {"publish": ["[ab]"]},
        {"publish": ["x" * 201]},
        {"publish": ["n"] * 101},
        {"delete": ["news"]},
        {"": []},
        {"PUBLISH": ["news"]},
        {"publish": ["news"], "manage": ["news"]},
    ],
)
def test_grants_that_are_not_lists_of_patterns_are_refused(grants: object) -> None:
    """S33: what cannot be understood must not be taken for no limit."""
    refused = refusal_of(claims_with(grants=grants))
    assert refused == "the token's grants are not lists of channel patterns"
