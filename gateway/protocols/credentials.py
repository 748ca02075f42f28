"""Where a client may put its token, and which of these places counts.

A server sets a header; a browser cannot, and offers the token as a subprotocol or in the URL;
a browser that logged in here sends a cookie, which needs the same origin, because a browser
sends it along for every page that asks.
"""

import hmac
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.domain.errors import Denied, InvalidRequest, InvalidToken

SUBPROTOCOL = "bearer"
COOKIE = "gateway_token"
CSRF_COOKIE = "gateway_csrf"
CSRF_HEADER = "x-csrf-token"


class FoundToken(NamedTuple):
    text: str
    is_cookie: bool


def find_token(
    headers: Mapping[str, str],
    query: Mapping[str, Sequence[str]],
    *,
    query_allowed: bool,
    allowed_origins: Set[str],
) -> FoundToken:
    """Return the one token of a request; names in ``headers`` are in lower case.

    Raises `InvalidToken` when there is none, `InvalidRequest` when two places disagree or the
    place is not allowed, `Denied` for a cookie that comes with a foreign origin or none.
    """
    found: list[str] = []
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.append(value.strip())
    elif scheme:
        raise InvalidRequest("the Authorization header carries: Bearer <token>")

    offered = subprotocols(headers)
    if offered and offered[0] == SUBPROTOCOL:
        if len(offered) != 2:
            raise InvalidRequest("the subprotocols are: bearer, <token>")
        found.append(offered[1])

    if "token" in query:
        if not query_allowed:
            raise InvalidRequest("a token in the URL is turned off here; use a header")
        found.extend(query["token"])

    # A cookie comes along by itself, so a token that was put somewhere on purpose goes first.
    is_cookie = False
    if not found and (cookies := _cookies(headers, COOKIE)):
        is_cookie = True
        check_origin(headers, allowed_origins, required=True)
        found.extend(cookies)

    if not found:
        raise InvalidToken("a token is needed")
    if len(set(found)) > 1:
        raise InvalidRequest("two different tokens were sent; which one counts?")
    return FoundToken(found[0], is_cookie)


def check_csrf(headers: Mapping[str, str]) -> None:
    """Raise `Denied` unless the request repeats the second cookie of the login in a header.

    A foreign page can make a browser send both cookies, but can read neither.
    """
    cookies = _cookies(headers, CSRF_COOKIE)
    given = headers.get(CSRF_HEADER, "")
    if len(cookies) != 1 or not hmac.compare_digest(cookies[0].encode(), given.encode()):
        raise Denied(f"csrf: with a cookie, {CSRF_HEADER} repeats the cookie {CSRF_COOKIE}")


def subprotocols(headers: Mapping[str, str]) -> list[str]:
    """The offered subprotocols; some clients send the header empty, which offers nothing."""
    offered = headers.get("sec-websocket-protocol")
    return [name for part in offered.split(",") if (name := part.strip())] if offered else []


def check_origin(headers: Mapping[str, str], allowed_origins: Set[str], *, required: bool) -> None:
    """Raise `Denied` for a foreign page; ``required`` also refuses a request without an origin.

    The gateway's own origin is always allowed, others by exact match. Without a list, and where
    no cookie is involved, any origin may come: the token is then proof enough (RFC 6455, 10.2).
    """
    origin = headers.get("origin")
    if origin is None:
        # A page's own GET has no Origin; this header stands in, and no page can write it.
        if required and headers.get("sec-fetch-site") != "same-origin":
            raise Denied("origin: a cookie counts only with an Origin header")
        return
    if origin in allowed_origins or _is_own(origin, headers.get("host", "")):
        return
    if required or allowed_origins:
        raise Denied("origin: this page may not connect here")


def _is_own(origin: str, host: str) -> bool:
    # Compared without the scheme: behind a balancer that ends TLS we cannot see it.
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def _cookies(headers: Mapping[str, str], wanted: str) -> list[str]:
    """The values of one cookie, without looking at the others.

    `http.cookies` gives up on all of them where another application's cookie is malformed, and
    of two with one name it takes the last, which a page on a sibling domain may have set.
    """
    pairs = (part.partition("=") for part in headers.get("cookie", "").split(";"))
    found = [value.strip().strip('"') for name, _, value in pairs if name.strip() == wanted]
    return [token for token in found if token]
