"""For every corruption: the findings of the doctor, and the table after the repair."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from lib.ddb.items import key_of
from lib.ddb.keys import message_pk
from tests.support.corruptions import OTHER, Corruption, attributes, corruptions, state
from tests.support.doctor_fixtures import run_doctor, sound_table, without_versions
from tests.support.stores import ANNA, BERT, NewStore, TableContents, after_start
from tests.unit.conftest import TABLE
from tools.doctor.findings import PERSON, Code


@pytest.fixture(params=corruptions.values(), ids=list(corruptions))
def corruption(request: pytest.FixtureRequest) -> Corruption:
    return request.param  # type: ignore[no-any-return]


def test_every_code_has_a_corruption() -> None:
    codes = set().union(*(corruption.codes for corruption in corruptions.values()))
    assert codes == set(Code) - {Code.TABLE_SCHEMA}  # a finding on no item: tests/integration/test_schema.py


@pytest.mark.parametrize("place", ["above", "between"])
def test_copies_of_a_message_are_removed_and_the_rest_renumbered(
    place: str, new_store: NewStore, contents: TableContents, client: Any
) -> None:
    group = sound_table(new_store)
    first, second, *others = contents.partition(message_pk(group))
    replaced = new_store().send(group_uuid=group, sender=ANNA, text="six").created_at if place == "above" else None
    contents.put({**first, "sk": {"S": replaced} if replaced else second["sk"], "seq": {"N": "6" if replaced else "2"}})

    codes = run_doctor(client, TABLE).codes
    assert Code.MESSAGE_TWINS in codes
    assert run_doctor(client, TABLE, fix=True).left == []
    assert run_doctor(client, TABLE).codes == []
    kept = [first, second, *others] if replaced else [first, *others]
    assert [item["sk"] for item in contents.partition(message_pk(group))] == [item["sk"] for item in kept]


def test_of_twins_one_of_each_text_is_kept(new_store: NewStore, contents: TableContents, client: Any) -> None:
    group = sound_table(new_store)
    _, second, *_ = contents.partition(message_pk(group))
    for number, text in enumerate(("other", "two", "other"), start=6):
        contents.put({**second, "sk": {"S": after_start(number)}, "message": {"S": text}})

    assert run_doctor(client, TABLE, fix=True).left == [Code.MESSAGE_TWINS]
    assert [message.text for message in contents.messages(group)] == ["one", "two", "three", "four", "five", "other"]
    assert run_doctor(client, TABLE).codes == [Code.MESSAGE_TWINS]


def test_corruption_is_found_and_repaired(
    corruption: Corruption, new_store: NewStore, contents: TableContents, client: Any
) -> None:
    group = sound_table(new_store)
    before = contents.items()
    corruption.corrupt(contents, group)
    corrupted = contents.items()

    report = run_doctor(client, TABLE)
    assert set(report.codes) == corruption.codes
    assert contents.items() == corrupted, "a check without --fix writes nothing"
    unrepairable = [finding.code for finding, _ in report.findings if finding.fix == PERSON]
    repaired = run_doctor(client, TABLE, fix=True)
    assert (set(repaired.codes), repaired.left) == (corruption.codes, unrepairable)
    for rewritten in [item for item in contents.items() if "version" in item and item not in corrupted]:
        previous = next((item["version"]["N"] for item in corrupted if key_of(item) == key_of(rewritten)), "0")
        assert int(rewritten["version"]["N"]) > int(previous), "a version only goes up"
    assert run_doctor(client, TABLE, fix=True).codes == unrepairable
    assert messages(corrupted) == messages(contents.items())
    if corruption.restored:
        assert without_versions(contents.items()) == without_versions(before)
    if unrepairable:
        assert contents.items() == corrupted


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("a message without its uuid", "message_uuid"),
        ("an e-mail address in a message", "sent_by"),
        ("messages alone", f"no row, 3 messages, sent by {ANNA.uuid}"),
        ("a message without a number", "1 of 5 messages have no number"),
        ("two messages of one number", "5 messages with gaps or doubles"),
        ("a state that counts wrong", "seq is 7, not 5"),
        ("a position past the end", f"members.{BERT.uuid}.read_seq is 8, not 5"),
        ("a member without a row", "missing"),
        ("a row with another name", "user_handle"),
        ("a row of a non-member", "surplus"),
        ("a guard of two strangers", f"the guard names {OTHER}, the newest is None"),
    ],
)
def test_finding_names_the_difference(
    name: str, detail: str, new_store: NewStore, contents: TableContents, client: Any
) -> None:
    corruptions[name].corrupt(contents, sound_table(new_store))
    [(finding, _)] = run_doctor(client, TABLE).findings
    assert finding.detail == detail


def test_indexed_state_is_checked_like_others(new_store: NewStore, contents: TableContents, client: Any) -> None:
    group = sound_table(new_store)
    before = contents.items()
    state(attributes(seq={"N": "7"}, message_group_uuid={"S": group}))(contents, group)

    assert set(run_doctor(client, TABLE).codes) == {Code.ITEM_ATTRIBUTES, Code.CONVERSATION_STATE}
    assert run_doctor(client, TABLE, fix=True).left == []
    assert without_versions(contents.items()) == without_versions(before)


@pytest.mark.parametrize("seed", range(5))
def test_one_run_repairs_several_corruptions(
    seed: int, new_store: NewStore, contents: TableContents, client: Any
) -> None:
    group = sound_table(new_store)
    harmless = [corruption for corruption in corruptions.values() if corruption.restored]
    for corruption in random.Random(seed).sample(harmless, 4):  # noqa: S311
        with suppress(ValueError, IndexError, KeyError):  # the item is already gone
            corruption.corrupt(contents, group)
    corrupted = messages(contents.items())

    assert run_doctor(client, TABLE, fix=True).left == []
    assert run_doctor(client, TABLE, fix=True).codes == []
    assert messages(contents.items()) == corrupted


def messages(items: list[Any]) -> dict[tuple[str, str], Any]:
    return {key: item["message"] for key, item in without_versions(items).items() if key[0].startswith("MSG#")}
