"""export: diffusers loads what it knows and agrees with us on it; the README tells the rest, and its code runs."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from histods.errors import HistodsError
from histods.io.atomic import file_digest
from tests.training.autoencoders.test_base import kl, tiny
from tests.training.published import published, write
from training.autoencoders.base import load_autoencoder
from training.autoencoders.linear import LinearAutoencoder
from training.config.model import ModelConfig
from training.config.sections import DiffusionConfig, TrainConfig
from training.diffusion.guidance import guided
from training.diffusion.noise import normal_noise
from training.diffusion.process import Schedule
from training.diffusion.samplers import ddim
from training.exchange.export_diffusers import export, read_scheduler
from training.exchange.import_diffinfinite import import_checkpoint
from training.latents.latent_space import LatentSpace
from training.model.unet import UNet
from training.runs.checkpoint import State, load_model, read_run, save_checkpoint, write_run

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
MODEL = ModelConfig(image_size=32, dim=8, num_classes=3, dim_mults=(1, 2), spatial=True)
FLOW = {"prediction": "flow", "schedule": "rectified_flow"}
DEFAULT = LatentSpace.preset("default", mean=[0.1] * 4, std=[1.5] * 4)


def make_run(
    folder: Path, autoencoder: str = "", *, space: LatentSpace = DEFAULT, diffusion: dict[str, Any] | None = None
) -> Path:
    """Write a run of a tiny network with random weights; without an autoencoder it has the linear one."""
    torch.manual_seed(1)
    config = TrainConfig(model=MODEL, diffusion=DiffusionConfig(**diffusion or {}))
    if autoencoder:
        described = {"name": autoencoder, "digest": load_autoencoder(autoencoder).digest}
    else:
        linear = LinearAutoencoder.fit([torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)])
        linear.save(folder / "autoencoder")
        described = {"name": "autoencoder", "digest": linear.digest}
    state = State(
        step=1234,
        position=0,
        index_digest="0" * 64,
        classes=("Unknown", "Tumour", "Stroma"),
        map_digest="1" * 64,
        autoencoder=described,
        latent_space=space.to_json(),
    )
    model = UNet(config.model).state_dict()
    write_run(folder, config)
    save_checkpoint(folder, state, {"model": model, "ema": {name: 0.9 * value for name, value in model.items()}})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("export") / "mine")


@pytest.fixture(scope="module", params=["kl", "tiny"])
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run with an autoencoder of diffusers, and that one."""
    folder = tmp_path_factory.mktemp(request.param)
    module = kl() if request.param == "kl" else tiny()
    module.save_pretrained(folder / "theirs")
    return make_run(folder / "run", str(folder / "theirs")), module


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HistodsError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def files_of(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def scheduler_of(folder: Path) -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler.from_pretrained(folder, subfolder="scheduler")


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("zero", [False, True], ids=["as it is", "zero terminal SNR"])
def test_diffusers_has_the_same_noise_schedule(tmp_path: Path, schedule: Any, zero: bool) -> None:
    diffusion = {"schedule": schedule, "zero_terminal_snr": zero}
    folder = export(make_run(tmp_path / "run", diffusion=diffusion), out=tmp_path / "out")
    ours = Schedule.of(DiffusionConfig(**diffusion)).signal_T.square()
    assert torch.allclose(scheduler_of(folder).alphas_cumprod, ours, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("prediction", "space"),
    [("v", DEFAULT), ("epsilon", LatentSpace.preset("fork")), ("x0", LatentSpace.preset("paper"))],
    ids=["v", "epsilon, clipped", "x0, clipped"],
)
def test_diffusers_takes_the_same_steps(tmp_path: Path, prediction: Any, space: LatentSpace) -> None:
    run = make_run(tmp_path / "run", space=space, diffusion={"prediction": prediction})
    scheduler = scheduler_of(export(run, out=tmp_path / "out"))
    schedule = Schedule.of(DiffusionConfig(prediction=prediction))

    def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x * 1.7 + (t / 500 - 1)[:, None, None, None])

    noise = x = normal_noise([1, 2], (4, 4, 4), "cpu")
    scheduler.set_timesteps(20)
    for t in scheduler.timesteps:
        x = scheduler.step(denoise(x, t.repeat(2)), t, x).prev_sample
    ours = ddim(denoise, schedule, noise, prediction=prediction, steps=20, clip=space.clip)
    assert torch.allclose(x, ours, rtol=0, atol=1e-4)
    assert not torch.allclose(ours, noise, atol=0.1)


