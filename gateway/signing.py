"""Keys and tokens, from what the settings say."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from gateway.adapters.files.jwks import FileJwksSource
from gateway.configuration import SECRET_IS_NEEDED, ConfigurationError
from gateway.core.jwks import JwksKeeper
from gateway.core.server_api.callers import ApiKey, digest_of
from gateway.core.tokens import (
    ExternalIssuer,
    KeyRing,
    PublicKey,
    SigningKey,
    TokenIssuer,
    TokenVerifier,
    VerifyingKey,
)
from gateway.domain.principal import Principal
from gateway.ports.jwks import JwksSource
from gateway.settings import RetiredKey, Settings


def make_verifier(
    settings: Settings,
    *,
    keepers: Sequence[JwksKeeper] = (),
    check: Callable[[Principal], None] | None = None,
) -> TokenVerifier:
    """``keepers`` are those of `make_keepers`: one for each of ``jwt_issuers``."""
    retired = [_retired_key(settings, key) for key in settings.jwt_retired_keys]
    external = [
        ExternalIssuer(other.issuer, other.audience, other.algorithms, keeper.ring)
        for other, keeper in zip(settings.jwt_issuers, keepers, strict=True)
    ]
    return TokenVerifier(
        [*retired, _signing_key(settings)],
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        leeway_seconds=settings.jwt_leeway_seconds,
        lifetime_seconds_max=settings.jwt_lifetime_seconds_max,
        external=external,
        check=check,
    )


def make_api_keys(settings: Settings) -> list[ApiKey]:
    """The keys of the server API."""
    keys = [
        ApiKey(
            key.name,
            bytes.fromhex(key.key_sha256),
            None if key.methods is None else frozenset(key.methods),
            None if key.channels is None else tuple(key.channels),
        )
        for key in settings.api_keys
    ]
    if settings.api_key is not None:
        keys.append(ApiKey("GATEWAY_API_KEY", digest_of(settings.api_key.get_secret_value())))
    return keys


def make_keepers(settings: Settings) -> list[JwksKeeper]:
    """What keeps the keys of other issuers, for the lifetime of the gateway."""
    keepers = []
    for other in settings.jwt_issuers:
        if other.jwks_file is not None:
            source: JwksSource = FileJwksSource(other.jwks_file)
        else:
            # Costs as much as everything else together, and most gateways need none of it.
            from gateway.adapters.http.jwks import HttpJwksSource

            source = HttpJwksSource(str(other.jwks_url))
        keepers.append(JwksKeeper(source, KeyRing(other.issuer)))
    return keepers


def make_issuer(settings: Settings) -> TokenIssuer:
    return TokenIssuer(
        _signing_key(settings),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        lifetime_seconds_max=settings.jwt_lifetime_seconds_max,
    )


def with_secret(settings: Settings) -> Settings:
    """Make up a secret for this run where that is enough; raises `ConfigurationError` elsewhere."""
    if settings.has_signing_key or not settings.secret_may_be_made_up:
        _signing_key(settings)
        return settings
    return settings.model_copy(update={"jwt_secret": SecretStr(secrets.token_urlsafe(48))})


def signing_secret(settings: Settings) -> bytes:
    """Random bytes that all replicas know and nobody else; never used as they are."""
    path = settings.jwt_private_key_file
    if path is None:
        return _secret(settings).encode()
    with _named("JWT_PRIVATE_KEY_FILE", path):
        return path.read_bytes()


def _signing_key(settings: Settings) -> SigningKey:
    kid, algorithm, path = settings.jwt_kid, settings.jwt_algorithm, settings.jwt_private_key_file
    if path is None:
        return SigningKey(kid, _secret(settings).encode(), algorithm=algorithm)
    with _named("JWT_PRIVATE_KEY_FILE", path):
        return SigningKey(kid, path.read_bytes(), algorithm=algorithm)


def _retired_key(settings: Settings, key: RetiredKey) -> VerifyingKey:
    algorithm, path = key.algorithm_or(settings.jwt_algorithm), key.public_key_file
    if key.secret is not None:
        secret = key.secret.get_secret_value().encode()
        return SigningKey(key.kid, secret, key.verify_until, algorithm=algorithm)
    assert path is not None
    with _named("JWT_RETIRED_KEYS", path):
        return PublicKey.from_pem(key.kid, path.read_bytes(), algorithm, key.verify_until)


@contextmanager
def _named(name: str, path: Path) -> Iterator[None]:
    """Say which setting and file an error is about."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"GATEWAY_{name}: {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"GATEWAY_{name}: {path}: {error}") from None


def _secret(settings: Settings) -> str:
    if settings.jwt_secret is None:
        raise ConfigurationError(SECRET_IS_NEEDED)
    return settings.jwt_secret.get_secret_value()
