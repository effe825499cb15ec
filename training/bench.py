"""`python -m training.bench`: measure the speed of the training loop; print one JSON document to stdout.

Variants, from the reference implementation to the fastest, are timed in one run, together with a large matrix
product, so that ratios do not depend on the day. With `--count` nothing is timed; instead the operations, launches
and bytes of a step are counted, which are the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from histods.errors import HistodsError
from training.benchmark.step_counts import StepCounts, count_step
from training.benchmark.timing import Synthetic, Timing, time_training_step
from training.config.model import AttentionForm, ModelConfig
from training.config.sections import DataConfig, RunConfig, TrainConfig
from training.data.source import Source
from training.distributed import Process, choose_device, describe
from training.latents.latent_space import LatentSpace
from training.model.cost import matrix_rate
from training.model.flops import count_flops
from training.model.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_ENDLESS = 99_999_999  # the maximum number of steps of a run: no trial reaches the end
_FIRST_BATCH = 4  # the reference's
_SIZES = {"cuda": (256, 512), "cpu": (16, 64)}  # width and pixels; on a GPU those of the reference


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One way to compute a training step; all variants compute the same result.

    Attributes:
        name: its name; each variant adds one change to the one before.
        attention: the form of attention.
        precision: `fp32`, or `bf16` with weights in float32.
        channels_last: whether features are stored with channels innermost.
        compile: whether torch.compile is used.
    """

    name: str
    attention: AttentionForm = "two_query"
    precision: Literal["fp32", "bf16"] = "bf16"
    channels_last: bool = False
    compile: bool = False


