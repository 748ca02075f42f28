"""Lua scripts, and how they are called through a `Pipe`."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any


class Script:
    """A ``.lua`` file below this folder, perhaps with one text in it replaced by another."""

    def __init__(self, path: str, replaced: tuple[str, str] = ("", "")) -> None:
        text = files("gateway.adapters.redis").joinpath(f"{path}.lua").read_text()
        self.text = text.replace(*replaced) if replaced[0] else text
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], *arguments: str | bytes | int) -> tuple[Any, ...]:
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)
