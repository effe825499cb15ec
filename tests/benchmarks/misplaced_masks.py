"""How many misplaced masks `misplaced_mask` finds, how many right ones it flags, and how many could be found.

Run `python -m tests.benchmarks.misplaced_masks`; docs/misplaced-masks.md has the figures. Of each kind of tissue,
a fifth of the masks is turned or mirrored, or swapped with each other, or a tenth is moved, three times per seed.
Masks that this leaves the same in 90 % of their cells are not counted; swapped masks are also counted by how many
of their cells differ.

What could be found is the rate of a test that knows more than the dataset tells: it has the same likelihood, but
looks that were learned with `KNOWN` right pairs of the same kind beside the dataset, and the limit that flags
exactly 1 % of the right masks of this very experiment. Turned masks are tested by how much better the best turn
fits, swapped ones by how much better than those of others they fit.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import polars as pl

from histods.checks.base import Context
from histods.checks.misplaced_mask import CHECK, LEAST_MASKS
from histods.masks.fit import compare
from histods.masks.grids import CELLS, FEATURES, read_layouts
from tests.datasets import tissues
from tests.datasets.misplaced import changed_cells, shift_some, swap_some, table_of, turn_some, usable

SIDE = 256
KNOWN = 800
DRAWS = 3
BINS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 1.01))
"""Shares of cells that a swap changes."""

Plant = Callable[[pl.DataFrame, np.ndarray, np.random.Generator], pl.DataFrame]
FAULTS: dict[str, tuple[float, Plant]] = {
    "turned": (0.2, turn_some),
    "swapped": (0.2, lambda samples, rows, _: swap_some(samples, rows)),
    "moved by 1/8": (0.1, lambda samples, rows, random: shift_some(samples, rows, random, 2)),
    "moved by 1/4": (0.1, lambda samples, rows, random: shift_some(samples, rows, random, 4)),
}


def known_fit(samples: pl.DataFrame, known: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """How well masks fit, with looks known from right pairs: better than turned, and than those of others."""
    both = pl.concat([samples, known]).filter(pl.col("layout").is_not_null())
    layouts, labels = read_layouts(both["layout"].to_list(), both["labels"].to_list(), least_masks=LEAST_MASKS)
    appearances = np.frombuffer(b"".join(both["appearance"].to_list()), np.uint8).reshape(-1, CELLS, FEATURES)
    fit = compare(appearances, layouts, labels, np.ones(len(both), np.bool_))
    rows = usable(samples)
    by_turns, by_others = np.full((2, len(samples)), np.inf)
    by_turns[rows] = (fit.turned[0] - fit.turned[1:].max(0))[: len(rows)]
    by_others[rows] = fit.turned[0, : len(rows)]
    return by_turns, by_others


def measure(kind: str, number: int, seeds: list[int], bound: bool) -> str:
    """A row of the table of one kind."""
    context = CHECK.context(Context(quality=True))
    flags: dict[str, list[np.ndarray]] = defaultdict(list)
    tests: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = defaultdict(lambda: ([], []))
    for seed in seeds:
        samples = table_of(tissues.make_pairs(kind, number, seed))
        known = table_of(tissues.make_pairs(kind, KNOWN, 1000 + seed)) if bound else samples.clear()
        flags["untouched"].append(samples["key"].is_in(CHECK.judge(samples, context)["key"].implode()).to_numpy())
        for name, (share, plant) in FAULTS.items():
            for draw in range(DRAWS):
                random = np.random.default_rng([seed, draw])
                rows = random.permutation(usable(samples))[: int(share * len(samples))]
                changed = plant(samples, rows, random)
                flagged = changed["key"].is_in(CHECK.judge(changed, context)["key"].implode()).to_numpy()
                differ = changed_cells(samples, changed, rows)
                flags[name].append(flagged[rows[differ > BINS[0][1]]])
                flags["right"].append(np.delete(flagged, rows))
                for low, high in BINS if name == "swapped" else ():
                    flags[f"{low:.0%}"].append(flagged[rows[(differ >= low) & (differ < high)]])
                if bound and not name.startswith("moved"):
                    values = known_fit(changed, known)[name == "swapped"]
                    tests[name][0].append(np.delete(values, rows))
                    tests[name][1].append(values[rows[differ > BINS[0][1]]])
                    for low, high in BINS if name == "swapped" else ():
                        tests[f"{low:.0%}"][1].append(values[rows[(differ >= low) & (differ < high)]])
    cells = [kind]
    for name in [*FAULTS, *(f"{low:.0%}" for low, _ in BINS), "right", "untouched"]:
        values = np.concatenate(flags[name])
        text = f"{values.mean():.1%}" if values.size else "-"
        if tests[name][1]:
            limit = np.quantile(np.concatenate(tests[name if name in FAULTS else "swapped"][0]), 0.01)
            wrong = np.concatenate(tests[name][1])
            text += f" of {(wrong < limit).mean():.1%}" if wrong.size else ""
        cells.append(f"{text} (n={values.size})" if name.endswith("%") else text)
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--kinds", nargs="+", default=["skin", *tissues.KINDS])
    parser.add_argument("--no-bound", action="store_true", help="measure only what is found")
    options = parser.parse_args()
    tissues.SIDE = SIDE  # of the patches that are made here; tests make smaller ones
    names = [*FAULTS, *(f"swaps of {low:.0%} to {min(high, 1):.0%}" for low, high in BINS)]
    print("| tissue | " + " | ".join(names) + " | right: flagged | none misplaced: flagged |")
    for kind in options.kinds:
        print(measure(kind, options.samples, options.seeds, not options.no_bound), flush=True)
        print(f"{kind} done", file=sys.stderr)


if __name__ == "__main__":
    main()
