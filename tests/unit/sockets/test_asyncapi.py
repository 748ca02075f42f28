"""The AsyncAPI document by itself; integration/asyncapi holds it against a gateway."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator

from gateway.sockets import closing
from gateway.sockets.asyncapi import document

DOCUMENT = document("1.2.3")
MESSAGES = DOCUMENT["components"]["messages"]


def test_every_reference_leads_somewhere() -> None:
    found = [*references(DOCUMENT)]
    assert len(found) > 100
    for reference in found:
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_message_is_said_by_somebody() -> None:
    said = {reference.rpartition("/")[2] for reference in references(DOCUMENT["operations"])}
    assert MESSAGES.keys() <= said


EXAMPLES = {
    name: example["payload"]
    for name, message in MESSAGES.items()
    for example in message.get("examples", ())
}


@pytest.mark.parametrize(("name", "payload"), EXAMPLES.items(), ids=EXAMPLES)
def test_an_example_is_one_of_its_message_alone(name: str, payload: object) -> None:
    media = MESSAGES[name]["contentType"]
    channels = [channel["messages"].keys() for channel in DOCUMENT["channels"].values()]
    together = set().union(*(names for names in channels if name in names))
    others = {each for each in together if MESSAGES[each]["contentType"] == media}
    fit = {each for each in others if Draft7Validator(schema_of(each)).is_valid(payload)}
    assert name in fit
    if media == "application/json":
        assert fit == {name}


def schema_of(name: str) -> dict[str, Any]:
    return {**DOCUMENT, "$ref": f"#/components/messages/{name}/payload"}


def test_a_command_has_the_fields_that_its_reader_asks_for() -> None:
    def fields(method: str) -> dict[str, Any]:
        payload = MESSAGES[f"{method}Command"]["payload"]
        found: dict[str, Any] = payload["properties"][method]["properties"]
        return found

    assert fields("subscribe").keys() >= {
        *("channel", "token", "data", "recover", "epoch", "offset", "flag", "type", "delta")
    }
    assert fields("connect")["subs"]["additionalProperties"]["properties"].keys() == {
        *("recover", "epoch", "offset")
    }
    assert fields("history")["since"]["properties"].keys() == {"epoch", "offset"}
    assert fields("history")["limit"]["minimum"] < 0


def test_every_code_that_we_close_with_is_there() -> None:
    ours = {str(value) for value in vars(closing).values() if type(value) is int}
    assert len(ours) == 5
    assert ours <= DOCUMENT["channels"]["plain"]["x-close-codes"].keys()
    assert DOCUMENT["channels"]["clients"]["x-close-codes"]["3501"] == "bad request"
