"""The README's quick start works as pasted and prints what the README shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lib.config import ROOT
from tests.support.dev import running
from tests.support.documents import README, blocks

# Stands in for curl, which not every machine has: GET, or POST with -d.
CURL = """#!{python}
import argparse, sys, urllib.request
parser = argparse.ArgumentParser()
parser.add_argument("-s", action="store_true")
parser.add_argument("-H", action="append")
parser.add_argument("-d", type=str.encode)
parser.add_argument("url")
options = parser.parse_args()
headers = dict(header.split(": ", 1) for header in options.H)
with urllib.request.urlopen(urllib.request.Request(options.url, options.d, headers)) as response:
    sys.stdout.buffer.write(response.read())
"""


def test_the_quick_start_works_as_pasted(tmp_path: Path) -> None:
    start, read, send = blocks(README, "sh")[:3]
    assert start == "./bin/dev\n"
    curl = tmp_path / "curl"
    curl.write_text(CURL.format(python=sys.executable))
    curl.chmod(0o755)
    with running(tmp_path / "local") as dev:
        commands = f"{read}echo ---\n{send}".replace("http://127.0.0.1:4567", dev.description["api_url"])
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOCAL_DIR": str(dev.folder)}
        pasted = subprocess.run(
            ["/bin/sh", "-ec", commands],
            cwd=ROOT,
            env={**os.environ, **environment, "CRUDDUR_PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=True,
        )
    inbox, message = pasted.stdout.split("---\n")
    assert inbox == blocks(README, "json")[0]
    assert json.loads(message).items() >= {"handle": "Augustsz", "message": "Hello Londo!", "seq": 1}.items()
