"""The tables of the database."""

import typer

from gateway.cli.common import EXIT_CODES, REFUSED, AsJson, run, settings_or_stop
from gateway.cli.output import print_json
from gateway.domain.errors import GatewayError
from gateway.settings import Settings

_STATUS_EXIT_CODES = (
    "Exit codes: 0 up to date, 1 an upgrade is pending, 2 wrong usage, 69 the database is away, "
    "78 the settings cannot be used."
)

db = typer.Typer(
    help="Bring the tables of the database up to date.", epilog=EXIT_CODES, no_args_is_help=True
)


@db.command(epilog=EXIT_CODES)
def upgrade(as_json: AsJson = False) -> None:
    """Make the tables, or bring them up to date. It may run beside gateways and beside itself."""
    applied = run(_upgrade(settings_or_stop()))
    if as_json:
        print_json({"applied": applied})
    else:
        for step in applied or ["the tables are up to date"]:
            print(step)


@db.command(epilog=_STATUS_EXIT_CODES)
def status(as_json: AsJson = False) -> None:
    """Say whether an upgrade is pending; nothing is changed, and no file is made."""
    is_pending = run(_is_pending(settings_or_stop()))
    if as_json:
        print_json({"pending": is_pending})
    elif is_pending:
        print("the tables are missing or old; run: gateway db upgrade")
    else:
        print("the tables are up to date")
    if is_pending:
        raise typer.Exit(REFUSED)


async def _upgrade(settings: Settings) -> list[str]:
    from gateway.adapters.sql.migrate import MigrationFailed, upgrade
    from gateway.cli.wiring import opened_store

    async with opened_store(settings) as store:
        try:
            return await upgrade(store.database)
        except MigrationFailed as error:
            raise GatewayError(f"the upgrade failed: {error}") from None


async def _is_pending(settings: Settings) -> bool:
    from gateway.adapters.sql.migrate import pending
    from gateway.cli.wiring import database_file, opened_store

    path = database_file(settings)
    if path is not None and not path.exists():
        return True
    async with opened_store(settings) as store:
        return await pending(store.database)
