"""The bench: every variant in one run, honest figures, and what a device cannot do as an entry, not a crash."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from histods import shard
from histods.errors import HistodsError
from training import bench as bench_module
from training.bench import VARIANTS, BenchResult, bench, count_variants, main, to_document
from training.benchmark.timing import Timing
from training.config.model import ModelConfig
from training.model.flops import count_flops
from training.verbs.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from training.config.sections import TrainConfig

TINY: dict[str, Any] = {"dim": 4, "image_size": 32, "batch": 2, "seconds": 0.01, "device": "cpu"}


@pytest.fixture(scope="module")
def result() -> BenchResult:
    lines: list[str] = []
    found = bench(**TINY, say=lines.append)
    assert len(lines) == len(VARIANTS)
    return found


def test_every_variant_is_measured_and_on_a_cpu_only_compiling_is_left_out(result: BenchResult) -> None:
    assert [measured.variant for measured in result.variants] == list(VARIANTS)
    *measured, compiled = result.variants
    for found in measured:
        assert found.best.error is None
        assert found.best.images_per_second is not None
        assert found.best.images_per_second > 0
        assert found.best.batch == 2
        assert found.best.peak_memory_bytes is not None
        assert found.best.peak_memory_bytes > 1 << 20
    assert "--compile" in str(compiled.best.error)
    assert (compiled.flops_per_second, compiled.utilisation, compiled.speedup) == (None, None, None)


def test_figures_follow_from_counted_operations_and_the_matrix_rate(result: BenchResult) -> None:
    for found in result.variants[:-1]:
        model = ModelConfig(
            dim=4, image_size=32, num_classes=5, null="zero_mask", attention=found.variant.attention
        )
        assert found.flops_per_image == count_flops(model, train=True)
        rate = found.best.images_per_second
        assert rate is not None
        assert found.flops_per_second == pytest.approx(rate * found.flops_per_image)
        assert found.utilisation == pytest.approx(
            rate * found.flops_per_image / result.matrix_rates[found.arithmetic]
        )
        assert found.arithmetic == found.variant.precision
        assert found.speedup == pytest.approx(rate / (result.variants[0].best.images_per_second or 0))
    assert result.variants[0].flops_per_image > result.variants[1].flops_per_image, "plain attention costs more"


def test_data_that_cost_no_time_are_not_waited_for(result: BenchResult) -> None:
    assert all((found.best.waiting or 0) < 0.01 for found in result.variants)


def test_the_document_is_plain_json_of_all_that_was_measured(result: BenchResult) -> None:
    document = json.loads(json.dumps(to_document(result)))
    assert document["torch"] == torch.__version__
    assert document["data"] == "synthetic"
    assert set(document["matrix_rates"]) == {"fp32", "bf16"}
    assert document["parameters"] > 0
    assert [entry["name"] for entry in document["variants"]] == [variant.name for variant in VARIANTS]
    first = document["variants"][0]
    assert first["trials"] == [{name: first[name] for name in first["trials"][0]}]


class _Device:
    """Trials as a device of some memory would have them: larger batches are faster until memory is out."""

    def __init__(self, most: dict[str, int]) -> None:
        self.most = most
        self.tried: dict[str, list[int]] = {name: [] for name in most}

    def time_training_step(self, config: TrainConfig, *_: object) -> Timing:
        name = "compiled" if config.run.compile else config.model.attention
        batch = config.data.batch_size
        self.tried[name].append(batch)
        if batch > self.most[name]:
            return Timing(batch=batch, error="OutOfMemoryError: CUDA out of memory.")
        return Timing(batch=batch, images_per_second=10.0 * batch, waiting=0.0)


def test_a_gpu_is_tried_with_doubled_batches_until_memory_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    device = _Device({"plain": 2, "two_query": 16, "compiled": 32})
    monkeypatch.setattr(bench_module, "time_training_step", device.time_training_step)
    monkeypatch.setattr(bench_module, "choose_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(bench_module, "describe", lambda _: "a GPU")
    monkeypatch.setattr(bench_module, "matrix_rate", lambda *_: 1e12)
    found = bench(dim=4, image_size=32)
    assert device.tried["plain"] == [4]
    assert device.tried["two_query"] == [4, 8, 16, 32] * 3
    assert device.tried["compiled"] == [16, 32, 64], "compiling begins where the form before was fastest"
    plain, two_query, *_, compiled = found.variants
    assert (plain.best.error, plain.speedup) == ("OutOfMemoryError: CUDA out of memory.", None)
    assert (two_query.best.batch, two_query.best.error, two_query.trials[-1].batch) == (16, None, 32)
    assert compiled.best.batch == 32
    assert {measured.arithmetic for measured in found.variants} == {"tf32", "bf16"}
    assert torch.get_float32_matmul_precision() == "highest", "as it was"


def test_latents_of_a_folder_are_trained_on(
    new_site: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_module, "VARIANTS", VARIANTS[1:2])
    site = new_site(tmp_path / "site", pairs=12, size=32)
    shard(workspace=site.workspace, map=site.map, workers=1)
    with pytest.raises(HistodsError, match=" holds shards of images, not latents; run 'histods encode' first"):
        bench(**TINY | {"image_size": None}, run_data=site.workspace / "shards")
    encode(workspace=site.workspace, views=1)
    latents = site.workspace / "latents"
    found = bench(**TINY | {"image_size": None}, run_data=latents)
    assert found.data == str(latents)
    assert (found.model.num_classes, found.model.image_size) == (3, 32)
    assert found.variants[0].best.error is None
    with pytest.raises(HistodsError, match="--image-size is 64, but the latents in .* are of 32 px; omit it"):
        bench(**TINY | {"image_size": 64}, run_data=latents)


@pytest.mark.parametrize("option", [{"batch": 0}, {"seconds": 0.0}, {"dim": 3}, {"device": "abacus"}], ids=str)
def test_senseless_options_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(HistodsError, match=r"^.* (is|cannot) .*; .*\.$"):
        bench(**TINY | option)


def test_the_program_prints_one_document_or_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--batch", "0"]) == 2
    line = capsys.readouterr()
    assert (line.out, line.err.count("\n")) == ("", 1)


MOST = {
    "plain attention, fp32": (1619, 118.8),
    "two-query attention": (1668, 110.5),
    "bf16": (1987, 103.1),
    "channels_last": (1988, 103.1),
}
"""Launches, and MB read and written, of a step of 4 images of 64 px with a network of width 16."""


def test_a_step_asks_no_more_of_the_device_than_it_did() -> None:
    found = {counted.variant.name: counted.step for counted in count_variants(dim=16, image_size=64, batch=4)}
    assert found.keys() == MOST.keys()
    for name, (launches, megabytes) in MOST.items():
        assert found[name].launches <= launches
        assert found[name].bytes <= megabytes * 1e6
        assert found[name].to_device <= 20_576
        assert sum(found[name].by_operation.values()) == found[name].launches


def test_launches_are_the_same_for_any_batch_and_width_and_bytes_grow_with_both() -> None:
    small, large = (count_variants(dim=dim, image_size=64, batch=batch) for dim, batch in ((16, 2), (32, 4)))
    for one, other in zip(small, large, strict=True):
        assert one.step.launches == other.step.launches
        assert 2 * one.step.to_device == other.step.to_device
        assert one.step.bytes < other.step.bytes
        assert one.flops_per_image < other.flops_per_image


def test_counts_are_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "--dim", "4", "--image-size", "32", "--batch", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [entry["variant"]["name"] for entry in document] == list(MOST)
    assert all(entry["step"]["launches"] > 100 for entry in document)
