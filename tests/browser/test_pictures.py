"""The pictures in README. `./bin/test --browser -k pictures --pictures=docs/images` makes them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.browser import Window, Windows
from tests.support.site import Person, Site

pytestmark = pytest.mark.browser

MAX_BYTES = 80_000
WIDE, NARROW = {"width": 960, "height": 600}, {"width": 360, "height": 640}
TALK = (
    "The Zocalo has oranges again. Real ones \N{TANGERINE}",
    "From Earth? Keep two for me.",
    "From the gardens of the station. Lennier planted them.",
    "Then keep four.",
    "And Mollari wants to know if you still owe him a dinner.",
    "Tell him: مع السلامة \N{SMILING FACE WITH SMILING EYES}",
    "I told him that you say hello.",
    "The council meets at nine tomorrow, not at ten. Please do not be late this time.",
    "I am never late. Time is early.",
)


def people(site: Site) -> tuple[Person, Person]:
    """Two people with a conversation. The first one also has messages from others."""
    susan, delenn = site.add("ivanova", "Susan Ivanova"), site.add("delenn", "Delenn")
    for name, display_name, text in (
        ("garibaldi", "Michael Garibaldi", "Have you seen my coffee?"),
        ("vir", "Vir Cotto", "I am sorry. I am really, really sorry."),
        ("gkar", "G’Kar", "Page 400 is the best one. You have read it by now, I hope."),
    ):
        site.add(name, display_name).write(text, to=susan)
    site.fill((delenn, susan), TALK, unread=1, days=1)
    return susan, delenn


def take(window: Window, folder: Path, name: str) -> None:
    """Write a picture that a page can load fast."""
    path = folder / f"{name}.png"
    window.page.screenshot(path=path, animations="disabled", caret="hide")
    assert path.stat().st_size < MAX_BYTES


def test_pictures_show_inbox_and_conversation(
    site: Site, windows: Windows, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = Path(request.config.getoption("pictures") or tmp_path)
    take(windows.open(viewport=NARROW), folder, "sign-in")
    susan, delenn = people(site)
    options: dict[str, dict[str, Any]] = {
        "light": {"viewport": WIDE},
        "dark": {"viewport": WIDE, "color_scheme": "dark"},
        "narrow": {"viewport": NARROW},
    }
    for name, option in options.items():
        window = windows.open(susan, **option).open(delenn)
        expect(window.texts.last).to_be_in_viewport()
        window.expect_connected()
        take(window, folder, name)
