"""The documents of the checkout, and their JSON, headings and tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib.config import ROOT

README = ROOT / "README.md"
CONFIGURATION = ROOT / "docs/configuration.md"
DATA_MODEL = ROOT / "docs/data-model.md"
FRONT_END = ROOT / "docs/front-end.md"
AWS = ROOT / "docs/aws.md"
AWS_OPTIONS = ROOT / "docs/aws-options.md"
AWS_SECURITY = ROOT / "docs/aws-security.md"
PERFORMANCE = ROOT / "docs/performance.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EACH_DOCUMENT = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def blocks(document: Path, language: str) -> list[str]:
    """The contents of the document's fenced blocks in a language, such as `json`."""
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The names by which links lead to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(document: Path, first_heading: str) -> list[list[str]]:
    """The rows of the one table whose first column has this heading."""
    match = re.search(rf"^\| {first_heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", document.read_text(), re.MULTILINE)
    assert match, f"{document.name} has no table that begins with {first_heading}"
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in match[1].splitlines()]
