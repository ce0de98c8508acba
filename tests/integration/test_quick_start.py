"""The README's quick start works as pasted and prints what the README shows."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.dev import paste, running
from tests.support.documents import README, blocks


def test_pasted_quick_start_works(tmp_path: Path, engine_folder: Path) -> None:
    start, read, send = blocks(README, "sh")[:3]
    assert start == "./bin/dev\n"
    with running(engine_folder / "quick-start") as dev:
        commands = f"{read}echo ---\n{send}".replace("http://127.0.0.1:4567", dev.description["api_url"])
        inbox, message = paste(commands, tmp_path, LOCAL_DIR=str(dev.folder)).split("---\n")
    assert inbox == blocks(README, "json")[0]
    assert json.loads(message).items() >= {"handle": "Augustsz", "message": "Hello Londo!", "seq": 1}.items()
