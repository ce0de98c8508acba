"""docs/doctor.md lists the findings as the code has them."""

from __future__ import annotations

import re

from lib.config import ROOT
from lib.doctor.findings import Code

DOCUMENT = ROOT / "docs/doctor.md"


def test_the_table_of_findings_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert rows == [(code.value, code.meaning, code.fix) for code in Code]


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#\s]+)\)", DOCUMENT.read_text())
    assert links
    assert [link for link in links if not (DOCUMENT.parent / link).exists()] == []
