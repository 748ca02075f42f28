"""Users to try things out with: which ones, and with which passwords."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import AsJson, reporting, settings_or_stop, with_accounts
from gateway.cli.output import print_json, print_table
from gateway.domain.accounts import check_email, check_name, check_password, check_roles
from gateway.domain.errors import Denied, InvalidRequest, NotFound
from gateway.settings import Environment, Settings

if TYPE_CHECKING:
    from gateway.core.accounts import Accounts

_FIELDS = {"name", "roles", "email", "password"}


@dataclass(frozen=True, slots=True)
class Seed:
    """A user to be made; without a password of its own it gets a random one."""

    name: str
    roles: frozenset[str]
    email: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Seeded:
    """What became of a seed; ``made_up`` is the password that nobody else knows, or ""."""

    name: str
    roles: frozenset[str]
    is_new: bool
    made_up: str = field(default="", repr=False)

    def row(self) -> list[str]:
        password = "(was there already)" if not self.is_new else self.made_up or "(as in the file)"
        return [self.name, password, ", ".join(sorted(self.roles)) or "none"]

    def as_dict(self) -> dict[str, object]:
        return {
            "username": self.name,
            "roles": sorted(self.roles),
            "added": self.is_new,
            "password": self.made_up or None,
        }


_DEFAULT = (
    Seed("johndoe", frozenset({"user"})),
    Seed("alice", frozenset({"user", "publisher"})),
    Seed("admin", frozenset({"user", "admin"})),
)


def seed(
    file: Annotated[
        Path | None, typer.Argument(help="TOML or JSON with users: name, roles, email, password.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="In production, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make users to try things out with: johndoe, alice and admin, or those of a file.

    A user without a password in the file gets one that is made up, and printed once. Users who
    are there already stay as they are.
    """
    settings = settings_or_stop()
    with reporting():
        _refuse_in_production(settings, force)
        seeds = _read(file)
    made: list[Seeded] = []
    try:
        with_accounts(settings, lambda accounts: _make(accounts, seeds, made))
    finally:
        # Even if the rest failed: the passwords of these stand nowhere else.
        if as_json:
            print_json([each.as_dict() for each in made])
        elif made:
            print_table([["NAME", "PASSWORD", "ROLES"], *(each.row() for each in made)])


def _refuse_in_production(settings: Settings, is_forced: bool) -> None:
    if settings.env is Environment.PRODUCTION and not is_forced:
        raise Denied("users to try things out with have no place in production, but for --force")


def _read(file: Path | None) -> Sequence[Seed]:
    """Everything is checked before anybody is made; raises `InvalidRequest`."""
    if file is None:
        return _DEFAULT
    try:
        text = file.read_text(encoding="utf-8")
        read = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise InvalidRequest(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{file}: {error}") from None
    entries = read.get("users") if isinstance(read, dict) and len(read) == 1 else read
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidRequest(f"{file}: has a list of users, and nothing else")
    return [_seed(entry, f"{file}: user {number}") for number, entry in enumerate(entries, 1)]


async def _make(accounts: "Accounts", seeds: Sequence[Seed], made: list[Seeded]) -> None:
    """Make those who are not there yet; ``made`` says at any time what has been done."""
    from gateway.core.passwords import make_password

    for seed in seeds:
        try:
            user, is_new, made_up = await accounts.find(seed.name), False, ""
        except NotFound:
            is_new, made_up = True, "" if seed.password else make_password()
            user = await accounts.add(
                seed.name, seed.password or made_up, email=seed.email, roles=seed.roles
            )
        made.append(Seeded(user.name, user.roles, is_new, made_up))


def _seed(entry: dict[str, Any], where: str) -> Seed:
    if unknown := sorted(entry.keys() - _FIELDS):
        raise InvalidRequest(f"{where}: {unknown[0]}: no such field")
    roles, texts = entry.get("roles", []), {**entry, "roles": ""}
    if not isinstance(roles, list) or not all(isinstance(text, str) for text in texts.values()):
        raise InvalidRequest(f"{where}: name, email and password are texts, roles a list of them")
    try:
        return Seed(
            check_name(entry.get("name", "")),
            check_roles(roles),
            check_email(entry.get("email", "")),
            check_password(entry["password"]) if "password" in entry else "",
        )
    except InvalidRequest as error:
        raise InvalidRequest(f"{where}: {error.detail}") from None
