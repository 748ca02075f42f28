"""The accounts: who may log in. Works on the database itself, whether a gateway runs or not."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.common import (
    EXIT_CODES,
    AsJson,
    read_line_of_stdin,
    reporting,
    settings_or_stop,
    with_accounts,
)
from gateway.cli.output import note, print_json, print_table
from gateway.cli.seeding import seed
from gateway.domain.accounts import User
from gateway.domain.errors import NotFound
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.core.accounts import Accounts

_PAGE = 500

users = typer.Typer(
    help="Accounts, in the database of the settings.", epilog=EXIT_CODES, no_args_is_help=True
)
users.command(epilog=EXIT_CODES)(seed)

Name = Annotated[str, typer.Argument(help="The user's name.")]
PasswordOnStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password; otherwise one is made up.")
]


@users.command(epilog=EXIT_CODES)
def add(
    name: Name,
    role: Annotated[list[str] | None, typer.Option(help="A role; may be repeated.")] = None,
    email: Annotated[str, typer.Option(help="The e-mail address.")] = "",
    password_stdin: PasswordOnStdin = False,
) -> None:
    """Make an account. A password that is made up is printed once, and kept nowhere."""
    settings, new = settings_or_stop(), _password(password_stdin)
    user = with_accounts(
        settings, lambda accounts: accounts.add(name, new, email=email, roles=role or ())
    )
    note(f"added {_described(user)}")
    if not password_stdin:
        print(new)


@users.command("list", epilog=EXIT_CODES)
def list_users(as_json: AsJson = False) -> None:
    """Print every account, the oldest first."""
    found = with_accounts(settings_or_stop(), _all)
    if as_json:
        from gateway.core.accounts import as_dict

        print_json([as_dict(user) for user in found])
        return
    rows = [["NAME", "ROLES", "E-MAIL", "CREATED", ""]]
    for user in found:
        created = datetime.fromtimestamp(user.created_at, UTC).strftime("%Y-%m-%d")
        state = "disabled" if user.is_disabled else ""
        rows.append([user.name, _listed(user.roles), user.email or "-", created, state])
    print_table(rows)


@users.command(epilog=EXIT_CODES)
def role(
    name: Name,
    roles: Annotated[list[str] | None, typer.Argument(help="All roles of the user.")] = None,
    add: Annotated[list[str] | None, typer.Option(help="Give this role, keep the others.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Take this role.")] = None,
) -> None:
    """Replace the roles, or --add and --remove some. The user's sockets close.

    Their clients come back with a new token, which has the new roles.
    """
    if bool(roles) == bool(add or remove):
        raise typer.BadParameter("give all roles, or --add and --remove")

    async def change(accounts: "Accounts") -> User:
        wanted = set(roles or (await accounts.find(name)).roles)
        return await accounts.set_roles(name, (wanted | set(add or ())) - set(remove or ()))

    _change(change)


@users.command(epilog=EXIT_CODES)
def disable(name: Name) -> None:
    """End every login and every socket of the user, and allow no new ones."""
    _change(lambda accounts: accounts.disable(name))


@users.command(epilog=EXIT_CODES)
def enable(name: Name) -> None:
    """Let a disabled user log in again."""
    note(_described(with_accounts(settings_or_stop(), lambda accounts: accounts.enable(name))))


@users.command(epilog=EXIT_CODES)
def password(name: Name, password_stdin: PasswordOnStdin = False) -> None:
    """Set a new password; every login and every socket of the user ends."""
    new = _password(password_stdin)
    _change(lambda accounts: accounts.reset_password(name, new))
    if not password_stdin:
        print(new)


@users.command(epilog=EXIT_CODES)
def logout(name: Name) -> None:
    """End every login, token and socket of the user, who may log in again.

    It may also be somebody without an account here, whose tokens another issuer signs.
    """

    async def end(accounts: "Accounts") -> bool:
        await accounts.end_all(name, "admin")
        try:
            return bool(await accounts.find(name))
        except NotFound:
            return False

    settings = settings_or_stop()
    has_account = with_accounts(settings, end)
    if has_account:
        note(f"{name} is logged out")
    else:
        note(f"{name} has no account here; the tokens that others gave are revoked")
    _tell_delay(settings)


def _change(work: Callable[["Accounts"], Awaitable[User]]) -> None:
    """Do what ends tokens, and say when a running gateway acts on it, if it is not now."""
    settings = settings_or_stop()
    note(_described(with_accounts(settings, work)))
    _tell_delay(settings)


def _tell_delay(settings: Settings) -> None:
    if settings.redis_url is None:
        note("without Redis a gateway that is running learns of this within a minute")


async def _all(accounts: "Accounts") -> list[User]:
    found: list[User] = []
    while page := await accounts.page(found[-1].id if found else 0, _PAGE):
        found += page
    return found


def _password(is_on_stdin: bool) -> str:
    if is_on_stdin:
        with reporting():
            return read_line_of_stdin("password")

    from gateway.core.passwords import make_password

    return make_password()


def _described(user: User) -> str:
    state = "disabled, " if user.is_disabled else ""
    return f"{user.name} ({state}roles: {_listed(user.roles)})"


def _listed(roles: frozenset[str]) -> str:
    return ", ".join(sorted(roles)) or "none"
