"""What the settings say about keys: our own retired ones, and those of other issuers."""

import re
from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from gateway.domain.urls import is_trustworthy_url

SECRET_ALGORITHM = "^HS(256|384|512)$"
PUBLIC_KEY_ALGORITHM = "^(RS(256|384|512)|ES(256|384))$"
ALGORITHM = "^([HR]S(256|384|512)|ES(256|384))$"


class RetiredKey(BaseModel, extra="forbid"):
    """A key that signed before; it verifies until ``verify_until`` (seconds since 1970).

    Of a key pair only the public half is needed any more, in a file.
    """

    kid: str = Field(min_length=1)
    secret: SecretStr | None = None
    public_key_file: Path | None = None
    algorithm: str | None = Field(None, pattern=ALGORITHM)
    verify_until: float = Field(allow_inf_nan=False)

    @field_validator("secret")
    @classmethod
    def _long_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        return None if secret is None else check_secret(secret)

    @field_validator("public_key_file")
    @classmethod
    def _file(cls, path: Path | None) -> Path | None:
        return check_file(path)

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.secret is None) == (self.public_key_file is None):
            raise ValueError("a retired key has a secret or a public_key_file")
        return self

    def algorithm_or(self, default: str) -> str:
        """Its algorithm, where ``default`` is that of the current key; raises `ValueError`."""
        algorithm = self.algorithm or default
        pattern = PUBLIC_KEY_ALGORITHM if self.secret is None else SECRET_ALGORITHM
        if not re.fullmatch(pattern, algorithm):
            kind = "secret is for HS*" if self.secret else "public key is for RS* and ES*"
            raise ValueError(f"a {kind}, not for {algorithm}; say which in its algorithm")
        return algorithm


class IssuerSettings(BaseModel, extra="forbid"):
    """Somebody else whose access tokens are accepted, and where its public keys are listed."""

    issuer: str = Field(min_length=1)
    audience: str = Field(min_length=1)
    algorithms: list[str] = Field(["RS256"], min_length=1)
    jwks_url: str | None = None
    jwks_file: Path | None = None

    @field_validator("algorithms")
    @classmethod
    def _public_ones(cls, algorithms: list[str]) -> list[str]:
        if not all(re.fullmatch(PUBLIC_KEY_ALGORITHM, name) for name in algorithms):
            raise ValueError("another issuer signs with RS256, RS384, RS512, ES256 or ES384")
        return algorithms

    @field_validator("jwks_url")
    @classmethod
    def _trustworthy(cls, url: str | None) -> str | None:
        if url is not None and not is_trustworthy_url(url):
            raise ValueError(
                "written like https://login.example/jwks.json, without a user in it: "
                "whoever can change the answer can sign any token"
            )
        return url

    @field_validator("jwks_file")
    @classmethod
    def _file(cls, path: Path | None) -> Path | None:
        return check_file(path)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise ValueError("the keys of an issuer come from a jwks_url or from a jwks_file")
        return self


def check_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if len(text.encode()) < 32 or len(set(text.encode())) < 8:
        raise ValueError("a secret has at least 32 random bytes: openssl rand -base64 48")
    if re.search("-----BEGIN |ssh-(rsa|dss|ed25519)|ecdsa-sha2-", text):
        raise ValueError("a secret is random text, not one half of a key pair")
    return secret


def check_file(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise ValueError(f"{path} is not a file")
    return path
