"""Runs a script: the first line of bin/db/create, and of most others, leads to `python -m tools.cli bin/db/create`."""

import runpy
import sys

if __name__ == "__main__":
    del sys.argv[0]
    runpy.run_path(sys.argv[0])["main"]()
