"""docs/guides: each guide is done from its first step to the last, as it is printed."""

from pathlib import Path

import pytest

from tests.support.guides import Guide
from tests.support.pages import ROOT
from tests.support.servers import required

GUIDES = ROOT / "docs" / "guides"
QUICK = {"channels-and-permissions.md"}
NEEDS = ("bash", "setsid", "curl")


def guides() -> list[object]:
    return [
        pytest.param(path.name, marks=[] if path.name in QUICK else pytest.mark.long)
        for path in sorted(GUIDES.glob("*.md"))
    ]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", guides())
def test_a_guide_works_as_it_is_printed(name: str, directory: Path) -> None:
    for program in NEEDS:
        required(program)
    Guide(name, directory).follow()
