"""People with accounts: each from an address of its own, so that no limit is shared by tests."""

import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from tests.support.clients import Answer, call, make_token

PASSWORD = "correct horse battery staple"
TRUSTED: dict[str, Any] = {"trusted_proxies": "127.0.0.1"}
"""The setting with which a gateway believes an address that `Person` claims to have."""


class Person:
    """Somebody who talks to a gateway over HTTP; ``name`` is new unless it is given."""

    def __init__(self, http: str, name: str | None = None, *, address: str | None = None) -> None:
        self.http = http
        self.name = name or f"p-{secrets.token_hex(6)}"
        self.address = address or ".".join(["10", *(str(byte) for byte in secrets.token_bytes(3))])
        self.tokens: dict[str, Any] = {}

    def call(
        self,
        path: str,
        *,
        method: str = "POST",
        form: Mapping[str, str] | list[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        **kwargs: Any,
    ) -> Answer:
        headers = {"X-Forwarded-For": self.address, **(headers or {})}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            kwargs["body"] = urlencode(form).encode()
        return call(self.http + path, method=method, headers=headers, token=token, **kwargs)

    def authorized(self, path: str, **kwargs: Any) -> Answer:
        """A call with the access token of the last login."""
        return self.call(path, token=self.access_token, **kwargs)

    def register(self, **fields: object) -> Answer:
        body = {"username": self.name, "password": PASSWORD, **fields}
        return self.call("/register", json_body=body)

    def log_in(self, password: str = PASSWORD, path: str = "/login") -> Answer:
        answer = self.call(path, json_body={"username": self.name, "password": password})
        if answer.status == 200:
            self.tokens = answer.json
        return answer

    @property
    def access_token(self) -> str:
        return str(self.tokens["access_token"])

    @property
    def refresh_token(self) -> str:
        return str(self.tokens["refresh_token"])

    def refresh(self, token: str | None = None) -> Answer:
        return self.call("/refresh", json_body={"refresh_token": token or self.refresh_token})

    def is_accepted(self, token: str | None = None) -> bool:
        """Whether an access token counts."""
        answer = self.call("/protected", method="GET", token=token or self.access_token)
        assert answer.status in (200, 401), answer.body
        return answer.status == 200


def member(http: str, *roles: str, name: str | None = None) -> Person:
    """Somebody who has an account, with these roles, and is logged in."""
    person = Person(http, name)
    assert person.register().status == 201
    if roles:
        as_admin(http, f"/users/{person.name}/roles", "PUT", {"roles": list(roles)})
    assert person.log_in().status == 200
    return person


def as_admin(http: str, path: str, method: str = "POST", json_body: object = None) -> Answer:
    """What an administrator does; it has to work."""
    token = make_token("root", "admin")
    answer = call(http + path, method=method, json_body=json_body, token=token)
    assert answer.status == 200, answer.body
    return answer


def assert_problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in answer.body.decode()
    return problem
