"""The headers that every HTTP answer has."""

from gateway.protocols.answers import SAFE, SAFE_LINES, with_safe


def test_an_answer_gets_what_it_lacks() -> None:
    assert with_safe([]) == SAFE


def test_what_an_answer_says_itself_counts() -> None:
    own = [(b"cache-control", b"public"), (b"content-security-policy", b"default-src 'self'")]
    headers = with_safe(own)
    assert headers[:2] == own
    assert len({name for name, _ in headers}) == len(headers) == len(SAFE)


def test_a_page_without_a_policy_may_load_and_still_stands_in_no_frame() -> None:
    headers = dict(with_safe([(b"content-type", b"text/html; charset=utf-8")]))
    assert headers[b"content-security-policy"] == b"frame-ancestors 'none'"


def test_browsers_are_told_to_insist_on_tls_only_where_it_is_said_for_how_long() -> None:
    assert (b"strict-transport-security", b"max-age=60") in with_safe([], 60)
    assert b"strict-transport-security" not in dict(with_safe([], 0))


def test_the_lines_are_those_headers() -> None:
    assert b"".join(b"%b: %b\r\n" % pair for pair in SAFE) == SAFE_LINES
    assert SAFE_LINES.endswith(b"\r\n")
