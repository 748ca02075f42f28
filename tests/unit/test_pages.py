"""What holds for every page of the documentation."""

import re
from functools import cache
from pathlib import Path

import pytest

from gateway.settings import Settings
from tests.support.pages import ROOT, anchors, links

FOREIGN = {".venv", "node_modules", ".pytest_cache"}
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in ROOT.rglob("*.md")
    if not FOREIGN.intersection(page.relative_to(ROOT).parts)
)
# Of clients and of the reading of settings, so they are no settings.
VARIABLES = {"GATEWAY_CONFIG", "GATEWAY_SECRETS_DIR", "GATEWAY_URL", "GATEWAY_TOKEN"}
INDEX = ROOT / "docs" / "README.md"


@cache
def anchors_of(page: Path) -> set[str]:
    return anchors(page.read_text())


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/README.md", "docs/guides/tokens.md", "deploy/README.md"} <= {*PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for link in links(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT.resolve()), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), link


@pytest.mark.parametrize("name", PAGES)
def test_every_setting_that_a_page_names_exists(name: str) -> None:
    known = {f"GATEWAY_{field.upper()}" for field in Settings.model_fields} | VARIABLES
    assert set(re.findall(r"GATEWAY_[A-Z_]*[A-Z]", (ROOT / name).read_text())) <= known


def test_the_index_leaves_out_no_page() -> None:
    decisions = (ROOT / "docs" / "decisions").glob("0*.md")  # which have an index of their own
    there = {*INDEX.parent.rglob("*.md")} - {INDEX, *decisions}
    paths = [link.partition("#")[0] for link in links(INDEX.read_text())]
    listed = {(INDEX.parent / path).resolve() for path in paths}
    assert {page.resolve() for page in there} <= listed


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("# Two words", {"two-words"}),
        ("## `code`, and a [link](x.md)", {"code-and-a-link"}),
        ("# Same\n# Same", {"same", "same-1"}),
        ("```sh\n# a comment\n```\n", set()),
    ],
)
def test_headings_become_ids_as_their_readers_make_them(text: str, ids: set[str]) -> None:
    assert anchors(text) == ids


def test_code_has_no_links() -> None:
    text = "`[a](b)` [c](d.md#e)\n```js\n[f](g)\n```\n[h](https://i.example)"
    assert links(text) == ["d.md#e"]
