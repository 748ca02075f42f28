"""Why a token may or may not: told to administrators."""

from typing import Any

import pytest

from gateway.domain.principal import Action
from tests.support.accounts import Person, as_admin, assert_problem
from tests.support.clients import Answer, call, make_token
from tests.support.servers import GatewayProcess

ADMIN = make_token("root", "admin")


def explain(gateway: GatewayProcess, **kwargs: Any) -> Answer:
    return call(gateway.http + "/authz/explain", method="POST", token=ADMIN, **kwargs)


def explained(gateway: GatewayProcess, token: str, channel: str | None = None) -> Any:
    answer = explain(gateway, json_body={"token": token, "channel": channel})
    assert answer.status == 200, answer.body
    assert token not in answer.body.decode()
    return answer.json


def test_it_says_what_a_token_may_do_on_a_channel(desk: GatewayProcess) -> None:
    """S33"""
    token = make_token("paula", "publisher", grants={Action.SUBSCRIBE: ["news.*"]})
    found = explained(desk, token, "news.world")
    assert found["accepted"] is True
    assert {"subscribe": True, "publish": True}.items() <= found["allowed"].items()
    found = explained(desk, token, "sports")
    assert {"subscribe": False, "publish": True}.items() <= found["allowed"].items()
    (why,) = [step["detail"] for step in found["steps"] if step["step"] == "subscribe"]
    assert why.startswith("grant: ")


def test_without_a_channel_it_is_about_the_token_alone(desk: GatewayProcess) -> None:
    found = explained(desk, make_token("paula"))
    assert (found["accepted"], found["channel"], found["allowed"]) == (True, None, {})


def test_a_revoked_token_is_seen_as_such(alice: Person, desk: GatewayProcess) -> None:
    """S13"""
    assert explained(desk, alice.access_token)["accepted"] is True
    as_admin(desk.http, f"/users/{alice.name}/disable")
    found = explained(desk, alice.access_token, "room")
    assert found["accepted"] is False
    assert found["steps"][-1]["step"] == "revocation"
    assert "disabled" in found["steps"][-1]["detail"]


@pytest.mark.parametrize("token", ["zzz", "a.b.c", "\u202e\n\x1b[31m", "x" * 15_000])
def test_what_is_no_token_is_explained_too(desk: GatewayProcess, token: str) -> None:
    """S01, S37"""
    found = explained(desk, token)
    assert found["accepted"] is False
    assert all(step["detail"].isprintable() for step in found["steps"])


@pytest.mark.parametrize("channel", ["a b", "a*", "x" * 5000, "a\nb"])
def test_what_is_no_channel_is_explained_or_refused(desk: GatewayProcess, channel: str) -> None:
    answer = explain(desk, json_body={"token": make_token(), "channel": channel})
    if answer.status == 200:
        assert answer.json["steps"][-1]["step"] == "channel"
        assert answer.json["steps"][-1]["passed"] is False
    else:
        assert_problem(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [{}, {"token": None}, {"token": 1}, {"token": ["x"]}, {"token": "x", "channel": 1}, [], "x"],
)
def test_a_question_names_a_token(desk: GatewayProcess, body: object) -> None:
    assert_problem(explain(desk, json_body=body), 422, "invalid_request")


def test_only_an_administrator_may_ask(alice: Person) -> None:
    """S48"""
    body = {"token": alice.access_token}
    assert_problem(alice.authorized("/authz/explain", json_body=body), 403, "denied")
    assert_problem(alice.call("/authz/explain", json_body=body), 401, "invalid_token")
