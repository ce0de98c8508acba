"""Run a script of bin/: the first line of bin/db/create leads to `python -Pm tools.cli bin/db/create`."""

import runpy
import sys

from tools.cli.console import print_traceback

if __name__ == "__main__":
    del sys.argv[0]
    sys.excepthook = print_traceback
    runpy.run_path(sys.argv[0])["main"]()
