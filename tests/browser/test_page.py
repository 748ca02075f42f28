"""The page at / in a real browser: two people, two replicas, and one of those dies."""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Windows
from tests.support.balancer import Balancer
from tests.support.clients import call, make_token, publish
from tests.support.node import ROOT
from tests.support.servers import GatewayProcess, RedisServer, replicas

# The demo is the one that the README starts.
README = (ROOT / "README.md").read_text().partition("\n## See it\n")[2].partition("\n## ")[0]
DEMO = {name.lower(): value for name, value in re.findall(r"GATEWAY_(\w+)=(\S+)", README)}
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("demo"), **DEMO) as process:
        yield process


async def come_in(page: Page, name: str) -> None:
    await page.fill("#try-demo input", name)
    await page.click("#try-demo button")
    await listening(page)


async def listening(page: Page) -> None:
    await expect(page.locator("#connection-text")).to_have_text("Connected", timeout=20_000)
    await expect(page.locator("#channel-state")).to_have_text("subscribed", timeout=20_000)


async def listen_to(page: Page, channel: str) -> None:
    await page.fill("#join input", channel)
    await page.click("#join button")
    await expect(page.locator("#channel-title")).to_have_text(channel)
    await expect(page.locator("#channel-state")).to_have_text("subscribed")


async def say(page: Page, text: str) -> None:
    await page.fill("#publish input", text)
    await page.click("#publish button")
    await expect(page.locator("#publish-state")).to_contain_text("Published")


async def offsets(page: Page) -> list[int]:
    return [int(text) for text in await page.locator("#messages .offset").all_inner_texts()]


async def fact(page: Page, name: str) -> int:
    return int(await page.locator(f"#fact-{name}").inner_text())


def sockets_of(replicas: list[GatewayProcess]) -> list[int]:
    return [call(each.http + "/health").json["sockets_open"] for each in replicas]


async def test_two_people_meet_and_what_they_say_is_text(
    windows: Windows, demo: GatewayProcess, screenshots: Path
) -> None:
    """S38"""
    alice, bob = await windows.open(demo.http), await windows.open(demo.http, color_scheme="dark")
    await alice.screenshot(path=screenshots / "entrance.png")
    await come_in(alice, "alice")
    await come_in(bob, "bob")
    await expect(alice.locator("#people li")).to_have_text(["alice", "bob"])
    await expect(alice.locator("#events")).to_contain_text("noticias: bob came")

    await say(alice, "Hola canal")
    await say(bob, '{"temperature": 21.5}')
    await say(alice, HOSTILE)
    wanted = ["Hola canal", '{"temperature":21.5}', HOSTILE]
    for page in (alice, bob):
        await expect(page.locator("#messages .data")).to_have_text(wanted)
        await expect(page.locator("#messages .who")).to_have_text(["alice", "bob", "alice"])
        assert await offsets(page) == [1, 2, 3]
        assert await page.locator("#messages img, #messages script").count() == 0
    await expect(alice.locator("#fact-epoch")).to_have_text(
        await bob.locator("#fact-epoch").inner_text()
    )
    await bob.screenshot(path=screenshots / "dark.png")

    await bob.click("#log-out")
    await expect(bob.locator("#entrance")).to_be_visible()
    await expect(alice.locator("#events")).to_contain_text("noticias: bob left")
    await expect(alice.locator("#people li")).to_have_text(["alice"])


@pytest.mark.long
async def test_names_of_users_are_text_as_well(windows: Windows, demo: GatewayProcess) -> None:
    """S38"""
    page = await windows.open(demo.http)
    await page.fill("#use-token textarea", make_token(HOSTILE, "publisher"))
    await page.click("#use-token button")
    await listening(page)
    await listen_to(page, "names")
    await say(page, "hi")
    await expect(page.locator("#messages .who")).to_have_text([HOSTILE])
    await expect(page.locator("#people li")).to_have_text([HOSTILE])
    await expect(page.locator("#me-name")).to_have_text(HOSTILE)
    assert await page.locator("main img, main script").count() == 0


