"""The channels that somebody listens to."""

from typing import Annotated, Any

import typer

from gateway.cli.common import AsJson, reporting, run
from gateway.cli.output import note, print_json, print_table
from gateway.cli.remote import DEFAULT_URL, CaFile, Http, Remote, Token, TokenFile, TokenSource, Url

_PAGE = 1000
_PROGRESS_AFTER = 5_000


def channels(
    url: Url = DEFAULT_URL,
    token: Token = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    most: Annotated[int, typer.Option(help="Stop after so many; 0 lists them all.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """List the channels that somebody listens to, on all replicas. Needs the role admin.

    Channels of namespaces without presence are not among them.
    """
    remote, source = Remote.at(url, ca_file), TokenSource(token, token_file)
    with reporting():
        found = run(_all(remote, source.read(), most))
    if as_json:
        print_json(found)
        return
    rows = [["CHANNEL", "MEMBERS", "CONNECTIONS"]]
    rows += [[c["channel"], str(c["members"]), str(c["connections"])] for c in found]
    print_table(rows)


async def _all(remote: Remote, token: str, most: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with remote.opened() as http:
        cursor: str | None = ""
        while cursor is not None and (not most or len(found) < most):
            page, cursor = await _page(http, token, cursor)
            found += page
            if cursor is not None and len(found) >= _PROGRESS_AFTER:
                note(f"{len(found)} channels so far")
    return found[:most] if most else found


async def _page(http: Http, token: str, cursor: str) -> tuple[list[dict[str, Any]], str | None]:
    query: dict[str, str | int] = {"limit": _PAGE}
    if cursor:
        query["cursor"] = cursor
    answer = await http.ask("GET", "/channels", token=token, query=query)
    return answer["channels"], answer["cursor"]
