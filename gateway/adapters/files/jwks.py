"""A document of keys in a file, which may be replaced while the gateway runs."""

import asyncio
from pathlib import Path

from gateway.domain.errors import Unavailable
from gateway.ports.jwks import DOCUMENT_BYTES_MAX, JwksSource


class FileJwksSource(JwksSource):
    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self) -> bytes:
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        try:
            # Of anything else, a pipe for example, reading may never end.
            if not self._path.is_file():
                raise Unavailable(f"{self._path} is not a file")
            with self._path.open("rb") as file:
                document = file.read(DOCUMENT_BYTES_MAX + 1)
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror}") from None
        if len(document) > DOCUMENT_BYTES_MAX:
            raise Unavailable(f"{self._path} is longer than {DOCUMENT_BYTES_MAX} bytes")
        return document
