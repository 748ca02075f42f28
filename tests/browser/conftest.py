"""A real Chromium, driven by Playwright, and what its pages complained about."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.support.servers import required

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


class Windows:
    """Windows of one browser, each with a session of its own as if it were somebody else's."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.expected = "WebSocket connection to"

    async def open(self, url: str, **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = await self._browser.new_context(**options)
        self._contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda said: self.note(said.type, said.text))
        page.on("pageerror", lambda error: self.note("error", str(error)))
        page.on("dialog", lambda dialog: self.note("error", f"a dialog: {dialog.message}"))
        await page.goto(url)
        return page

    def note(self, kind: str, text: str) -> None:
        # What fails on purpose is what some of these tests are about; anything else is a fault.
        if kind in ("error", "warning") and self.expected not in text:
            self.complaints.append(text)

    async def close(self) -> None:
        for context in self._contexts:
            await context.close()


@pytest.fixture
async def windows() -> AsyncIterator[Windows]:
    """Whatever a page complains about, a breach of the content policy above all, fails the test."""
    chromium = required("chromium")
    # The sandbox does not work for root, which tests in a container are.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        opened = Windows(browser)
        yield opened
        await opened.close()
        await browser.close()
    assert opened.complaints == []


@pytest.fixture(scope="session")
def screenshots() -> Path:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS
