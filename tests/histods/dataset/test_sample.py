"""A sample of a manifest gives its files as arrays: the same pixels and labels that were written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from histods import HistodsError, Manifest
from histods.io.workspace import Workspace

if TYPE_CHECKING:
    from tests.conftest import Site


@pytest.fixture(scope="module")
def manifest(shared_site: Site) -> Manifest:
    return Manifest.read(shared_site.workspace / "manifest.parquet")


def test_images_masks_and_overlays_are_those_of_the_files(shared_site: Site, manifest: Manifest) -> None:
    for key, labels in shared_site.labels.items():
        sample = manifest.sample(key)
        image = sample.image()
        assert (image.dtype, image.shape) == (np.dtype(np.uint8), (48, 48, 3))
        # Decoders of JPEG may differ by a step or two.
        assert np.abs(image.astype(int) - shared_site.pixels(key)).max() <= (
            4 if "jp" in str(sample.image_path).lower() else 0
        )
        overlay = sample.overlay()
        assert (overlay.dtype, overlay.shape) == (np.dtype(np.uint8), image.shape)
        if labels is None:
            assert (sample.role, sample.labels) == ("unconditional", ())
            np.testing.assert_array_equal(overlay, image)
            with pytest.raises(HistodsError, match=r"has no mask: its role is 'unconditional'\.$"):
                sample.mask()
            continue
        mask = sample.mask()
        assert mask.dtype in (np.uint8, np.uint16)
        np.testing.assert_array_equal(mask, labels)
        assert sample.labels == tuple(np.unique(labels))
        np.testing.assert_array_equal(overlay[labels == 0], image[labels == 0])
        assert (overlay != image).any() == labels.any()


@pytest.mark.parametrize(
    ("change", "near"),
    [
        (lambda key: key[:-3], "_003"),
        (lambda key: key + "x", "_003"),
        (lambda key: key.upper(), ""),
        (lambda key: key.replace("_003", "_0O3"), "_003"),
        (lambda key: key.split("/")[1], "_003"),
        (lambda _: "", "_0"),
        (lambda _: "(", ""),
    ],
)
def test_a_key_that_is_not_there_is_refused_with_near_ones(
    change: object, near: str, shared_site: Site, manifest: Manifest
) -> None:
    key = next(key for key in shared_site.labels if key.endswith("_003"))
    with pytest.raises(HistodsError, match="There is no sample with the key") as refused:
        manifest.sample(change(key))  # type: ignore[operator]
    assert near in str(refused.value)


def test_a_manifest_in_memory_alone_and_a_lost_file_say_what_to_do(site: Site) -> None:
    manifest = Manifest.read(site.workspace / "manifest.parquet")
    key = next(iter(site.images))
    with pytest.raises(HistodsError, match=r"read one of a workspace with Manifest\.read"):
        Manifest(manifest.table, manifest.provenance).sample(key)
    sample = manifest.sample(key)
    site.images[key].unlink()
    with pytest.raises(HistodsError, match="cannot be opened"):
        sample.image()
    Workspace(site.workspace).audit.unlink()
    with pytest.raises(HistodsError, match="There is no audit"):
        manifest.sample(key)


def test_pandas_keeps_integers_and_lists(manifest: Manifest) -> None:
    frame = manifest.to_pandas()
    stored = manifest.table.to_pylist()
    for name, kind in (
        ("width", "UInt32"),
        ("image_bytes", "Int64"),
        ("mask_bytes", "Int64"),
        ("mask_mtime_ns", "Int64"),
    ):
        assert str(frame[name].dtype) == kind
        assert [None if pd.isna(value) else int(value) for value in frame[name]] == [row[name] for row in stored]
    assert frame["mask_bytes"].isna().any()
    for name in ("labels", "pixels"):
        assert frame[name].tolist() == [row[name] for row in stored]
    longer = frame.dropna(subset="labels").explode(["labels", "pixels"])
    assert longer["pixels"].sum() == sum(sum(row["pixels"] or ()) for row in stored)
