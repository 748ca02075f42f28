"""Who may ask at all: under which names, and from which pages.

A socket has the same rules in its own door.
"""

from collections.abc import Set

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.protocols.hosts import WRONG_HOST, Hosts
from gateway.web.access import PROBES, path_of
from gateway.web.problems import WrongHost, note_refusal, respond

# These answer any page where none is listed, for they take no cookie.
_THEIR_OWN_RULES = ("/connection/", "/emulation")
_METHODS = ("GET", "POST", "PUT", "DELETE")
_HEADERS = ("Authorization", "Idempotency-Key", "Last-Event-ID", "X-CSRF-Token", "X-Request-ID")
_READABLE = ("Retry-After", "X-Request-ID")


class KnownHosts:
    """ASGI middleware: 400 for a request under another name.

    Balancers and orchestrators ask each replica by its address, so what they ask is answered
    under every name.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and path_of(scope) not in PROBES:
            given = Headers(scope=scope).getlist("host")
            if len(given) != 1 or given[0] not in self._hosts:
                request, refusal = Request(scope), WrongHost(WRONG_HOST)
                note_refusal(f"{request.method} {request.url.path[:200]!a}", refusal)
                await respond(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class ListedPages:
    """ASGI middleware: CORS for the pages that are listed, and nothing for any other.

    Without a word about it a browser keeps our answers from a foreign page. ``allowed_origins`` is
    asked each time, for it may change while the gateway runs.
    """

    def __init__(self, app: ASGIApp, allowed_origins: Set[str]) -> None:
        self._app = app
        self._allowed_origins = allowed_origins
        self._for_listed = CORSMiddleware(
            app,
            allow_origins=allowed_origins,
            allow_credentials=True,
            allow_methods=_METHODS,
            allow_headers=_HEADERS,
            expose_headers=_READABLE,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and self._allowed_origins:
            origin = Headers(scope=scope).get("origin")
            if origin in self._allowed_origins and not path_of(scope).startswith(_THEIR_OWN_RULES):
                app = self._for_listed
        await app(scope, receive, send)