@pytest.mark.long
async def test_an_account_is_made_kept_over_a_reload_and_forgotten(
    windows: Windows, gateway: GatewayProcess
) -> None:
    page = await windows.open(gateway.http)
    await expect(page.locator("#try-demo")).to_be_hidden()
    await page.fill("#log-in [name=username]", "browser-bob")
    await page.fill("#log-in [name=password]", "correct-horse")
    await page.click("#register")
    await listening(page)

    await page.fill("#publish input", "may I?")
    await page.click("#publish button")
    await expect(page.locator("#publish-state")).to_contain_text("Refused: permission denied")

    await page.reload()
    await listening(page)
    await expect(page.locator("#me-name")).to_have_text("browser-bob")
    # The token is in the memory of this tab, and nowhere else that lasts or that others read.
    assert "token" not in page.url
    assert await page.evaluate("localStorage.length") == 0
    assert await page.context.cookies() == []

    await page.click("#log-out")
    await expect(page.locator("#entrance")).to_be_visible()
    assert await page.evaluate("sessionStorage.length") == 0
    await page.reload()
    await expect(page.locator("#entrance")).to_be_visible()


@pytest.mark.long
async def test_a_wrong_token_and_a_revoked_one_lead_back_to_the_entrance(
    windows: Windows, gateway: GatewayProcess
) -> None:
    page = await windows.open(gateway.http)
    await page.fill("#use-token textarea", "nonsense")
    await page.click("#use-token button")
    await expect(page.locator("#notice")).to_contain_text("The gateway ended the connection")
    await expect(page.locator("#entrance")).to_be_visible()

    token = make_token("browser-eve")
    await page.fill("#use-token textarea", token)
    await page.click("#use-token button")
    await listening(page)
    assert call(f"{gateway.http}/logout", token=token, method="POST").status == 200
    await expect(page.locator("#notice")).to_contain_text("(3500)")
    assert await page.evaluate("sessionStorage.length") == 0


@pytest.mark.long
async def test_earlier_messages_are_there_and_channels_count_what_is_new(
    windows: Windows, demo: GatewayProcess
) -> None:
    writer = make_token("root", "publisher")
    for n in (1, 2):
        await publish(demo.http, "earlier", f"before {n}", writer)
    page = await windows.open(demo.http)
    await come_in(page, "carla")
    await listen_to(page, "earlier")
    await expect(page.locator("#messages .data")).to_have_text(["before 1", "before 2"])
    await listen_to(page, "elsewhere")
    await publish(demo.http, "earlier", "meanwhile", writer)
    await expect(page.locator("#channels .unread")).to_have_text("1")
    await page.click("#channels .choose >> text=earlier")
    await expect(page.locator("#messages .data")).to_have_text(
        ["before 1", "before 2", "meanwhile"]
    )
    await expect(page.locator("#channels .unread")).to_have_count(0)
    assert [await fact(page, name) for name in ("missed", "doubled")] == [0, 0]


@pytest.mark.long
async def test_a_phone_shows_it_all_without_scrolling_sideways(
    windows: Windows, demo: GatewayProcess, screenshots: Path
) -> None:
    page = await windows.open(demo.http, viewport={"width": 360, "height": 740}, has_touch=True)
    widths = "[document.documentElement.scrollWidth, innerWidth]"
    wanted, there = await page.evaluate(widths)
    assert wanted <= there
    await come_in(page, "petra-with-a-rather-long-name-for-a-telephone")
    await listen_to(page, "phone")
    await say(page, "a-word-that-has-no-end-" * 8)
    wanted, there = await page.evaluate(widths)
    assert wanted <= there
    await page.screenshot(path=screenshots / "phone.png", full_page=True)


