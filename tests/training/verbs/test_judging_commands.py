"""`evaluate`, of images and of masks, and `tune` as commands: killed, on a full disk, and given what is no use."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("monai")

from histods import shard
from tests.commands import histods, unmeasured
from tests.forked import Forked, complete
from tests.training.evaluation.planted import make_shards
from tests.training.killed import kill_before, written
from tests.training.mask_runs import train_masks
from tests.training.trained_runs import ENVIRONMENT
from tests.training.tuned_runs import TUNE, make_spoilt
from tests.watchdog import finish

if TYPE_CHECKING:
    from pathlib import Path

RESULTS = ("evaluations", "tunings", "generated_masks", "runs/default/sampling.json")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of images that tuning makes better, and one of masks, where paths are not ASCII."""
    made = make_spoilt(tmp_path_factory.mktemp("Gewebe ä 組織"))
    train_masks(made, "run.steps=1", "run.checkpoint_every=1")
    return made


@pytest.mark.parametrize(
    ("words", "moments"),
    [
        pytest.param(
            ["evaluate", "--count", 12, "--steps", 1, "--segmenter-steps", 2],
            ["images/*.png", "evaluation.json"],
            id="evaluate a run",
        ),
        pytest.param(
            ["evaluate", "--run", "masks", "--count", 4],
            ["generated_00002.png", "evaluations/*/masks.json"],
            id="evaluate a run of masks",
        ),
        pytest.param(
            ["tune", *TUNE],
            ["trials/*/part-*.safetensors", "sampling.json"],
            id="tune",
        ),
    ],
)
def test_after_kills_the_same_command_ends_with_the_same_bytes(
    workspace: Path, tmp_path: Path, words: list[object], moments: list[str]
) -> None:
    """It is killed when a file is written, but does not have its name yet; the next call continues there."""
    given = [*words, "-w", workspace, "--device", "cpu"]
    for moment in moments:
        kill_before(moment, given, tmp_path / "reached")
    complete([sys.executable, "-m", "histods", *given], env=ENVIRONMENT)
    resumed = _results(workspace)
    _remove_results(workspace)
    undisturbed = histods(*given)
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert _results(workspace) == resumed
    _remove_results(workspace)


IMAGES: tuple[object, ...] = ("evaluate", "--count", 2, "--segmenter-steps", 2, "--steps", 1)
MASKS: tuple[object, ...] = ("evaluate", "--run", "masks", "--count", 2)


