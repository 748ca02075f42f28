"""What can be asked of a gateway by its document, and all that can be said of an answer."""

import ipaddress
import itertools
import secrets
from collections.abc import Iterator
from typing import Any, TypeAlias, cast

import requests
import schemathesis
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema

from tests.support.clients import make_token

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
Request: TypeAlias = Case[Any]

# It is the end of the replica that answers; tests/integration/test_drain.py has it.
DRAIN = "/drain"

CALLERS = {"nobody": None, "publisher": ("paula", "publisher"), "admin": ("root", "admin")}

# What fits the schema may be refused: no schema can say that a message comes once, as a parameter
# or as the body, nor which names and passwords are usable.
_PICKY = {"/publish/{channel}", "/register", "/me/password", "/sse/{channel}"}


def operations(document: dict[str, Any], url: str) -> list[Operation]:
    config = SchemathesisConfig.from_dict({"seed": 1, "generation": {"database": "none"}})
    schema: BaseSchema = schemathesis.openapi.from_dict(document, config=config)
    schema.config.update(base_url=url)
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(found) == sum(map(len, document["paths"].values()))
    return [operation for operation in found if operation.path != DRAIN]


def edge_cases(operation: Operation, *modes: GenerationMode) -> Iterator[Request]:
    """Each parameter and field at the edges of what it may be, or of what it may not."""
    yield from operation.schema.iter_coverage_cases(
        operation,
        generation_modes=list(modes),
        generation_config=operation.schema.config.generation,
    )


class Asker(requests.Session):
    """Reads the first words of a stream that never ends, and comes from a new address each time.

    So neither the limits for an address nor those for logins end a long row of requests.
    """

    _numbers = itertools.count(secrets.randbelow(1 << 20))

    def __init__(self, caller: str) -> None:
        super().__init__()
        self._caller = CALLERS[caller]
        load_all_checks()

    def ask(self, case: Request, *unfair: str) -> None:
        """One request, and every check of its answer but the unfair ones."""
        # A token of its own each time, for some of the requests end the one that they came with.
        token = self._caller and make_token(*self._caller)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        excluded = [*unfair, "ignored_auth"]  # it would send our header along; see `nobody`
        if case.operation.path in _PICKY:
            excluded.append("positive_data_acceptance")
        case.call_and_validate(
            session=self,
            headers=headers,
            excluded_checks=[cast(Any, CHECKS.get_one(name)) for name in excluded],
            timeout=10,
        )

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        address = ipaddress.ip_address(0x0A000000 + next(self._numbers))
        request.headers["X-Forwarded-For"] = str(address)
        response = super().send(request, **{**kwargs, "stream": True, "allow_redirects": False})
        if response.headers.get("Content-Type", "").startswith("text/event-stream"):
            response._content = next(response.iter_content(None))
            response.close()
        else:
            assert response.content is not None  # it is read before the next request
        return response
