"""`torchrun --nproc-per-node 8 -m training ...`: the options of `histods train`, without its libraries.

GPU machines often carry PyTorch and little else; this starts with what they have.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from histods.errors import HistodsError, TerminatedError
from histods.storage.workspace import DEFAULT_WORKSPACE
from training.run import train

_LINE_SECONDS = 30.0


def main() -> int:
    """Train, and say how it went in lines on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workspace", "-w", default=os.environ.get("HISTODS_WORKSPACE", str(DEFAULT_WORKSPACE)))
    parser.add_argument("--config", type=Path, help="YAML file of settings")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--name", default="default", help="name of the run")
    parser.add_argument("--data", type=Path, help="folder of shards or latents")
    parser.add_argument("--resume", action="store_true", help="go on also where settings differ")
    parser.add_argument("--device", help="cpu or cuda")
    parser.add_argument("--dry-run", action="store_true", help="train nothing; print the settings and the cost")
    parser.add_argument("--debug", action="store_true", help="print shapes, and the traceback of an error")
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
        _say(f"{word}; run the same command again to go on")
        return status
    except (HistodsError, OSError) as error:
        if options.debug:
            raise
        _say(str(error))
        return 2
    for name, shape in result.shapes:
        _say(f"{name}: {'x'.join(map(str, shape))}")
    if result.plan is not None:
        _say(result.config.to_yaml())
        _say(json.dumps({key: getattr(result.plan, key) for key in result.plan.__slots__}))
    else:
        _say(f"step {result.step:,} of {result.config.run.steps:,} is done: {result.folder}")
    return 0


def _say(text: str) -> None:
    """Write to stderr, from process 0 alone."""
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
