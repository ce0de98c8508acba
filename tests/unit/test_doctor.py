"""The doctor on moto: for every code a damage that gives exactly that finding, and what the repair leaves."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from tests.support.corruptions import Damage, damages
from tests.support.doctor_fixtures import sound_table, visit, without_versions
from tests.support.stores import NewStore, TableContents
from tests.unit.conftest import TABLE
from tools.doctor.findings import PERSON, Code

each_damage = pytest.mark.parametrize(("code", "damage", "restored"), damages.values(), ids=damages)


def test_every_code_has_a_damage() -> None:
    assert {code for code, _, _ in damages.values()} == set(Code)


def test_sound_table_gives_no_finding(new_store: NewStore, client: Any) -> None:
    group = sound_table(new_store)
    assert visit(client, TABLE).findings == []
    assert visit(client, TABLE, group=group).findings == []


@each_damage
def test_damage_gives_its_code_alone_and_the_repair_leaves_nothing_that_can_be_mended(
    code: Code, damage: Damage, restored: bool, new_store: NewStore, contents: TableContents, client: Any
) -> None:
    group = sound_table(new_store)
    before = contents.items()
    damage(contents, group)
    damaged = contents.items()

    assert visit(client, TABLE).codes == [code]
    assert contents.items() == damaged, "a visit without --fix writes nothing"
    for_a_person = visit(client, TABLE).the(code).fix == PERSON
    mended = visit(client, TABLE, fix=True)
    assert (mended.codes, mended.left) == ([code], [code] if for_a_person else [])
    assert visit(client, TABLE, fix=True).codes == mended.left
    assert messages(damaged) == messages(contents.items())
    if restored:
        assert without_versions(contents.items()) == without_versions(before)
    if for_a_person:
        assert contents.items() == damaged


@pytest.mark.parametrize("seed", range(5))
def test_several_damages_at_once_are_mended_in_one_visit(
    seed: int, new_store: NewStore, contents: TableContents, client: Any
) -> None:
    group = sound_table(new_store)
    apart = [damage for _, damage, restored in damages.values() if restored]  # they remove nothing that another needs
    for damage in random.Random(seed).sample(apart, 4):  # noqa: S311
        with suppress(ValueError, IndexError, KeyError):  # what it damages is gone already
            damage(contents, group)
    damaged = messages(contents.items())

    assert visit(client, TABLE, fix=True).left == []
    assert visit(client, TABLE, fix=True).codes == []
    assert messages(contents.items()) == damaged


def messages(items: list[Any]) -> dict[tuple[str, str], Any]:
    return {key: item["message"] for key, item in without_versions(items).items() if key[0].startswith("MSG#")}
