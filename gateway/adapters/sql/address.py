"""Where the database is, and how its driver is to be called: all of it from one URL."""

import ssl
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

# What people write before "://", and the one driver that we bring for it.
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
    "mysql+asyncmy": "mysql+asyncmy",
    "mariadb+asyncmy": "mysql+asyncmy",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}

# MariaDB cuts off what is too long, and goes on, where an administrator has turned this off.
_MARIADB_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"


def parse(url: str) -> tuple[URL, dict[str, Any]]:
    """Return SQLAlchemy's form of a URL, and what its driver has to be told.

    Raises `ValueError` for one that cannot be used, without the password that stands in it.
    """
    scheme, separator, _ = url.partition("://")
    driver = _DRIVERS.get(scheme)
    if driver is None or not separator:
        raise ValueError(
            "a database URL starts with sqlite://, mariadb://, mysql:// or postgresql://, "
            "and needs no driver: the gateway brings aiosqlite, asyncmy and asyncpg"
        )
    try:
        address = make_url(url).set(drivername=driver)
    except (SQLAlchemyError, ValueError):
        raise ValueError(
            "the database URL cannot be understood; it looks like "
            "postgresql://user:password@host:5432/name, with %xx for special characters"
        ) from None
    if driver == "sqlite+aiosqlite":
        if address.host or address.query:
            raise ValueError("a SQLite URL is sqlite:///path, or sqlite:////path from the root")
        return address, {"isolation_level": None}  # or Python begins transactions by itself
    if not address.database:
        raise ValueError("the database URL ends with the name of the database")
    query = dict(address.query)
    if driver == "mysql+asyncmy":
        arguments: dict[str, Any] = {
            "charset": "utf8mb4",
            "init_command": f"SET SESSION sql_mode = '{_MARIADB_MODE}'",
        }
        own = {"unix_socket"}
        query.pop("charset", None)
    else:
        arguments = {"server_settings": {"application_name": "gateway"}}
        own = {"host", "prepared_statement_cache_size"}
        if "sslmode" in query:
            arguments["ssl"] = query.pop("sslmode")
    arguments |= _tls(query)
    if unknown := query.keys() - own:
        raise ValueError(f"the database URL has an unknown option: {', '.join(sorted(unknown))}")
    return address.set(query=query), arguments


def _tls(query: dict[str, Any]) -> Mapping[str, Any]:
    """``ssl=true`` is TLS with a verified certificate; ``ssl_ca`` names who may have signed it."""
    wanted, authority = query.pop("ssl", ""), query.pop("ssl_ca", None)
    if wanted not in ("", "true", "false") or (wanted == "false" and authority):
        raise ValueError(
            "in a database URL, ssl is true or false, and ssl_ca a file of certificates"
        )
    if wanted != "true" and not authority:
        return {}
    try:
        return {"ssl": ssl.create_default_context(cafile=authority)}
    except (OSError, TypeError):
        raise ValueError(
            "the database URL's ssl_ca is not a readable file of certificates"
        ) from None
