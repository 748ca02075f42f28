"""Who is calling: the one place where an HTTP request becomes a principal."""

from collections.abc import Callable, Sequence, Set

from fastapi import Request

from gateway.core.addresses import Network, client_address
from gateway.core.tokens import TokenVerifier
from gateway.domain.errors import InvalidRequest, InvalidToken
from gateway.domain.principal import Principal
from gateway.protocols.credentials import check_csrf, check_origin, find_token

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}

Authenticate = Callable[[Request], Principal]


class Callers:
    """``trusted_networks`` are the proxies that are believed about an address."""

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        token_in_url_allowed: bool,
        allowed_origins: Set[str],
        trusted_networks: Sequence[Network],
    ) -> None:
        self._verifier = verifier
        self._token_in_url_allowed = token_in_url_allowed
        self._allowed_origins = allowed_origins
        self._trusted_networks = trusted_networks

    def authenticate(self, request: Request) -> Principal:
        """Raises `InvalidToken`, `InvalidRequest` or `Denied`."""
        if len(request.headers.getlist("authorization")) > 1:
            raise InvalidRequest("two Authorization headers were sent; which one counts?")
        query: dict[str, list[str]] = {}
        if "token" in request.query_params:
            query["token"] = request.query_params.getlist("token")
        try:
            token = find_token(
                request.headers,
                query,
                query_allowed=self._token_in_url_allowed,
                allowed_origins=self._allowed_origins,
            )
        except InvalidToken:
            self._verifier.failures["missing"] += 1
            raise
        if token.is_cookie and request.method not in _SAFE_METHODS:
            check_csrf(request.headers)
        return self._verifier.verify(token.text)

    def require_admin(self, request: Request) -> Principal:
        principal = self.authenticate(request)
        principal.require_admin()
        return principal

    def check_page(self, request: Request) -> None:
        """Raise `Denied` where a foreign page asks for a cookie; programs have no origin.

        It could make a browser log in as somebody of its choice, who then reads what its user
        says.
        """
        if "origin" in request.headers:
            check_origin(request.headers, self._allowed_origins, required=True)

    def address(self, request: Request) -> str:
        """Where the request comes from; "" where that is no network."""
        peer = request.client.host if request.client else ""
        forwarded_for = ",".join(request.headers.getlist("x-forwarded-for"))
        return client_address(peer, forwarded_for, self._trusted_networks)
