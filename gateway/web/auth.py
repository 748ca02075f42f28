"""Who is calling: the token of a request, from the places where it may stand."""

from collections.abc import Callable

from fastapi import Request

from gateway.core.tokens import TokenVerifier
from gateway.domain.principal import Principal
from gateway.protocols.credentials import find_token

Authenticate = Callable[[Request], Principal]


def authenticator(
    verifier: TokenVerifier, *, token_in_url_allowed: bool, allowed_origins: frozenset[str]
) -> Authenticate:
    """Return the function that every endpoint with a principal calls first."""

    def authenticate(request: Request) -> Principal:
        query: dict[str, list[str]] = {}
        if "token" in request.query_params:
            query["token"] = request.query_params.getlist("token")
        token = find_token(
            request.headers,
            query,
            query_allowed=token_in_url_allowed,
            allowed_origins=allowed_origins,
        )
        return verifier.verify(token)

    return authenticate
