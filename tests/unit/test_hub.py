"""The hub: which streams of a process get a hint."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.live.hub import Hint, Hub, TooManyStreams
from services.live import publish_update
from tests.support.examples import AUGUSTSZ, BAYKO, STATE

NEWS = Hint("message_group", ("anna", "bert"))
TYPING = Hint("typing", ("bert",), {"uuid": "group", "user_uuid": "anna"})
OTHER_TYPING = Hint("typing", ("bert",), {"uuid": "other group", "user_uuid": "anna"})


class FakeRelay:
    """Keeps what the hub sends; `deliver` and `lost` are the hub's."""

    is_connected = False

    def __init__(self) -> None:
        self.sent: list[Hint] = []
        self.listens = 0

    def listen(self, deliver: Callable[[Hint], object], lost: Callable[[], None]) -> None:
        self.listens += 1
        self.deliver, self.lost = deliver, lost

    def send(self, hint: Hint) -> None:
        self.sent.append(hint)


@pytest.fixture
def relay() -> FakeRelay:
    return FakeRelay()


@pytest.fixture
def hub(relay: FakeRelay) -> Hub:
    return Hub(relay, streams_per_user=10)


def test_hint_reaches_all_streams_of_its_users_and_the_other_processes(hub: Hub, relay: FakeRelay) -> None:
    anna: list[object] = []
    bert, bert_too, carl = anna.copy(), anna.copy(), anna.copy()
    for name, hints in (("anna", anna), ("bert", bert), ("bert", bert_too), ("carl", carl)):
        hub.subscribe(name, hints.append)
    hub.publish(NEWS)
    relay.deliver(NEWS)
    assert (anna, bert, bert_too, carl) == ([NEWS] * 2, [NEWS] * 2, [NEWS] * 2, [])
    assert relay.sent == [NEWS]  # a hint of another process does not go back


def test_change_of_a_user_reaches_the_process_before_the_users_streams(relay: FakeRelay) -> None:
    order: list[object] = []
    hub = Hub(relay, streams_per_user=10, on_user_change=lambda hint: order.append("process"))
    change = Hint("user", ("anna",), {"cognito_user_id": None})
    hub.subscribe("anna", order.append)
    hub.subscribe("bert", order.append)
    relay.deliver(change)
    assert order == ["process", change]


def test_process_listens_from_its_first_stream_on(hub: Hub, relay: FakeRelay) -> None:
    hub.publish(NEWS)
    assert relay.listens == 0
    for _ in range(2):
        hub.subscribe("anna", print)
        hub.unsubscribe("anna", print)
    assert relay.listens == 1


def test_every_stream_hears_of_a_loss(hub: Hub, relay: FakeRelay) -> None:
    hints: list[object] = []
    hub.subscribe("anna", hints.append)
    hub.subscribe("bert", hints.append)
    relay.lost()
    assert hints == [None, None]


def test_user_has_a_limited_number_of_streams(relay: FakeRelay) -> None:
    hub = Hub(relay, streams_per_user=3)
    streams = [[].append for _ in range(3)]
    for deliver in streams:
        hub.subscribe("anna", deliver)
    with pytest.raises(TooManyStreams):
        hub.subscribe("anna", print)
    hub.subscribe("bert", print)
    for _ in range(2):  # a second call does not free another place
        hub.unsubscribe("anna", streams[0])
    hub.subscribe("anna", print)
    with pytest.raises(TooManyStreams):
        hub.subscribe("anna", print)


def test_one_typing_hint_of_a_conversation_goes_on(hub: Hub, relay: FakeRelay) -> None:
    hints: list[object] = []
    hub.subscribe("bert", hints.append)
    relay.deliver(TYPING)
    for hint in (TYPING, OTHER_TYPING, OTHER_TYPING):
        hub.publish(hint)
    relay.deliver(OTHER_TYPING)
    assert hints == [TYPING, OTHER_TYPING]
    assert relay.sent == [OTHER_TYPING]


def test_typing_goes_on_again_later(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.live.hub.TYPING_SECONDS", 0)
    hub = Hub(relay, streams_per_user=10)
    hub.publish(TYPING)
    hub.publish(TYPING)
    assert relay.sent == [TYPING, TYPING]


def test_many_threads_subscribe_publish_and_leave(hub: Hub) -> None:
    def come_and_go(number: int) -> int:
        hints: list[object] = []
        for _ in range(200):
            hub.subscribe(f"user {number % 4}", hints.append)
            hub.publish(Hint("message_group", (f"user {number % 4}",)))
            hub.unsubscribe(f"user {number % 4}", hints.append)
        return len(hints)

    with ThreadPoolExecutor(8) as threads:
        assert min(threads.map(come_and_go, range(8))) >= 200
    assert hub._streams == {}


def test_update_of_stream_mode_wakes_no_member_who_blocks(hub: Hub, relay: FakeRelay) -> None:
    for blockers, woken in ((set(), [AUGUSTSZ.uuid, BAYKO.uuid]), ({BAYKO.uuid}, [AUGUSTSZ.uuid])):
        publish_update(hub, STATE.with_blocks(blockers))
        assert list(relay.sent[-1].user_uuids) == woken
