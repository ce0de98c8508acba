"""The documents of the checkout, and what the tests read in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib.config import ROOT

README = ROOT / "README.md"
DATA_MODEL = ROOT / "docs/data-model.md"
AWS = ROOT / "docs/aws.md"
PERFORMANCE = ROOT / "docs/performance.md"
DOCTOR = ROOT / "docs/doctor.md"
DOCUMENTS = [README, DATA_MODEL, AWS, PERFORMANCE, DOCTOR]
EACH = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def blocks(document: Path) -> list[str]:
    """The JSON that the document shows."""
    return re.findall(r"```json\n(.*?)```", document.read_text(), re.DOTALL)


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(document: Path, first_heading: str) -> list[list[str]]:
    """The rows of the one table whose first column has this heading."""
    found = re.search(rf"^\| {first_heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", document.read_text(), re.MULTILINE)
    assert found, f"{document.name} has no table that begins with {first_heading}"
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in found[1].splitlines()]
