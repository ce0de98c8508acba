"""The structure of the code: imports run one way, one module has the key formats, an import has no side effects."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from lib.config import ROOT
from tests.support import scripts

LAYERS = ("app", "routes", "services", "lib")  # each may import itself and those after it
TOOLS = {"tools", "bin", "aws", "bench", "tests"}  # the API imports none of them
WEB = {"flask", "werkzeug"}
CLIENTS = {"boto3", "botocore", "psycopg", "psycopg_pool"}
FOREIGN = {"routes": CLIENTS, "services": WEB | CLIENTS, "lib": WEB}
KEY_PREFIXES = ("MSG#", "GRP#", "CONV#", "PAIR#", "IDEM#")

# Imports every module with an empty environment, and fails if one connects, binds, starts a process or makes a client.
IMPORT_ALL = """
import importlib, os, sys, threading

def refuse(event, args):
    if event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.posix_spawn"):
        raise AssertionError(event)

def client(*args, **kwargs):
    raise AssertionError("a client was made")

os.environ.clear()
import boto3, psycopg_pool
boto3.client = boto3.resource = boto3.Session = boto3.session.Session = client
psycopg_pool.ConnectionPool.__init__ = client
sys.addaudithook(refuse)
sys.path.insert(0, "")
for name in sys.argv[1:]:
    importlib.import_module(name)
assert threading.active_count() == 1, threading.enumerate()
"""


def modules() -> list[Path]:
    """The modules of the API and of the tools, relative to the checkout."""
    paths = [ROOT / "app.py", *(path for room in (*LAYERS, "tools") for path in (ROOT / room).rglob("*.py"))]
    return sorted(path.relative_to(ROOT) for path in paths)


def programs() -> list[Path]:
    """The modules, the scripts, which have no suffix, the functions and the benchmark."""
    others = [path for folder in ("bin", "aws", "bench") for path in (ROOT / folder).rglob("*") if path.is_file()]
    scripts = [path for path in others if path.suffix == ".py" or path.read_bytes().startswith(b"#!")]
    return [*modules(), *(path.relative_to(ROOT) for path in scripts)]


def layer_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def parse(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def imported_modules(tree: ast.AST) -> set[str]:
    """The modules that code imports, within functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports(tree: ast.AST) -> set[str]:
    """The top-level packages that code imports."""
    return {name.partition(".")[0] for name in imported_modules(tree)}


def room_of(module: str) -> str:
    """`lib.ddb` for `lib.ddb.store.MessageStore`, `routes` for `routes.errors`."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] in ("lib", "tools") else 1])


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings in code, without docstrings."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def test_modules_are_in_layers() -> None:
    assert {layer_of(path) for path in modules()} == {*LAYERS, "tools"}


@pytest.mark.parametrize("path", modules(), ids=str)
def test_imports_run_one_way(path: Path) -> None:
    layer = layer_of(path)
    if layer == "tools":
        forbidden = WEB | {"app", "asgi", "serve", "routes", "bin", "bench", "tests"}
    else:
        forbidden = TOOLS | set(LAYERS[: LAYERS.index(layer)]) | FOREIGN.get(layer, set())
    assert imports(parse(path)) & forbidden == set()


def test_folders_do_not_import_each_other_in_a_circle() -> None:
    arrows: dict[str, set[str]] = {}
    for path in modules():
        room = room_of(".".join(path.with_suffix("").parts))
        arrows.setdefault(room, set()).update(room_of(name) for name in imported_modules(parse(path)))
    list(TopologicalSorter({room: targets - {room} for room, targets in arrows.items()}).static_order())


@pytest.mark.parametrize("path", [path for path in programs() if path.parts[0] == "aws"], ids=str)
def test_functions_import_services_and_lib_alone(path: Path) -> None:
    assert imports(parse(path)) & (WEB | {"app", "routes", "tools", "bin", "bench", "tests"}) == set()


def test_imports_within_functions_are_found() -> None:
    code = "import os\ndef f():\n    from flask.typing import x\n    import boto3.session as b"
    assert imports(ast.parse(code)) == {"os", "flask", "boto3"}


@pytest.mark.parametrize("path", programs(), ids=str)
def test_key_formats_are_in_one_module(path: Path) -> None:
    knows = any(prefix in text for text in texts(parse(path)) for prefix in KEY_PREFIXES)
    assert knows == (path == Path("lib/ddb/keys.py"))


def test_key_format_is_found_in_an_f_string_and_not_in_a_docstring() -> None:
    assert list(texts(ast.parse('"""GRP#"""\nkey = f"MSG#{group}"'))) == ["MSG#"]


def test_import_makes_no_client_and_needs_no_setting() -> None:
    names = [str(path.with_suffix("")).replace("/", ".").removesuffix(".__init__") for path in modules()]
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")


def test_every_module_has_a_docstring() -> None:
    undocumented = [
        str(path) for path in programs() if not ast.get_docstring(parse(path)) and (ROOT / path).read_text()
    ]
    assert undocumented == []


# Scripts of two folders may have the same name, which mypy takes for the same module. So each folder is a run.
@pytest.mark.parametrize("folder", sorted({str(Path(name).parent) for name in scripts.names()}))
def test_scripts_have_no_type_errors(folder: str) -> None:
    paths = [f"bin/{name}" for name in scripts.names() if str(Path(name).parent) == folder]
    mypy = [sys.executable, "-m", "mypy", "--scripts-are-modules", *paths]
    process = subprocess.run(mypy, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout
