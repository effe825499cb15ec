"""A pool of workers that is this process: starting processes takes longer than most tests' work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from histods import audit
from histods.engines import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from histods.measurement.audit_result import AuditResult


class _Call:
    def __init__(self, value: object) -> None:
        self.value = value


class Here:
    """Runs a call where it is submitted; an error of the work is an error of the test."""

    workers = 1

    def submit(self, work: Callable[[Sequence[Any]], Any], chunk: Sequence[Any]) -> object:
        return _Call(work(chunk))

    def wait_any(self, handles: Sequence[Any]) -> tuple[object, Any]:
        return handles[0], handles[0].value

    def failed_handle(self) -> object:
        raise NotImplementedError

    def restart(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


@contextmanager
def all_here() -> Iterator[None]:
    """Have every step do its work in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("steps.audit", "steps.shard", "steps.tile", "masks.writing_job"):
            patch.setattr(f"histods.{module}.engine_for", lambda *_: Engine(Here()))
        yield


def audit_here(root: Path, **options: Any) -> AuditResult:
    """Audit a dataset in this process; options are those of `histods.audit`."""
    with all_here():
        return audit(root, **options)
