"""histods evaluate: its options, and how its result is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from histods.cli.commands.sample import SamplerName
from histods.cli.console import print_line, print_table, run_command
from histods.cli.mask_evaluation import mask_document, refuse_options, show_mask_evaluation
from histods.cli.next_step import in_workspace, print_next
from histods.cli.options import (
    DEFAULT_WORKSPACE,
    DebugOption,
    JsonOption,
    QuietOption,
    RunOption,
    WeightsName,
    WeightsOption,
    WorkspaceOption,
)
from histods.io.evaluation_file import METRICS
from histods.printing import counted

if TYPE_CHECKING:
    from rich.console import Console

    from histods.io.evaluation_file import Distance, EvaluationFile
    from training.verbs.evaluate import EvaluateResult
    from training.verbs.evaluate_masks import EvaluateMasksResult

EXAMPLE = "histods evaluate --run default --count 2000"
_BETTER = {"frechet": "less", "kernel": "less", "cmmd": "less", "precision": "more", "recall": "more"}


def evaluate(
    run: RunOption = "default",
    images: Annotated[
        Path | None, typer.Option(help="Evaluate the generated images in this folder instead of a run's.")
    ] = None,
    real: Annotated[
        Path | None, typer.Option(help="With --images: folder of real images of other slides.")
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(help="With --images: folder of the training images with masks; else the workspace's shards."),
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    data: Annotated[Path | None, typer.Option(help="Folder of shards; the workspace's by default.")] = None,
    split: Annotated[str | None, typer.Option(help="Held-out split; test by default, else val.")] = None,
    count: Annotated[
        int | None,
        typer.Option(help="Images to generate; 2,000 by default, which KID needs for its floor. Masks: 200."),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            help="own: of a segmenter trained on the real training images; or the folder or hub id of an encoder "
            "(UNI, Phikon, DINOv2, ...); or a file with the weights of FID's Inception network."
        ),
    ] = "own",
    downstream: Annotated[
        bool,
        typer.Option("--downstream", help="Also train segmenters on real and generated images, and compare them."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", "--output", help="Folder of the results; in 'evaluations' by default."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps; as 'histods sample' by default.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; as 'histods sample' by default.")] = None,
    sampler: Annotated[
        SamplerName | None,
        typer.Option(help="dpm: DPM-Solver++(2M); unipc; ddim; as 'histods sample' by default."),
    ] = None,
    weights: WeightsOption = WeightsName.ema,
    segmenter_steps: Annotated[int, typer.Option(help="Training steps of each segmenter.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of sampling, segmenters and intervals.")] = 0,
    batch: Annotated[int, typer.Option(help="Images at once; less needs less memory.")] = 8,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU by default where there is one.")] = None,
    json_output: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001 - read by main
) -> None:
    """Say whether generated images are like real ones, follow their masks, and are no copies."""
    from reports.evaluation_charts import draw_evaluation
    from training.verbs.evaluate import evaluate as run_evaluate
    from training.verbs.evaluate_masks import MASK_COUNT, evaluate_masks, makes_masks

    report = in_workspace("histods report", workspace)

    def show_masks(console: Console, result: EvaluateMasksResult) -> None:
        show_mask_evaluation(console, result)
        print_next(console, report)

    if images is None and makes_masks(run, workspace):
        refuse_options(
            run,
            {
                "--real": real,
                "--train": train,
                "--features": None if features == "own" else features,
                "--downstream": downstream or None,
                "--steps": steps,
                "--guidance": guidance,
                "--sampler": sampler,
            },
        )
        run_command(
            lambda watch: evaluate_masks(
                run=run,
                workspace=workspace,
                data=data,
                split=split,
                count=MASK_COUNT if count is None else count,
                out=out,
                seed=seed,
                device=device,
                progress=watch,
            ),
            show_masks,
            mask_document,
            quiet=quiet,
            json_output=json_output,
        )
        return

    def show(console: Console, result: EvaluateResult) -> None:
        charts = draw_evaluation(result.document, result.folder)
        show_evaluation(console, result)
        pictures = [*charts, *([] if result.pairs is None else [result.pairs])]
        print_line(console, f"Written: {result.record} (look at {', '.join(path.name for path in pictures)})")
        print_next(console, report)

    run_command(
        lambda watch: run_evaluate(
            run=run,
            images=images,
            real=real,
            train=train,
            workspace=workspace,
            data=data,
            split=split,
            count=count,
            features=features,
            downstream=downstream,
            out=out,
            steps=steps,
            guidance=guidance,
            sampler=sampler.value if sampler else None,
            weights=weights.value,
            segmenter_steps=segmenter_steps,
            seed=seed,
            batch=batch,
            device=device,
            progress=watch,
        ),
        show,
        to_document,
        quiet=quiet,
        json_output=json_output,
    )


def show_evaluation(console: Console, result: EvaluateResult) -> None:
    """Print the distances beside their floor, the faithfulness of each class, copies and warnings."""
    found = result.document
    of = "two folders" if found.run is None else f"{found.run} at step {found.step:,}"
    print_line(
        console,
        f"Evaluation of {of}: {found.generated:,} generated and {counted(found.real, 'real image')} "
        f"({found.real_from}, "
        f"{counted(found.slides, 'slide')}), features '{found.judge.features}' ({found.judge.width}).",
    )
    print_table(
        console,
        "Distances",
        ["metric", "better", "all images", "95 %", "half", "real halves"],
        [
            [name, _BETTER[key], _number(one.value), _interval(one), _number(one.of_half), _number(one.floor)]
            for key, name in METRICS.items()
            if (one := found.distances[key]).value is not None
        ],
        numbers=(2, 3, 4, 5),
    )
    if any(one.floor is not None for one in found.distances.values()):
        print_line(
            console,
            "Compare 'half' with 'real halves': as many images, generated against real and real against real.",
        )
    for key, name in METRICS.items():
        if (reason := found.distances[key].reason) is not None:
            print_line(console, f"{name}: {reason}")
    _show_faithfulness(console, found)
    _show_copies(console, found)
    if found.downstream:
        print_table(
            console,
            "Segmenters tested on held-out slides",
            ["trained on", "real", "generated", "Dice", "IoU"],
            [
                [
                    f"{one.data}, {one.percent} % of the real" if one.percent else one.data,
                    one.real,
                    one.synthetic,
                    _score(one.dice),
                    _score(one.iou),
                ]
                for one in found.downstream
            ],
            numbers=(1, 2, 3, 4),
        )
    for line in found.warnings:
        print_line(console, f"warning: {line}.")


def _show_faithfulness(console: Console, found: EvaluationFile) -> None:
    scores = found.faithfulness
    if scores is None:
        return
    print_table(
        console,
        "Faithfulness to masks: Dice of a segmenter trained on real images",
        ["class", "generated", "real", "ratio"],
        [
            *([one.name, _score(one.dice), _score(one.real_dice), _ratio(one.dice, one.real_dice)]
              for one in scores.classes),
            ["mean", _score(scores.dice), _score(scores.real_dice), _score(scores.ratio, 2)],
        ],
        numbers=(1, 2, 3),
    )  # fmt: skip


def _show_copies(console: Console, found: EvaluationFile) -> None:
    if not found.copies:
        return
    print_table(
        console,
        f"Compared with {counted(found.training, 'training image')}: are there copies?",
        ["compared by", "authentic %", "of real images %", "C_T", "suspicious"],
        [
            [
                one.space,
                f"{one.authentic:.1f}",
                f"{one.real_authentic:.1f}",
                "too few" if one.c_t is None else f"{one.c_t:.2f}",
                "yes" if one.suspicious else "no",
            ]
            for one in found.copies
        ],
        numbers=(1, 2, 3),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _score(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _ratio(above: float | None, below: float | None) -> str:
    return "" if above is None or not below else f"{above / below:.2f}"


def _interval(one: Distance) -> str:
    return "" if one.low is None or one.high is None else f"{one.low:.4g} to {one.high:.4g}"


def to_document(result: EvaluateResult) -> dict[str, Any]:
    """The result for `--json`: `evaluation.json`, and where it is."""
    from dataclasses import asdict

    return {
        "folder": result.folder.as_posix(),
        "record": result.record.as_posix(),
        "pairs": None if result.pairs is None else result.pairs.as_posix(),
        "device": result.device,
        "evaluation": asdict(result.document),
    }
