"""What the settings of every topic are built on, and where their values come from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "GATEWAY_"


def split_words(value: object) -> object:
    if isinstance(value, str):
        return [word for part in value.split(",") if (word := part.strip())]
    return value


Words = Annotated[list[str], NoDecode, BeforeValidator(split_words)]
"""A list, written in the environment with commas."""


class Topic(BaseSettings):
    """Some of the settings; together they are `gateway.settings.Settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        env_file_encoding="utf-8",
        dotenv_filtering="only_existing",  # other programs keep their lines in the same file
        allow_inf_nan=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources = [init_settings, env_settings, dotenv_settings, file_secret_settings]
        lines = dotenv_settings.env_vars if isinstance(dotenv_settings, EnvSettingsSource) else {}
        if config := source_path("config", lines):
            sources.append(TomlConfigSettingsSource(settings_cls, Path(config)))
        return tuple(sources)


def source_path(name: str, lines: Mapping[str, str | None]) -> str | None:
    """The path of another source, from the environment or from the lines of ``.env``."""
    name = PREFIX + name.upper()
    return os.environ.get(name) or lines.get(name.lower())
