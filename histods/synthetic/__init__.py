"""Synthetic skin-like datasets for the demo.

`tissue` makes label masks and `stain` renders matching images; `defects` plants faults with the findings that they
must cause; `demo` writes a whole dataset.
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
