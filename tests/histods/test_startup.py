"""Commands and their workers start without pandas, and a notebook that uses histods keeps it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa

from histods.engines import Done, engine_for
from tests.datasets.benchmark import make_benchmark

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def modules_after_an_array(values: Sequence[int]) -> tuple[int, bool]:
    """What a worker does, and whether pandas came with it."""
    return len(pa.array(values)), "pandas" in sys.modules


def test_a_worker_makes_arrays_without_importing_pandas() -> None:
    with engine_for("local", 1) as engine:
        (outcome,) = engine.run(modules_after_an_array, [[1, 2, 3]])
    assert isinstance(outcome, Done)
    assert outcome.value == (3, False)


def test_a_command_ends_without_having_imported_pandas(tmp_path: Path) -> None:
    make_benchmark(tmp_path / "data", pairs=8, orphans=1, zero_masks=2, size=64, workers=1)
    command = f"['histods', 'audit', {str(tmp_path / 'data')!r}, '-w', {str(tmp_path / 'out')!r}]"
    code = (
        f"import sys; sys.argv = {command}; from histods.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: print('status', end.code, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "status 1 False"


def test_a_notebook_has_pandas_after_an_audit(tmp_path: Path) -> None:
    make_benchmark(tmp_path / "data", pairs=4, orphans=0, zero_masks=1, size=64, workers=1)
    code = (
        "import sys; from histods import audit\n"
        "if __name__ == '__main__':\n"
        "    result = audit(sys.argv[1], workspace=sys.argv[2], workers=1)\n"
        "    print(result.manifest.to_pandas().shape[0])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data"), str(tmp_path / "out")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "4\n"
