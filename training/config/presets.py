"""Presets: settings that belong together; all other settings override them."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {},
    "diffinfinite-fork": {
        "model": {"class_conditioning": "histogram", "null": "zero_mask"},
        "diffusion": {
            "prediction": "epsilon",
            "min_snr_gamma": None,
            "null_probability": 0.1,
            "sampling_timesteps": 250,
        },
        "latents": {"space": "fork"},
        "optimizer": {"name": "adam", "schedule": "onecycle", "weight_decay": 0.0},
        "ema": {"kind": "exponential", "decay": 0.995, "every": 10},
    },
    "diffinfinite-paper": {
        "model": {"class_conditioning": "max", "null": "zero_mask"},
        "diffusion": {
            "prediction": "epsilon",
            "min_snr_gamma": None,
            "null_probability": 0.1,
            "sampling_timesteps": 250,
        },
        "latents": {"space": "paper"},
        "optimizer": {"name": "adam", "schedule": "onecycle", "weight_decay": 0.0},
        "ema": {"kind": "exponential", "decay": 0.995, "every": 10},
        "data": {"binarise": True},
    },
}
"""The settings that `preset:` in a file, or `--set preset=NAME`, puts below all others."""

IMPLIED_BY_FLOW = {"schedule": "rectified_flow", "levels": "logit_normal", "min_snr_gamma": None}
"""Settings of `diffusion` that `prediction: flow` puts below all others: the process of Esser et al. (2024)."""

OLD_NAMES = {"fork": "diffinfinite-fork", "paper": "diffinfinite-paper"}
"""Names of presets in version 0.1, which still work."""