def test_a_flow_is_exported_for_the_euler_scheduler_with_the_steps_of_the_readme(tmp_path: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    run = make_run(tmp_path / "run", diffusion=FLOW | {"timesteps": 100, "sampling_timesteps": 10})
    folder = export(run, out=tmp_path / "out")
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    assert (scheduler.config.num_train_timesteps, scheduler.config.shift) == (100, 1)
    assert torch.allclose(scheduler.sigmas, Schedule.of(read_scheduler(folder)).noise_T.flip(0))
    assert (read_scheduler(folder).prediction, read_scheduler(folder).timesteps) == ("flow", 100)
    read = read_run(run)
    model = load_model(read, weights="ema", device="cpu")
    mask = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    mask[:, :, 16:] = 2
    start = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    made = ddim(guided(model, mask, 3.0), read.schedule, start, prediction="flow", steps=50)
    expected = read.load_autoencoder().decode(read.space.denormalise(made))
    shown = follow_the_readme(folder, "images.flatten().tolist()")
    assert torch.allclose(torch.tensor(ast.literal_eval(shown.strip())), expected.flatten(), atol=1e-4)


@pytest.mark.parametrize(
    ("diffusion", "space", "said"),
    [
        (FLOW | {"prediction": "v"}, DEFAULT, "predicts v on the schedule rectified_flow, for which"),
        ({"prediction": "flow"}, DEFAULT, "predicts flow on the schedule cosine, for which"),
        (
            FLOW,
            LatentSpace.preset("fork"),
            "predicts flow on the schedule rectified_flow, clipped to +-1, for which",
        ),
    ],
    ids=["v on straight lines", "flow on cosine", "clipped"],
)
def test_a_run_for_which_diffusers_has_no_scheduler_is_refused(
    tmp_path: Path, diffusion: dict[str, Any], space: LatentSpace, said: str
) -> None:
    run = make_run(tmp_path / "run", space=space, diffusion=diffusion)
    assert said in refusal(lambda: export(run, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("weights", ["ema", "model"])
def test_the_network_is_the_run_s(run: Path, tmp_path: Path, weights: Any) -> None:
    folder = export(run, out=tmp_path / "out", weights=weights)
    settings = json.loads((folder / "unet" / "config.json").read_text())
    module = UNet(ModelConfig(**{name: value for name, value in settings.items() if not name.startswith("_")}))
    module.load_state_dict(load_file(folder / "unet" / "diffusion_pytorch_model.safetensors"))
    example = torch.randn(1, 4, 4, 4), torch.tensor([5]), torch.ones(1, 1, 32, 32, dtype=torch.uint8)
    assert module.eval()(*example).equal(load_model(run, weights=weights, device="cpu")(*example))


def test_diffusers_loads_its_own_autoencoder(theirs: tuple[Path, Any], tmp_path: Path) -> None:
    import diffusers

    run, module = theirs
    folder = export(run, out=tmp_path / "out")
    loaded = getattr(diffusers, type(module).__name__).from_pretrained(folder, subfolder="vae").eval()
    latents = torch.randn(1, 4, 2, 2)
    with torch.no_grad():
        assert loaded.decode(latents).sample.equal(module.decode(latents).sample)
    assert load_autoencoder(str(folder / "vae")).digest == read_run(run).state.autoencoder["digest"]
    assert str(tmp_path.parent) not in (folder / "vae" / "config.json").read_text(), "no path of this machine"


def test_the_linear_autoencoder_is_as_the_readme_writes_it(run: Path, tmp_path: Path) -> None:
    from torch.nn.functional import conv2d, conv_transpose2d

    folder = export(run, out=tmp_path / "out")
    tensors = load_file(folder / "vae" / "autoencoder.safetensors")
    names: dict[str, Any] = {"c": tensors["components"], "m": tensors["mean"], "h": 2, "w": 3}
    names |= {"conv2d": conv2d, "conv_transpose2d": conv_transpose2d, "images": torch.rand(1, 3, 16, 24) * 2 - 1}
    readme = (folder / "README.md").read_text()
    formulas = [re.search(rf"`({start}\(.*)`", readme) for start in ("conv2d", "conv_transpose2d")]
    assert all(formulas)
    encode, decode = (formula[1] for formula in formulas if formula)
    latents = eval(encode, names)  # noqa: S307 - what is tested is that the text is right
    autoencoder = load_autoencoder(str(folder / "vae"))
    assert torch.allclose(latents, autoencoder.encode(names["images"])[0], atol=1e-5)
    assert torch.allclose(eval(decode, names | {"latents": latents}), autoencoder.decode(latents), atol=1e-6)  # noqa: S307


def follow_the_readme(folder: Path, shown: str) -> str:
    """Run the README's code as someone in that folder would, and print an expression."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    assert code is not None
    output = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(output), warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(f"{code[1]}\nprint({shown})", {})  # noqa: S102 - what is tested is that the text is right
    return output.getvalue()


def test_the_readme_s_code_makes_an_image(run: Path, theirs: tuple[Path, Any], tmp_path: Path) -> None:
    for name, source in (("ours", run), ("theirs", theirs[0])):
        folder = export(source, out=tmp_path / name)
        shown = follow_the_readme(folder, "tuple(images.shape), bool(images.isfinite().all())")
        assert shown.endswith("(1, 3, 32, 32) True\n")


def test_an_imported_run_without_an_autoencoder_is_exported_without_one(tmp_path: Path) -> None:
    imported = import_checkpoint(write(tmp_path / "c.pt", published()), out=tmp_path / "run")
    folder = export(imported, out=tmp_path / "out")
    assert not (folder / "vae").exists()
    assert json.loads((folder / "histods.json").read_text())["autoencoder"] == {"kind": None, "digest": ""}
    assert "imported without one" in (folder / "README.md").read_text()
    assert follow_the_readme(folder, "tuple(latents.shape)").endswith("(1, 4, 64, 64)\n")


def test_the_same_export_writes_the_same_bytes_and_goes_on(theirs: tuple[Path, Any], tmp_path: Path) -> None:
    one, two = (export(theirs[0], out=tmp_path / name) for name in ("one", "two"))
    before = files_of(one)
    assert before == files_of(two)
    (one / "README.md").unlink()
    (one / "vae" / "config.json").unlink()
    (one / ".vae.part").mkdir()
    assert files_of(export(theirs[0], out=one)) == before
    assert not (one / ".vae.part").exists()


def test_a_folder_in_use_is_left_alone(run: Path, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    assert "used already holds mine.txt; choose a new folder with --out" in refusal(lambda: export(run, out=used))
    assert "mine.txt is a file; choose a new folder" in refusal(lambda: export(run, out=used / "mine.txt"))
    assert [path.name for path in used.iterdir()] == ["mine.txt"]
    folder = export(run, out=tmp_path / "out")
    message = refusal(lambda: export(run, out=folder, weights="model"))
    assert "already holds the export of mine, step 1234 (ema)" in message


def test_runs_and_exports_have_their_places_in_the_workspace(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "first")
    folder = export("first", workspace=tmp_path)
    assert folder == tmp_path / "exports" / "first-step-00001234"
    assert "choose one of first" in refusal(lambda: export("second", workspace=tmp_path))


def test_a_damaged_checkpoint_is_not_exported(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    weights = run / "checkpoints" / "step-00001234" / "ema.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "is missing or damaged" in refusal(lambda: export(run, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
