"""Who may log in, and what a usable name, password, e-mail address or role looks like."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.domain.errors import InvalidRequest

NAME_LENGTH_MAX = 150  # what a token's subject may have
EMAIL_LENGTH_MAX = 254
PASSWORD_LENGTH_MIN = 8
PASSWORD_LENGTH_MAX = 1024
ROLES_MAX = 32
ROLE_LENGTH_MAX = 64

# Looked at before a text is normalised, which changes its length and costs time.
_TEXT_LENGTH_MAX = 4096

# The grammar of every name in a token: no control characters, no line separators, no surrogates.
_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_EMAIL = re.compile(r"[^\s@]+@[^\s@.]+(\.[^\s@.]+)*")
_UNUSABLE_IN_PASSWORDS = re.compile(r"[\x00\ud800-\udfff]")
_LOGIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

# What Unicode calls default ignorable without filing it under the format characters.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


@dataclass(frozen=True, slots=True)
class User:
    """An account, without its password; `Credentials` has the hash of that.

    ``name`` is normalised (NFKC) and otherwise as it was registered. No token that was issued
    before ``tokens_valid_from`` (whole seconds since 1970) speaks for the user any more.
    """

    id: int
    name: str
    email: str = ""
    roles: frozenset[str] = frozenset()
    is_disabled: bool = False
    tokens_valid_from: int = 0
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and what the password is checked against; its repr does not show the hash."""

    user: User
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """One login of one user: a family of refresh tokens, of which one is valid at a time.

    The valid one is that of ``generation``, since ``rotated_at``. Neither a token nor a hash of
    one is kept. Times are seconds since 1970; ``ended_at`` is None while the login is alive.
    """

    id: str
    user_id: int
    user_name: str
    generation: int
    rotated_at: float
    started_at: float
    expires_at: float
    ended_at: float | None = None

    def is_live(self, now: float) -> bool:
        return self.ended_at is None and now < self.expires_at


def fold_name(name: str) -> str:
    """Return what makes two names the same: spelling, case and invisible characters go.

    Whatever counts or finds something by a user's name uses this, or "Alice" would get a second
    account, and "ALICE" a second set of attempts.
    """
    visible = "".join(
        character
        for character in _INVISIBLE.sub("", unicodedata.normalize("NFKC", name))
        if unicodedata.category(character) != "Cf"
    )
    folded = unicodedata.normalize("NFKC", visible).casefold()
    return unicodedata.normalize("NFKC", folded).strip()


def name_key(text: str) -> str:
    """The folded name; "" for a text that cannot be one, and that no storage need see."""
    try:
        return fold_name(check_name(text))
    except InvalidRequest:
        return ""


def check_name(name: str) -> str:
    """Return the name as it is stored, or raise `InvalidRequest`."""
    if len(name) <= _TEXT_LENGTH_MAX:
        name = unicodedata.normalize("NFKC", name)
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise InvalidRequest(f"a name has 1 to {NAME_LENGTH_MAX} characters")
    if not _NAME.fullmatch(name):
        raise InvalidRequest("a name has no control characters and no line breaks")
    if name != name.strip():
        raise InvalidRequest("a name neither starts nor ends with a blank")
    if not fold_name(name):
        raise InvalidRequest("a name has visible characters")
    return name


def check_password(password: str) -> str:
    """Return the one form in which a password is hashed and compared, or raise `InvalidRequest`.

    The same characters can be spelled in several ways, and every keyboard has its own (NFC, NFD).
    """
    if len(password) <= _TEXT_LENGTH_MAX:
        password = unicodedata.normalize("NFKC", password)
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise InvalidRequest(
            f"a password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters"
        )
    if _UNUSABLE_IN_PASSWORDS.search(password):
        raise InvalidRequest("a password has no NUL and no half characters")
    return password


def check_email(email: str) -> str:
    """Return the address as it is stored, "" for none, or raise `InvalidRequest`.

    Whether an address exists, only a letter to it can tell.
    """
    if not email:
        return ""
    if len(email) <= _TEXT_LENGTH_MAX:
        email = unicodedata.normalize("NFKC", email)
    if len(email) > EMAIL_LENGTH_MAX:
        raise InvalidRequest(f"an e-mail address has at most {EMAIL_LENGTH_MAX} characters")
    if not _EMAIL.fullmatch(email) or not _NAME.fullmatch(email):
        raise InvalidRequest("an e-mail address looks like name@example.com")
    return email


def check_roles(roles: Iterable[str]) -> frozenset[str]:
    """Return the roles as a set, or raise `InvalidRequest`."""
    listed = [roles] if isinstance(roles, str) else list(roles)
    if len(listed) > ROLES_MAX:
        raise InvalidRequest(f"a user has at most {ROLES_MAX} roles")
    for role in listed:
        if not isinstance(role, str) or len(role) > ROLE_LENGTH_MAX or not _NAME.fullmatch(role):
            raise InvalidRequest(
                f"a role has 1 to {ROLE_LENGTH_MAX} characters, none of them a control character"
            )
    return frozenset(listed)


def is_login_id(text: str) -> bool:
    """Whether a login can have this id; storage is not asked for any other."""
    return _LOGIN_ID.fullmatch(text) is not None
