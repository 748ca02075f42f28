"""What every test of the socket door needs: a channel of its own."""

import secrets

import pytest

from tests.support.clients import make_token


@pytest.fixture
def channel() -> str:
    return f"room-{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def publisher() -> str:
    return make_token("paula", "publisher")


@pytest.fixture(scope="session")
def listener() -> str:
    return make_token("lucas")
