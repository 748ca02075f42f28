"""Commands that speak to a gateway which runs somewhere: where it is, as whom, and its answers.

They read no settings: whoever listens or publishes needs a URL and a token, and nothing else.
"""

import contextlib
import os
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from gateway.cli.common import read_line_of_stdin
from gateway.domain.errors import Conflict, Denied, GatewayError, InvalidRequest, Unavailable

if TYPE_CHECKING:
    import httpx2

REMOTE_EXIT_CODES = (
    "Exit codes: 0 done, 1 the gateway refused, 2 wrong usage, 69 the gateway cannot be reached "
    "or cannot work now, 130 interrupted."
)
INTERRUPTED = 130

_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
_TOKEN_BYTES_MAX = 65_536
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 15.0

Url = Annotated[
    str,
    typer.Option(
        envvar="GATEWAY_URL", help="The gateway: http, https, ws or wss, with a path if it has one."
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(help="Certificates to trust besides the system's, PEM.", exists=True),
]
Token = Annotated[
    str,
    typer.Option(
        envvar="GATEWAY_TOKEN",
        help="An access token. Other users of this machine see what is typed here: prefer "
        "GATEWAY_TOKEN or --token-file.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="A file with the access token; - reads it from stdin.", allow_dash=True),
]
DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Remote:
    """One gateway from outside; ``base`` is its http or https URL, without a slash at its end."""

    base: str
    tls: ssl.SSLContext | None = None

    @classmethod
    def at(cls, url: str, ca_file: Path | None = None) -> "Remote":
        """Raises `typer.BadParameter` for what is no URL of a gateway."""
        parts = urlsplit(url.strip().rstrip("/"))
        try:
            host, scheme = parts.hostname, _SCHEMES.get(parts.scheme)
            is_plain = not (parts.username or parts.query or parts.fragment) and parts.port != 0
        except ValueError:
            host, scheme, is_plain = None, None, False
        if not host or scheme is None or not is_plain:
            raise typer.BadParameter("a URL is written like https://gateway.example", None, None)
        tls = None
        if scheme == "https":
            tls = ssl.create_default_context()
            if ca_file is not None:
                try:
                    tls.load_verify_locations(ca_file)
                except (OSError, ssl.SSLError) as error:
                    raise typer.BadParameter(f"--ca-file: {error}") from None
        return cls(f"{scheme}://{parts.netloc}{parts.path}", tls)

    @property
    def ws(self) -> str:
        return "ws" + self.base.removeprefix("http")

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["Http"]:
        import httpx2

        client = httpx2.AsyncClient(
            base_url=self.base,
            verify=True if self.tls is None else self.tls,
            timeout=httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            follow_redirects=False,  # a token does not travel on to somebody else
        )
        async with client:
            yield Http(client, self.base)


class Http:
    """Requests to one gateway, whose refusals are raised in the domain's words."""

    def __init__(self, client: "httpx2.AsyncClient", base: str) -> None:
        self._client = client
        self._base = base

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        json_body: object = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer's JSON value.

        Raises `Unavailable` where nobody answers or the gateway cannot do it now, and
        `GatewayError` with the gateway's own words where it refuses. Nothing is tried twice.
        """
        import httpx2

        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        try:
            answer = await self._client.request(
                method, path, params=query, headers=sent, json=json_body
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Unavailable(f"{self._base} cannot be reached: {error}") from None
        except httpx2.HTTPError as error:
            what = type(error).__name__
            raise Unavailable(f"no answer came: {what}", outcome_unknown=True) from None
        return _value_of(answer)


def _value_of(answer: "httpx2.Response") -> Any:
    try:
        value = answer.json()
    except ValueError:
        value = None
    if answer.is_success and value is not None:
        return value
    said = value if isinstance(value, dict) else {}
    detail = f"{answer.status_code} {said.get('detail') or answer.reason_phrase}".strip()
    if answer.status_code in (502, 503, 504):
        is_unknown = said.get("outcome_unknown", answer.status_code != 503)
        raise Unavailable(detail, outcome_unknown=bool(is_unknown))
    if answer.is_success:
        raise GatewayError(f"{detail}: this is no answer of a gateway")
    kinds: dict[int, type[GatewayError]] = {403: Denied, 409: Conflict}
    raise kinds.get(answer.status_code, GatewayError)(detail)


class TokenSource:
    """The token, read anew for each connect: a file may hold a fresh one by then."""

    def __init__(self, token: str, file: Path | None) -> None:
        """Raises `typer.BadParameter` where none is given."""
        if not token and file is None:
            raise typer.BadParameter(
                "a token is needed: GATEWAY_TOKEN, --token-file FILE or --token; "
                "'gateway token' makes one"
            )
        self._file = file
        self._token = token.strip()
        if file is not None and str(file) == "-":
            self._file, self._token = None, read_line_of_stdin("token").strip()

    def read(self) -> str:
        """Raises `InvalidRequest` where the file cannot be read."""
        if self._file is None:
            return self._token
        try:
            with self._file.open("rb") as opened:
                return opened.read(_TOKEN_BYTES_MAX).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"{self._file}: {error}") from None


def read_stdin(bytes_max: int) -> str:
    """All that comes on stdin, as it is; raises `InvalidRequest`."""
    given = sys.stdin.buffer.read(bytes_max + 1)
    if len(given) > bytes_max:
        raise InvalidRequest(f"on stdin there are more than {bytes_max} bytes")
    try:
        return given.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("what is on stdin is not written in UTF-8") from None


def silence_stdout() -> None:
    """The reader has gone, as `head` does; the interpreter must not stumble over it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
