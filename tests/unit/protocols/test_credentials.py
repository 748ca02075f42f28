"""Which token of a request counts, and which pages may bring one."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import Denied, GatewayError, InvalidRequest, InvalidToken
from gateway.protocols.credentials import check_csrf, check_origin, find_token, subprotocols

OWN = {"host": "gateway.example", "origin": "https://gateway.example"}
APP = "https://app.example"


def token_of(
    headers: dict[str, str] | None = None,
    query: dict[str, list[str]] | None = None,
    query_allowed: bool = True,
    allowed_origins: tuple[str, ...] = (),
) -> str:
    return find_token(
        headers or {},
        query or {},
        query_allowed=query_allowed,
        allowed_origins=frozenset(allowed_origins),
    ).text


# Places.


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_is_found_in_the_authorization_header(scheme: str) -> None:
    assert token_of({"authorization": f"{scheme} the.jwt"}) == "the.jwt"


def test_spaces_around_the_token_in_the_header_do_not_count() -> None:
    assert token_of({"authorization": "Bearer   the.jwt "}) == "the.jwt"


@pytest.mark.parametrize("value", ["Basic YTpi", "the.jwt", "Token the.jwt", "Bearer,the.jwt"])
def test_another_authorization_scheme_is_refused(value: str) -> None:
    with pytest.raises(InvalidRequest, match="Bearer <token>") as refusal:
        token_of({"authorization": value}, {"token": ["the.jwt"]})
    assert "the.jwt" not in refusal.value.detail


@pytest.mark.parametrize("offer", ["bearer, the.jwt", "bearer,the.jwt", " bearer ,, the.jwt ,"])
def test_a_token_is_found_among_the_subprotocols(offer: str) -> None:
    """S19: the only header that a browser lets a page set."""
    assert token_of({"sec-websocket-protocol": offer}) == "the.jwt"


@pytest.mark.parametrize("offer", ["bearer", "bearer, a, b", "bearer,"])
def test_the_subprotocol_bearer_comes_with_exactly_one_token(offer: str) -> None:
    with pytest.raises(InvalidRequest, match="bearer, <token>"):
        token_of({"sec-websocket-protocol": offer})


@pytest.mark.parametrize("offer", ["", ",", "chat", "chat, bearer, the.jwt", "Bearer, the.jwt"])
def test_other_subprotocols_carry_no_token(offer: str) -> None:
    with pytest.raises(InvalidToken):
        token_of({"sec-websocket-protocol": offer})
    assert token_of({"sec-websocket-protocol": offer}, {"token": ["a.jwt"]}) == "a.jwt"


@given(st.text())
def test_offered_subprotocols_are_neither_empty_nor_lists(text: str) -> None:
    names = subprotocols({"sec-websocket-protocol": text})
    assert all(name and name == name.strip() and "," not in name for name in names)


def test_a_token_is_found_in_the_url() -> None:
    assert token_of(query={"token": ["the.jwt"]}) == "the.jwt"


def test_a_token_in_the_url_is_refused_where_that_is_turned_off() -> None:
    """S18: even beside the same token in a better place, so that nobody keeps sending it."""
    with pytest.raises(InvalidRequest, match="turned off here; use a header"):
        token_of(query={"token": ["the.jwt"]}, query_allowed=False)
    with pytest.raises(InvalidRequest, match="turned off"):
        token_of({"authorization": "Bearer the.jwt"}, {"token": ["the.jwt"]}, query_allowed=False)


@pytest.mark.parametrize("headers", [{}, {"cookie": "a=b"}, {"cookie": "gateway_token="}])
def test_a_request_without_a_token_is_told_so(headers: dict[str, str]) -> None:
    """S01"""
    with pytest.raises(InvalidToken, match="a token is needed"):
        token_of({**OWN, **headers})


# Two tokens.


PLACES: dict[str, tuple[dict[str, str], dict[str, list[str]]]] = {
    "header": ({"authorization": "Bearer {}"}, {}),
    "subprotocol": ({"sec-websocket-protocol": "bearer, {}"}, {}),
    "url": ({}, {"token": ["{}"]}),
}


def put(place: str, token: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    headers, query = PLACES[place]
    return (
        {name: value.format(token) for name, value in headers.items()},
        {name: [value.format(token) for value in values] for name, values in query.items()},
    )


@pytest.mark.parametrize(
    ("one", "other"), [("header", "subprotocol"), ("header", "url"), ("subprotocol", "url")]
)
def test_two_different_tokens_are_refused_and_the_same_twice_is_not(one: str, other: str) -> None:
    """S20"""
    headers, query = put(one, "a.jwt")
    for token, differs in (("a.jwt", False), ("b.jwt", True)):
        more_headers, more_query = put(other, token)
        both = {**headers, **more_headers}, {**query, **more_query}
        if differs:
            with pytest.raises(InvalidRequest, match="two different tokens"):
                token_of(*both)
        else:
            assert token_of(*both) == "a.jwt"


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, {"token": ["a.jwt", "b.jwt"]}),
        ({}, {"token": ["a.jwt", ""]}),
        ({"authorization": "Bearer"}, {"token": ["a.jwt"]}),
        ({**OWN, "cookie": "gateway_token=a.jwt; gateway_token=b.jwt"}, {}),
    ],
    ids=["twice in the URL", "once empty", "an empty header", "two cookies"],
)
def test_one_place_cannot_hold_two_tokens_either(
    headers: dict[str, str], query: dict[str, list[str]]
) -> None:
    """S20: a cookie of the same name may have been set by a page on a sibling domain."""
    with pytest.raises(InvalidRequest, match="two different tokens") as refusal:
        token_of(headers, query)
    assert "jwt" not in refusal.value.detail


# Cookies.


@pytest.mark.parametrize(
    "cookie",
    [
        "gateway_token=the.jwt",
        'gateway_token="the.jwt"',
        "theme=dark; gateway_token=the.jwt; lang=es",
        'prefs={"a": 1}; gateway_token=the.jwt',
        "a b=c; gateway_token=the.jwt",
        "[x]=1;gateway_token=the.jwt;",
        "nonsense; gateway_token=the.jwt",
        "gateway_token=the.jwt; gateway_token=the.jwt",
    ],
)
def test_a_cookie_counts_for_a_page_of_our_own(cookie: str) -> None:
    """Also beside the malformed cookies of other applications on the same host."""
    assert token_of({**OWN, "cookie": cookie}) == "the.jwt"


@pytest.mark.parametrize(
    "cookie", ["Gateway_Token=x", "xgateway_token=x", "gateway_token2=x", "a=gateway_token=x"]
)
def test_a_cookie_of_another_name_is_not_ours(cookie: str) -> None:
    with pytest.raises(InvalidToken):
        token_of({**OWN, "cookie": cookie})


def test_a_cookie_without_an_origin_is_refused() -> None:
    """S24: it came along by itself, and nobody says from where."""
    with pytest.raises(Denied, match=r"^origin: a cookie counts only with an Origin header$"):
        token_of({"host": "gateway.example", "cookie": "gateway_token=the.jwt"})


def test_an_explicit_token_needs_no_origin() -> None:
    """S24"""
    assert token_of({"host": "gateway.example", "authorization": "Bearer the.jwt"}) == "the.jwt"


FOREIGN = [
    "https://evil.example",
    "https://gateway.example.evil.example",
    "https://evilgateway.example",
    "https://gateway.example:8443",
    "https://gateway.example@evil.example",
    "https://evil.example/gateway.example",
    "https://evil.example#gateway.example",
    "https://gateway.example.",
    "null",
    "",
    "gateway.example",
    "https://[",
    "file://",
]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("allowed", [(), (APP,)])
def test_a_cookie_from_a_foreign_page_is_refused(origin: str, allowed: tuple[str, ...]) -> None:
    """S23, S24: whoever has a cookie here must not lend it to the page of somebody else."""
    headers = {"host": "gateway.example", "origin": origin, "cookie": "gateway_token=the.jwt"}
    with pytest.raises(Denied, match=r"^origin: this page may not connect here$"):
        token_of(headers, allowed_origins=allowed)


def test_a_cookie_from_a_page_on_the_list_counts() -> None:
    headers = {"host": "gateway.example", "origin": APP, "cookie": "gateway_token=the.jwt"}
    assert token_of(headers, allowed_origins=(APP,)) == "the.jwt"


def test_an_explicit_token_goes_before_a_cookie() -> None:
    headers = {**OWN, "origin": "https://evil.example", "cookie": "gateway_token=cookie.jwt"}
    assert token_of({**headers, "authorization": "Bearer the.jwt"}) == "the.jwt"
    assert token_of(headers, {"token": ["the.jwt"]}) == "the.jwt"


# Origins.


def check(origin: str | None, *allowed: str, host: str = "gateway.example") -> None:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    check_origin(headers, frozenset(allowed), required=False)


@pytest.mark.parametrize("origin", [None, APP, "https://anywhere.example", "null"])
def test_without_a_list_any_page_may_come_with_a_token(origin: str | None) -> None:
    check(origin)


@pytest.mark.parametrize("origin", [*FOREIGN, "https://app.example.evil", "http://app.example"])
def test_with_a_list_other_pages_may_not_come(origin: str) -> None:
    """S23: by exact match, so that no name that merely looks like one gets in."""
    with pytest.raises(Denied) as refusal:
        check(origin, APP)
    assert not origin or origin not in refusal.value.detail


@pytest.mark.parametrize("origin", ["https://APP.example", APP + "/", APP + ":443", APP + " "])
def test_an_origin_on_the_list_is_compared_letter_by_letter(origin: str) -> None:
    """S23"""
    with pytest.raises(Denied):
        check(origin, APP)


@pytest.mark.parametrize("origin", [APP, None])
def test_pages_on_the_list_and_programs_may_come(origin: str | None) -> None:
    check(origin, APP)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://gateway.example", "gateway.example"),
        ("http://gateway.example", "Gateway.Example"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_our_own_pages_may_always_come(origin: str, host: str) -> None:
    check(origin, APP, host=host)


@pytest.mark.parametrize("origin", ["null", "", "https://", "file://"])
def test_without_a_host_no_page_is_our_own(origin: str) -> None:
    with pytest.raises(Denied):
        check(origin, APP, host="")


@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["authorization", "sec-websocket-protocol", "cookie", "origin", "host", "x"]
        ),
        st.text() | st.sampled_from(["Bearer a", "bearer, a", "gateway_token=a", "https://[x"]),
    ),
    query=st.dictionaries(st.sampled_from(["token", "x"]), st.lists(st.text(), min_size=1)),
    query_allowed=...,
)
def test_no_request_raises_anything_but_a_refusal(
    headers: dict[str, str], query: dict[str, list[str]], query_allowed: bool
) -> None:
    """S01"""
    with contextlib.suppress(GatewayError):
        assert isinstance(token_of(headers, query, query_allowed), str)


# Cookies of a page that sends them along with everything.


def test_a_token_says_whether_it_came_as_a_cookie() -> None:
    cookie = OWN | {"cookie": "gateway_token=the.jwt"}
    nothing: frozenset[str] = frozenset()
    assert find_token(cookie, {}, query_allowed=True, allowed_origins=nothing).is_cookie
    header = cookie | {"authorization": "Bearer other.jwt"}
    assert find_token(header, {}, query_allowed=True, allowed_origins=nothing) == (
        "other.jwt",
        False,
    )


def test_a_pages_own_request_without_an_origin_says_where_it_comes_from() -> None:
    """S24: browsers write this header themselves, on a GET that has no Origin."""
    cookie = {"host": "gateway.example", "cookie": "gateway_token=the.jwt"}
    assert token_of(cookie | {"sec-fetch-site": "same-origin"}) == "the.jwt"
    for site in ("cross-site", "same-site", "none"):
        with pytest.raises(Denied):
            token_of(cookie | {"sec-fetch-site": site})


def test_a_change_repeats_the_second_cookie_in_a_header() -> None:
    """S25"""
    cookies = "gateway_token=the.jwt; gateway_csrf=abc"
    check_csrf({"cookie": cookies, "x-csrf-token": "abc"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": "gateway_csrf=abc"},
        {"x-csrf-token": "abc"},
        {"x-csrf-token": ""},
        {"cookie": "gateway_csrf=", "x-csrf-token": ""},
        {"cookie": "gateway_csrf=abc", "x-csrf-token": "abd"},
        {"cookie": "gateway_csrf=abc", "x-csrf-token": "ñ"},
        {"cookie": "gateway_csrf=abc; gateway_csrf=abd", "x-csrf-token": "abd"},
    ],
)
def test_a_change_without_it_is_refused(headers: dict[str, str]) -> None:
    """S25"""
    with pytest.raises(Denied, match="csrf"):
        check_csrf(headers)
