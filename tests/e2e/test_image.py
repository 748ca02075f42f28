"""What is in the image, layer by layer: nothing that lay about where it was built."""

import json
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Iterator

import pytest

from tests.support.stack import ROOT, need_engine

pytestmark = [pytest.mark.compose, pytest.mark.long, pytest.mark.timeout(420)]

# Where people leave secrets: beside the code, and in it, as `gateway secrets --env-file` may.
SECRET_FILES = [
    *(".env", "gateway/.env", "gateway/.env.production", "gateway/settings/.env"),
    *("gateway.db", "gateway/gateway.db", "gateway/core/key.pem", "gateway/gateway_jwt_secret"),
    *("gateway/secrets/gateway_jwt_secret", "gateway/__pycache__/kept.pyc"),
    *(".git/config", ".venv/pip.conf", "deploy/redis/users.acl", "constraints.txt~"),
]


def docker(*arguments: str) -> bytes:
    return subprocess.run(
        ["docker", *arguments], check=True, stdout=subprocess.PIPE, timeout=400
    ).stdout


@pytest.fixture(scope="module")
def canary() -> str:
    return f"canary-{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def image(canary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tarfile.TarFile]:
    """The image as `docker save` writes it, built from a directory with secrets all over it."""
    need_engine()
    context, saved = (tmp_path_factory.mktemp(name) for name in ("context", "saved"))
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, context)
    for name in ("gateway", "deploy"):
        shutil.copytree(ROOT / name, context / name)
    for name in SECRET_FILES:
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(canary)

    tag = f"gateway-test-{secrets.token_hex(4)}"
    has_bridge = docker("network", "ls", "--quiet", "--filter", "name=^bridge$").strip()
    network = [] if has_bridge else ["--network", "host"]
    docker("build", "--quiet", *network, "--tag", tag, str(context))
    try:
        docker("save", "--output", str(saved / "image.tar"), tag)
    finally:
        docker("image", "rm", tag)
    with tarfile.open(saved / "image.tar") as archive:
        yield archive


def layers(image: tarfile.TarFile) -> Iterator[tarfile.TarFile]:
    manifest = image.extractfile("manifest.json")
    assert manifest is not None
    (described,) = json.load(manifest)
    for name in described["Layers"]:
        with tarfile.open(fileobj=image.extractfile(name)) as layer:
            yield layer


def test_no_layer_holds_what_lay_beside_the_code_or_in_it(
    image: tarfile.TarFile, canary: str
) -> None:
    """S56: also none that a later layer covers."""
    wrong, ours = [], set()
    for layer in layers(image):
        for member in layer:
            file = layer.extractfile(member) if member.isfile() else None
            if file is not None and canary.encode() in file.read():
                wrong.append(member.name)
            _, found, name = member.name.partition("/site-packages/gateway/")
            if found and file is not None:
                ours.add(name)
    assert wrong == []

    # And all that belongs there is there, of whatever kind.
    written = (path for path in (ROOT / "gateway").rglob("*") if path.is_file())
    names = {path.relative_to(ROOT / "gateway").as_posix() for path in written}
    pyc = {name for name in ours | names if "__pycache__" in name}
    assert ours - pyc == names - pyc
