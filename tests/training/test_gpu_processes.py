"""Work that several processes of one machine share: the same files as one makes, and one error where one fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.multiprocessing.spawn import start_processes

from histods import shard, split
from histods.errors import HistodsError
from histods.shards.latents.latent_set import LINEAR
from tests.conftest import make_site
from tests.forked import server
from tests.training.sharing import fail, share
from tests.training.trained_runs import ROOT, start_together
from tests.training.verbs.encoded import tree
from tests.training.verbs.test_sample import halves, make_run, write_mask
from tests.watchdog import finish
from training import gpu_processes, sample
from training.gpu_processes import gpus_to_share, in_processes
from training.inference.output_folder import Item, SampleFolder
from training.verbs.encode import _encode, encode
from training.verbs.sample import _sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = make_site(tmp_path_factory.mktemp("sharing"))
    split(workspace=site.workspace, test=0.25)
    shard(workspace=site.workspace, map=site.map, workers=1)
    return site


@pytest.fixture(autouse=True)
def _forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have processes be forked with PyTorch imported; those of a script are started as for users."""
    parent = server()

    def start(call: Any, arguments: tuple[Any, ...], *, start_method: str, **named: Any) -> Any:
        assert start_method == "spawn"
        work, count, _, *rest = arguments
        arguments = (work, count, parent, *rest)
        return start_processes(call, arguments, start_method="forkserver", **named)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(gpu_processes, "start_processes", start)


def test_progress_is_of_all_processes_and_the_result_that_of_the_first() -> None:
    told: list[tuple[str, int, int]] = []
    assert in_processes(share, 3, {"number": 10}, lambda *stage: told.append(stage)) == [3, 4]
    assert [done for _, done, _ in told] == list(range(1, 11))
    assert {(stage, total) for stage, _, total in told} == {("counting", 10)}


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_process_is_the_error_of_the_call(rank: int) -> None:
    with pytest.raises(HistodsError, match=r"^the shards lie on another machine; copy them\.$"):
        in_processes(fail, 2, {"rank": rank, "killed": False}, None)


def test_a_killed_process_ends_the_others_and_is_said() -> None:
    with pytest.raises(
        HistodsError, match=r"^Process 1 of 2 has ended \(.*signal SIGKILL\).*; run the same command again\.$"
    ):
        in_processes(fail, 2, {"rank": 1, "killed": True}, None)


def test_a_device_that_is_named_or_torchrun_keeps_work_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert gpus_to_share(None) == 8
    assert gpus_to_share("cuda:3") == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert gpus_to_share(None) == 1


def test_two_processes_encode_the_same_bytes_as_one(site: Site, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    arguments = {"source": site.workspace / "shards", "vae": LINEAR, "views": 8, "device": "cpu"}
    made = [
        in_processes(
            _encode, count, arguments | {"folder": tmp_path / str(count)}, lambda *stage: told.append(stage)
        )
        for count in (1, 2)
    ]
    assert [(one.written, one.present) for one in made] == [(2, 0), (2, 0)]
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    assert told[-1] == ("encoding", 40, 40)
    assert encode(workspace=site.workspace, out=tmp_path / "2").written == 0
    assert encode(workspace=site.workspace, out=tmp_path / "2", verify=True).verified


def test_processes_of_torchrun_encode_and_say_it_once(site: Site, tmp_path: Path) -> None:
    encode(workspace=site.workspace, out=tmp_path / "one", device="cpu")
    command = [
        sys.executable,
        "-m",
        "histods",
        "encode",
        "-w",
        str(site.workspace),
        "--out",
        str(tmp_path / "two"),
    ]
    started = start_together(command, command, with_stdout=True)
    said = "".join(map(finish, started))
    assert [process.returncode for process in started] == [0, 0], said
    assert said.count("2 shards written") == 1
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_two_processes_make_the_same_images_as_one(tmp_path: Path) -> None:
    workspace, masks = tmp_path / "out", tmp_path / "masks"
    make_run(workspace / "runs" / "default")
    for number in range(5):
        write_mask(masks / f"{number}.png", halves(number % 3, 1))
    one = sample(workspace=workspace, masks=masks, out=tmp_path / "one", count=2, batch=2, device="cpu")
    orders: list[object] = []
    with pytest.MonkeyPatch.context() as patch:  # what `sample` would hand to its processes
        patch.setattr("training.verbs.sample._sample", lambda order, _: orders.append(order))
        sample(workspace=workspace, masks=masks, out=tmp_path / "two", count=2, batch=2, device="cpu")
    two = in_processes(_sample, 2, {"order": orders[0]}, None)
    assert (one.written, two.written) == (10, 10)
    ours, theirs = tree(tmp_path / "one"), tree(tmp_path / "two")
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} <= {
        "overview/contact_sheet.png"
    }  # names its folder


def test_latents_without_the_shards_of_another_machine_are_refused(site: Site, tmp_path: Path) -> None:
    """Without a shared folder, process 0 lacks the shards of the others."""
    folder = tmp_path / "latents"
    written = encode(workspace=site.workspace, out=folder, device="cpu").latents.shards
    shutil.rmtree(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.verbs.encode.encode_shards", lambda *_, **__: None)  # as if it went elsewhere
        with pytest.raises(HistodsError, match=f"^{written[0].name} is not in .*where all machines see it"):
            encode(workspace=site.workspace, out=folder, device="cpu")
    assert not (folder / "latents.json").exists()


def test_images_that_other_processes_made_again_are_recorded_as_they_are(tmp_path: Path) -> None:
    workspace, mask = tmp_path / "out", write_mask(tmp_path / "masks" / "a.png", halves(2, 1))
    make_run(workspace / "runs" / "default")
    first = sample(workspace=workspace, masks=mask, out=tmp_path / "one", device="cpu")
    before = first.record.read_bytes()
    (first.folder / "a.png").unlink()
    with pytest.MonkeyPatch.context() as patch:  # another process writes: nothing is noted in this one
        patch.setattr("training.inference.output_folder.SampleFolder._note", _note_less())
        sample(workspace=workspace, masks=mask, out=tmp_path / "one", device="cpu")
    assert first.record.read_bytes() == before


def _note_less() -> Callable[..., None]:
    """Notes an image only when its file is read, not when it is written."""
    noted = SampleFolder._note

    def note(self: SampleFolder, item: Item, digest: str) -> None:
        if sys._getframe(1).f_code.co_name == "finish":
            noted(self, item, digest)

    return note


def test_a_script_needs_no_guard_and_its_processes_end_with_it_though_it_ignores_ctrl_c(
    tmp_path: Path,
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what ends in &\n"
        "from tests.training.sharing import share\n"
        "from training.gpu_processes import in_processes\n"
        "in_processes(share, 2, {'number': 10**9}, lambda *stage: print(*stage, flush=True))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().startswith("counting")
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) >= 2
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 600
    while any(Path("/proc", child).exists() for child in children):
        assert time.monotonic() < until, children
        time.sleep(0.05)
