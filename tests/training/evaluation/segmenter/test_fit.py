"""Training of the segmenter: the same bytes again and after kills, the cache, and what is recorded."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from histods.errors import HistodsError
from tests.forked import Forked
from tests.training.evaluation.toy_samples import CLASSES, Toy, files, fit_toy
from tests.training.trained_runs import ENVIRONMENT
from tests.watchdog import finish
from training.evaluation.segmenter import fit
from training.evaluation.segmenter.fit import _loss, rate_at
from training.evaluation.segmenter.samples import NO_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class StoppedError(Exception):
    """Raised in the middle of a training."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    fit_toy(folder)
    return files(folder)


def description(folder: Path) -> dict[str, Any]:
    [path] = folder.glob("*/segmenter.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_the_classes_are_learned_and_the_score_says_so(tmp_path: Path) -> None:
    groups = [f"slide {place // 2}" for place in range(20)]
    segmenter = fit_toy(tmp_path, steps=80, batch_size=4, groups=groups)
    found = segmenter.validation
    assert found.images == 2
    assert found.by_group
    assert found.dice[0] is None
    assert found.mean_dice is not None
    assert found.mean_dice > 0.9
    assert description(tmp_path)["validation"]["mean_dice"] == found.mean_dice


def test_a_poor_judge_is_recorded_as_poor(tmp_path: Path) -> None:
    class Shuffled(Toy):
        def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
            return super().__getitem__(index)[0], super().__getitem__((index + 7) % 20)[1]

    found = fit_toy(tmp_path, steps=20, samples=Shuffled()).validation
    assert found.mean_dice is not None
    assert found.mean_dice < 0.7
    assert not found.by_group


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 6])
def test_a_training_that_was_stopped_gives_the_same_bytes(
    stop: int, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(stage: str, done: int, total: int) -> None:  # noqa: ARG001 - as `Progress` has it
        if stage == "training the segmenter" and done == stop:
            raise StoppedError

    monkeypatch.setattr(fit, "_EVERY", 2)
    with pytest.raises(StoppedError):
        fit_toy(tmp_path, progress=watch)
    stages: list[tuple[str, int]] = []
    fit_toy(tmp_path, progress=lambda stage, done, _: stages.append((stage, done)))
    assert ("training the segmenter", stop // 2 * 2 + 1 if stop < 6 else 5) in stages
    assert ("training the segmenter", 1) not in stages or stop < 2
    assert files(tmp_path) == whole


@pytest.mark.parametrize("name", ["segmenter.safetensors", "segmenter.json"])
def test_a_training_that_was_stopped_as_it_ended_gives_the_same_bytes(
    name: str, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", _failing_for(name, _stop))
        patch.setattr(fit, "_EVERY", 4)
        with pytest.raises(StoppedError):
            fit_toy(tmp_path)
    fit_toy(tmp_path)
    assert files(tmp_path) == whole


def test_a_training_that_is_killed_as_it_writes_a_checkpoint_gives_the_same_bytes(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    code = (
        "from tests.training.evaluation.toy_samples import fit_with_checkpoints; "
        f"fit_with_checkpoints({str(tmp_path)!r}, 2)"
    )
    process = Forked([sys.executable, "-c", code], env=ENVIRONMENT, prepare=_kill_at_checkpoint)
    finish(process)
    assert process.returncode == -signal.SIGKILL
    assert any(name.endswith(".part") for name in files(tmp_path))
    fit_toy(tmp_path)
    assert files(tmp_path) == whole


def _kill_at_checkpoint() -> None:
    """Have this process die before the second checkpoint gets its name."""
    Path.replace = _failing_for(fit.CHECKPOINT, _die, passes=1)  # type: ignore[method-assign,assignment]


def _failing_for(name: str, fail: Callable[[], None], *, passes: int = 0) -> Callable[[Path, Path], Path]:
    """`Path.replace`, which fails before a file of some name is replaced, but not the first times."""
    replace, left = Path.replace, [passes]

    def fails(path: Path, target: Path) -> Path:
        if target.name == name:
            left[0] -= 1
            if left[0] < 0:
                fail()
        return replace(path, target)

    return fails


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    raise StoppedError


def test_a_finished_segmenter_is_not_trained_again(tmp_path: Path, whole: dict[str, bytes]) -> None:
    first = fit_toy(tmp_path)
    stages: list[str] = []
    again = fit_toy(tmp_path, progress=lambda stage, *_: stages.append(stage))
    assert not stages
    assert again.digest == first.digest
    assert files(tmp_path) == whole


def test_a_damaged_checkpoint_starts_over(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    [folder] = {name.split("/")[0] for name in whole}
    (tmp_path / folder).mkdir()
    (tmp_path / folder / fit.CHECKPOINT).write_bytes(b"torn")
    monkeypatch.setattr(fit, "_EVERY", 100)
    fit_toy(tmp_path)
    assert files(tmp_path) == whole


def test_other_data_classes_groups_and_settings_have_other_folders(tmp_path: Path) -> None:
    fit_toy(tmp_path, steps=1)
    for options in (
        {"samples": Toy(seed=1)},
        {"classes": ("Background", *CLASSES[1:])},
        {"groups": ["a"] * 10 + ["b"] * 10},
        {"seed": 1},
        {"batch_size": 3},
        {"crop": 16},
        {"steps": 2},
    ):
        before = len(list(tmp_path.iterdir()))
        chosen: dict[str, Any] = {"steps": 1, **options}
        fit_toy(tmp_path, **chosen)
        assert len(list(tmp_path.iterdir())) == before + 1, options


def test_the_description_says_what_it_was_trained_on(tmp_path: Path) -> None:
    fit_toy(tmp_path, steps=1)
    found = description(tmp_path)
    assert found["data"] == Toy().digest
    assert found["classes"] == list(CLASSES)
    assert found["ignored"] == 0
    assert found["samples"] + found["validation"]["images"] == len(Toy())
    assert len(found["mean"]) == len(found["std"]) == 3


def test_what_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    class Plain(Toy):
        def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
            image, mask = super().__getitem__(index)
            return image, np.minimum(mask, 1)

    with pytest.raises(HistodsError, match="fewer than two classes"):
        fit_toy(tmp_path, samples=Plain())
    with pytest.raises(HistodsError, match="0 samples and 6 steps make no segmenter"):
        fit_toy(tmp_path, samples=Toy(size=0))


def test_the_loss_is_the_weighted_mean_over_labelled_pixels() -> None:
    torch.manual_seed(0)
    logits, weights = torch.randn(2, 3, 4, 4), torch.tensor([0.0, 2.0, 0.5])
    targets = torch.randint(0, 3, (2, 4, 4))
    targets[0, 0] = NO_CLASS
    logs = logits.log_softmax(1)
    total = whole = 0.0
    for place in np.ndindex(2, 4, 4):
        label = int(targets[place])
        if label != NO_CLASS:
            total -= float(weights[label] * logs[place[0], label, place[1], place[2]])
            whole += float(weights[label])
    assert float(_loss(logits, targets, weights)) == pytest.approx(total / whole, rel=1e-5)
    assert float(_loss(logits, torch.zeros_like(targets), weights)) == 0.0


def test_the_rate_rises_then_falls_to_almost_nothing() -> None:
    rates = [rate_at(step, 100) for step in range(100)]
    top = rates.index(max(rates))
    assert 5 <= top <= 15
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) <= 1.0
    assert 0 < rates[-1] < 0.01
    assert 0 < rate_at(0, 1) <= 1
