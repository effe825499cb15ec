"""Keep many file operations in flight where storage makes each of them wait, and none beside where it does not.

On NFS or Lustre each call costs milliseconds, however small it is, and many of them at once cost no more than one.
Python gives its lock back in each, so threads are enough. On a local disk whose files are in memory, though,
handing a file to a thread and back costs as much as reading it, so that calls begin one by one and are watched:
where several in a row keep this process waiting, threads take over, twice as many as long as that pays.
`python -m tests.benchmarks.storage` prints what this brings; figures stand in the README under Speed.
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
"""Calls for each thread, after which it is seen whether twice as many threads have answered more in a second."""
_WORTH = 1.15
"""How many times as fast twice as many threads have to be to stay."""
SLOW_SECONDS, _SLOW_CALLS = 0.0002, 4
"""Calls that wait so long, and how many in a row it takes: handing one to a thread costs up to 0.1 ms."""
_CALLS_BETWEEN_TRIALS = 4096
"""Calls in threads, after which the first call of the next `overlap` is made without one again."""


class Pace:
    """How many calls to keep in flight, as found out so far; kept for calls of one kind to one storage.

    Args:
        threads: how many to begin with; with 0 calls are made one by one until they prove to be slow.
        most: bound of their number.
    """

    __slots__ = ("_doubted", "_known", "_most", "_rate", "_settled", "calls", "slow", "threads")

    def __init__(self, threads: int = 0, *, most: int = MAX_THREADS) -> None:
        self.threads = threads
        self.slow = 0  # calls in a row that waited
        self._most = most
        self._known = min(_FIRST_THREADS, most)
        self.calls = 0  # in threads, since the last trial
        self._rate = 0.0  # answers a second with half the threads
        self._settled = self._doubted = False

    def begin(self) -> None:
        """Have the first call made without a thread where the last trial is long ago: files may be in memory."""
        if self.calls >= _CALLS_BETWEEN_TRIALS:
            self._known, self.threads, self.slow = self.threads, 0, _SLOW_CALLS - 1
            self.calls, self._rate, self._settled, self._doubted = 0, 0.0, False, False

    def note(self, waited: float) -> None:
        """Take a call without a thread into account, which waited so many seconds."""
        if waited < SLOW_SECONDS:
            self.slow = max(self.slow - 1, 0)
            return
        self.slow += 1
        if self.slow >= _SLOW_CALLS:
            self.threads = self._known

    def answered(self, calls: int, seconds: float) -> bool:
        """Allow twice as many threads, or half as many where the last doubling did not pay.

        Args:
            calls: answered since the last change, while all threads were busy and the caller still waited.
            seconds: how long that took.

        Returns:
            Whether there were enough of them to decide; then counting begins again.
        """
        if calls < _TURNS * self.threads:
            return False
        if not self._settled:
            rate = calls / seconds
            if rate < _WORTH * self._rate:
                if self._doubted:
                    self.threads, self._settled = self.threads // 2, True
                self._doubted = True  # this machine may have been busy for a moment: once more
            elif self.threads == self._most:
                self._settled = True
            else:
                self._rate, self.threads, self._doubted = rate, min(2 * self.threads, self._most), False
        return True


def overlap(call: Callable[[Item], Value], items: Iterable[Item], pace: Pace | None = None) -> Iterator[Value]:
    """Yield `call(item)` for each item, in order; where calls wait for storage, the next ones are under way.

    What a call raises is raised at its place, after the values before it; then no further call is begun. Closing
    the iterator waits for the calls in flight, so that none goes on unseen.

    Args:
        call: safe to run in several threads at once, and no work for the processor but for what it waits for.
        items: taken in the caller's thread, at most `MAX_THREADS` before their turn.
        pace: what earlier calls of this kind taught.
    """
    pace = pace or Pace()
    pace.begin()
    left = iter(items)
    for item in left if not pace.threads else ():
        doubtful = pace.slow > 0  # then what it computes is told from what it waits for, which costs a system call
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
    """Threads that call a function of items ahead of their turn."""

    def __init__(self, call: Callable[[Item], Value], items: Iterator[Item]) -> None:
        self._call = call
        self._items = enumerate(items)
        self._threads: list[threading.Thread] = []
        self._asked: SimpleQueue[tuple[int, Item] | None] = SimpleQueue()
        self._answered: SimpleQueue[tuple[int, Value | BaseException, bool]] = SimpleQueue()
        self._closing = False

    def answers(self, pace: Pace) -> Iterator[Value]:
        """Yield the values in order, with as many calls in flight as `pace` says."""
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
        """Begin no further call, and wait for those in flight."""
        self._closing = True
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()

    def _ask(self, question: tuple[int, Item], threads: int) -> None:
        """Have an item's turn prepared, by at least so many threads."""
        self._asked.put(question)
        if len(self._threads) < threads:
            thread = threading.Thread(target=self._serve, daemon=True)  # one that never ends holds up no exit
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        while (question := self._asked.get()) is not None and not self._closing:
            number, item = question
            try:
                self._answered.put((number, self._call(item), True))
            except BaseException as error:  # raised in the caller's thread, in its turn
                self._answered.put((number, error, False))
