"""What others wrote and we run: pinned, with hashes, audited, and only as much as is used."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["deploy/requirements.lock", "deploy/build.lock"]
# The one advisory that is put up with, by both of its names; docs/security.md says why (S59).
IGNORED = {"GHSA-wj6h-64fc-37mp", "PYSEC-2026-1325"}


def pins(path: str) -> dict[str, str]:
    """Each name and what stands behind it, without comments and line breaks."""
    text = re.sub(r"\s*\\\n\s*", " ", (ROOT / path).read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found: dict[str, str] = {canonicalize_name(line.partition("==")[0]): line for line in lines}
    assert len(found) == len(lines), "a name stands there twice"
    return found


def version_of(line: str) -> str:
    match = re.match(r"[\w.-]+==([\w.]+)", line)
    assert match, f"no exact version: {line}"
    return match[1]


def closure(roots: list[str], extras: frozenset[str] = frozenset()) -> set[str]:
    """The names of all that these requirements bring along, on this machine."""
    names: set[str] = set()
    waiting = [(Requirement(text), extras) for text in roots]
    seen = set()
    while waiting:
        requirement, _ = item = waiting.pop()
        key = (canonicalize_name(requirement.name), *sorted(requirement.extras))
        if key in seen or not applies(*item):
            continue
        seen.add(key)
        names.add(key[0])
        try:
            brought = requires(requirement.name) or []
        except PackageNotFoundError:
            pytest.fail(f"{requirement.name} is needed and not installed")
        waiting += [(Requirement(text), frozenset(requirement.extras)) for text in brought]
    return names


def applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})


def test_every_package_that_the_tests_ran_with_is_pinned() -> None:
    """S59"""
    constraints = pins("constraints.txt")
    project = PROJECT["project"]
    groups = project["optional-dependencies"].values()
    needed = closure([*project["dependencies"], *(line for group in groups for line in group)])
    assert needed - constraints.keys() == set()
    for line in constraints.values():
        version_of(line)


@pytest.mark.parametrize("path", LOCKS)
def test_the_image_is_built_from_those_versions_by_hash(path: str) -> None:
    """S59: `make lock` writes them."""
    constraints = pins("constraints.txt")
    for name, line in pins(path).items():
        if name in constraints:
            assert version_of(line) == version_of(constraints[name])
        else:
            assert " ; " in line, f"{name} is in no list of what was tested"
        assert re.search(r" --hash=sha256:[0-9a-f]{64}( |$)", line), f"{name} has no hash"
    assert "://" not in (ROOT / path).read_text(), "where it comes from is the builder's business"


def test_nothing_is_missing_in_the_image() -> None:
    """S59"""
    runtime, build = (pins(path) for path in LOCKS)
    project = PROJECT["project"]
    # An extra that the image does not have is nowhere to be added from.
    needed = [*project["dependencies"], *project["optional-dependencies"]["protobuf"]]
    assert closure(needed) - runtime.keys() == set()
    assert {canonicalize_name(name) for name in PROJECT["build-system"]["requires"]} <= build.keys()


def test_the_image_takes_nothing_without_a_hash() -> None:
    """S59"""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    installs = re.findall(r"/pip (?:install|wheel) [^&\n]*", text)
    assert len(installs) == 4
    for command in installs:
        assert "--require-hashes -r" in command or "--no-index --no-deps" in command


def test_the_audit_puts_up_with_what_is_written_down_and_nothing_else() -> None:
    """S59"""
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.findall(r"--ignore-vuln[= ](\S+)", makefile)) == IGNORED
    assert "--strict" in makefile, "what could not be looked up would pass"
    assert all(name in (ROOT / "docs" / "security.md").read_text() for name in IGNORED)


RUN = """
import asyncio, sys
from pydantic import SecretStr
import gateway.server
from gateway.app import build, create_app
from gateway.settings import Settings
from tests.unit.core.tokens.forging import FAMILIES, SECRET, family

app = build(Settings(jwt_secret=SecretStr(SECRET.decode()), database_url=SecretStr("sqlite://")))
create_app(app)
assert app.verifier.verify(app.issuer.issue("alice", lifetime_seconds=60)).subject == "alice"
for name in FAMILIES:
    assert family(name).verifier().verify(family(name).forge()).subject == "alice"
found = {"jose", "ecdsa", "rsa", "pyasn1", "cryptography"} & sys.modules.keys()
print(len(FAMILIES), *sorted(found))
"""


def test_the_library_that_nobody_mends_is_installed_and_never_imported() -> None:
    """S59: python-jose wants it, and does without where cryptography is there."""
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["8", "cryptography", "jose"], done.stderr
