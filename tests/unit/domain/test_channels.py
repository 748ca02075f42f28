"""Channel names and patterns: what is a name, and which names a pattern covers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.channels import (
    CHANNEL_LENGTH_MAX,
    check_channel,
    is_pattern,
    matches,
    namespace_of,
)
from gateway.domain.errors import InvalidChannel

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:@~#$"

# A small alphabet, so that patterns and names meet often.
names = st.text("ab", min_size=1, max_size=8)
patterns = st.text("ab*", min_size=1, max_size=8)


@pytest.mark.parametrize("name", ["a", "noticias", "user:alice", LETTERS, "x" * CHANNEL_LENGTH_MAX])
def test_a_name_of_the_alphabet_is_returned_as_it_is(name: str) -> None:
    assert check_channel(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "a*",
        "a?",
        "[ab]",
        "a\\b",
        "{tag}",
        "a b",
        "a/b",
        "a%2Fb",
        "a,b",
        "a\n",
        "\r\na",
        "a\rb",
        "a\0b",
        "a\tb",
        "\x1b[31m",
        "a\u2028b",
        "á",
        "\uff41",
        "\U0001f600",
        "a\u0301",
    ],
)
def test_what_means_something_elsewhere_is_no_name(name: str) -> None:
    """S34: neither a Redis pattern, nor a hash tag, nor a log line, nor a URL is broken by it."""
    with pytest.raises(InvalidChannel, match="is made of") as refusal:
        check_channel(name)
    assert name not in refusal.value.detail


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(InvalidChannel, match="is needed"):
        check_channel("")


def test_a_name_of_201_characters_is_refused() -> None:
    with pytest.raises(InvalidChannel, match="at most 200"):
        check_channel("x" * (CHANNEL_LENGTH_MAX + 1))


@given(st.text(max_size=210) | st.text(LETTERS + "*?[]{}\\ \n\0", max_size=210))
def test_only_one_to_two_hundred_letters_of_the_alphabet_make_a_name(text: str) -> None:
    """S34"""
    expected = 1 <= len(text) <= CHANNEL_LENGTH_MAX and all(letter in LETTERS for letter in text)
    try:
        accepted = check_channel(text) == text
    except InvalidChannel:
        accepted = False
    assert accepted == expected


@pytest.mark.parametrize(
    ("channel", "namespace"),
    [("room", ""), ("user:alice", "user"), ("a:b:c", "a"), (":a", ""), ("a:", "a")],
)
def test_the_namespace_is_what_stands_before_the_first_colon(channel: str, namespace: str) -> None:
    assert namespace_of(channel) == namespace


@pytest.mark.parametrize("text", ["*", "news.*", "*.a.*", "user:alice", "*" * 200])
def test_a_pattern_is_a_name_with_stars(text: str) -> None:
    assert is_pattern(text)


@pytest.mark.parametrize("text", ["", "a?", "[a]", "a b", "a\n", "a*\n", "á*", "*" * 201, "{a}*"])
def test_nothing_else_is_a_pattern(text: str) -> None:
    assert not is_pattern(text)


@pytest.mark.parametrize(
    ("pattern", "channel"),
    [
        ("news", "news"),
        ("*", "anything"),
        ("news.*", "news."),
        ("news.*", "news.sport.local"),
        ("*.local", "news.local"),
        ("a*b*c", "abc"),
        ("a*b*c", "a-b-b-c"),
        ("**", "x"),
    ],
)
def test_a_star_stands_for_any_run_of_characters(pattern: str, channel: str) -> None:
    assert matches(pattern, channel)


@pytest.mark.parametrize(
    ("pattern", "channel"),
    [
        ("news", "news.sport"),
        ("news", "New"),
        ("news.*", "news"),
        ("news.*", "xnews.a"),
        ("*.local", "news.local.x"),
        ("a*b*c", "acb"),
        ("ab*ba", "aba"),  # the two ends may not share a letter
        ("a*a", "a"),
        ("*a*a*", "a"),  # nor may two parts in the middle
        ("a*b*b*c", "abc"),
        ("n.ws", "news"),  # a dot is a dot
    ],
)
def test_everything_else_is_not_covered(pattern: str, channel: str) -> None:
    assert not matches(pattern, channel)


@given(patterns, names)
def test_matching_agrees_with_a_regular_expression(pattern: str, channel: str) -> None:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert matches(pattern, channel) == (re.fullmatch(expression, channel) is not None)


@given(names)
def test_a_name_covers_itself_and_a_star_covers_every_name(name: str) -> None:
    assert matches(name, name)
    assert matches("*", name)


def test_a_pattern_of_many_stars_does_not_stall_the_process() -> None:
    # As a backtracking regular expression this would outlive the universe.
    assert not matches("*a" * 99 + "*b", "a" * CHANNEL_LENGTH_MAX)
    assert matches("*a" * 99 + "*", "a" * CHANNEL_LENGTH_MAX)
