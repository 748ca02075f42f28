"""Who may call the server API, besides users with a token."""

import json
from typing import Annotated, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from gateway.domain.channels import is_pattern
from gateway.protocols.server_api.reading import METHODS
from gateway.settings.base import Topic
from gateway.settings.keys import check_secret


class ApiKeySettings(BaseModel, extra="forbid"):
    """A key that is known by its hash alone, and what it is good for; None: everything."""

    name: str = Field(pattern=r"^[A-Za-z0-9_\-.]{1,64}$")
    key_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    methods: list[str] | None = Field(None, min_length=1)
    channels: list[str] | None = Field(None, min_length=1)

    @field_validator("methods")
    @classmethod
    def _there(cls, methods: list[str] | None) -> list[str] | None:
        if unknown := sorted(set(methods or ()) - METHODS):
            known = ", ".join(sorted(METHODS))
            raise ValueError(f"there is no method {unknown[0]}; there are {known}")
        return methods

    @field_validator("channels")
    @classmethod
    def _patterns(cls, channels: list[str] | None) -> list[str] | None:
        if not all(map(is_pattern, channels or ())):
            raise ValueError("a pattern is a channel name in which * stands for anything")
        return channels


class ApiSettings(Topic):
    api_key: SecretStr | None = Field(
        None,
        description="A key for all of the server API (POST /api/…). Without one it needs a token.",
    )
    api_keys: Annotated[list[ApiKeySettings], NoDecode] = Field(
        [],
        description="Keys for some of it: [[api_keys]] in the TOML file, or JSON, with name, "
        "key_sha256 (see gateway api-key), methods and channels.",
    )
    api_key_in_url: bool = Field(
        False, description="Accept ?api_key=. A key lives long, and URLs are logged by others."
    )

    @field_validator("api_key")
    @classmethod
    def _long_key(cls, key: SecretStr | None) -> SecretStr | None:
        return None if key is None else check_secret(key)

    @field_validator("api_keys", mode="before")
    @classmethod
    def _decode_keys(cls, value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            raise ValueError("a JSON list of objects") from None

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        for field in ("name", "key_sha256"):
            values = [getattr(key, field) for key in self.api_keys]
            if len(set(values)) < len(values):
                raise ValueError(f"api_keys: two keys have the same {field}")
        return self
