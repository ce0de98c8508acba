"""README.md and the pages in docs say what the code says: links, paths, tables and items (costs: test_costs.py)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

from lib.config import ROOT, Settings
from routes import errors as error_routes
from services import errors
from services.errors import Code
from tests.support.documents import DATA_MODEL, DOCTOR, DOCUMENTS, EACH, README, anchors, blocks, table
from tests.support.examples import examples, size
from tools.doctor.findings import Code as Finding


@EACH
def test_every_relative_link_leads_to_a_file_and_to_a_heading_of_it(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    for path, _, anchor in (link.partition("#") for link in links if not link.startswith("https://")):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@EACH
def test_every_path_that_is_named_exists(document: Path) -> None:
    named = re.findall(
        r"(?<![\w/.-])(?:\./)?((?:bin|lib|services|routes|db|docs|tests)/[\w./-]*\w)", document.read_text()
    )
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_function_that_is_linked_is_in_its_file() -> None:
    linked = {
        (document.parent / path, name)
        for document in DOCUMENTS
        for name, path in re.findall(r"\[`([\w.]+)`\]\(([^)]+\.py)\)", document.read_text())
    }
    assert linked
    for path, name in linked:
        source = path.read_text()
        assert re.search(rf"^ *(def|class) {name.rpartition('.')[2]}\b", source, re.MULTILINE), f"{name} in {path}"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    expected = [
        [f"`{each.name.upper()}`", _default(each.default), each.metadata["meaning"]] for each in fields(Settings)
    ]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in expected)
    assert table(README, "Setting") == expected, f"the table in README.md has to read\n{lines}"


def test_the_table_of_errors_has_every_code_with_its_statuses() -> None:
    listed = {(int(status), code.strip("`")) for status, code, _ in table(README, "Status")}
    assert listed == set(_answers())
    assert {code for _, code in listed} == set(Code)


def test_the_table_of_findings_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", DOCTOR.read_text(), re.MULTILINE)
    assert rows == [(code.value, code.meaning, code.fix) for code in Finding]


def test_every_script_is_named_in_the_readme() -> None:
    scripts = [path for path in (ROOT / "bin").rglob("*") if path.is_file() and os.access(path, os.X_OK)]
    named = {script.strip("`") for script, _ in table(README, "Script")}
    assert named == {str(path.relative_to(ROOT)) for path in scripts}


def test_the_answers_in_the_readme_are_those_of_the_seeded_conversation() -> None:
    lines = json.loads((ROOT / "db/conversation.json").read_text())
    inbox, page = (json.loads(block) for block in blocks(README)[:2])
    newest = [(len(lines), lines[-1]), (len(lines) - 1, lines[-2])]
    expected = [{"seq": seq, "created_at": line["at"], "message": line["message"]} for seq, line in newest]
    assert [answer.items() >= each.items() for answer, each in zip(page, expected, strict=True)] == [True, True]
    assert inbox[0].items() >= expected[0].items()


def test_the_examples_are_the_items_that_the_code_writes() -> None:
    assert [json.loads(block) for block in blocks(DATA_MODEL)] == examples()


def test_the_sizes_of_the_examples_follow_from_the_documented_rules() -> None:
    sizes = [int(size) for size in re.findall(r"\((\d+) bytes\)", DATA_MODEL.read_text())]
    assert sizes == [size(item) for item in examples()]


def _default(value: object) -> str:
    if value is MISSING:
        return "required"
    return "empty" if value in (None, "") else f"`{value}`"


def _answers() -> Iterator[tuple[int, str]]:
    """Each status with each code that the sources raise under it."""
    status = {kind.__name__: number for kind, number in error_routes.STATUS_BY_ERROR.items()}
    for path in [*(ROOT / "services").glob("*.py"), *(ROOT / "routes").glob("*.py")]:
        for kind, code in re.findall(r"\b(\w+)\(Code\.(\w+)\)", path.read_text()):
            assert issubclass(getattr(errors, kind), errors.ServiceError)
            yield status[kind], Code[code]
    yield from error_routes.CODE_BY_STATUS.items()
    yield from [(400, Code.BAD_REQUEST), (500, Code.INTERNAL_ERROR)]
    yield from [(503, Code.POSTGRES_UNAVAILABLE), (503, Code.DYNAMODB_UNAVAILABLE)]  # raised by Readiness, by variable
