"""What holds for every unit test."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is not a bug; the time-out of the whole test still holds.
settings.register_profile("unit", deadline=None)
# `make fuzz`: as many examples as there is time for, and others in every run.
settings.register_profile(
    "fuzz", deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "5000"))
)
settings.load_profile("fuzz" if "FUZZ_EXAMPLES" in os.environ else "unit")


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment and a working directory in which nobody has set anything."""
    for name in list(os.environ):
        if name.upper().startswith("GATEWAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
