"""Names, passwords, e-mail addresses and roles."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.accounts import (
    Credentials,
    Login,
    User,
    check_email,
    check_name,
    check_password,
    check_roles,
    fold_name,
    is_login_id,
    name_key,
)
from gateway.domain.errors import InvalidRequest


@given(st.text())
def test_folding_twice_is_folding_once(name: str) -> None:
    assert fold_name(fold_name(name)) == fold_name(name)


@given(st.text(st.characters(categories=["L", "M", "N"]), max_size=5))
def test_every_spelling_of_a_name_folds_to_the_same(name: str) -> None:
    """S29: what is counted by name is counted once."""
    folded = fold_name(name)

    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert fold_name(unicodedata.normalize(form, name)) == folded
    assert fold_name(unicodedata.normalize("NFKC", name).casefold()) == folded


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice", "aLICE"),
        ("Straße", "STRASSE"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("alice", "\u202ealice"),
        ("al\u00adice", "alice"),
        ("alice\ufe0f", "alice"),
        ("alice\u3164", "alice"),
        ("ﬁne", "FINE"),
        ("①", "1"),
    ],
)
def test_names_that_look_the_same_are_the_same(one: str, other: str) -> None:
    """S29"""
    assert fold_name(one) == fold_name(other)


@pytest.mark.parametrize(("one", "other"), [("resume", "résumé"), ("a b", "ab"), ("a", "\u0430")])
def test_names_with_other_letters_are_others(one: str, other: str) -> None:
    assert fold_name(one) != fold_name(other)


@given(st.text(max_size=200))
def test_a_name_that_was_accepted_is_kept_as_it_is_from_then_on(name: str) -> None:
    try:
        accepted = check_name(name)
    except InvalidRequest:
        assert name_key(name) == ""
        return
    assert check_name(accepted) == accepted
    assert 0 < len(name_key(name)) <= 450
    assert name_key(accepted) == name_key(name) == fold_name(name)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("alice", "alice"),
        ("Zoë", "Zoë"),
        ("Zoe\u0308", "Zoë"),
        ("\uff21\uff4c\uff49\uff43\uff45", "Alice"),
        ("Alice of Wonderland", "Alice of Wonderland"),
        ("x" * 150, "x" * 150),
        ("e\u0301" * 150, "é" * 150),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_names_are_stored_normalised(name: str, stored: str) -> None:
    assert check_name(name) == stored


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " alice",
        "alice\u3000",
        "x" * 151,
        "\ufdfa" * 9,  # one character that is eighteen when normalised
        pytest.param("x" * 10_000_000, id="huge"),
        "a\x00b",
        "a\nb",
        "a\x85b",
        "a\u2028b",
        "a\ud800b",
        "\x1b[31mred",
        "\u200b\u200d",
        "\u3164",
        "\ufe0f",
    ],
)
def test_names_that_nobody_can_have(name: str) -> None:
    """S37: nor one that breaks a line of a log."""
    with pytest.raises(InvalidRequest, match="a name"):
        check_name(name)
    assert name_key(name) == ""


def test_a_password_is_the_same_in_every_spelling() -> None:
    """S31: a keyboard that composes its letters and one that does not."""
    password = "pässwörd ①"

    forms = {check_password(unicodedata.normalize(form, password)) for form in ("NFC", "NFD")}
    assert forms == {"pässwörd 1"}


@pytest.mark.parametrize(
    "password", ["x" * 8, "x" * 1024, " " * 8, "ab\nc\td\x1bef", "e\u0301" * 8]
)
def test_passwords_may_hold_anything_else(password: str) -> None:
    assert check_password(password) == unicodedata.normalize("NFKC", password)


@pytest.mark.parametrize(
    "password",
    ["", "x" * 7, "e\u0301" * 7, "x" * 1025, "x" * 5000, "\ufdfa" * 60, "x\x00" * 8, "\ud800" * 8],
)
def test_passwords_that_are_refused(password: str) -> None:
    """S31: with a reason, and before they cost anything."""
    with pytest.raises(InvalidRequest, match="a password") as refusal:
        check_password(password)
    assert password == "" or password not in refusal.value.detail


@pytest.mark.parametrize(
    ("email", "stored"),
    [
        ("", ""),
        ("alice@example.com", "alice@example.com"),
        ("Alice+tag@Example.COM", "Alice+tag@Example.COM"),
        ("a@localhost", "a@localhost"),
        ("zoe\u0308@exämple.com", "zoë@exämple.com"),
        ("a" * 242 + "@example.com", "a" * 242 + "@example.com"),
    ],
)
def test_addresses_that_are_stored(email: str, stored: str) -> None:
    assert check_email(email) == stored


@pytest.mark.parametrize(
    "email",
    [
        "alice",
        "@example.com",
        "alice@",
        "alice@example..com",
        "alice@.com",
        "alice@example.com.",
        "a@b@c",
        "al ice@example.com",
        "alice@example.com\n",
        "al\x00ice@example.com",
        "al\ud800ice@example.com",
        "a" * 243 + "@example.com",
        pytest.param("@" * 1_000_000, id="huge"),
        pytest.param("a@" + "b." * 2_000_000, id="huge with dots"),
    ],
)
def test_addresses_that_cannot_be(email: str) -> None:
    with pytest.raises(InvalidRequest, match="an e-mail address"):
        check_email(email)


def test_roles_are_a_set_of_names() -> None:
    assert check_roles(["admin", "editor", "admin"]) == {"admin", "editor"}
    assert check_roles([]) == frozenset()
    assert check_roles("admin") == {"admin"}
    assert check_roles(f"role{n}" for n in range(32)) == {f"role{n}" for n in range(32)}


@pytest.mark.parametrize(
    "roles",
    [
        [f"role{n}" for n in range(33)],
        [""],
        ["x" * 65],
        ["a\nb"],
        ["a\ud800"],
        [1],
        [None],
        [["a"]],
    ],
)
def test_roles_that_no_token_could_carry(roles: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="role"):
        check_roles(roles)


def test_credentials_do_not_show_the_hash() -> None:
    """S51"""
    credentials = Credentials(User(1, "alice"), "the-hash-canary")

    assert "canary" not in f"{credentials!r} {credentials}"


def test_a_login_is_live_until_it_ends_or_expires() -> None:
    login = Login("id", 1, "alice", 0, 0.0, 0.0, expires_at=10.0)

    assert login.is_live(9.9)
    assert not login.is_live(10.0)
    assert not Login("id", 1, "alice", 0, 0.0, 0.0, 10.0, ended_at=5.0).is_live(1.0)


@pytest.mark.parametrize("text", ["", "a b", "é", "a\n", "x" * 65, "a.b", "\x00"])
def test_ids_that_no_login_has(text: str) -> None:
    assert not is_login_id(text)
    assert is_login_id("aB0_-")
