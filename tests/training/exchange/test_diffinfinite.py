"""Published checkpoints are read without running code, proved byte by byte, and known by their shapes."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
import torch

from histods.errors import HistodsError
from histods.records import silent
from tests.training.published import SMALL, published, random_weights, write
from training.exchange.diffinfinite import Published, check_weights, find_schedule, find_shape, read_published

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("published") / "model.pt", published())


def test_both_networks_and_the_schedule_are_found_and_every_byte_is_proved(checkpoint: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    found = read_published(checkpoint, lambda *report: reports.append(report))
    assert (found.step, set(found.weights)) == (12_000, {"ema", "model"})
    for which, seed in (("model", 0), ("ema", 1)):
        expected = random_weights(SMALL, seed)
        weights = found.weights[which]  # type: ignore[index]
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert find_schedule(found) == {"timesteps": 1000, "schedule": "cosine"}
    with zipfile.ZipFile(checkpoint) as archive:
        assert reports[-1][1] == sum(member.file_size for member in archive.infolist())


def test_shapes_tell_the_network_and_check_its_weights(checkpoint: Path) -> None:
    weights = read_published(checkpoint, silent).weights["ema"]
    assert find_shape(weights, checkpoint) == {"dim": 8, "channels": 4, "num_classes": 3, "dim_mults": (1, 2)}
    checked = check_weights({name: one.half() for name, one in weights.items()}, SMALL, checkpoint)
    assert all(tensor.dtype == torch.float32 for tensor in checked.values())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([1], "holds a list, not the entries 'model' and 'ema'"),
        (torch.zeros(2), "holds tensors, not the entries 'model' and 'ema'"),
        ({"model": torch.nn.Linear(1, 1)}, "holds more than tensors and plain values: torch.nn"),
    ],
    ids=["list", "tensor", "object"],
)
def test_other_contents_are_refused_in_one_line(tmp_path: Path, document: object, said: str) -> None:
    with pytest.raises(HistodsError) as caught:
        read_published(write(tmp_path / "x.pt", document), silent)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"x" * 5000])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    try:
        found = read_published(path, silent)
    except HistodsError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
    else:
        assert not found.weights  # an empty dictionary


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "infinite", "integers"])
def test_weights_that_do_not_fit_are_named(checkpoint: Path, change: str) -> None:
    weights = dict(read_published(checkpoint, silent).weights["model"])
    name = "classes_emb.weight"
    match change:
        case "missing":
            del weights[name]
        case "extra":
            weights["ä"] = torch.zeros(1)
        case "shape":
            weights[name] = weights[name][:2]
        case "infinite":
            weights[name] = weights[name] * float("inf")
        case "integers":
            weights[name] = weights[name].long()
    with pytest.raises(HistodsError, match="ä" if change == "extra" else name):
        check_weights(weights, SMALL, checkpoint)


def test_an_unknown_schedule_is_refused_and_none_gives_no_settings(tmp_path: Path) -> None:
    def checkpoint_of(betas: torch.Tensor | None) -> Published:
        return Published(path=tmp_path / "x.pt", step=0, weights={}, betas_T=betas)

    assert find_schedule(checkpoint_of(None)) == {}
    with pytest.raises(HistodsError, match="its betas go from 0.3 to 0.3.; histods has no sampler for it.$"):
        find_schedule(checkpoint_of(torch.full((50,), 0.3, dtype=torch.float64)))
