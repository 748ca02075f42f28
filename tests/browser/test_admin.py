"""The page at /admin in a real browser, with two replicas on one Redis."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from websockets.asyncio.client import ClientConnection

from tests.browser.conftest import Windows
from tests.support.accounts import PASSWORD, Person, as_admin, member
from tests.support.clients import call, closing_of, listen, make_token, publish
from tests.support.servers import GatewayProcess, RedisServer, replicas

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
ADMIN = make_token("root", "admin")


@pytest.fixture(scope="module")
def both(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[GatewayProcess]]:
    directory = tmp_path_factory.mktemp("admin")
    settings = {
        "redis_url": redis_server.url,
        "redis_prefix": "browser-admin",
        "database_url": f"sqlite:///{directory}/shared.db",
        "trusted_proxies": "127.0.0.1",
    }
    with replicas(directory, 2, **settings) as started:
        yield started


async def sign_in(windows: Windows, http: str, token: str = ADMIN, **options: str) -> Page:
    page = await windows.open(http + "/admin", **options)
    await page.fill("#use-token textarea", token)
    await page.click("#use-token button")
    return page


async def follow(page: Page, channel: str) -> None:
    await page.fill("#tail-form input", channel)
    await page.click("#tail-form button[type=submit]")
    await expect(page.locator("#tail-state")).to_have_text(f"{channel}: live")


async def find(page: Page, user: str) -> None:
    await page.fill("#find input", user)
    await page.click("#find button[type=submit]")
    await expect(page.locator("#user-name")).to_have_text(user)


async def answer_yes(page: Page, title: str) -> None:
    await expect(page.locator("#question-title")).to_have_text(title)
    await page.click("#question-yes")


async def test_an_administrator_sees_all_replicas_and_what_is_published_is_text(
    windows: Windows, both: list[GatewayProcess], screenshots: Path
) -> None:
    """S38"""
    one, other = both
    page = await sign_in(windows, one.http)
    await expect(page.locator("#replicas tbody tr")).to_have_count(2)
    await expect(page.locator("#replicas tbody .state")).to_have_text(["ready", "ready"])
    await follow(page, "noticias")
    writer = make_token(HOSTILE, "publisher")
    async with listen(other.ws, "noticias", make_token("bob")):
        cells = page.locator("#channels-table tr", has_text="noticias").locator("td")
        await expect(cells.nth(0)).to_have_text("2")
        await expect(cells.nth(1)).to_have_text("0")
        for text in (HOSTILE, "Hola"):
            assert (await publish(other.http, "noticias", text, writer)).status == 200
        await expect(page.locator("#tail .data")).to_have_text([HOSTILE, "Hola"])
        await expect(cells.nth(2)).to_have_text("2")
        await expect(cells.nth(1)).to_contain_text(".")  # it was 0, and is some tenths now
        await expect(page.locator("#fan-out .line")).to_have_count(1)
        await expect(page.locator("#fact-p99")).to_contain_text("s")
        await page.screenshot(path=screenshots / "admin.png", full_page=True)
    assert await page.locator("main img, main script").count() == 0


@pytest.mark.long
async def test_who_is_no_administrator_is_refused_and_nonsense_leads_to_the_entrance(
    windows: Windows, both: list[GatewayProcess]
) -> None:
    windows.expected = "Failed to load resource: the server responded with a status of 40"
    page = await sign_in(windows, both[0].http, make_token("bob", "publisher"))
    await expect(page.locator("#refusal-text")).to_contain_text("this needs the role admin")
    await expect(page.locator("#room")).to_be_hidden()
    await page.click("#log-out")
    await page.fill("#use-token textarea", "nonsense")
    await page.click("#use-token button")
    await expect(page.locator("#notice")).to_contain_text("You are signed out")
    await expect(page.locator("#entrance")).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0


@pytest.mark.long
async def test_it_publishes_in_the_dark_as_well(
    windows: Windows, both: list[GatewayProcess], screenshots: Path
) -> None:
    page = await sign_in(windows, both[0].http, color_scheme="dark")
    await follow(page, "spoken")
    await page.fill("#publish [name=channel]", "spoken")
    await page.fill("#publish [name=text]", '{"n": 1}')
    await page.click("#publish button")
    await expect(page.locator("#publish-state")).to_have_text(
        "Published to spoken at offset 1: handed to 1 socket on 1 replica."
    )
    await expect(page.locator("#tail .data")).to_have_text(['{"n":1}'])
    await page.fill("#pattern", "nothing*")
    await expect(page.locator("#channels-empty")).to_be_visible()
    await page.fill("#pattern", "sp*")
    await expect(page.locator("#channels-table tbody th")).to_have_text(["spoken"])
    await page.screenshot(path=screenshots / "admin-dark.png", full_page=True)


@pytest.mark.long
async def test_a_user_is_found_disconnected_and_logged_out_everywhere(
    windows: Windows, both: list[GatewayProcess]
) -> None:
    one, other = both
    person: Person = await asyncio.to_thread(member, one.http)
    boss = Person(one.http)
    assert boss.register().status == 201
    as_admin(one.http, f"/users/{boss.name}/roles", "PUT", {"roles": ["admin"]})
    page = await windows.open(one.http + "/admin")
    await page.fill("#log-in [name=username]", boss.name)
    await page.fill("#log-in [name=password]", PASSWORD)
    await page.click("#log-in button")
    await expect(page.locator("#replicas tbody tr")).to_have_count(2)

    socket: ClientConnection = await listen(other.ws, "room", person.access_token)
    await find(page, person.name)
    await expect(page.locator("#logins li")).to_have_count(1)
    await expect(page.locator("#connections li")).to_contain_text(["room"])
    await page.click("#disconnect")
    await page.click("#question-no")
    await expect(page.locator("#question")).to_be_hidden()
    await page.click("#disconnect")
    await answer_yes(page, f"Disconnect {person.name}?")
    assert (await closing_of(socket))[0] == 1008
    await expect(page.locator("#connections li")).to_have_text(["None."])
    assert person.is_accepted()

    socket = await listen(other.ws, "room", person.access_token)
    await page.click("#log-out-everywhere")
    await answer_yes(page, f"Log {person.name} out everywhere?")
    assert "revoked" in (await closing_of(socket))[1]
    await expect(page.locator("#events")).to_contain_text("is logged out everywhere")
    await expect(page.locator("#logins li")).to_have_text(["None."])
    assert not person.is_accepted()


@pytest.mark.long
async def test_a_replica_is_drained_and_one_that_dies_is_shown(
    windows: Windows, redis_server: RedisServer, directory: Path
) -> None:
    settings = {"redis_url": redis_server.url, "redis_prefix": "browser-admin-drain"}
    settings["database_url"] = f"sqlite:///{directory}/shared.db"
    with replicas(directory, 3, **settings) as (one, drained, killed):
        page = await sign_in(windows, one.http)
        await expect(page.locator("#replicas tbody tr")).to_have_count(3)
        names = [call(each.http + "/health").json["replica"] for each in (drained, killed)]
        row, dead = (page.locator("#replicas tbody tr", has_text=name) for name in names)
        await row.locator("button").click()
        await answer_yes(page, f"Drain {names[0]}?")
        await expect(page.locator("#events")).to_contain_text(f"{names[0]} drains")
        await expect(row.locator(".state")).to_contain_text("left", timeout=20_000)
        assert not drained.is_running()
        killed.kill()
        await expect(dead.locator(".state")).to_contain_text("not heard since")
        await expect(page.locator("#fact-replicas")).to_have_text("1")


@pytest.mark.long
async def test_an_outage_of_redis_is_shown(windows: Windows, directory: Path) -> None:
    windows.expected = "Failed to load resource"
    with RedisServer(directory) as redis:
        settings = {"database_url": f"sqlite:///{directory}/shared.db"}
        with replicas(directory, 1, redis_url=redis.url, **settings) as (one,):
            page = await sign_in(windows, one.http)
            await expect(page.locator("#replicas tbody .state")).to_have_text(["ready"])
            redis.kill()
            await expect(page.locator("#missing")).to_contain_text(
                "other replicas cannot be asked", timeout=20_000
            )
            await expect(page.locator("#replicas tbody tr")).to_have_class("troubled")
            one.kill()
            await expect(page.locator("#missing")).to_contain_text("does not answer")
