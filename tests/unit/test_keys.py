"""The sort keys of messages and inbox rows: a time in one of the formats that tables have."""

from __future__ import annotations

import pytest

from lib.clock import sortable, tick_after
from lib.ddb.keys import is_time
from services.validation import check_created_at


@pytest.mark.parametrize("time", ["0001-01-02T00:00", "2026-01-02 03:04", "9999-12-30T23:59"])
@pytest.mark.parametrize("seconds", ["", ":05", ":59.5", ":05.375877", ":05.123456789"])
@pytest.mark.parametrize("offset", ["", "Z", "+00:00", "+0530", "-05:00"])
def test_later_key_follows_every_time_and_clients_may_ask_for_it(time: str, seconds: str, offset: str) -> None:
    sk = time + seconds + offset
    assert is_time(sk)
    assert tick_after(sortable(sk)) > sortable(sk) >= sk
    assert check_created_at(sk)


def test_keys_in_the_current_format_follow_those_of_the_last_day_but_one() -> None:
    assert is_time(tick_after(sortable("9999-12-30T23:59:59.999999-23:59")))


@pytest.mark.parametrize(
    "sk",
    [
        "",
        "STATE",
        "March 1",
        "1 March 2023",
        "2026-13-01T00:00:00",
        "2026-02-30T00:00:00+00:00",
        "2026-01-02",
        "2026-W01-5",
        "20260102T030405",
        "2026-01-02T03",
        "2026-01-02T03:04:05\n",
        "٢٠٢٦-01-02T03:04:05",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T00:00:00",
        "9999-12-31T23:59:59.000000+00:00",
    ],
)
def test_other_keys_are_no_times(sk: str) -> None:
    assert not is_time(sk)
