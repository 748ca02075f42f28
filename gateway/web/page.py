"""The page at /: sign in, listen, publish, and watch what happens to the connection.

Its files stand in ``static/``. They are read once and served as they are; there is no build step.
"""

import hashlib
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

_STATIC = Path(__file__).parent / "static"
_PAGE = "index.html"
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


def router(*, is_demo: bool, registration: bool) -> APIRouter:
    """``is_demo`` and ``registration`` say which ways in the page offers."""
    routes = APIRouter(include_in_schema=False)
    files = {
        path.relative_to(_STATIC).as_posix(): path
        for path in _STATIC.rglob("*")
        if path.suffix in _TYPES
    }
    ready = {name: _File(path.read_bytes(), path.suffix) for name, path in files.items()}
    ways = {"demo": is_demo, "registration": registration}
    html = files[_PAGE].read_text("utf-8")
    for name, is_offered in ways.items():
        html = html.replace(f'data-{name}=""', f'data-{name}="{"yes" if is_offered else "no"}"')
    page = _File(html.encode(), ".html")

    @routes.get("/")
    async def show(request: Request) -> Response:
        return page.respond(request)

    @routes.get("/page/{name:path}")
    async def file(name: str, request: Request) -> Response:
        if name == _PAGE or name not in ready:
            raise HTTPException(404)
        return ready[name].respond(request)

    return routes
