"""Every knob, with its default, its unit and its reason.

A setting comes from the environment (``GATEWAY_`` and the name below in capitals), from an
``.env`` file, from a file of its own in ``GATEWAY_SECRETS_DIR``, or from the TOML file that
``GATEWAY_CONFIG`` names; the first of these that has it wins. An unknown name is an error.
"""

import json
import os
import re
import socket
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gateway.domain.namespaces import SlowConsumer
from gateway.key_settings import (
    ALGORITHM,
    SECRET_ALGORITHM,
    IssuerSettings,
    RetiredKey,
    check_file,
    check_secret,
)

PREFIX = "GATEWAY_"

NamespaceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-.@~#$]{1,100}$")]
Words = Annotated[list[str], NoDecode]
"""A list, written in the environment with commas."""


class Environment(StrEnum):
    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class SocketDoor(StrEnum):
    NATIVE = "native"
    ASGI = "asgi"


class NamespaceSettings(BaseModel, extra="forbid"):
    """What differs for the channels ``NAME:…``. History is as everywhere where none is given."""

    slow_consumer: SlowConsumer = SlowConsumer.DISCONNECT
    history_messages: int | None = Field(None, ge=0)
    history_seconds: int | None = Field(None, ge=1)


class Settings(BaseSettings):
    """All values are checked when they are read; nothing is checked later."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        env_file_encoding="utf-8",
        dotenv_filtering="only_existing",  # other programs keep their lines in the same file
        allow_inf_nan=False,
    )

    env: Environment = Field(
        Environment.DEVELOPMENT,
        description="Chooses defaults only: production hides /docs and demands a secret.",
    )

    # Where the gateway listens.
    host: str = Field("127.0.0.1", description="Address to listen on; loopback by default.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=256, description="Processes; more than 1 needs Redis.")
    trusted_proxies: Words = Field(
        [], description="Addresses whose X-Forwarded-For is believed. Everybody else could lie."
    )
    tls_cert_file: Path | None = Field(
        None, description="Certificate chain, PEM. With it the gateway speaks https and wss itself."
    )
    tls_key_file: Path | None = Field(None, description="Private key of the certificate, PEM.")
    socket_door: SocketDoor = Field(
        SocketDoor.NATIVE,
        description="native: sockets without an ASGI task each. asgi: the portable one.",
    )
    docs: bool | None = Field(
        None, description="Serve /docs and /openapi.json. Default: not in production."
    )
    replica: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{os.urandom(2).hex()}",
        description="Name of this replica, unique in the cluster.",
    )
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="How much is logged."
    )

    # Tokens.
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
    publish_roles: Words = Field(
        ["publisher", "admin"], description="Roles that may publish, over REST and sockets."
    )
    token_in_url: bool = Field(
        True, description="Accept ?token=. It is never logged here, but it is by others."
    )
    allowed_origins: Words = Field(
        [],
        description="Origins of pages that may connect, besides our own. Empty: any with a token.",
    )

    # Accounts.
    database_url: SecretStr | None = Field(
        None,
        description="sqlite:///path, mariadb:// or postgresql://. Unset: the file gateway.db here.",
    )
    database_migrate: bool | None = Field(
        None, description="Bring the tables up to date on start. Default: only of a SQLite file."
    )
    database_timeout_seconds: float = Field(
        3.0, gt=0, description="Until the database counts as away. Logins then answer 503."
    )
    registration: bool = Field(True, description="Let anybody make an account with POST /register.")
    registration_roles: Words = Field(
        ["user"], description="Roles of an account that was registered so."
    )
    password_threads: int = Field(
        1, ge=1, le=64, description="Passwords that are hashed at once; each takes 19 MiB."
    )
    logins_waiting_max: int = Field(
        100, ge=1, description="Logins that may wait for one of these; further ones get 429."
    )
    demo: bool = Field(
        False,
        description="POST /login?username= without a password and GET /test-token, for a look "
        "around. Refused on a public address and in production.",
    )

    # Redis.
    redis_url: SecretStr | None = Field(
        None, description="redis://, rediss:// or unix://. Unset: one replica, in memory."
    )
    redis_prefix: str = Field(
        "gw",
        pattern=r"^[A-Za-z0-9_\-.]{1,50}$",
        description="Start of every key and topic; two gateways on one Redis need two of them.",
    )
    redis_connections_max: int = Field(
        20, ge=2, description="Connections for commands; the publisher needs one at a time."
    )
    redis_timeout_seconds: float = Field(
        2.0, gt=0, description="Until a command counts as unanswered. Publish then answers 503."
    )
    redis_ping_interval_seconds: float = Field(
        1.0, gt=0, description="How often the Redis path is proven with a ping and a probe."
    )
    redis_ping_timeout_seconds: float = Field(
        1.5, gt=0, description="Until a silent path counts as lost."
    )

    # Messages.
    message_bytes_max: int = Field(
        65_536, ge=1, le=16_777_216, description="Largest message. A bigger frame closes with 1009."
    )
    request_bytes_max: int = Field(
        1_048_576, ge=1024, description="Largest body of a publish request, so also of a batch."
    )
    batch_messages_max: int = Field(1000, ge=1, description="Most messages in one batch.")
    publish_rate_max: int = Field(
        0, ge=0, description="Messages per second and user on a replica; 0 sets no limit."
    )
    history_messages: int = Field(
        100, ge=0, description="Messages that a channel keeps; the oldest go first. 0 keeps none."
    )
    history_seconds: int = Field(300, ge=1, description="How long a silent channel keeps them.")
    history_page_max: int = Field(
        1000, ge=1, description="Most messages in one answer to a question for history."
    )
    position_seconds: int = Field(
        2_592_000, ge=60, description="How long a silent channel keeps its epoch and offset."
    )
    idempotency_seconds: int = Field(
        300, ge=1, description="How long a repeated Idempotency-Key publishes nothing new."
    )
    release_delay_seconds: float = Field(
        1.0, ge=0, description="How long a channel stays subscribed after its last socket left."
    )

    # Sockets.
    sockets_max: int = Field(
        100_000, ge=1, description="Open sockets on a replica; further ones are closed with 1013."
    )
    sockets_per_user_max: int = Field(
        0, ge=0, description="Open sockets of one user, on all replicas; 0 sets no limit."
    )
    sockets_per_address_max: int = Field(
        0, ge=0, description="Open sockets of one address on a replica; 0 sets no limit."
    )
    outbox_bytes_max: int = Field(
        1_048_576,
        ge=65_536,
        description="What may wait for one slow reader, in the transport and behind it.",
    )
    compression: bool = Field(
        False,
        description="Agree to permessage-deflate; a message is compressed once for all sockets.",
    )
    slow_consumer: SlowConsumer = Field(
        SlowConsumer.DISCONNECT,
        description="Then: disconnect, drop_oldest (with a gap notice) or latest_only.",
    )
    namespaces: dict[NamespaceName, NamespaceSettings] = Field(
        {}, description="What differs by namespace: [namespaces.NAME] in the TOML file, or JSON."
    )
    ping_interval_seconds: int = Field(
        25, ge=1, description="Silence before a ping; below the idle time-out of every proxy."
    )
    ping_timeout_seconds: int = Field(
        20, ge=1, description="Until an unanswered ping ends the socket, also of a stuck reader."
    )
    close_timeout_seconds: int = Field(
        2, ge=1, description="How long a peer may take to answer our close frame."
    )
    request_timeout_seconds: float = Field(
        10.0, gt=0, description="How long a request or a handshake may take to arrive."
    )
    shutdown_seconds: int = Field(
        10, ge=1, description="How long a stopping replica waits for requests and sockets."
    )

    # Who is connected.
    lease_seconds: float = Field(
        10.0, ge=1, description="After this a replica that died is forgotten with its users."
    )

    @field_validator(
        "publish_roles", "registration_roles", "allowed_origins", "trusted_proxies", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [word for part in value.split(",") if (word := part.strip())]
        return value

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

    @field_validator("trusted_proxies")
    @classmethod
    def _known_proxies(cls, proxies: list[str]) -> list[str]:
        if "*" in proxies:
            raise ValueError("a star would let everybody choose an address; name the proxies")
        for proxy in proxies:
            try:
                ip_network(proxy)
            except ValueError:
                raise ValueError("a proxy is an address or a network like 10.0.0.0/8") from None
        return proxies

    @field_validator("jwt_secret")
    @classmethod
    def _long_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        return None if secret is None else check_secret(secret)

    @field_validator("jwt_private_key_file")
    @classmethod
    def _key_file(cls, path: Path | None) -> Path | None:
        return check_file(path)

    @model_validator(mode="after")
    def _kids_differ(self) -> "Settings":
        kids = [self.jwt_kid, *(key.kid for key in self.jwt_retired_keys)]
        if len(set(kids)) < len(kids):
            raise ValueError("jwt_kid and jwt_retired_keys: every key needs a name of its own")
        return self

    @model_validator(mode="after")
    def _keys_fit_algorithms(self) -> "Settings":
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
    def _issuers_differ(self) -> "Settings":
        names = [self.jwt_issuer, *(other.issuer for other in self.jwt_issuers)]
        if len(set(names)) < len(names):
            raise ValueError("jwt_issuer and jwt_issuers: every issuer needs a name of its own")
        return self

    @model_validator(mode="after")
    def _access_tokens_may_live(self) -> "Settings":
        if self.access_token_seconds > self.jwt_lifetime_seconds_max:
            raise ValueError("access_token_seconds is at most jwt_lifetime_seconds_max")
        return self

    @model_validator(mode="after")
    def _workers_share(self) -> "Settings":
        if self.workers > 1 and self.redis_url is None:
            raise ValueError("several workers see each other's messages only through redis_url")
        return self

    @model_validator(mode="after")
    def _positions_outlive_history(self) -> "Settings":
        named = self.namespaces.values()
        longest = max([self.history_seconds, *(given.history_seconds or 0 for given in named)])
        if longest > self.position_seconds:
            raise ValueError(
                "position_seconds is at least every history_seconds: history is lost with the "
                "position of its channel"
            )
        return self

    @model_validator(mode="after")
    def _outbox_holds_messages(self) -> "Settings":
        if self.outbox_bytes_max < 2 * self.message_bytes_max:
            raise ValueError(
                "outbox_bytes_max is at least twice message_bytes_max, or a single message "
                "makes a fast reader a slow one"
            )
        return self

    @model_validator(mode="after")
    def _certificate_and_key(self) -> "Settings":
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file belong together")
        for path in (self.tls_cert_file, self.tls_key_file):
            if path is not None and not path.is_file():
                raise ValueError(f"{path} is not a file")
        return self

    @model_validator(mode="after")
    def _demo_is_private(self) -> "Settings":
        if self.demo and (self.is_public or self.env is Environment.PRODUCTION):
            raise ValueError(
                "demo: it lets everybody log in as anybody, so it works on loopback only, and "
                "not in production"
            )
        return self

    @property
    def trusted_networks(self) -> list[IPv4Network | IPv6Network]:
        return [ip_network(proxy) for proxy in self.trusted_proxies]

    @property
    def is_public(self) -> bool:
        """Whether others than this machine can reach the address."""
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def has_signing_key(self) -> bool:
        """Whether tokens can be signed without making a secret up."""
        return self.jwt_secret is not None or self.jwt_private_key_file is not None

    @property
    def secret_may_be_made_up(self) -> bool:
        """A secret of one run is enough where nobody else needs to know it."""
        alone = self.redis_url is None and not self.is_public
        return alone and self.env is not Environment.PRODUCTION

    @property
    def docs_served(self) -> bool:
        return self.env is not Environment.PRODUCTION if self.docs is None else self.docs

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
