"""Keep many file operations in flight on slow storage, and only one at a time on fast storage.

On NFS or Lustre each call costs milliseconds, regardless of its size, and many concurrent calls cost no more than
one. Python releases the GIL in each, so threads suffice. For cached files on a local disk, however, passing a file
to a thread and back costs as much as reading it. So calls start one by one and are timed: if several in a row make
this process wait, threads take over, and their number doubles as long as that pays off.
`python -m tests.benchmarks.storage` prints the effect; figures are in docs/benchmarks.md.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Value = TypeVar("Value")

MAX_THREADS = 64
"""Calls in flight in one process. Reading and measuring 2,000 files where a call takes 5 ms took one process 2.9 s
with 8 threads, 1.5 s with 16, 0.8 s with 32 and 0.6 s with 64, of which 0.7 s were CPU time; where it takes 1 ms,
0.9, 0.6, 0.4 and 0.7 s: more threads than pay get in each other's way (26 November 2026, two busy cores)."""
_FIRST_THREADS = 8
_TURNS = 4
"""Calls per thread before deciding whether twice as many threads complete more calls per second."""
_WORTH = 1.15
"""Speed-up that twice as many threads must bring to be kept."""
SLOW_SECONDS, _SLOW_CALLS = 0.0002, 4
"""Waiting time of a slow call, and number of slow calls in a row before using threads, which cost up to 0.1 ms."""
_CALLS_BETWEEN_TRIALS = 4096
"""Calls in threads after which the next `overlap` again makes its first call without a thread."""


class Pace:
    """The number of calls to keep in flight, as learned so far; shared by calls of one kind to one storage.

    Args:
        threads: initial number; with 0, calls are made one by one until they prove to be slow.
        most: maximum number.
    """

    __slots__ = ("_doubted", "_known", "_most", "_rate", "_settled", "calls", "slow", "threads")

    def __init__(self, threads: int = 0, *, most: int = MAX_THREADS) -> None:
        self.threads = threads
        self.slow = 0  # calls in a row that waited
        self._most = most
        self._known = min(_FIRST_THREADS, most)
        self.calls = 0  # in threads, since the last trial
        self._rate = 0.0  # completed calls per second with half the threads
        self._settled = self._doubted = False

    def begin(self) -> None:
        """Make the first call without a thread if the last trial was long ago, since files may now be cached."""
        if self.calls >= _CALLS_BETWEEN_TRIALS:
            self._known, self.threads, self.slow = self.threads, 0, _SLOW_CALLS - 1
            self.calls, self._rate, self._settled, self._doubted = 0, 0.0, False, False

    def note(self, waited: float) -> None:
        """Record a call without a thread, with the seconds that it waited."""
        if waited < SLOW_SECONDS:
            self.slow = max(self.slow - 1, 0)
            return
        self.slow += 1
        if self.slow >= _SLOW_CALLS:
            self.threads = self._known

    def answered(self, calls: int, seconds: float) -> bool:
        """Double the number of threads, or halve it if the last doubling did not pay off.

        Args:
            calls: completed since the last change, while all threads were busy and the caller still waited.
            seconds: how long that took.

        Returns:
            Whether there were enough calls to decide; counting then restarts.
        """
        if calls < _TURNS * self.threads:
            return False
        if not self._settled:
            rate = calls / seconds
            if rate < _WORTH * self._rate:
                if self._doubted:
                    self.threads, self._settled = self.threads // 2, True
                self._doubted = True  # this machine may have been briefly busy: try once more
            elif self.threads == self._most:
                self._settled = True
            else:
                self._rate, self.threads, self._doubted = rate, min(2 * self.threads, self._most), False
        return True


def overlap(call: Callable[[Item], Value], items: Iterable[Item], pace: Pace | None = None) -> Iterator[Value]:
    """Yield `call(item)` for each item, in order; if calls wait for storage, the next ones run concurrently.

    An error is raised in order, after the values before it; then no further call starts. Closing the iterator
    waits for the calls in flight, so none continues in the background.

    Args:
        call: a thread-safe function that mostly waits and needs little processor time.
        items: consumed in the caller's thread, at most `MAX_THREADS` ahead.
        pace: the experience from earlier calls of this kind.
    """
    pace = pace or Pace()
    pace.begin()
    left = iter(items)
    for item in left if not pace.threads else ():
        doubtful = pace.slow > 0  # then separate computing from waiting, which costs a system call
        busy = thread_time() if doubtful else 0.0
        started = perf_counter()
        value = call(item)
        waited = perf_counter() - started
        if doubtful:
            waited -= thread_time() - busy
        if doubtful or waited >= SLOW_SECONDS:
            pace.note(waited)
        yield value
        if pace.threads:
            break
    team = _Team(call, left)
    try:
        yield from team.answers(pace)
    finally:
        team.close()


class _Team(Generic[Item, Value]):
    """Threads that call a function for items ahead of their turn."""

    def __init__(self, call: Callable[[Item], Value], items: Iterator[Item]) -> None:
        self._call = call
        self._items = enumerate(items)
        self._threads: list[threading.Thread] = []
        self._asked: SimpleQueue[tuple[int, Item] | None] = SimpleQueue()
        self._answered: SimpleQueue[tuple[int, Value | BaseException, bool]] = SimpleQueue()
        self._closing = False

    def answers(self, pace: Pace) -> Iterator[Value]:
        """Yield the values in order, with the number of calls in flight given by `pace`."""
        ready: dict[int, tuple[Any, bool]] = {}
        begun = turn = counted = 0
        started = perf_counter()
        while True:
            while begun - turn < pace.threads and (question := next(self._items, None)) is not None:
                begun += 1
                self._ask(question, begun - turn)
            if begun == turn:
                return
            if (
                turn not in ready
                and self._answered.empty()
                and begun - turn >= pace.threads
                and pace.answered(turn - counted, perf_counter() - started)
            ):
                counted, started = turn, perf_counter()
            while turn not in ready:
                number, answer, sound = self._answered.get()
                ready[number] = answer, sound
            answer, sound = ready.pop(turn)
            turn += 1
            pace.calls += 1
            if not sound:
                raise answer
            yield answer

    def close(self) -> None:
        """Start no further calls, and wait for those in flight."""
        self._closing = True
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()

    def _ask(self, question: tuple[int, Item], threads: int) -> None:
        """Queue an item, with at least the given number of threads."""
        self._asked.put(question)
        if len(self._threads) < threads:
            thread = threading.Thread(target=self._serve, daemon=True)  # one that never ends does not block exit
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        while (question := self._asked.get()) is not None and not self._closing:
            number, item = question
            try:
                self._answered.put((number, self._call(item), True))
            except BaseException as error:  # raised in the caller's thread, in its turn
                self._answered.put((number, error, False))
