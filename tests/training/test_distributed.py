"""Devices and processes: what cannot compute is refused in one line, and one process needs no others."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from histods.errors import HistodsError
from training.distributed import Process, can_compile, choose_device, describe, processes

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "cuda:x", "cuda:-1", "meta", "hpu", "xla", "cuda:99", "3"])
def test_what_is_no_device_or_cannot_compute_here_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(HistodsError) as caught:
        choose_device(name)
    message = str(caught.value)
    assert message.startswith(f"The device {name} cannot be used (")
    assert message.endswith("; give cpu or cuda, or omit --device.")
    assert "\n" not in message


def test_a_device_that_is_named_is_taken() -> None:
    assert choose_device("cpu") == choose_device(CPU) == CPU


@pytest.mark.parametrize(("there", "kind"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch, there: bool, kind: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device() == choose_device(None) == torch.device(kind)


def test_without_torchrun_there_is_one_process_which_writes_and_waits_for_nobody() -> None:
    with processes("cpu") as process:
        assert process == Process(rank=0, world_size=1, device=CPU)
        assert process.first
        process.wait()
        assert (process.agree(True), process.agree(False)) == (True, False)
        assert process.all_equal(-1)
        assert not torch.distributed.is_initialized()


def test_torchrun_with_one_process_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    with processes("cpu") as process:
        assert (process.world_size, process.first) == (1, True)
        assert not torch.distributed.is_initialized()


def test_processes_that_torchrun_started_are_joined_and_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", calls.append)
    monkeypatch.setattr(torch.distributed, "new_group", lambda backend, **_: calls.append(f"words by {backend}"))
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: calls.append("end"))
    with pytest.raises(KeyError), processes("cpu") as process:
        assert (process.rank, process.world_size, process.device, process.first) == (2, 3, CPU, False)
        raise KeyError
    assert calls == ["gloo", "words by gloo", "end"]


def test_only_a_gpu_with_a_compiler_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    found: Callable[[str], str | None] = {"gcc": "/usr/bin/gcc"}.get
    monkeypatch.setattr(shutil, "which", found)
    assert can_compile(torch.device("cuda"))
    assert not can_compile(CPU)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert not can_compile(torch.device("cuda"))


def test_the_cpu_is_described_with_its_threads() -> None:
    assert describe(CPU).startswith(f"the CPU ({torch.get_num_threads()} threads, ")
