"""The lean description of DynamoDB says what botocore's own says, but for what no client looks at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import DataNotFoundError
from botocore.loaders import Loader
from botocore.regions import EndpointResolver

from lib.ddb.lean_data import lean_loader

WHOLE, LEAN = Loader(), lean_loader(None)


def without_documentation(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: without_documentation(each)
            for name, each in value.items()
            if not (name == "documentation" and isinstance(each, str))
        }
    return [without_documentation(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", ["service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2"])
def test_dynamodb_is_described_whole_without_the_documentation(kind: str) -> None:
    whole, lean = WHOLE.load_service_model("dynamodb", kind), LEAN.load_service_model("dynamodb", kind)
    assert json.dumps(lean) == json.dumps(without_documentation(whole))  # in its order as well


@pytest.mark.parametrize("name", ["partitions", "_retry", "sdk-default-configuration"])
def test_the_other_files_are_what_they_are(name: str) -> None:
    assert LEAN.load_data(name) == without_documentation(WHOLE.load_data(name))


def test_every_region_has_the_endpoint_of_botocore() -> None:
    whole, lean = (EndpointResolver(loader.load_data("endpoints")) for loader in (WHOLE, LEAN))
    partitions = WHOLE.load_data("endpoints")["partitions"]
    assert lean.get_available_partitions() == whole.get_available_partitions()
    known = {region for each in partitions for region in (*each["regions"], *each["services"]["dynamodb"]["endpoints"])}
    for region in {*known, "eu-north-9", "somewhere"}:
        for variant in ({}, {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}):
            assert endpoint(lean, region, variant) == endpoint(whole, region, variant)


def endpoint(resolver: EndpointResolver, region: str, variant: dict[str, bool]) -> Any:
    try:
        return resolver.construct_endpoint("dynamodb", region, **variant)
    except Exception as error:
        return type(error), str(error)


def test_no_other_service_is_kept() -> None:
    assert {name for each in LEAN.load_data("endpoints")["partitions"] for name in each["services"]} == {"dynamodb"}


def test_what_is_not_there_is_not_found() -> None:
    with pytest.raises(DataNotFoundError):
        LEAN.load_data("nothing-like-it")


def test_a_folder_of_ones_own_comes_first(tmp_path: Path) -> None:
    partition = {"partition": "own", "services": {"s3": {"endpoints": {}}}}  # without DynamoDB
    (tmp_path / "endpoints.json").write_text(json.dumps({"partitions": [partition]}))
    assert lean_loader(str(tmp_path)).load_data("endpoints") == {"partitions": [partition | {"services": {}}]}


def test_a_member_that_is_called_documentation_stays(tmp_path: Path) -> None:
    shape = {"members": {"documentation": {"shape": "Text"}}, "documentation": "<p>Text</p>"}
    (tmp_path / "any.json").write_text(json.dumps(shape))
    assert lean_loader(str(tmp_path)).load_data("any") == {"members": shape["members"]}
