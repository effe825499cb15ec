"""The README of an exported run: how to load each part, and code from a mask to an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.runs.checkpoint import Run

_UNET = "| `unet/` | the network, which diffusers does not have | histods: `training.model.unet.UNet` |"
_ABOUT = "| `histods.json` | classes, latent space and provenance | any JSON reader |"
_NO_VAE = "There is no autoencoder, since the run was imported without one: the code below ends with latents."
_LINEAR = """`vae/` is the linear autoencoder of histods: in `autoencoder.safetensors` there are `components`
c [4, 3, 8, 8] and `mean` m [3, 8, 8] of blocks of 8x8 pixels. For images from -1 to 1, latents are
`conv2d(images, c, -(c * m).sum((1, 2, 3)), stride=8)`, and images are
`conv_transpose2d(latents, c, stride=8) + m.tile(1, h, w)`."""
_PREDICTIONS = {
    "epsilon": "the noise",
    "v": "v = signal noise - noise_level x0, diffusers' `v_prediction`",
    "x0": "the latents without noise, diffusers' `sample`",
    "flow": "the noise minus the latents without it, as rectified flows do",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Decoder:
    """How the README describes and uses one kind of autoencoder."""

    row: str
    imported: str
    loaded: str
    decoded: str


def _decoder(kind: str | None) -> _Decoder:
    if kind is None:
        return _Decoder(row="", imported="", loaded="", decoded="latents = space.denormalise(x)")
    if kind == "linear":
        return _Decoder(
            row="| `vae/` | the linear autoencoder | histods: `training.autoencoders.base.load_autoencoder` |\n",
            imported="from training.autoencoders.base import load_autoencoder\n",
            loaded='vae = load_autoencoder(str(folder / "vae"))\n',
            decoded="images = vae.decode(space.denormalise(x))",
        )
    return _Decoder(
        row=f"| `vae/` | the autoencoder | diffusers: `{kind}` |\n",
        imported="",
        loaded=f'vae = {kind}.from_pretrained(folder, subfolder="vae")\n',
        decoded="images = vae.decode(space.denormalise(x)).sample",
    )


def write_guide(run: Run, kind: str | None) -> str:
    """The README as Markdown.

    Args:
        run: what was exported.
        kind: `linear`, a diffusers class, or None if there is no autoencoder.
    """
    decoder = _decoder(kind)
    model, diffusion, space = run.config.model, run.config.diffusion, run.space
    classes = ", ".join(f"{number} {_one_line(name)}" for number, name in enumerate(run.classes))
    note = {None: _NO_VAE + "\n\n", "linear": _LINEAR + "\n\n"}.get(kind, "")
    clip = "not clipped" if space.clip is None else f"clipped to +-{space.clip:g} in each step"
    return f"""# {run.folder.name}: images of tissue for masks

A latent diffusion model conditioned on masks, after {run.step:,} training steps. Exported by histods.

| part | what it is | loads with |
| --- | --- | --- |
| `scheduler/` | the noise schedule | diffusers: `{_scheduler(run)}` |
{decoder.row}{_UNET}
{_ABOUT}

`DiffusionPipeline.from_pretrained` cannot load this folder, since diffusers does not have this network.

{note}## From a mask to an image

With `pip install 'histods[train]'`, in this folder:

```python
{_code(run, kind, decoder)}```

## Conventions

- Masks hold classes: {classes}.
- The network sees x = (z scale + shift - mean) / std of the autoencoder's latents z, with a mean and a std for
  each channel unless they are empty: see `latent_space` in `histods.json`. The autoencoder's own `scaling_factor`
  is not used.
- It predicts {_PREDICTIONS[diffusion.prediction]}.
  While sampling, predicted latents are {clip}.
- Guidance is null + {diffusion.guidance_scale:g} (conditional - null). The fourth argument of the network, a flag
  per sample, selects the null condition; here it is {_null(model.null)}.
- The autoencoder's images range from {space.image_low:g} to 1.
"""


def _one_line(name: str) -> str:
    return " ".join(name.split())


def _scheduler(run: Run) -> str:
    """The class of the scheduler in diffusers."""
    return "FlowMatchEulerDiscreteScheduler" if run.config.diffusion.prediction == "flow" else "DDIMScheduler"


def _set_timesteps(run: Run) -> str:
    """Code that sets the noise levels of the steps; those of a flow are set one by one, evenly from the last."""
    timesteps = run.config.diffusion.timesteps
    steps = min(50, timesteps)
    if run.config.diffusion.prediction != "flow":
        return f"scheduler.set_timesteps({steps})"
    return f"""levels = [step * {timesteps} // {steps} - 1 for step in range({steps}, 0, -1)]
scheduler.set_timesteps(sigmas=[(level + 1) / {timesteps} for level in levels], timesteps=levels)"""


def _null(null: str) -> str:
    return "a learned embedding" if null == "learned" else "the same as a mask of class 0 only"


def _code(run: Run, kind: str | None, decoder: _Decoder) -> str:
    """Python code that makes an image when run in the folder of the export."""
    model, diffusion = run.config.model, run.config.diffusion
    names = ", ".join(sorted({_scheduler(run)} | ({kind} if kind and kind != "linear" else set())))
    size, side = model.image_size, model.image_size // 8
    return f"""import json
from pathlib import Path

import torch
from diffusers import {names}
from safetensors.torch import load_file

{decoder.imported}from training.latents.latent_space import LatentSpace
from training.config.model import ModelConfig
from training.model.unet import UNet

folder = Path(".")
settings = json.loads((folder / "unet" / "config.json").read_text())
settings = {{name: value for name, value in settings.items() if not name.startswith("_")}}
model = UNet(ModelConfig(**settings)).eval()
model.load_state_dict(load_file(folder / "unet" / "diffusion_pytorch_model.safetensors"))
space = LatentSpace.from_json(json.loads((folder / "histods.json").read_text())["latent_space"])
scheduler = {_scheduler(run)}.from_pretrained(folder, subfolder="scheduler")
{decoder.loaded}
mask = torch.zeros(1, 1, {size}, {size}, dtype=torch.uint8)
mask[:, :, {size // 2}:] = {len(run.classes) - 1}  # the lower half is {_one_line(run.classes[-1])}
x = torch.randn(1, {model.channels}, {side}, {side}, generator=torch.Generator().manual_seed(0))
{_set_timesteps(run)}
with torch.no_grad():
    for t in scheduler.timesteps:
        both = model(x.repeat(2, 1, 1, 1), t.repeat(2), mask.repeat(2, 1, 1, 1), torch.tensor([False, True]))
        conditional, null = both.chunk(2)
        x = scheduler.step(null + {diffusion.guidance_scale:g} * (conditional - null), t, x).prev_sample
    {decoder.decoded}
"""
