"""Whose tokens are accepted, for how long, and what they are good for."""

import json
import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from gateway.settings.base import Topic, Words
from gateway.settings.keys import (
    ALGORITHM,
    SECRET_ALGORITHM,
    IssuerSettings,
    RetiredKey,
    check_file,
    check_secret,
)

_CLOCK_SECONDS = 2  # the clocks of replicas differ a little


class TokenSettings(Topic):
    jwt_secret: SecretStr | None = Field(
        None, description="Signs and verifies tokens: at least 32 random bytes."
    )
    jwt_private_key_file: Path | None = Field(
        None, description="Signs with RS* or ES* instead: a private key, PEM, without a password."
    )
    jwt_kid: str = Field("1", min_length=1, description="Name of that key, in a token's header.")
    jwt_retired_keys: Annotated[list[RetiredKey], NoDecode] = Field(
        [],
        description="Earlier keys that still verify, as JSON with kid, verify_until, and secret "
        "or public_key_file; algorithm, where it is another.",
    )
    jwt_algorithm: str = Field(
        "HS256", pattern=ALGORITHM, description="The one algorithm of our key: HS*, RS* or ES*."
    )
    jwt_issuers: Annotated[list[IssuerSettings], NoDecode] = Field(
        [],
        description="Others whose access tokens count here: [[jwt_issuers]] in the TOML file, or "
        "JSON, with issuer, audience, algorithms, and jwks_url or jwks_file.",
    )
    jwt_issuer: str = Field("gateway", min_length=1, description="Required value of iss.")
    jwt_audience: str = Field("gateway", min_length=1, description="Required value of aud.")
    jwt_leeway_seconds: int = Field(
        5, ge=1, le=300, description="How far the clocks of issuer and gateway may differ."
    )
    jwt_lifetime_seconds_max: int = Field(
        86_400, ge=60, description="Longest exp - iat; a stolen token is of use no longer."
    )
    access_token_seconds: int = Field(
        900, ge=60, description="How long an access token lives that a login or a refresh gives."
    )
    refresh_token_seconds: int = Field(
        2_592_000,
        ge=60,
        le=31_536_000,
        description="How long a login lives; then its user gives the password again.",
    )
    refresh_grace_seconds: int = Field(
        10,
        ge=0,
        le=300,
        description="How long a refresh may be repeated whose answer was lost. Later it ends the "
        "login: somebody else has the token, too.",
    )
    ticket_seconds: int = Field(
        30, ge=1, le=300, description="How long a ticket of POST /ticket admits; once only."
    )
    expiry_notice_seconds: int = Field(
        30, ge=0, description="How long before its token expires a socket is told; 0 never."
    )
    token_in_url: bool = Field(
        True, description="Accept ?token=. It is never logged here, but it is by others."
    )
    allowed_origins: Words = Field(
        [],
        description="Origins of pages that may connect, besides our own. Empty: any with a token.",
    )

    @field_validator("jwt_retired_keys", "jwt_issuers", mode="before")
    @classmethod
    def _decode(cls, value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            raise ValueError("a JSON list of objects") from None

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/*\sA-Z]+", origin):
                raise ValueError(
                    "an origin is written like https://app.example: lower case, no path, no star"
                )
        return origins

    @field_validator("jwt_secret")
    @classmethod
    def _long_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        return None if secret is None else check_secret(secret)

    @field_validator("jwt_private_key_file")
    @classmethod
    def _key_file(cls, path: Path | None) -> Path | None:
        return check_file(path)

    @model_validator(mode="after")
    def _kids_differ(self) -> Self:
        kids = [self.jwt_kid, *(key.kid for key in self.jwt_retired_keys)]
        if len(set(kids)) < len(kids):
            raise ValueError("jwt_kid and jwt_retired_keys: every key needs a name of its own")
        return self

    @model_validator(mode="after")
    def _keys_fit_algorithms(self) -> Self:
        is_secret = re.fullmatch(SECRET_ALGORITHM, self.jwt_algorithm) is not None
        if is_secret == (self.jwt_private_key_file is not None):
            raise ValueError(
                "jwt_algorithm and jwt_private_key_file: RS* and ES* sign with a private key, "
                "HS* with jwt_secret"
            )
        for index, key in enumerate(self.jwt_retired_keys):
            try:
                key.algorithm_or(self.jwt_algorithm)
            except ValueError as error:
                raise ValueError(f"jwt_retired_keys.{index}: {error}") from None
        return self

    @model_validator(mode="after")
    def _issuers_differ(self) -> Self:
        names = [self.jwt_issuer, *(other.issuer for other in self.jwt_issuers)]
        if len(set(names)) < len(names):
            raise ValueError("jwt_issuer and jwt_issuers: every issuer needs a name of its own")
        return self

    @model_validator(mode="after")
    def _access_tokens_may_live(self) -> Self:
        if self.access_token_seconds > self.jwt_lifetime_seconds_max:
            raise ValueError("access_token_seconds is at most jwt_lifetime_seconds_max")
        return self

    @property
    def has_signing_key(self) -> bool:
        """Whether tokens can be signed without making a secret up."""
        return self.jwt_secret is not None or self.jwt_private_key_file is not None

    @property
    def token_seconds_max(self) -> int:
        """How long any access token could be valid after its making: so long it stays revoked."""
        return self.jwt_lifetime_seconds_max + self.jwt_leeway_seconds + _CLOCK_SECONDS
