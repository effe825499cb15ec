"""`torchrun --nproc-per-node 8 -m training ...`: the options of `histods train` with fewer dependencies.

GPU machines often have PyTorch and little else; that is enough for this command.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

from histods.errors import HistodsError, TerminatedError
from histods.io.workspace import Workspace
from training.verbs.train import train

_LINE_SECONDS = 30.0


def main() -> int:
    """Train, and report progress and the result on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workspace", "-w", default=Workspace.find().folder)
    parser.add_argument("--what", choices=("images", "masks"), help="what to train on; images by default")
    parser.add_argument("--config", type=Path, help="YAML file of settings")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--name", help="name of the run; 'default', or 'masks', by default")
    parser.add_argument("--map", help="label map; by default the only one in the workspace")
    parser.add_argument("--data", type=Path, help="folder of shards or latents")
    parser.add_argument("--no-prepare", dest="prepare", action="store_false", help="make no split and no shards")
    parser.add_argument("--resume", action="store_true", help="resume even if settings differ")
    parser.add_argument("--init", help="weights that a new run starts from: a run, a checkpoint or an export")
    parser.add_argument("--init-weights", default="ema", choices=("ema", "model"), help="which weights to use")
    parser.add_argument("--remake-ends", action="store_true", help="re-initialise the first and last layers")
    parser.add_argument("--device", help="cpu or cuda")
    parser.add_argument("--dry-run", action="store_true", help="train nothing; print the settings and the cost")
    parser.add_argument("--debug", action="store_true", help="print shapes, and a traceback on errors")
    options = parser.parse_args()
    told = time.monotonic()

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal told
        if total and time.monotonic() - told >= _LINE_SECONDS:
            told = time.monotonic()
            _say(f"{stage}: {done:,} of {total:,}")

    try:
        result = train(**vars(options), progress=progress, say=_say)
    except (TerminatedError, KeyboardInterrupt) as error:
        word, status = ("interrupted", 130) if isinstance(error, KeyboardInterrupt) else ("terminated", 143)
        _say(f"{word}; run the same command again to continue")
        return status
    except Exception as error:
        if options.debug:
            raise
        _say(_explain(error), alone=True)
        return 2
    for name, shape in result.shapes:
        _say(f"{name}: {'x'.join(map(str, shape))}")
    if result.plan is not None:
        _say(result.config.to_yaml())
        _say(json.dumps({key: getattr(result.plan, key) for key in result.plan.__slots__}))
    else:
        _say(f"step {result.step:,} of {result.config.run.steps:,} is done: {result.folder}")
    return 0


def _explain(error: Exception) -> str:
    """State in one line what is wrong and what to do."""
    text = " ".join(str(error).split())
    if isinstance(error, HistodsError):
        return text
    if isinstance(error, OSError):
        return f"A file could not be read or written: {text}; fix that and run the same command again."
    return f"Internal error, {type(error).__name__}: {text[:300]}; run again with --debug and report it."


def _say(text: str, *, alone: bool = False) -> None:
    """Write to stderr from process 0; with `alone`, from every process, with its rank and host name."""
    rank, together = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1") != "1"
    if alone and together:
        print(f"process {rank} on {platform.node()}: {text}", file=sys.stderr, flush=True)
    elif alone or rank == "0":
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
