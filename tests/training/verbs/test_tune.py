"""`tune`: it finds what is better at the same cost, on masks that it did not see, and `sample` takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from histods.errors import HistodsError
from histods.io.tuning_file import TuningFile
from histods.io.workspace import Workspace, read_json
from reports.page.sections.run_pictures import Budget
from reports.page.sections.tunings import read_tunings
from tests.training.evaluation.planted import SMALL_NETWORK, make_shards
from training import evaluate, sample, train, tune
from training.verbs.tune import _few

if TYPE_CHECKING:
    from pathlib import Path

    from training.verbs.sample import SampleResult
    from training.verbs.tune import TuneResult

pytest.importorskip("monai")

SETTINGS = (*SMALL_NETWORK, "model.spatial=true", "run.steps=160", "diffusion.guidance_scale=6.0")
UNTUNED: dict[str, Any] = {"steps": 4, "guidance": 6.0, "sampler": "dpm"}
OPTIONS: dict[str, Any] = {"segmenter_steps": 40, "device": "cpu", "forwards": 8, "trials": 6, "count": 20}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 slides of four patches, ten of them held out, and a run that guides more than it needs."""
    made = make_shards(tmp_path_factory.mktemp("tuned"), slides=25, patches=4, side=32)
    train(workspace=made, settings=SETTINGS, device="cpu")
    return made


@pytest.fixture(scope="module")
def found(workspace: Path) -> TuneResult:
    return tune(workspace=workspace, **OPTIONS)


def _sample(workspace: Path, out: Path, **options: Any) -> SampleResult:
    masks = workspace.parent / "data" / "s00-0_mask.png"
    return sample(workspace=workspace, masks=masks, out=out, device="cpu", **options)


def test_the_winner_is_better_at_the_same_cost_on_slides_that_it_was_not_tuned_on(
    workspace: Path, found: TuneResult
) -> None:
    """An evaluation leaves out the slides of the tuning, whichever setting it is of."""
    judged: dict[str, Any] = {"workspace": workspace, "segmenter_steps": 40, "device": "cpu"}
    tuned, untuned = evaluate(**judged).document, evaluate(**judged, **UNTUNED).document
    assert tuned.real == untuned.real == 20
    assert tuned.recipe["guidance"] < 3
    better, worse = tuned.distances["frechet"].value, untuned.distances["frechet"].value
    assert better is not None
    assert worse is not None
    assert better < worse
    assert all(trial.forwards <= 8 for trial in found.document.trials)
    assert "5 slides, on which the way of sampling was tuned, are left out" in tuned.warnings


def test_the_file_says_what_was_tried_and_what_is_best(found: TuneResult) -> None:
    document = found.document
    assert TuningFile.read(found.record) == document
    assert (document.trials[0].guidance, document.trials[0].steps) == (6, 4)
    assert document.changed
    assert len(document.trials) == 6
    finals = {place: one.final.frechet for place, one in enumerate(document.trials) if one.final is not None}
    assert len(finals) == 4
    assert document.best == min(finals, key=lambda place: finals[place])


def test_the_page_says_that_the_winner_is_sampled_with(workspace: Path, found: TuneResult) -> None:
    problems: list[str] = []
    (shown,) = read_tunings(Workspace(workspace), [found.document.run], Budget(), problems)
    assert not problems
    assert shown["name"] == found.folder.name
    assert shown["lines"][0][0] is True
    assert not [line for _, line in shown["lines"] if "sampling.json" in line]


def test_sample_takes_the_winner_unless_an_option_replaces_it(
    workspace: Path, found: TuneResult, tmp_path: Path
) -> None:
    best = found.document.trials[found.document.best]
    plain = _sample(workspace, tmp_path / "plain")
    assert (plain.sampling.guidance, plain.sampling.steps) == (best.guidance, best.steps)
    assert "guidance" in plain.tuned
    given = _sample(workspace, tmp_path / "given", guidance=2.0)
    assert (given.sampling.guidance, given.sampling.steps) == (2.0, 25)
    assert given.tuned == ("sampler", "levels")
    assert read_json(given.record)["recipe"]["guidance"] == 2.0


def test_a_killed_tuning_goes_on_and_ends_with_the_same_bytes(workspace: Path, found: TuneResult) -> None:
    """It is ended before each of the last two trials is measured, and after the whole search."""
    trials = workspace / "tunings" / "trials"
    written = {path: path.read_bytes() for path in (found.record, found.setting) if path is not None}
    kept = sorted(trials.iterdir(), key=lambda path: path.stat().st_mtime)[-2:]
    parts = [part for folder in kept for part in sorted(folder.iterdir())]
    before = {part: part.read_bytes() for part in parts}
    for path in (*parts, *written):
        path.unlink()
    ended = 0

    def end(stage: str, done: int, total: int) -> None:  # noqa: ARG001
        nonlocal ended
        if stage.startswith(("searching", "final")) and any(part.exists() for part in parts[ended : ended + 1]):
            ended += 1
            raise KeyboardInterrupt

    for _ in range(len(parts)):
        try:
            tune(workspace=workspace, progress=end, **OPTIONS)
            break
        except KeyboardInterrupt:
            continue
    assert ended
    tune(workspace=workspace, **OPTIONS)
    assert {part: part.read_bytes() for part in parts} == before
    assert {path: path.read_bytes() for path in written} == written


def test_a_damaged_setting_of_a_run_is_said_in_one_line(
    workspace: Path, found: TuneResult, tmp_path: Path
) -> None:
    assert found.setting is not None
    content = found.setting.read_bytes()
    try:
        for damaged in (b"{", content.replace(b'"steps": ', b'"steps": -'), content.replace(b"sampler", b"x")):
            found.setting.write_bytes(damaged)
            with pytest.raises(HistodsError, match=r"sampling\.json") as caught:
                _sample(workspace, tmp_path / "out")
            assert "\n" not in str(caught.value)
    finally:
        found.setting.write_bytes(content)


@pytest.mark.parametrize(("images", "few"), [(20, 20), (64, 64), (200, 64), (400, 100)])
def test_a_search_has_twice_as_many_images_as_features_where_there_are(images: int, few: int) -> None:
    assert _few(images) == few


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 19}, "--count is 19; it must be at least 20"),
        ({"trials": 1}, "--trials is 1"),
        ({"forwards": 1}, "--forwards is 1; it must be at least 2"),
        ({"split": "val"}, "has no split 'val'"),
        ({"data": "x"}, "There are no shards in x"),
        ({"run": "nothing"}, "There is no run nothing"),
    ],
    ids=str,
)
def test_what_cannot_be_tuned_is_said_in_one_line(workspace: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(HistodsError) as caught:
        tune(**{"workspace": workspace, **OPTIONS, **options})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
