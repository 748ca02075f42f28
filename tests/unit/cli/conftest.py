"""Each test has a directory of its own, and with it a database of its own."""

import pytest


@pytest.fixture(autouse=True)
def _alone(no_settings: None) -> None:
    pass
