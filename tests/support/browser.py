"""Windows of the page in Chromium. It needs the packages of requirements-browser.txt."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    WebError,
    expect,
    sync_playwright,
)

from tests.support.site import Person, Site
from tools.local_stack.cognito import PASSWORD

TIMEOUT_MS = 15_000
WIDTHS = (320, 800, 1600)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SECRETS = re.compile(rf"eyJ|{PASSWORD}|token=", re.IGNORECASE)  # a JSON Web Token begins with `eyJ`

expect.set_options(timeout=TIMEOUT_MS)


@contextmanager
def run_chromium() -> Iterator[Browser]:
    """The system's Chromium, with its sandbox unless the user is root."""
    executable = shutil.which("chromium")
    assert executable, "chromium is not installed"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


class Window:
    """One window of the page: its parts, as roles and names show them, and what a person does there."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.inbox = page.get_by_role("navigation", name="Conversations")
        self.rows = self.inbox.get_by_role("link")
        self.log = page.get_by_role("log", name="Messages")
        self.messages = self.log.get_by_role("article")
        self.texts = self.messages.get_by_role("paragraph")
        self.composer = page.get_by_role("textbox", name="Message", exact=True)
        self.handle = page.get_by_label("To (handle)")

    def sign_in(self, person: Person) -> Self:
        self.page.get_by_label("E-mail or handle").fill(person.user.handle)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        expect(self.inbox).to_be_visible()
        return self

    def row(self, person: Person) -> Locator:
        return self.rows.filter(has_text=person.user.display_name)

    def open(self, person: Person) -> Self:
        """Open the conversation with a person."""
        self.row(person).click()
        expect(self.page.get_by_role("heading", name=person.user.display_name)).to_be_visible()
        return self

    def show(self, *, is_visible: bool) -> None:
        """Say that the window is in front, or that it is hidden. Chromium without a screen always shows it."""
        state = "visible" if is_visible else "hidden"
        self.page.evaluate(
            """state => {
              Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
              document.dispatchEvent(new Event("visibilitychange"));
            }""",
            state,
        )

    def expect_rows(self, *people: Person) -> None:
        """Expect these conversations, in this order."""
        expect(self.rows).to_have_text([re.compile(person.user.display_name) for person in people])

    def send(self, text: str) -> None:
        self.composer.fill(text)
        self.composer.press("Enter")

    def choose(self, action: str) -> None:
        """Choose from the menu of the conversation."""
        self.page.get_by_text("More", exact=True).click()
        self.page.get_by_role("button", name=action).click()

    def confirm(self, action: str) -> None:
        """Press the button of a dialog."""
        self.page.get_by_role("dialog").get_by_role("button", name=action).click()

    def expect_connected(self) -> None:
        expect(self.page.get_by_text(re.compile("^(Connecting…|Offline)$"))).to_have_count(0)

    def expect_problem(self, text: str) -> None:
        """Expect these words about the connection."""
        expect(self.page.get_by_text(text, exact=True)).to_be_visible()

    def expect_accessible(self) -> None:
        """Expect no barrier that axe finds and no horizontal scrolling, in light and dark, from narrow to wide."""
        for scheme, width in itertools.product(SCHEMES, WIDTHS):
            self.page.emulate_media(color_scheme=scheme)
            self.page.set_viewport_size({"width": width, "height": 700})
            results = Axe().run(self.page, options={"resultTypes": ["violations"]})
            assert results.violations_count == 0, f"{scheme}, {width} px:\n{results.generate_report()}"
            assert self.page.evaluate("document.documentElement.scrollWidth") <= width, f"{scheme}, {width} px"

    def expect_title(self, title: str) -> None:
        expect(self.page).to_have_title(title)


class Windows:
    """Opens windows. Notes all errors, blocked actions and dialogs in them, and every URL that they load."""

    def __init__(self, browser: Browser, site: Site) -> None:
        self._browser = browser
        self._site = site
        self._contexts: list[BrowserContext] = []
        self._urls: list[str] = []
        self._problems: list[str] = []
        self._expected: list[str] = []

    def open(
        self, person: Person | None = None, *, path: str = "/", beside: Window | None = None, **options: Any
    ) -> Window:
        """Open a window in a browser of its own, or `beside` another one; sign a person in."""
        context = beside.page.context if beside else self._new_context(**options)
        window = Window(context.new_page())
        window.page.goto(self._site.url + path)
        return window.sign_in(person) if person else window

    def expect_problem(self, words: str) -> None:
        """Let the browser report errors with these words in this test."""
        self._expected.append(words)

    def check(self) -> None:
        """Fail if something happened that must not, or if a secret is where others can read it."""
        for context in self._contexts:
            assert context.cookies() == []
            for page in context.pages:
                assert page.evaluate("Object.keys(localStorage)") == []
        assert [url for url in self._urls if SECRETS.search(url)] == []
        problems = [text for text in self._problems if not any(words in text for words in self._expected)]
        assert not problems, problems

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _new_context(self, **options: Any) -> BrowserContext:
        defaults = {"locale": "en-GB", "timezone_id": "UTC", "viewport": {"width": 1000, "height": 700}}
        context = self._browser.new_context(**defaults | options)
        self._contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        context.on("console", self._note_console)
        context.on("weberror", self._note_error)
        context.on("dialog", self._note_dialog)
        context.on("request", lambda request: self._urls.append(request.url))
        context.on("page", lambda page: page.on("framenavigated", lambda frame: self._urls.append(frame.url)))
        return context

    def _note_console(self, message: ConsoleMessage) -> None:
        """A policy violation is an error on the console, too."""
        if message.type in ("error", "warning"):
            self._problems.append(f"{message.text} ({message.location['url']})")

    def _note_error(self, error: WebError) -> None:
        self._problems.append(str(error.error))

    def _note_dialog(self, dialog: Dialog) -> None:
        self._problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()
