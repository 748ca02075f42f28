"""Which addresses may be trusted to say who somebody is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.urls import is_loopback, is_trustworthy_url


@pytest.mark.parametrize(
    "url",
    [
        "https://login.example/jwks.json",
        "https://login.example:8443/realms/a/certs?x=1",
        "http://127.0.0.1:8080/keys",
        "http://127.1.2.3/keys",
        "http://[::1]:8080/keys",
        "http://localhost/keys",
        "HTTPS://login.example",
    ],
)
def test_https_and_this_machine_are_trusted(url: str) -> None:
    assert is_trustworthy_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "login.example",
        "//login.example/keys",
        "http://login.example/keys",
        "http://10.0.0.1/keys",
        "http://0.0.0.0/keys",
        "http://127.0.0.1.evil.example/keys",
        "http://localhost.evil.example/keys",
        "http://127.0.0.1@evil.example/keys",
        "https://user:password@login.example/keys",
        "https://",
        "https:///keys",
        "https://login.example:99999/keys",
        "https://login.example:x/keys",
        "https://[::1/keys",
        "https://login.example/keys#part",
        "https://login.example/ke ys",
        "https://login.example/\nkeys",
        "https:\\\\login.example",
        "https://lögin.example/keys",
        "file:///etc/passwd",
        "ftp://127.0.0.1/keys",
        "unix:///run/keys",
        "data:application/json,{}",
    ],
)
def test_everything_else_is_not(url: str) -> None:
    assert not is_trustworthy_url(url)


@given(st.text() | st.text().map("https://{}".format))
def test_no_text_makes_it_stumble(text: str) -> None:
    assert is_trustworthy_url(text) in (True, False)


@pytest.mark.parametrize(
    ("host", "answer"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("a", False)],
)
def test_loopback_is_known_without_asking(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer
