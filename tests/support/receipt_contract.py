"""The contract of sends under an Idempotency-Key. A subclass runs it on each engine and in each mode."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lib.ddb.idempotency import DuplicateRequest, Idempotency, Receipt
from lib.ddb.items import Message
from lib.ddb.store import MessageStore
from lib.users.accounts import User
from tests.support.stores import ANNA, BERT, CARL, START, NewStore, SteppingClock, TableContents

ONCE = Idempotency("a key", "hash of the request")
DAY = timedelta(days=1)


def stopped_clock(after_start: timedelta) -> SteppingClock:
    return SteppingClock(timedelta(0), start=START + after_start)


def send_once(store: MessageStore, sender: User, receiver: User) -> Message:
    return store.send_to_user(sender=sender, receiver=receiver, text="once", idempotency=ONCE)


class ReceiptContract:
    """The subclass's module has the fixtures `new_store` and `contents`."""

    def test_first_message_and_its_receipt_are_one_write(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store(clock=stopped_clock(timedelta(0)))
        message = send_once(store, ANNA, BERT)

        [stored] = contents.partition(f"IDEM#{ANNA.uuid}#a key")
        assert stored == {
            "pk": {"S": f"IDEM#{ANNA.uuid}#a key"},
            "sk": {"S": "STATE"},
            "request_hash": {"S": "hash of the request"},
            "answer": {"M": message.to_item()},
            "expires_at": {"N": str(int((START + DAY).timestamp()))},
        }
        assert Receipt.from_item(stored).message == message
        contents.check(message.group_uuid, ["once"])

    @pytest.mark.parametrize("by_user", [True, False])
    def test_second_send_writes_nothing_and_gets_the_receipt_in_any_process(
        self, new_store: NewStore, contents: TableContents, by_user: bool
    ) -> None:
        group = new_store().send_to_user(sender=BERT, receiver=ANNA, text="before").group_uuid

        def send(text: str) -> object:
            store = new_store()
            if by_user:
                return store.send_to_user(sender=ANNA, receiver=BERT, text=text, idempotency=ONCE)
            return store.send(group_uuid=group, sender=ANNA, text=text, idempotency=ONCE)

        first = send("once")
        new_store().send(group_uuid=group, sender=BERT, text="after")
        before = contents.items()
        for text in ("once", "another text"):
            with pytest.raises(DuplicateRequest) as error:
                send(text)
            assert error.value.receipt.message == first
        assert contents.items() == before

    def test_second_send_with_a_stale_state_gets_the_receipt(
        self, new_store: NewStore, contents: TableContents
    ) -> None:
        store, other_store = new_store(), new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        first = other_store.send(group_uuid=group, sender=ANNA, text="once", idempotency=ONCE)
        other_store.send(group_uuid=group, sender=BERT, text="three")

        with pytest.raises(DuplicateRequest) as error:
            store.send(group_uuid=group, sender=ANNA, text="once", idempotency=ONCE)
        assert error.value.receipt.message == first
        contents.check(group, ["one", "once", "three"])

    def test_simultaneous_first_messages_under_one_key_are_one_message(
        self, new_store: NewStore, contents: TableContents, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late = new_store()
        monkeypatch.setattr(late.conversations, "find_by_pair", lambda sender, receiver: None)
        first = send_once(new_store(), ANNA, BERT)

        with pytest.raises(DuplicateRequest):
            send_once(late, ANNA, BERT)
        contents.check(first.group_uuid, ["once"])

    def test_key_belongs_to_its_sender(self, new_store: NewStore, contents: TableContents) -> None:
        store = new_store()
        messages = [send_once(store, sender, BERT) for sender in (ANNA, CARL)]

        has_receipt = [store.receipt(user=user, key=ONCE.key) is not None for user in (ANNA, CARL, BERT)]
        assert has_receipt == [True, True, False]
        for message in messages:
            contents.check(message.group_uuid, ["once"])

    @pytest.mark.parametrize(("later", "counts"), [(DAY - timedelta(seconds=1), True), (DAY, False)])
    def test_receipt_counts_for_a_day(
        self, new_store: NewStore, contents: TableContents, later: timedelta, counts: bool
    ) -> None:
        first = send_once(new_store(clock=stopped_clock(timedelta(0))), ANNA, BERT)
        store = new_store(clock=stopped_clock(later))

        assert (store.receipt(user=ANNA, key=ONCE.key) is not None) == counts
        if counts:
            with pytest.raises(DuplicateRequest):
                send_once(store, ANNA, BERT)
        else:
            assert send_once(store, ANNA, BERT).uuid != first.uuid
        contents.check(first.group_uuid, ["once"] if counts else ["once", "once"])

    def test_refused_transaction_leaves_no_receipt(self, new_store: NewStore, contents: TableContents) -> None:
        store, other_store = new_store(), new_store()
        group = store.send_to_user(sender=ANNA, receiver=BERT, text="one").group_uuid
        other_store.send(group_uuid=group, sender=BERT, text="two")
        message = store.send(group_uuid=group, sender=ANNA, text="three", idempotency=ONCE)  # its first try is refused

        receipt = store.receipt(user=ANNA, key=ONCE.key)
        assert receipt
        assert receipt.message == message
        contents.check(group, ["one", "two", "three"])

    def test_index_holds_inbox_rows_alone(self, new_store: NewStore, contents: TableContents) -> None:
        send_once(new_store(), ANNA, BERT)
        assert {item["pk"]["S"] for item in contents.indexed()} == {f"GRP#{ANNA.uuid}", f"GRP#{BERT.uuid}"}

    def test_printable_key_is_stored_unchanged(self, new_store: NewStore) -> None:
        store = new_store()
        for key in ("#", " ", "a#b#c", '"', "\\", "~" * 255):
            store.send_to_user(sender=ANNA, receiver=BERT, text=key, idempotency=Idempotency(key, "hash"))
            receipt = store.receipt(user=ANNA, key=key)
            assert receipt
            assert (receipt.key, receipt.message.text) == (key, key)
