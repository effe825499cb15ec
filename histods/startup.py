"""What every process of histods does when it begins: the command line and its workers, never a notebook."""

from __future__ import annotations

import gc
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


_OBJECTS, _TIMES = 50_000, 20


def tune_gc() -> None:
    """Begin a command: spare it pandas, and have the garbage collector look less often.

    Imports and listings make hundreds of thousands of objects that live on, and by default all of them are
    looked at again and again: a second audit of 246,750 pairs took 1.70 to 1.83 s, with this 1.54 to 1.65 (five
    each, in turn).
    """
    gc.set_threshold(_OBJECTS, _TIMES, _TIMES)
    skip_pandas_import()


def skip_pandas_import() -> None:
    """Have pyarrow look for pandas now, and find none.

    With the first array that it makes, pyarrow imports pandas if it can, to see whether it was given something
    of it. That takes 0.2 s of a core in every command and in each of its workers, which give it nothing of the
    kind. It looks only once. Whatever else imports pandas later finds it.
    """
    nowhere = _NoPandas()
    sys.meta_path.insert(0, nowhere)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(nowhere)


class _NoPandas(MetaPathFinder):
    """Finds no pandas where there is one."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Leave every other module to the finders that follow."""
        if fullname == "pandas":
            raise ModuleNotFoundError("not looked for, to save time", name=fullname)
        return None
