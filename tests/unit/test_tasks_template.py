"""aws/cfn/tasks.yaml beside service.yaml and messaging.yaml: one image, and one user of Postgres for each program."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lib.config import IAM_SCHEME, ROOT
from tests.support.policies import documents, grants
from tools.deploy.tasks import MIGRATE
from tools.deploy.templates import resources, template

TASKS = resources("tasks", "AWS::ECS::TaskDefinition")
(API,) = resources("service", "AWS::ECS::TaskDefinition").values()
(API_CONTAINER,) = API["ContainerDefinitions"]
SCRIPTS = {name: task["ContainerDefinitions"][0] for name, task in TASKS.items()}
MASTER = template("network")["Resources"]["Database"]["Properties"]["MasterUsername"]
ROLES = set(re.findall(r"'(cruddur_\w+)'", (ROOT / "db/roles.sql").read_text()))


def variables(container: dict[str, Any]) -> dict[str, Any]:
    return {variable["Name"]: variable["Value"] for variable in container["Environment"]}


def function_url(name: str) -> Any:
    url = template("messaging")["Resources"][name]["Properties"]["Environment"]["Variables"]["DATABASE_URL"]
    return url.get("Fn::If", [None, url])[1]


# The policies that let a program sign in, and the URL of the program.
PROGRAMS = {
    "messaging.AppRole.users": variables(API_CONTAINER)["DATABASE_URL"],
    "messaging.PostConfirmationRole.post-confirmation": function_url("PostConfirmationFunction"),
    "messaging.MessageStreamRole.message-stream": function_url("MessageStreamFunction"),
    "tasks.MaintenanceRole.users": variables(SCRIPTS["MaintenanceTask"])["DATABASE_URL"],
    "tasks.MigrationsRole.database": variables(SCRIPTS["MigrationsTask"])["DATABASE_URL"],
    "tasks.RolesRole.database": variables(SCRIPTS["RolesTask"])["DATABASE_URL"],
}


@pytest.mark.parametrize("policy", PROGRAMS)
def test_program_signs_in_to_postgres_as_the_one_user_that_its_role_allows(policy: str) -> None:
    granted = grants(documents()[policy]["Statement"])
    (user,) = {arn.rpartition("/")[2] for action, arn in granted if action == "rds-db:connect"}
    assert PROGRAMS[policy]["Fn::Sub"] == f"{IAM_SCHEME}{user}@${{DatabaseHost}}:5432/cruddur"


def test_each_role_of_postgres_has_one_program_and_only_the_roles_task_is_the_master() -> None:
    connecting = [name for name, document in documents().items() if ":dbuser:" in str(document)]
    assert sorted(connecting) == sorted(PROGRAMS)
    users = {name: re.findall(r"//(\w+)@", url["Fn::Sub"])[0] for name, url in PROGRAMS.items()}
    assert sorted(users.values()) == sorted({*ROLES, MASTER})
    assert users["tasks.RolesRole.database"] == MASTER


def test_password_of_the_master_reaches_the_roles_task_alone() -> None:
    readers = {
        name
        for name, document in documents().items()
        for action, arn in grants(document["Statement"])
        if action == "secretsmanager:GetSecretValue" and "MasterUserSecret" in arn or "DatabaseMasterSecretArn" in arn
    }
    assert readers == {"network.SecretsEndpoint", "tasks.RolesStartRole.secrets"}
    (secret,) = SCRIPTS["RolesTask"]["Secrets"]
    assert secret == {"Name": "PGPASSWORD", "ValueFrom": {"Fn::Sub": "${DatabaseMasterSecretArn}:password::"}}
    assert [name for name, task in TASKS.items() if task["ExecutionRoleArn"]["Fn::GetAtt"][0] == "RolesStartRole"] == [
        "RolesTask"
    ]


def test_database_takes_tokens_and_shows_a_certificate_of_the_known_roots() -> None:
    database = template("network")["Resources"]["Database"]["Properties"]
    assert database["EnableIAMDatabaseAuthentication"] is True
    assert database["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in database
    assert database["CACertificateIdentifier"] == "rds-ca-rsa2048-g1"


@pytest.mark.parametrize("name", SCRIPTS)
def test_tasks_run_the_image_of_the_api_on_its_kind_of_machine(name: str) -> None:
    task, container = TASKS[name], SCRIPTS[name]
    for field in ("RuntimePlatform", "NetworkMode", "RequiresCompatibilities"):
        assert task[field] == API[field]
    for field in ("Image", "User", "LinuxParameters"):
        assert container[field] == API_CONTAINER[field]
    assert (ROOT / container["Command"][0]).exists()


def test_maintenance_has_settings_of_the_api_and_the_shared_cache() -> None:
    common = variables(SCRIPTS["MaintenanceTask"])
    del common["DATABASE_URL"]
    assert common.items() <= variables(API_CONTAINER).items()
    # bin/db/rename-user invalidates the shared cache.
    assert SCRIPTS["MaintenanceTask"]["Secrets"][-1] == API_CONTAINER["Secrets"][-1]


def test_migrations_run_by_the_command_of_their_task() -> None:
    assert SCRIPTS["MigrationsTask"]["Command"] == list(MIGRATE)
