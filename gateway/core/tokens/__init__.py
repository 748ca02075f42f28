"""Where a token becomes a principal, and the only package that knows python-jose.

python-jose checks signatures well and almost nothing else: it takes tokens without ``aud`` or
``exp``, ignores ``kid`` and ``crit``, accepts many spellings of one token, and lets a
RecursionError escape from a crafted header. So the library is asked for keys and signatures
alone (`keys`); the token's form is checked before it sees anything (`form`), and the claims are
checked here, too (`claims`). `verifier` puts the steps in their order, `issuer` signs, and
`ring` holds the public keys of other issuers.
"""

from gateway.core.tokens.claims import RefreshClaims
from gateway.core.tokens.client import ConnectionToken, ServerSub, SubscriptionToken
from gateway.core.tokens.form import ACCESS_TYPE, REFRESH_TYPE, TOKEN_BYTES_MAX
from gateway.core.tokens.issuer import TokenIssuer
from gateway.core.tokens.keys import (
    ALGORITHMS,
    PUBLIC_KEY_ALGORITHMS,
    SECRET_ALGORITHMS,
    SECRET_BYTES_MIN,
    PublicKey,
    SigningKey,
    VerifyingKey,
)
from gateway.core.tokens.ring import KeyRing
from gateway.core.tokens.steps import Reading
from gateway.core.tokens.verifier import ExternalIssuer, TokenVerifier

__all__ = [
    "ACCESS_TYPE",
    "ALGORITHMS",
    "PUBLIC_KEY_ALGORITHMS",
    "REFRESH_TYPE",
    "SECRET_ALGORITHMS",
    "SECRET_BYTES_MIN",
    "TOKEN_BYTES_MAX",
    "ConnectionToken",
    "ExternalIssuer",
    "KeyRing",
    "PublicKey",
    "Reading",
    "RefreshClaims",
    "ServerSub",
    "SigningKey",
    "SubscriptionToken",
    "TokenIssuer",
    "TokenVerifier",
    "VerifyingKey",
]
