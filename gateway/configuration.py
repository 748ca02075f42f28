"""Reading the settings from all their sources, and saying in one line what is wrong with them."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from gateway.domain.namespaces import Namespace, Who
from gateway.settings import PREFIX, NamespaceSettings, Settings, source_path

_SOURCES = ("config", "secrets_dir")
SECRET_IS_NEEDED = (
    "GATEWAY_JWT_SECRET is needed with Redis, on a public address and in production: "
    "'gateway secrets --env-file .env' makes one"
)
_OF_CLIENTS = ("url", "token")  # what `gateway listen` and its like read; no setting of a gateway


class ConfigurationError(Exception):
    """The settings cannot be used; the text is one line for the operator, without secrets.

    ``mistakes`` are its parts: a line for each thing that is wrong.
    """

    def __init__(self, *mistakes: str) -> None:
        # What they name, a path for example, may have been given in several lines.
        self.mistakes = [" ".join(mistake.splitlines()) for mistake in mistakes]
        super().__init__("; ".join(self.mistakes))


def load(*, env_file: Path | None = Path(".env"), **overrides: Any) -> Settings:
    """Read the settings; raises `ConfigurationError` with one clear line.

    ``overrides`` are the command line's; None means that it said nothing.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        secrets_dir = _check_sources(env_file)
        return Settings(_env_file=env_file, _secrets_dir=secrets_dir, **given)
    except ValidationError as error:
        raise ConfigurationError(*_explain_all(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"GATEWAY_CONFIG: not a TOML file: {error}") from None
    except RecursionError:
        raise ConfigurationError("a setting in JSON or TOML is nested too deeply") from None
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(_unreadable(error)) from None


def _explain_all(errors: ValidationError) -> Iterator[str]:
    for error in errors.errors():
        message = str(error["msg"]).removeprefix("Value error, ")
        if error["loc"]:
            yield _explain(error["loc"], error["type"], message)
        else:
            yield from message.splitlines()


def _explain(place: tuple[int | str, ...], kind: str, message: str) -> str:
    # Never the value: it may be the secret, or a URL with a password.
    if place[0] == "namespaces" and len(place) > 1:
        return (
            f"{PREFIX}NAMESPACES: [namespaces.{place[1]}] {_in_section(place[2:], kind, message)}"
        )
    name = ".".join(map(str, place))
    if kind == "extra_forbidden":
        return _unknown(name.removeprefix(PREFIX.lower()))
    return f"{PREFIX}{name.upper()}: {message}"


def _in_section(place: tuple[int | str, ...], kind: str, message: str) -> str:
    if not place:
        return "is a section, not a value"
    if place[0] == "[key]":
        return "is no name of a namespace: 1 to 100 of A-Z a-z 0-9 _ - . @ ~ # $"
    name = str(place[0])
    if kind != "extra_forbidden":
        return f"{name}: {message}"
    known = [*NamespaceSettings.model_fields]
    close = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    return f"{name}: no such setting; {hint}"


def _unreadable(error: Exception) -> str:
    cause = error.__cause__ or error
    if isinstance(cause, OSError):
        return f"{cause.filename}: {cause.strerror}"
    if isinstance(cause, UnicodeDecodeError):
        return "a file with settings is not written in UTF-8"
    field = re.search(r'field "(\w+)"', str(error))
    return f"{PREFIX}{field[1].upper()}: not written in JSON" if field else str(error)


def _check_sources(env_file: Path | None) -> str | None:
    """Refuse sources that are not there and names that nobody knows; return GATEWAY_SECRETS_DIR."""
    lines: dict[str, str | None] = {}
    if env_file is not None and env_file.is_file():
        lines = {name.lower(): value for name, value in dotenv_values(env_file).items()}
    config, secrets_dir = source_path("config", lines), source_path("secrets_dir", lines)
    if config and not Path(config).is_file():
        raise ConfigurationError(f"GATEWAY_CONFIG: {config} is not a file")
    if secrets_dir and not Path(secrets_dir).is_dir():
        raise ConfigurationError(f"GATEWAY_SECRETS_DIR: {secrets_dir} is not a directory")
    known = {*Settings.model_fields, *_SOURCES, *_OF_CLIENTS}
    for name in (*os.environ, *lines, *(os.listdir(secrets_dir) if secrets_dir else ())):
        if name.upper().startswith(PREFIX):
            short = name[len(PREFIX) :].lower()
            if short not in known:
                raise ConfigurationError(_unknown(short))
    return secrets_dir


def _unknown(short: str) -> str:
    close = difflib.get_close_matches(short, [*Settings.model_fields, *_SOURCES], 1)
    hint = f"; did you mean {PREFIX}{close[0].upper()}?" if close else "; see: gateway check"
    return f"{PREFIX}{short.upper()}: no such setting{hint}"


def describe(settings: Settings) -> list[tuple[str, str, str]]:
    """Name, effective value (secrets hidden) and reason of every setting, in order."""
    rows = []
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            shown = "(hidden)"
        elif name == "jwt_retired_keys":
            shown = ", ".join(key.kid for key in value) or "(none)"
        elif name == "jwt_issuers":
            shown = ", ".join(other.issuer for other in value) or "(none)"
        elif name == "api_keys":
            shown = ", ".join(key.name for key in value) or "(none)"
        elif isinstance(value, list | dict):
            shown = ", ".join(value) or "(none)"
        elif isinstance(value, StrEnum):
            shown = value.value
        else:
            shown = "(not set)" if value is None else str(value)
        rows.append((PREFIX + name.upper(), shown, field.description or ""))
    return rows


def describe_namespaces(settings: Settings) -> list[list[str]]:
    """What holds in each namespace, in columns; the first row names them."""
    agreed = settings.make_namespaces()
    rows = [
        ["NAMESPACE", "HISTORY", "SLOW CONSUMER", "PRESENCE"],
        ["(default)", *_agreement(agreed.default)],
        *([name, *_agreement(agreed.named[name])] for name in sorted(agreed.named)),
    ]
    rows[0] += ["SUBSCRIBE", "PUBLISH", "SEE PRESENCE", "SEE HISTORY"]
    unknown = ["(others)", "refused" if agreed.unknown_refused else "as (default)"]
    return [*rows, [*unknown, *[""] * (len(rows[0]) - len(unknown))]]


def _agreement(namespace: Namespace) -> list[str]:
    length, seconds = namespace.history_length, namespace.history_seconds
    presence = "with notices" if namespace.join_leave else "on" if namespace.presence else "off"
    return [
        f"{length} for {seconds} s" if length else "none",
        namespace.slow_consumer,
        presence,
        _whom(namespace.subscribe),
        _whom(namespace.publish),
        _whom(namespace.see_presence),
        _whom(namespace.see_history),
    ]


def _whom(who: Who) -> str:
    return ", ".join(sorted(who)) or "nobody" if isinstance(who, frozenset) else who.value
