"""What every HTTP answer tells a browser besides its content."""

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

# An answer is data, not a page: it loads nothing, stands in no frame, is no script of another
# page, is taken for nothing else than it says, and stays in no cache. Whatever knows better has
# set the header itself.
SAFE: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
SAFE_LINES = b"".join(b"%b: %b\r\n" % header for header in SAFE)
# Swagger's page at /docs, which loads its script from elsewhere; it can be turned off.
_PAGE_POLICY = (b"content-security-policy", b"frame-ancestors 'none'")


def with_safe(headers: Iterable[tuple[bytes, bytes]], hsts_seconds: int = 0) -> Headers:
    """The headers of an answer and those of `SAFE` that it lacks; names are in lower case.

    ``hsts_seconds`` is for an answer that goes out over TLS: browsers come back over nothing else.
    """
    given = dict(headers)
    added = [header for header in SAFE if header[0] not in given]
    if given.get(b"content-type", b"").startswith(b"text/html"):
        added = [_PAGE_POLICY if name == _PAGE_POLICY[0] else (name, v) for name, v in added]
    if hsts_seconds:
        added.append((b"strict-transport-security", b"max-age=%d" % hsts_seconds))
    return [*headers, *added]
