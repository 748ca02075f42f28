"""Who has an account here, and how one logs in."""

from pydantic import Field, SecretStr

from gateway.settings.base import Topic, Words


class AccountSettings(Topic):
    database_url: SecretStr | None = Field(
        None,
        description="sqlite:///path, mariadb:// or postgresql://. Unset: the file gateway.db here, "
        "but in production with Redis, where replicas need one for all.",
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
