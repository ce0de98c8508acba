"""The shape of the code: imports run one way, keys stand in one place, nothing is made early."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from lib.config import ROOT

LAYERS = ("app", "routes", "services", "lib")  # each may import itself and those after it
TOOLS = {"tools", "bin", "aws", "bench", "tests"}  # the API loads none of them
WEB = {"flask", "werkzeug"}
CLIENTS = {"boto3", "botocore", "psycopg", "psycopg_pool"}
FOREIGN = {"routes": CLIENTS, "services": WEB | CLIENTS, "lib": WEB}
KEY_PREFIXES = ("MSG#", "GRP#", "CONV#", "PAIR#", "IDEM#")
DOCUMENTED = r"os\._exit$|\w+_pb2\._[A-Z]|getattr\._base_executable$"  # messages of Momento's are called so

# Imports every module of the program with no setting in the environment and every way out of the process closed.
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
    """The program's modules, relative to the checkout."""
    found = [ROOT / "app.py", *(path for room in (*LAYERS, "tools") for path in (ROOT / room).rglob("*.py"))]
    return sorted(path.relative_to(ROOT) for path in found)


def programs() -> list[Path]:
    """The modules, and what runs them: the scripts, which have no suffix, the functions, and the benchmark."""
    others = [path for folder in ("bin", "aws", "bench") for path in (ROOT / folder).rglob("*")]
    scripts = [path for path in others if path.is_file() and (path.suffix == ".py" or is_script(path))]
    return [*modules(), *(path.relative_to(ROOT) for path in scripts)]


def is_script(path: Path) -> bool:
    return path.read_bytes().startswith(b"#!")


def layer_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def parse(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def imported_modules(tree: ast.AST) -> set[str]:
    """The modules that code imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports(tree: ast.AST) -> set[str]:
    """The top-level packages that code imports, wherever it does."""
    return {name.partition(".")[0] for name in imported_modules(tree)}


def room_of(module: str) -> str:
    """`lib.ddb` for `lib.ddb.store.MessageStore`, `routes` for `routes.errors`."""
    parts = module.split(".")
    return ".".join(parts[: 2 if parts[0] in ("lib", "tools") else 1])


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings that code works with: all but docstrings."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def test_the_layers_are_all_there() -> None:
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
def test_functions_stand_on_services_and_lib_alone(path: Path) -> None:
    assert imports(parse(path)) & (WEB | {"app", "routes", "tools", "bin", "bench", "tests"}) == set()


def test_a_wrong_import_is_found_wherever_it_stands() -> None:
    code = "import os\ndef f():\n    from flask.typing import x\n    import boto3.session as b"
    assert imports(ast.parse(code)) == {"os", "flask", "boto3"}


@pytest.mark.parametrize("path", programs(), ids=str)
def test_key_formats_stand_in_one_module(path: Path) -> None:
    knows = any(prefix in text for text in texts(parse(path)) for prefix in KEY_PREFIXES)
    assert knows == (path == Path("lib/ddb/keys.py"))


def test_a_key_format_is_found_in_an_f_string_and_not_in_a_docstring() -> None:
    assert list(texts(ast.parse('"""GRP#"""\nkey = f"MSG#{group}"'))) == ["MSG#"]


def defined(tree: ast.AST) -> set[str]:
    """The names that code gives: to functions, classes and variables, and to what it keeps in `self`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Name):
            names.add(node.id if isinstance(node, ast.Name) else node.name)
    return names


DEFINED = set().union(*(defined(parse(path)) for path in programs()))


def foreign_private_names(tree: ast.AST) -> Iterator[str]:
    """Names with one leading underscore that are not the module's own; nor, behind `self`, the program's."""
    own = defined(tree)
    for node in ast.walk(tree):
        taken: list[tuple[str, object]] = []
        if isinstance(node, ast.Attribute):
            taken = [(ast.unparse(node.value), node.attr)]
        elif isinstance(node, ast.ImportFrom):
            taken = [(str(node.module), alias.name) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "attrgetter"):
            taken = [("getattr", each.value) for each in node.args if isinstance(each, ast.Constant)]
        for receiver, name in taken:
            private = re.fullmatch(r"_[^_]\w*(?<!_)", str(name))  # `_value_` of an Enum is documented
            if private and name not in (own | DEFINED if receiver == "self" else own):
                yield f"{receiver}.{name}"


@pytest.mark.parametrize("path", [*programs(), *(path.relative_to(ROOT) for path in ROOT.glob("*.py"))], ids=str)
def test_nothing_private_of_a_library_is_used(path: Path) -> None:
    assert [name for name in foreign_private_names(parse(path)) if not re.match(DOCUMENTED, name)] == []


@pytest.mark.parametrize(
    "code",
    [
        "client._endpoint.x()",
        "client._endpoint = 1",
        "self._client._endpoint",
        "super()._do_parse(self._x)",
        "getattr(client, '_endpoint')",
        "from botocore.parsers import _text",
        "class C(B):\n    def f(self):\n        self.x = self._send_request",
    ],
)
def test_a_private_name_of_a_library_is_found(code: str) -> None:
    assert list(foreign_private_names(ast.parse(code)))
    own = "class A:\n    def __init__(self, other):\n        self._x = other._x + self._f()\n    def _f(self): ..."
    assert list(foreign_private_names(ast.parse(own))) == []


def test_importing_makes_no_client_and_needs_no_setting() -> None:
    names = [str(path.with_suffix("")).replace("/", ".").removesuffix(".__init__") for path in modules()]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_module_says_what_it_is() -> None:
    silent = [str(path) for path in programs() if not ast.get_docstring(parse(path)) and (ROOT / path).read_text()]
    assert silent == []
