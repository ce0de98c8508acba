"""README.md, CONTRIBUTING.md and the pages in docs match the code: links, paths, generated parts and examples.

test_costs.py checks the figures of docs/performance.md, and tests/integration/test_quick_start.py runs the commands of
the README.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lib.config import ROOT
from routes import errors as error_routes
from services import errors
from services.errors import Code
from tests.support import scripts
from tests.support.documents import (
    CONFIGURATION,
    DATA_MODEL,
    DOCUMENTS,
    EACH_DOCUMENT,
    FRONT_END,
    PERFORMANCE,
    anchors,
    blocks,
)
from tests.support.examples import examples
from tools.explain.pricing import item_size


@EACH_DOCUMENT
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    for path, _, anchor in (link.partition("#") for link in links if not link.startswith("https://")):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@EACH_DOCUMENT
def test_every_row_of_a_table_has_its_own_line(document: Path) -> None:
    tables = re.findall(r"^.*\|-{3}.*$", document.read_text(), re.MULTILINE)
    assert [line for line in tables if not re.fullmatch(r"[|: -]+", line)] == []


def test_every_named_path_exists() -> None:
    pattern = r"(?<![\w/.-])(?:\./)?((?:aws|bin|db|docs|lib|routes|services|tests|tools|web)/[\w./-]*\w)"
    paths = {(document.name, path) for document in DOCUMENTS for path in re.findall(pattern, document.read_text())}
    assert paths
    assert {(name, path) for name, path in paths if not (ROOT / path).exists()} == set()


def test_every_linked_function_is_in_its_file() -> None:
    links = {
        (document.parent / path, name)
        for document in DOCUMENTS
        for name, path in re.findall(r"\[`([\w.]+)`\]\(([^)]+\.py)\)", document.read_text())
    }
    assert links
    for path, name in links:
        source = path.read_text()
        assert re.search(rf"^ *(def|class) {name.rpartition('.')[2]}\b", source, re.MULTILINE), f"{name} in {path}"


def test_every_linked_function_of_the_page_is_in_its_file() -> None:
    links = re.findall(r"\[`([\w.#]+)`\]\(\.\./web/([\w-]+\.js)\)", FRONT_END.read_text())
    assert links
    for name, file in links:
        *classes, function = name.split(".")
        source = (ROOT / "web" / file).read_text()
        for pattern in [
            *(rf"^export class {class_name}\b" for class_name in classes),
            rf"^ *(export )?(static )?(async )?(class |get |function\*? )?{function}\b.* [{{]$",
        ]:
            assert re.search(pattern, source, re.MULTILINE), f"{name} in {file}"


@pytest.mark.parametrize(("path", "row"), [(CONFIGURATION, "| `DDB_TABLE` |"), (PERFORMANCE, "| **All** |")])
def test_generated_part_of_a_page_is_up_to_date(path: Path, row: str) -> None:
    module, page = scripts.load("docs").module, path.read_text()
    content = module.PAGES[path]()
    assert module.update(page, content) == page, f"{path.name} is out of date: run ./bin/docs"
    assert module.update(page.replace(row, "| another |"), content) == page


def test_help_lists_every_command_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert scripts.load("help")([]) == 0
    lines = capsys.readouterr().out.splitlines()
    commands = [path for path in (ROOT / "bin").rglob("*") if path.is_file() and os.access(path, os.X_OK)]
    assert sorted(line.split()[0] for line in lines) == sorted(f"./{path.relative_to(ROOT)}" for path in commands)
    assert all(len(line) <= 120 and len(line.split()) > 3 and not line.endswith("…") for line in lines)


def test_pre_commit_runs_the_linters_of_bin_test() -> None:
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (hooks,) = [repository["hooks"] for repository in configuration["repos"]]
    stages = [stage for stage in scripts.load("test").module.EVERYTHING if stage[0] != "pytest"]
    assert [hook["entry"] for hook in hooks] == [f"./bin/python -m {' '.join(stage)}" for stage in stages]


def test_example_items_equal_the_items_of_the_code() -> None:
    assert [json.loads(block) for block in blocks(DATA_MODEL, "json")] == examples()


def test_sizes_of_the_example_items_follow_the_rules_of_aws() -> None:
    sizes = [int(size) for size in re.findall(r"\((\d+) bytes\)", DATA_MODEL.read_text())]
    assert sizes == [item_size(item) for item in examples()]


def _raised_codes() -> Iterator[tuple[int, str]]:
    """Each status with each code that the sources raise under it."""
    status = {kind.__name__: number for kind, number in error_routes.STATUS_BY_ERROR.items()}
    for path in [*(ROOT / "services").glob("*.py"), *(ROOT / "routes").glob("*.py")]:
        for kind, code in re.findall(r"\b(\w+)\(Code\.(\w+)[,)]", path.read_text()):
            assert issubclass(getattr(errors, kind), errors.ServiceError)
            yield status[kind], Code[code]
    yield from error_routes.CODE_BY_STATUS.items()
    yield from [(400, Code.BAD_REQUEST), (500, Code.INTERNAL_ERROR)]
    yield from [(503, Code.POSTGRES_UNAVAILABLE), (503, Code.DYNAMODB_UNAVAILABLE)]  # raised by Readiness, by variable
