"""A shard of latents holds what was added, and the index says where; it is recovered where the index is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from histods.errors import HistodsError
from histods.shards.base import read_index
from histods.shards.latents.writer import SAMPLES, ShardUnderWay, Sums, plan_shard, rows_of
from tests.histods.shards.latents.made import PLAIN, SQUARE, Made

if TYPE_CHECKING:
    from pathlib import Path


def samples(*keys: str, **row: Any) -> pa.Table:
    """The input of a shard; only the keys differ."""
    rows = [dict.fromkeys(SAMPLES.names) | {"key": key, "split": "train"} | row for key in keys]
    return SAMPLES.empty_table().from_pylist(rows, SAMPLES)


@pytest.mark.parametrize("shape", [SQUARE, PLAIN], ids=["8 views", "1 view"])
def test_safetensors_reads_the_moments_and_the_runs_of_every_mask(tmp_path: Path, shape: Any) -> None:
    made = Made(tmp_path, shape)
    for shard in made.latents.shards:
        arrays = load_file(made.latents.path(shard.name))
        keys = [f"{shard.name}/{place}" for place in range(shard.samples)]
        np.testing.assert_array_equal(arrays["moments"], [made.moments[key] for key in keys])
        flat = np.repeat(arrays["run_labels"], arrays["run_lengths"])
        orders = [mask for key in keys for mask in (made.masks[key], made.masks[key].T)[: shape.orders]]
        np.testing.assert_array_equal(flat, np.concatenate([mask.ravel() for mask in orders]))
        assert len(arrays["run_offsets"]) == shape.orders * len(keys) + 1


def test_rows_that_were_lost_are_recovered_from_the_shard_alone(tmp_path: Path) -> None:
    made = Made(tmp_path, SQUARE)
    index = read_index(made.latents)
    name = "train-00000"
    own = index.filter(pa.compute.equal(index["shard"], name))
    table = samples(*own["key"].to_pylist()).set_column(6, "classes", own["classes"])
    plan = plan_shard(name, table, np.arange(len(own)), "test")
    assert rows_of(made.latents.path(name), plan).equals(own)


def test_a_plan_depends_on_samples_and_on_how_alone() -> None:
    table = samples("a", "b", "c")
    plan = plan_shard("x", table, np.arange(2), "how")
    whole = samples("z", "a", "b", "c").slice(1)  # the same rows, cut from another table
    assert plan_shard("y", whole, np.arange(2), "how").digest == plan.digest
    others = [(table, "other"), (table.slice(1), "how"), (samples("a", "b", "c", mask_digest=2**64 - 1), "how")]
    assert plan.digest not in {plan_shard("x", one, np.arange(2), how).digest for one, how in others}


MOMENTS = st.integers(1, 4).flatmap(
    lambda number: st.lists(
        st.floats(-9, 9, width=16), min_size=number * 2 * 2 * 3 * 4, max_size=number * 2 * 2 * 3 * 4
    ).map(lambda flat: np.array(flat, np.float16).reshape(number, 1, 4, 3, 4))
)


@settings(max_examples=40, deadline=None)
@given(moments=MOMENTS)
def test_sums_are_added_and_stored_without_loss(moments: np.ndarray[Any, np.dtype[np.float16]]) -> None:
    sums = Sums.of(moments)
    parts = sum((Sums.of(one) for one in moments[1:]), start=Sums.of(moments[0]))
    stored = Sums.from_json(json.loads(json.dumps(sums.to_json())))
    for name in Sums._fields:
        np.testing.assert_allclose(getattr(parts, name), getattr(sums, name), rtol=1e-9, atol=1e-6)
        np.testing.assert_array_equal(getattr(stored, name), getattr(sums, name))
    assert not np.isnan(sums.mean_and_std()).any()


def test_sums_give_mean_and_deviation_of_what_is_drawn() -> None:
    """Against draws of a normal distribution around each mean, and for any way of adding up."""
    random = np.random.default_rng(0)
    means = random.normal([[[2.0]], [[-1.0]]], [[[3.0]], [[0.5]]], (50, 8, 2, 8, 8))
    logvars = random.uniform(-2, 1, means.shape)
    moments = np.concatenate([means, logvars], axis=2).astype(np.float16)
    mean, std = Sums.of(moments).mean_and_std()
    drawn = means + random.normal(size=means.shape) * np.exp(logvars / 2)
    np.testing.assert_allclose(mean, drawn.mean(axis=(0, 1, 3, 4)), atol=0.05)
    np.testing.assert_allclose(std, drawn.std(axis=(0, 1, 3, 4)), rtol=0.01)
    parts = Sums.from_json(Sums.of(moments[:20]).to_json()) + Sums.of(moments[20:])
    np.testing.assert_allclose(parts.mean_and_std(), (mean, std), rtol=1e-12)


def test_latents_that_are_no_numbers_are_refused_with_their_key() -> None:
    table = SAMPLES.empty_table().from_pylist(
        [{**dict.fromkeys(SAMPLES.names), "key": key, "split": "train"} for key in "abc"], SAMPLES
    )
    shard = ShardUnderWay(plan_shard("train-00000", table, np.arange(3), ""), SQUARE)
    moments = np.zeros((1, *SQUARE.moments), np.float16)
    mask = np.zeros((24, 24), np.uint8)
    shard.add(moments, [mask])
    moments = np.concatenate([moments, moments])
    moments[1, 3, 1, 2, 0] = np.inf
    with pytest.raises(
        HistodsError, match="^The latents of c are not finite numbers within the range of float16; "
    ):
        shard.add(moments, [mask, mask])
