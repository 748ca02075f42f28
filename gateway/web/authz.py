"""Why somebody may or may not do something, for administrators."""

from fastapi import APIRouter, Request

from gateway.core.explain import explain
from gateway.core.tokens import TokenVerifier
from gateway.domain.principal import Permissions
from gateway.web import answers
from gateway.web.auth import Callers
from gateway.web.bodies import optional_text_field, read_fields, text_field
from gateway.web.document import answering, body_of
from gateway.web.logins import swagger_login


def router(verifier: TokenVerifier, permissions: Permissions, callers: Callers) -> APIRouter:
    routes = APIRouter(tags=["operate"])

    @routes.post(
        "/authz/explain",
        dependencies=[swagger_login],
        openapi_extra=body_of({"token": "eyJhbGciOi…"}, {"channel": "noticias"}),
        **answering(answers.Explained, 401, 403, 413, 415, 422),
    )
    async def explain_token(request: Request) -> dict[str, object]:
        """Which claim and which rule decide about a token and a channel. Needs the role `admin`."""
        callers.require_admin(request)
        fields = await read_fields(request)
        channel = optional_text_field(fields, "channel") or None
        token = text_field(fields, "token", length_max=16_000)
        return explain(verifier, permissions, token, channel).as_dict()

    return routes
