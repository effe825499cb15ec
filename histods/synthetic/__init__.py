"""Synthetic skin-like datasets, which the demo runs on.

`tissue` lays out label masks and `stain` renders an image that follows them; `defects` plants faults and
says which findings they must lead to; `demo` writes a whole dataset.
"""

from histods.synthetic.demo import Planted, make_demo, make_unconditional
from histods.synthetic.faults import Fault, read_faults

__all__ = [
    "Fault",
    "Planted",
    "make_demo",
    "make_unconditional",
    "read_faults",
]
