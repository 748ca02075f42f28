"""The pages: at / to sign in, listen and publish, at /admin to look after all replicas.

Their files stand in ``static/`` and hold no data: what a page shows it asks for, with the token of
whoever signs in. They are read once and served as they are; there is no build step.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Nothing but our own files, and no text that becomes markup or code: what others publish is shown
# here, beside a token. A form that our script did not take over is not sent: it holds a password.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Asked for again each time, and answered in a line while it is the same: no stale mixture of
    # the files of two versions.
    "Cache-Control": "no-cache",
}


class _File:
    """One file, ready to be sent."""

    def __init__(self, content: bytes, suffix: str) -> None:
        self._content = content
        self._headers = {
            **_HEADERS,
            "Content-Type": _TYPES[suffix],
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        }

    def respond(self, request: Request) -> Response:
        if request.headers.get("if-none-match") == self._headers["ETag"]:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)


def router(pages: Mapping[str, str], *, is_demo: bool, registration: bool) -> APIRouter:
    """``pages`` are the files that are pages, by their paths.

    ``is_demo`` and ``registration`` say which ways in they offer.
    """
    routes = APIRouter(include_in_schema=False)
    ways = {"demo": is_demo, "registration": registration}
    parts: dict[str, _File] = {}
    for path in _STATIC.rglob("*"):
        if path.suffix in _TYPES and path.suffix != ".html":
            parts[path.relative_to(_STATIC).as_posix()] = _File(path.read_bytes(), path.suffix)

    def add(address: str, name: str) -> None:
        html = (_STATIC / name).read_text("utf-8")
        for way, is_offered in ways.items():
            html = html.replace(f'data-{way}=""', f'data-{way}="{"yes" if is_offered else "no"}"')
        page = _File(html.encode(), ".html")

        @routes.get(address)
        async def show(request: Request) -> Response:
            return page.respond(request)

    for address, name in pages.items():
        add(address, name)

    @routes.get("/page/{name:path}")
    async def file(name: str, request: Request) -> Response:
        if name not in parts:
            raise HTTPException(404)
        return parts[name].respond(request)

    return routes
