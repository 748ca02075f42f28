"""A document of keys at a URL.

Importing the HTTP client costs much; only a gateway with such a URL imports this module.
"""

import asyncio
from urllib.parse import urlsplit

import httpx2

from gateway.domain.errors import Unavailable
from gateway.domain.urls import is_loopback, is_trustworthy_url
from gateway.ports.jwks import DOCUMENT_BYTES_MAX, JwksSource


class HttpJwksSource(JwksSource):
    """Fetches over https, or over http from this machine; raises `ValueError` for other URLs."""

    def __init__(self, url: str, *, timeout_seconds: float = 10.0) -> None:
        if not is_trustworthy_url(url):
            raise ValueError("keys are fetched over https, without a user in the URL")
        self._url = url
        self._host = urlsplit(url).hostname or ""
        self._timeout_seconds = timeout_seconds
        # A proxy of the environment is for what lies outside.
        self._trust_env = not is_loopback(self._host)
        # Made once: it reads all the certificates of this machine, and that takes a while.
        self._tls = httpx2.create_ssl_context(trust_env=self._trust_env)

    async def fetch(self) -> bytes:
        try:
            # The client's own time-outs are per read; a byte a second would keep to them.
            async with asyncio.timeout(self._timeout_seconds):
                return await self._fetch()
        except TimeoutError:
            raise Unavailable(
                f"{self._host} did not answer in {self._timeout_seconds:g} seconds"
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
            raise Unavailable(f"{self._host}: {type(error).__name__}") from None

    async def _fetch(self) -> bytes:
        client = httpx2.AsyncClient(
            verify=self._tls,
            # Cancelled in a TLS handshake, the client would leave its socket open; its own
            # time-out closes it. It counts for the connection and for the handshake.
            timeout=httpx2.Timeout(self._timeout_seconds, connect=self._timeout_seconds / 3),
            follow_redirects=False,
            trust_env=self._trust_env,
            # A packed answer could become any size, so none is asked for, and none is unpacked.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        async with client, client.stream("GET", self._url) as answer:
            if answer.status_code != 200:
                raise Unavailable(f"{self._host} answered {answer.status_code}")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise Unavailable(f"{self._host} answered with a packed document")
            document = bytearray()
            async for part in answer.aiter_raw():
                document += part
                if len(document) > DOCUMENT_BYTES_MAX:
                    raise Unavailable(
                        f"{self._host} answered with more than {DOCUMENT_BYTES_MAX} bytes"
                    )
        return bytes(document)