@pytest.mark.timeout(120)
async def test_a_replica_dies_and_nothing_is_lost_or_doubled(
    windows: Windows, redis_server: RedisServer, directory: Path, screenshots: Path
) -> None:
    with contextlib.ExitStack() as stack:
        settings = {**DEMO, "redis_url": redis_server.url, "redis_prefix": "browser"}
        both = stack.enter_context(
            replicas(directory, 2, database_url=f"sqlite:///{directory}/shared.db", **settings)
        )
        balancer = stack.enter_context(Balancer(directory, both))
        alice = await windows.open(balancer.http)
        await come_in(alice, "alice")
        bob = await windows.open(balancer.http)
        await come_in(bob, "bob")
        # The balancer looks at requests, too, and may give both sockets to the same replica.
        for _ in range(20):
            if (sockets := sockets_of(both)) == [1, 1]:
                break
            await bob.reload()
            await listening(bob)
        assert sockets == [1, 1]
        await say(alice, "from alice")
        await say(bob, "from bob")
        for page in (alice, bob):
            await expect(page.locator("#messages .data")).to_have_text(["from alice", "from bob"])

        writer, survivor = make_token("paula", "publisher"), both[1]
        both[0].kill()
        for n in range(40):
            answer = await publish(survivor.http, "noticias", f"news {n}", writer)
            assert answer.status == 200
            await asyncio.sleep(0.02)  # the pace of the publisher, not a wait

        for page in (alice, bob):
            await listening(page)
            await expect(page.locator("#messages .data")).to_have_count(42)
            assert await offsets(page) == [*range(1, 43)]
            assert [await fact(page, name) for name in ("missed", "doubled")] == [0, 0]
        recovered = [await fact(page, "recovered") for page in (alice, bob)]
        assert min(recovered) == 0  # who was at the other replica noticed nothing
        assert max(recovered) > 0
        lost = alice if recovered[0] else bob
        await expect(lost.locator("#events")).to_contain_text("Connection lost")
        await expect(lost.locator("#events")).to_contain_text("recovered true")

        await say(bob, "still here")
        await say(alice, "so am I")
        for page in (alice, bob):
            await expect(page.locator("#messages .data").last).to_have_text("so am I")
            assert (await offsets(page))[-1] == 44
        await lost.evaluate("document.getElementById('messages').scrollTop = 0")
        await lost.screenshot(path=screenshots / "recovered.png")


@pytest.mark.long
async def test_what_cannot_be_recovered_is_said(
    windows: Windows, redis_server: RedisServer, directory: Path
) -> None:
    """A channel that keeps two messages, and a page that misses five."""
    settings = {**DEMO, "redis_url": redis_server.url, "redis_prefix": "browser-gap"}
    settings["history_messages"] = 2
    with replicas(directory, 2, **settings) as (first, other):
        page = await windows.open(first.http)
        await come_in(page, "alice")
        await say(page, "one")
        first.kill()
        await expect(page.locator("#connection-text")).to_contain_text("Connecting, attempt")
        for n in range(5):
            await publish(other.http, "noticias", n, make_token("paula", "publisher"))
        first.start()
        await listening(page)
        await expect(page.locator("#fact-missed")).to_have_text("5")
        await expect(page.locator("#messages .break")).to_have_text("5 missed")
        await say(page, "two")
        assert await offsets(page) == [1, 7]


@pytest.mark.long
async def test_a_gateway_without_redis_forgets_and_the_page_says_so(
    windows: Windows, directory: Path
) -> None:
    """What the README asks its reader to try."""
    with GatewayProcess(directory, **DEMO) as process:
        page = await windows.open(process.http)
        await come_in(page, "alice")
        await say(page, "before")
        await expect(page.locator("#fact-epoch")).not_to_have_text("…")
        process.terminate()
        await expect(page.locator("#connection-text")).to_contain_text("Connecting, attempt")
        process.start()
        await listening(page)
        await say(page, "after")
        texts = page.locator("#messages li")
        await expect(texts).to_contain_text(["before", "The channel began anew", "after"])
        assert await offsets(page) == [1, 1]
        assert [await fact(page, name) for name in ("missed", "doubled")] == [0, 0]
