"""The list `dataset.csv` in a dataset's folder, compared with its masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from histods.labels.dataset_csv import NAME, list_class_systems, read_dataset_csv
from histods.labels.listed import hear_witness

if TYPE_CHECKING:
    import polars as pl

    from histods.labels.listed import Witness


def hear_dataset_csv(
    samples: pl.DataFrame, root: Path, pairs: str | Path | None
) -> tuple[pl.DataFrame, Witness | None, tuple[str, ...]]:
    """Compare the dataset's own list of labels, if it has one, with the labels of its masks.

    Args:
        samples: one row per sample with its measurements.
        root: the dataset's folder, resolved.
        pairs: the file of pairs, which is never such a list.

    Returns:
        The samples with their entries in the list, the interpretation of the list (None without one), and
        messages.
    """
    path = root / NAME
    if not path.is_file() or not path.resolve().is_relative_to(root):
        return samples, None, ()
    if pairs is not None and Path(pairs).resolve() == path.resolve():
        return samples, None, ()
    listed = read_dataset_csv(path)
    if listed is None:
        return samples, None, (f"Skipped: {NAME}, which is not a list of names and labels.",)
    samples, witness = hear_witness(samples, listed, list_class_systems(root))
    if not witness.compared:
        return samples, witness, (f"{NAME} names none of the images with masks.",)
    what = "labels" if witness.system is None else f"classes of {witness.system}"
    zero = f", {'label' if witness.system is None else 'class'} 0 left out" if witness.without_zero else ""
    agreed = f"{witness.agreed:,} of {witness.compared:,} rows agree with the masks"
    return samples, witness, (f"{NAME}: {agreed} (read as {what}{zero}).",)
