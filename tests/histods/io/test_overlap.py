"""Calls that wait for storage overlap; their values, order and errors are those of a plain loop."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from histods.io.overlap import MAX_THREADS, Pace, overlap

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = threading.active_count


class Counter:
    """A call that waits, and counts how many of it are under way."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.now = self.most = self.calls = 0
        self.lock = threading.Lock()

    def __call__(self, item: int) -> int:
        with self.lock:
            self.calls += 1
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        return item


@settings(max_examples=30, deadline=None)
@given(
    waits=st.lists(st.sampled_from([0, 0.0001, 0.002]), max_size=40),
    threads=st.sampled_from([0, 1, 2, 5, 64]),
    fails_at=st.none() | st.integers(0, 39),
)
def test_values_and_errors_come_in_order(waits: list[float], threads: int, fails_at: int | None) -> None:
    def call(place: int) -> int:
        time.sleep(waits[place])
        if place == fails_at:
            raise ValueError(str(place))
        return place

    before, got = THREADS(), []
    fails = fails_at is not None and fails_at < len(waits)
    try:
        for value in overlap(call, range(len(waits)), Pace(threads)):
            got.append(value)  # noqa: PERF402 - what came before an error counts
    except ValueError as error:
        assert fails
        assert str(error) == str(fails_at)
        assert got == list(range(fails_at or 0))
    else:
        assert not fails
        assert got == list(range(len(waits)))
    assert THREADS() == before


def test_slow_calls_overlap_more_and_more_and_within_bounds() -> None:
    call, pace = Counter(0.003), Pace()
    assert list(overlap(call, range(1500), pace)) == list(range(1500))
    assert 16 <= call.most <= MAX_THREADS
    list(overlap(call, range(1), pace))
    assert pace.threads >= 8  # what was found out is kept for the next calls


@pytest.mark.parametrize(("slots", "most", "threads"), [(8, 64, 8), (1, 64, 4), (100, 64, 64), (100, 16, 16)])
def test_threads_grow_as_long_as_that_pays(slots: int, most: int, threads: int) -> None:
    """A storage that answers so many calls at a time, however many are asked; its times are computed."""
    pace = Pace(4, most=most)
    for _ in range(20):
        calls = 100 * pace.threads
        assert pace.answered(calls, calls * 0.002 / min(pace.threads, slots))
    assert pace.threads == threads


def test_threads_are_no_more_than_allowed() -> None:
    pace = Pace(4, most=8)
    list(overlap(Counter(0.002), range(300), pace))
    assert pace.threads <= 8


def test_quick_calls_are_made_without_a_thread() -> None:
    places = [threading.get_ident() for _ in range(2000)]
    assert list(overlap(lambda _: threading.get_ident(), range(2000))) == places


def test_calls_that_compute_are_made_without_a_thread() -> None:
    def compute(_: int) -> int:
        until = time.thread_time() + 0.0005
        while time.thread_time() < until:
            pass
        return threading.get_ident()

    here = threading.get_ident()
    for _ in range(50):  # none elsewhere, but where the machine is so busy that calls wait for a processor
        elsewhere = sum(place != here for place in overlap(compute, range(60)))
        if elsewhere <= 30:
            break
    assert elsewhere <= 30


def test_files_that_came_into_memory_are_read_without_threads_again() -> None:
    call, pace = Counter(0.001), Pace()
    list(overlap(call, range(5000), pace))
    assert pace.threads
    call.seconds = 0
    for _ in range(50):  # a call that waits for a processor looks like one that waits for storage
        call.most = 0
        list(overlap(call, range(100), pace))
        if not pace.threads and call.most == 1:
            break
    assert not pace.threads
    assert call.most == 1


def test_items_are_taken_as_late_as_possible() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(1000):
            taken = item + 1
            yield item

    for yielded, _ in enumerate(overlap(Counter(0.0005), items(), Pace(4, most=8))):
        assert taken <= yielded + 1 + 8


@pytest.mark.parametrize("threads", [0, 4, 64])
def test_closing_early_begins_no_further_call_and_leaves_no_thread(threads: int) -> None:
    call, before = Counter(0.002), THREADS()
    values = overlap(call, range(1000), Pace(threads))
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    values.close()  # type: ignore[attr-defined]  # a generator
    calls = call.calls
    assert calls <= 3 + threads
    assert THREADS() == before
    time.sleep(0.01)
    assert (call.calls, call.now) == (calls, 0)


def test_an_error_of_the_caller_leaves_no_thread() -> None:
    before = THREADS()
    with pytest.raises(KeyboardInterrupt):
        for value in overlap(Counter(0.002), range(1000), Pace(16)):
            if value == 5:
                raise KeyboardInterrupt
    assert THREADS() == before


def test_one_call_that_never_seems_to_end_holds_up_no_other() -> None:
    end, seen = threading.Event(), []

    def call(item: int) -> int:
        seen.append(item)
        if item == 0:
            end.wait(5)
        elif item == 7:
            end.set()  # reached, though the first has not ended
        return item

    assert list(overlap(call, range(20), Pace(8))) == list(range(20))
    assert 7 in seen
