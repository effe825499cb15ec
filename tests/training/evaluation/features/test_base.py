"""Which names lead to which features."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from histods.errors import HistodsError
from tests.test_architecture import ROOT, imports, name_of
from training.evaluation.features.base import load_features

if TYPE_CHECKING:
    from pathlib import Path


def refusal(name: str) -> str:
    with pytest.raises(HistodsError) as caught:
        load_features(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_name_that_is_nothing_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert refusal(str(missing)) == (
        f"There is no folder {missing}; check the path, or give a hub id (OWNER/NAME)."
    )


def test_a_file_of_weights_is_that_of_inception(tmp_path: Path) -> None:
    missing = tmp_path / "none.pth"
    for name in (str(missing), f"inception={missing}"):
        assert refusal(name) == f"There is no file {missing}; give the weights of FID's Inception network."


def test_a_folder_without_an_encoder_is_named(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)) == f"{tmp_path} holds no encoder: it has no config.json; check the folder."


def test_a_hub_id_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal("nobody/no-such-encoder").startswith(
        "There is no folder nobody/no-such-encoder, and it cannot be downloaded from the hub either: "
    )


@pytest.mark.parametrize("path", sorted((ROOT / "training" / "evaluation").rglob("*.py")), ids=name_of)
def test_modules_of_the_evaluation_import_nothing_optional_at_start(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(ast.parse(path.read_text()), top_only=True)}
    assert not tops & {"monai", "transformers", "timm", "huggingface_hub", "PIL"}