VARIANTS = (
    Variant(name="plain attention, fp32", attention="plain", precision="fp32"),
    Variant(name="two-query attention", precision="fp32"),
    Variant(name="bf16"),
    Variant(name="channels_last", channels_last=True),
    Variant(name="compile", channels_last=True, compile=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A variant at all batch sizes tried.

    Attributes:
        variant: the variant that was measured.
        trials: one trial per batch size; if batch sizes were searched, the last trial failed.
        best: the fastest trial; a failed one if all failed.
        flops_per_image: floating-point operations of a training step per image, counted.
        arithmetic: arithmetic of the convolutions: `fp32`, `tf32` or `bf16`.
        flops_per_second: rate achieved; None if no trial succeeded.
        utilisation: rate achieved as a share of that of a matrix product in the same arithmetic; None if no trial
            succeeded.
        speedup: ratio to the first variant; None if either failed.
    """

    variant: Variant
    trials: tuple[Timing, ...]
    best: Timing
    flops_per_image: int
    arithmetic: str
    flops_per_second: float | None
    utilisation: float | None
    speedup: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchResult:
    """All measurements.

    Attributes:
        date: the date of the run, UTC.
        device: description of the device.
        torch: version of PyTorch.
        cuda: version of CUDA; None on a CPU.
        model: the network.
        parameters: the number of parameters of the network.
        data: folder of the latents, or `synthetic`.
        matrix_rates: operations per second of the product of two large square matrices, by arithmetic.
        variants: the measurements of each variant.
    """

    date: str
    device: str
    torch: str
    cuda: str | None
    model: ModelConfig
    parameters: int
    data: str
    matrix_rates: dict[str, float]
    variants: tuple[Measured, ...]


def bench(
    *,
    dim: int | None = None,
    image_size: int | None = None,
    batch: int | None = None,
    seconds: float | None = None,
    compile: bool | None = None,  # noqa: A002 - named like the option
    device: str | None = None,
    run_data: str | Path | None = None,
    say: Callable[[str], None] | None = None,
) -> BenchResult:
    """Measure each variant of the training step.

    Args:
        dim: width of the network; by default that of the reference on a GPU, 16 on a CPU.
        image_size: pixels; by default those of the reference on a GPU, 64 on a CPU. Latents have their own size.
        batch: samples per step; by default 4 and its doublings while memory suffices on a GPU, 4 on a CPU.
        seconds: how long each batch size of each variant is timed; by default 5 on a GPU, 0.5 on a CPU.
        compile: also measure the compiled form; by default only on a GPU, since compiling takes minutes on a CPU
            and gains little there.
        device: `cpu` or `cuda`; by default a GPU if there is one.
        run_data: folder of latents to train on; by default random latents, which take no time to read.
        say: called with a line for each trial.

    Raises:
        HistodsError: a value is out of range, the device does not exist, or the folder holds no latents.
    """
    chosen = choose_device(device)
    gpu = chosen.type == "cuda"
    seconds = (5.0 if gpu else 0.5) if seconds is None else seconds
    if seconds <= 0 or (batch is not None and batch < 1):
        raise HistodsError(
            f"--seconds is {seconds} and --batch is {batch}; they must be above 0 and at least 1: give others."
        )
    width, side = _SIZES["cuda" if gpu else "cpu"]
    model = ModelConfig(dim=dim or width, image_size=image_size or side, num_classes=5, null="zero_mask")
    fixture = _fixture(model, Process(device=chosen), run_data, image_size)
    rates = {kind: _matrix_rate(chosen, kind) for kind in ("fp32", "tf32", "bf16") if gpu or kind != "tf32"}
    batches = [batch] if batch is not None else None if gpu else [_FIRST_BATCH]
    compiled = gpu if compile is None else compile
    measured: list[Measured] = []
    for variant in VARIANTS:
        trials = []
        for trial in _try(fixture, variant, seconds, batches, measured, compiled=compiled):
            trials.append(trial)
            if say is not None:
                say(_in_words(variant, trial))
        measured.append(_judge(fixture.model, variant, trials, rates, measured))
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in UNet(fixture.model).parameters())
    return BenchResult(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        device=describe(chosen),
        torch=torch.__version__,
        cuda=torch.version.cuda if gpu else None,
        model=fixture.model,
        parameters=parameters,
        data="synthetic" if run_data is None else str(run_data),
        matrix_rates=rates,
        variants=tuple(measured),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """The work that one step of a variant gives the device.

    Attributes:
        variant: what was counted.
        flops_per_image: floating-point operations of a training step per image.
        step: launches and bytes of a step.
    """

    variant: Variant
    flops_per_image: int
    step: StepCounts


def count_variants(
    *, dim: int | None = None, image_size: int | None = None, batch: int | None = None
) -> tuple[Counted, ...]:
    """Count the work of a step of each variant except the compiled one, whose kernels are fused.

    Args:
        dim: width of the network, which hardly affects the number of launches; 16 by default.
        image_size: pixels; 64 by default.
        batch: samples per step; each adds two launches, for its noise; 4 by default.
    """
    width, side = _SIZES["cpu"]
    fixture = _fixture(
        ModelConfig(dim=dim or width, image_size=image_size or side, num_classes=5, null="zero_mask"),
        Process(device=torch.device("cpu")),
        None,
        image_size,
    )
    return tuple(
        Counted(
            variant=variant,
            flops_per_image=count_flops(config.model, train=True),
            step=count_step(config, fixture.process, fixture.source, fixture.space),
        )
        for variant in VARIANTS
        if not variant.compile
        for config in [_configure(fixture, variant, batch or _FIRST_BATCH)]
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fixture:
    """What all trials share."""

    model: ModelConfig
    process: Process
    source: Source | Synthetic
    space: LatentSpace


def _fixture(
    model: ModelConfig, process: Process, run_data: str | Path | None, image_size: int | None
) -> _Fixture:
    """A network and latents for it: random ones, or those of a folder."""
    if run_data is None:
        return _Fixture(model=model, process=process, source=Synthetic(model), space=LatentSpace())
    source = Source(Path(run_data), DataConfig())
    latents = source.latents
    if latents is None:
        raise HistodsError(f"{run_data} holds shards of images, not latents; run 'histods encode' first.")
    if image_size not in (None, source.image_size):
        raise HistodsError(
            f"--image-size is {image_size}, but the latents in {run_data} are of {source.image_size} px; omit it."
        )
    model = replace(
        model, image_size=source.image_size, channels=latents.channels, num_classes=len(source.classes)
    )
    space = LatentSpace.preset("default", mean=latents.mean, std=latents.std)
    return _Fixture(model=model, process=process, source=source, space=space)


def _try(
    fixture: _Fixture,
    variant: Variant,
    seconds: float,
    batches: list[int] | None,
    before: list[Measured],
    *,
    compiled: bool,
) -> Iterator[Timing]:
    """Trials of one variant; without `batches`, with growing batch sizes until one fails."""
    # Compiling takes minutes, so the search starts at the best batch size of the previous variant.
    first = before[-1].best.batch if variant.compile else _FIRST_BATCH
    for size in batches or (first << doublings for doublings in count()):
        if variant.compile and not compiled:
            yield Timing(batch=size, error="skipped, since compiling takes minutes on a CPU; add --compile")
            return
        trial = time_training_step(
            _configure(fixture, variant, size), fixture.process, fixture.source, fixture.space, seconds
        )
        yield trial
        if trial.error is not None:
            return


def _configure(fixture: _Fixture, variant: Variant, batch: int) -> TrainConfig:
    """Settings of a variant."""
    return TrainConfig(
        model=replace(fixture.model, attention=variant.attention),
        data=DataConfig(batch_size=batch),
        run=RunConfig(
            steps=_ENDLESS,
            precision=variant.precision,
            channels_last=variant.channels_last,
            compile=variant.compile,
        ),
    )


def _judge(
    model: ModelConfig, variant: Variant, trials: list[Timing], rates: dict[str, float], before: list[Measured]
) -> Measured:
    """The fastest trial and the rates that follow from it."""
    best = max(trials, key=lambda trial: trial.images_per_second or 0.0)
    flops = count_flops(replace(model, attention=variant.attention), train=True)
    kind = variant.precision
    # Convolutions, nearly all of the arithmetic, may round their input to 10 bits even where products may not.
    arithmetic = "tf32" if kind == "fp32" and "tf32" in rates and torch.backends.cudnn.allow_tf32 else kind
    rate = best.images_per_second
    first = before[0].best.images_per_second if before else rate
    return Measured(
        variant=variant,
        trials=tuple(trials),
        best=best,
        flops_per_image=flops,
        arithmetic=arithmetic,
        flops_per_second=rate and rate * flops,
        utilisation=rate and rate * flops / rates[arithmetic],
        speedup=rate and first and rate / first,
    )


def _matrix_rate(device: torch.device, arithmetic: str) -> float:
    """Operations per second of a matrix product, measured."""
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high" if arithmetic == "tf32" else "highest")
        return matrix_rate(device, "bf16" if arithmetic == "bf16" else "fp32")
    finally:
        torch.set_float32_matmul_precision(before)


def _in_words(variant: Variant, trial: Timing) -> str:
    found = trial.error or f"{trial.images_per_second:,.1f} images/s"
    return f"{variant.name}, batch {trial.batch}: {found}"


def to_document(result: BenchResult) -> dict[str, Any]:
    """The result as JSON: the fastest trial of each variant, with all its trials below."""
    variants = [
        {
            **asdict(measured.variant),
            **asdict(measured.best),
            "flops_per_image": measured.flops_per_image,
            "flops_per_second": measured.flops_per_second,
            "arithmetic": measured.arithmetic,
            "utilisation": measured.utilisation,
            "speedup": measured.speedup,
            "trials": [asdict(trial) for trial in measured.trials],
        }
        for measured in result.variants
    ]
    return {"schema_version": 1, **asdict(result), "variants": variants}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the document."""
    parser = argparse.ArgumentParser(prog="python -m training.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dim", type=int, help="width of the network; 256 on a GPU, 16 on a CPU")
    parser.add_argument("--image-size", type=int, help="pixels; 512 on a GPU, 64 on a CPU")
    parser.add_argument("--batch", type=int, help="samples per step; on a GPU all sizes that fit, 4 on a CPU")
    parser.add_argument("--seconds", type=float, help="time per trial; 5 on a GPU, 0.5 on a CPU")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="also measure the compiled form; by default only on a GPU, since it takes minutes on a CPU",
    )
    parser.add_argument("--device", help="cpu or cuda")
    parser.add_argument("--run-data", type=Path, metavar="FOLDER", help="latents to train on; random by default")
    parser.add_argument("--count", action="store_true", help="count operations, launches and bytes; time nothing")
    options = vars(parser.parse_args(arguments))
    try:
        if options.pop("count"):
            sizes = {name: options[name] for name in ("dim", "image_size", "batch")}
            print(json.dumps([asdict(counted) for counted in count_variants(**sizes)], indent=2))
            return 0
        result = bench(**options, say=lambda line: print(line, file=sys.stderr, flush=True))
    except HistodsError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(to_document(result), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
