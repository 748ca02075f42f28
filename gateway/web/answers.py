"""The forms of our answers, as the OpenAPI document tells them.

Nothing is made of these: what is answered is written where it is known, some of it long before
it is JSON. The tests compare the answers of a running gateway with the document, both ways: a
field that stands here and is not answered fails, and so does one that is answered and not here.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Message(Answer):
    """One message, the same on every door."""

    channel: str
    data: Any = Field(description="What was published: any JSON value.")
    offset: int = Field(description="Rises by one within an epoch.")
    epoch: str
    id: str
    user: str
    time: float = Field(description="Seconds since 1970.")
    tags: dict[str, str] = Field({}, description="Of messages that another server published.")


class Handed(Answer):
    replicas: int
    sockets: int
    complete: bool = Field(description="False where a replica did not answer in time.")


class Published(Answer):
    status: str
    channel: str
    id: str
    offset: int
    epoch: str


class PublishedOne(Published):
    receipt: Handed = Field(None, description="With `?receipt=1`.")  # type: ignore[assignment]


class Refused(Answer):
    error: dict[str, Any] = Field(description="A problem, as in an answer of its own.")


class Results(Answer):
    results: list[Published | Refused]


class Listened(Answer):
    channel: str
    members: int
    connections: int


class Channels(Answer):
    channels: list[Listened]
    cursor: str | None


class Listener(Answer):
    user: str
    connections: int


class Presence(Listened):
    users: list[Listener]
    cursor: str | None


class History(Answer):
    channel: str
    epoch: str
    offset: int
    complete: bool
    messages: list[Message]


class LoggedIn(Answer):
    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    message: str
    csrf_token: str = Field("", description="With `?cookie=1`.")


class LoggedOut(Answer):
    message: str
    note: str = Field("", description="Where not every replica could be told yet.")


class EndedLogins(Answer):
    message: str
    everywhere: bool


class Done(Answer):
    message: str


class Ticket(Answer):
    ticket: str
    expires_in: int


class TestToken(Answer):
    test_token: str
    note: str


class Registered(Answer):
    message: str
    user_id: int


class Account(Answer):
    user_id: int
    username: str
    email: str | None
    roles: list[str]
    disabled: bool
    created_at: float


class Accounts(Answer):
    users: list[Account]


class Me(Answer):
    """Beside the claims, the account, where there is one here."""

    username: str
    roles: list[str]
    grants: dict[str, list[str]]
    expires_at: float
    user_id: int = 0
    email: str | None = None
    disabled: bool = False
    created_at: float = 0


class Protected(Answer):
    message: str
    user_id: int | None
    data: str


class ConnectedUser(Answer):
    user: str
    connections: int
    replicas: dict[str, int]


class Connected(Answer):
    count: int
    users: list[ConnectedUser]


class Draining(Answer):
    status: str
    replica: str
    sockets: int
    pause_seconds: float
    closing_seconds: float
    ends_within_seconds: float


class Step(Answer):
    step: str
    passed: bool
    detail: str


class Explained(Answer):
    accepted: bool
    channel: str | None
    allowed: dict[str, bool]
    steps: list[Step]


class Live(Answer):
    status: str


class Ready(Answer):
    status: str
    reason: str = ""


class Health(BaseModel):
    """And a number for each thing that is counted."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float]

    status: str
    reason: str | None
    database: str
    redis: str
    redis_troubles: list[str]
    live_tokens: int | None
    redis_tokens: int | None
    replica: str
    version: str
    uptime_seconds: int
    timestamp: str


class Keys(Answer):
    keys: list[dict[str, str]]


class ApiRefusal(BaseModel):
    code: int
    message: str
