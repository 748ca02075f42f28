"""Channel names and the patterns that grants are written in."""

import re

from gateway.domain.errors import InvalidChannel

CHANNEL_LENGTH_MAX = 200
PERSONAL_NAMESPACE = "user"

_CHANNEL = re.compile(r"[A-Za-z0-9_\-.:@~#$]{1,200}")
_PATTERN = re.compile(r"[A-Za-z0-9_\-.:@~#$*]{1,200}")


def check_channel(name: str) -> str:
    """Return ``name`` if it is a channel name, else raise `InvalidChannel` that says why.

    The alphabet leaves out everything that means something to Redis patterns, to a hash tag,
    to a log line or to a URL, so a checked name can be put into any of them as it is.
    """
    if _CHANNEL.fullmatch(name):
        return name
    if not name:
        raise InvalidChannel("a channel name is needed")
    if len(name) > CHANNEL_LENGTH_MAX:
        raise InvalidChannel(f"a channel name has at most {CHANNEL_LENGTH_MAX} characters")
    raise InvalidChannel("a channel name is made of A-Z a-z 0-9 _ - . : @ ~ # $")


def namespace_of(channel: str) -> str:
    """The part before the first ``:``, or "" for a channel of the default namespace."""
    head, colon, _ = channel.partition(":")
    return head if colon else ""


def is_private(channel: str) -> bool:
    """Whether the name says that the channel is open only to tokens that name it."""
    return channel.startswith("$")


def user_of(channel: str) -> str:
    """The user to whom a name ending in ``#USER`` reserves the channel, or "" where it does not.

    What cannot begin a name means nothing, so that the two signs can still stand side by side.
    """
    user = channel.rpartition("#")[2]
    return user if user != channel and user[:1].isalnum() else ""


def is_pattern(text: str) -> bool:
    return _PATTERN.fullmatch(text) is not None


def matches(pattern: str, channel: str) -> bool:
    """Whether the pattern covers the channel; ``*`` stands for any run of characters.

    Linear in both lengths: a pattern comes out of a token, and a regular expression made of
    many stars could be written to stall the process.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == channel
    if not channel.startswith(first):
        return False
    position = len(first)
    *middle, last = rest
    for part in middle:
        found = channel.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return len(channel) - position >= len(last) and channel.endswith(last)
