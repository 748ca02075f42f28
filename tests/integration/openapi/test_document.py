"""Every answer is one that /openapi.json describes, whatever is asked and whoever asks."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.integration.openapi.asking import (
    CALLERS,
    Asker,
    Operation,
    Request,
    edge_cases,
    operations,
)
from tests.support.clients import Answer, call, make_token
from tests.support.servers import GatewayProcess

BOTH = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
MEDIA: dict[str, Callable[[Any], dict[str, Any]]] = {
    "application/json": lambda value: {"json_body": value},
    "application/x-www-form-urlencoded": lambda value: {"body": urlencode(value).encode()},
    "text/plain": lambda value: {"body": value.encode()},
}
# No example of a token can be a good one.
REFUSED = {"/refresh": 401, "/token/refresh": 401}


def test_every_answer_to_what_may_be_asked_and_may_not_is_described(
    document: dict[str, Any], documented: GatewayProcess
) -> None:
    asked = _ask_all(
        document, documented, "admin", GenerationMode.POSITIVE, GenerationMode.NEGATIVE
    )
    assert asked > 900


@pytest.mark.parametrize("caller", ["nobody", "publisher"])
def test_every_answer_to_who_may_do_less_is_described(
    document: dict[str, Any], documented: GatewayProcess, caller: str
) -> None:
    assert _ask_all(document, documented, caller, GenerationMode.POSITIVE) > 100


def _ask_all(
    document: dict[str, Any], gateway: GatewayProcess, caller: str, *modes: GenerationMode
) -> int:
    asked = 0
    with Asker(caller) as asker:
        for operation in operations(document, gateway.http):
            for case in edge_cases(operation, *modes):
                asker.ask(case)
                asked += 1
    return asked


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("caller", CALLERS)
def test_every_answer_to_anything_at_all_is_described(
    document: dict[str, Any], documented: GatewayProcess, caller: str
) -> None:
    with Asker(caller) as asker:
        for operation in operations(document, documented.http):
            for mode in BOTH:
                _fuzz(operation, mode, asker)


def _fuzz(operation: Operation, mode: GenerationMode, asker: Asker) -> None:
    # A schema does not say all that a name has to be; and an error of the server API is a 200.
    unfair = ["positive_data_acceptance"]
    if operation.path.startswith("/api/"):
        unfair.append("negative_data_rejection")

    @seed(1)
    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Request) -> None:
        asker.ask(case, *unfair)

    try:
        ask()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE  # there is nothing that could be wrong


def test_who_has_no_token_gets_nothing_where_the_document_asks_for_one(
    document: dict[str, Any], documented: GatewayProcess
) -> None:
    guarded = [one for one in _each(document) if one[2].get("security")]
    assert len(guarded) > 25
    for path, method, _ in guarded:
        url = documented.http + path.format(channel="noticias", name="bob")
        for token in None, "eyJhbGciOi", make_token(ttl=7200)[:-3] + "abc":
            assert call(url, method=method, token=token).status == 401, (method, path)


def test_every_example_of_a_body_works_as_it_stands(
    document: dict[str, Any], documented: GatewayProcess
) -> None:
    posted = 0
    call(documented.http + "/register", json_body=_example(document, "/register"))
    # The last one changes the password, and with it ends the token that it came with.
    for path, method, operation in sorted(_each(document), key=_ends_the_token):
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            examples = content.get("examples", {"": {"value": content.get("example")}})
            for example in examples.values():
                assert example["value"] is not None, path
                answer = _post(documented.http, path, method, media, example["value"])
                expected = REFUSED.get(path, 409 if path == "/register" else 200)
                if path == "/me/password" and "json" not in media:
                    expected = 401  # it is another one by now
                assert answer.status == expected, (path, media, answer.body)
                assert b'"error"' not in answer.body or path == "/api/rpc", answer.body
                posted += 1
    assert posted > 25


def test_every_body_has_an_example_and_every_refusal_is_a_problem(document: dict[str, Any]) -> None:
    for path, _, operation in _each(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert "example" in content or "examples" in content, path
            assert "schema" in content, path
        for status, response in operation["responses"].items():
            if status.startswith("4") and not path.startswith("/api/"):
                assert [*response["content"]] == ["application/problem+json"], (path, status)
            elif status.startswith("2"):
                assert response["content"], (path, status)


def test_what_can_be_wrong_with_a_body_is_described(
    document: dict[str, Any], documented: GatewayProcess
) -> None:
    wrong = ((b"x", "a/b", 415), (b" " * 2_000_000, "application/json", 413))
    for path, method, operation in _each(document):
        if "requestBody" not in operation or path.startswith("/api/"):
            continue
        url = documented.http + path.format(channel="noticias", name="bob")
        for body, media, status in (*wrong, (b"{", "application/json", 422)):
            headers, token = {"Content-Type": media}, make_token("root", "admin")
            answer = call(url, method=method, token=token, headers=headers, body=body)
            assert answer.status == status, path
            assert str(status) in operation["responses"], path


def _each(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def _ends_the_token(one: tuple[str, str, dict[str, Any]]) -> bool:
    return one[0] == "/me/password"


def _example(document: dict[str, Any], path: str) -> Any:
    return document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]


def _post(http: str, path: str, method: str, media: str, value: Any) -> Answer:
    url = http + path.format(channel=quote("noticias"), name="bob")
    roles = ("publisher",) if path == "/me/password" else ("publisher", "admin")
    token = make_token("alice", *roles)
    headers = {"Content-Type": media}
    return call(url, method=method, token=token, headers=headers, **MEDIA[media](value))
