"""Node.js, and the packages that a directory of ours asks for."""

import fcntl
import json
import subprocess
from pathlib import Path

from tests.support.servers import required

ROOT = Path(__file__).parents[2]
JAVASCRIPT = ROOT / "tests" / "javascript"


def node_for(directory: Path) -> str:
    """The path of Node, with what package.json names installed in this directory.

    With a lock file it is exactly what that says, else the versions of package.json.
    """
    node, npm = required("node"), required("npm")
    named = json.loads((directory / "package.json").read_text())
    wanted = named["dependencies"] | named.get("devDependencies", {})
    with (directory / "package.json").open() as lock:
        # Tests that run side by side would install into each other's half-made directories.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if wanted != _installed(directory, wanted):
            is_locked = (directory / "package-lock.json").exists()
            what = ["ci"] if is_locked else ["install", "--no-package-lock"]
            command = [npm, *what, "--no-audit", "--no-fund", "--silent"]
            subprocess.run(command, cwd=directory, check=True, timeout=50)
            assert wanted == _installed(directory, wanted)
    return node


def _installed(directory: Path, names: dict[str, str]) -> dict[str, str]:
    paths = {name: directory / "node_modules" / name / "package.json" for name in names}
    return {
        name: json.loads(path.read_text())["version"]
        for name, path in paths.items()
        if path.exists()
    }