@pytest.fixture(scope="module")
def useless(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of things that these commands cannot use, and two runs without checkpoints in the workspace."""
    folder = tmp_path_factory.mktemp("nichts für uns")
    make_shards(folder / "small", slides=5, patches=10, side=20)
    (folder / "five.yml").write_text(
        "name: five\nclasses: [Unknown, A, B, C, D]\nmap: {Unknown: [0], A: [1], B: [2], C: [3], D: []}\n"
    )
    shard(workspace=workspace, map=folder / "five.yml", out=folder / "other classes", workers=1)
    for name in ("default", "masks"):
        run = workspace / "runs" / f"{name}-new"
        (run / "checkpoints").mkdir(parents=True)
        shutil.copy(workspace / "runs" / name / "config.yaml", run)
    for name, file, content in (
        ("a VAE", "config.json", {"_class_name": "AutoencoderKL"}),
        ("of another", "order.json", {"identity": "0"}),
    ):
        (folder / name).mkdir()
        (folder / name / file).write_text(json.dumps(content))
    (folder / "notes.txt").write_text("x")
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*IMAGES, "--run", "ö"), "There is no run ö, as a folder or in "),
        (("tune", *TUNE, "--run", "ö"), "There is no run ö, as a folder or in "),
        ((*IMAGES, "--run", "default-new"), "There is no checkpoint in "),
        ((*MASKS, "--run", "masks-new"), "There is no checkpoint in "),
        (("tune", *TUNE, "--run", "default-new"), "There is no checkpoint in "),
        (("tune", *TUNE, "--run", "masks"), "masks is a run of masks, not of images"),
        ((*IMAGES, "--data", "USELESS/other classes"), "have other classes than"),
        ((*MASKS, "--data", "USELESS/other classes"), "have other classes than"),
        (("tune", *TUNE, "--data", "USELESS/other classes"), "have other classes than"),
        (
            (*IMAGES, "--data", "USELESS/small/out/shards"),
            "A mask of the split test is 20x20 px, but its sides must be multiples of 16 px; evaluate on others",
        ),
        (
            ("tune", *TUNE, "--split", "test", "--data", "USELESS/small/out/shards"),
            "A mask of the split test is 20x20 px, but its sides must be multiples of 16 px; tune on others",
        ),
        ((*IMAGES, "--features", "USELESS/a VAE"), "USELESS/a VAE"),
        ((*IMAGES, "--features", "USELESS/no folder"), "USELESS/no folder"),
        ((*IMAGES, "-o", "USELESS/of another"), "of another holds another evaluation; remove it, or choose"),
        ((*MASKS, "-o", "USELESS/of another"), "of another holds another evaluation; remove it, or choose"),
        ((*IMAGES, "-o", "USELESS/notes.txt"), "notes.txt is a file; --out must name a folder."),
        ((*MASKS, "-o", "USELESS/notes.txt"), "notes.txt is a file; --out must name a folder."),
        ((*IMAGES, "-o", "/proc/nowhere"), "/proc/nowhere; fix that and run the same command again"),
        ((*MASKS, "-o", "/proc/nowhere"), "/proc/nowhere; fix that and run the same command again"),
    ],
)
def test_what_is_no_use_is_said_in_one_line_before_anything_is_made(
    workspace: Path, useless: Path, words: tuple[object, ...], said: str
) -> None:
    given = [str(word).replace("USELESS", str(useless)) for word in words]
    done = histods(*given, "-w", workspace, "--device", "cpu", env={"COLUMNS": "1000"})
    assert done.returncode == 2
    assert said.replace("USELESS", str(useless)) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((workspace / "evaluations").glob("*-step-*"))


def _fill_up_after(size: int) -> None:
    """Let this process write no file of more bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    ("words", "size", "named"),
    [
        (IMAGES, 500_000, "segmenter.safetensors"),
        (MASKS, 300, "masks.json"),
        (("tune", *TUNE), 500_000, "segmenter.safetensors"),
    ],
    ids=("evaluate a run", "evaluate a run of masks", "tune"),
)
def test_a_full_disk_is_said_in_one_line(
    workspace: Path, words: tuple[object, ...], size: int, named: str
) -> None:
    _remove_results(workspace)
    given = [*words, "-w", workspace, "--device", "cpu", "-q"]
    environment = ENVIRONMENT | unmeasured() | {"COLUMNS": "1000"}
    process = Forked(
        [sys.executable, "-m", "histods", *given], env=environment, prepare=partial(_fill_up_after, size)
    )
    errors = finish(process)
    assert process.returncode == 2
    assert errors.startswith("histods: File too large: ")
    assert errors.endswith(f"{named}; fix that and run the same command again to continue.\n")
    assert len(errors.splitlines()) == 1
    _remove_results(workspace)


def test_truncated_documents_are_said_and_made_again(workspace: Path) -> None:
    setting = workspace / "runs" / "default" / "sampling.json"
    options = ("-w", workspace, "--device", "cpu")
    setting.write_text('{"schema_version": 1, "st')
    refused = histods(*IMAGES, *options, env={"COLUMNS": "1000"})
    assert refused.returncode == 2
    assert f"{setting} cannot be read as JSON" in refused.stderr
    assert refused.stderr.endswith("; remove it, or run 'histods tune' again.\n")
    tuned = histods("tune", *TUNE, "--trials", 2, *options)
    assert tuned.returncode == 0, tuned.stderr
    assert not setting.exists() or json.loads(setting.read_text())["schema_version"] == 1

    assert histods(*IMAGES, *options).returncode == 0
    (record,) = workspace.glob("evaluations/default-*/evaluation.json")
    content = record.read_bytes()
    record.write_bytes(content[: len(content) // 2])
    page = histods("report", "-w", workspace, env={"COLUMNS": "1000"})
    assert page.returncode == 0
    assert f"{record} cannot be read as JSON" in page.stderr
    assert page.stderr.endswith("; evaluate again.\n")
    assert len(page.stderr.splitlines()) == 1
    assert histods(*IMAGES, *options).returncode == 0
    assert record.read_bytes() == content
    _remove_results(workspace)


def _results(workspace: Path) -> dict[str, bytes]:
    return written([workspace / name for name in RESULTS])


def _remove_results(workspace: Path) -> None:
    for name in RESULTS:
        path = workspace / name
        path.unlink(missing_ok=True) if path.is_file() else shutil.rmtree(path, ignore_errors=True)
