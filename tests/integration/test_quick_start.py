"""The README's quick start works as pasted and prints what the README shows."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

from tests.support.dev import call, paste, running
from tests.support.documents import README, blocks

README_URL = "http://127.0.0.1:4567"


def test_pasted_quick_start_works(tmp_path: Path, engine_folder: Path) -> None:
    start, read, send = blocks(README, "sh")[:3]
    assert start == "./bin/dev\n"
    with running(engine_folder / "quick-start") as dev:
        url = dev.description["api_url"]
        commands = f"{read}echo ---\n{send}".replace(README_URL, url)
        inbox, message = paste(commands, tmp_path, LOCAL_DIR=str(dev.folder)).split("---\n")
        with urllib.request.urlopen(url) as response:  # noqa: S310
            page = response.read().decode()
        users = {user["username"] for user in call(f"{url}/api/client-config")["demo_users"]}
    assert inbox == blocks(README, "json")[0]
    assert json.loads(message).items() >= {"handle": "Augustsz", "message": "Hello Londo!", "seq": 1}.items()
    assert "<script " in page
    [(named_url, *named_users)] = re.findall(
        r"open (\S+) in two windows\. Click \*\*Sign in as (.+)\*\* .* \*\*Sign in as (.+)\*\*", README.read_text()
    )
    assert named_url == README_URL
    assert set(named_users) <= users
    assert f"\nOpen {url} in two windows. " in dev.output
