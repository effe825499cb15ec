"""Synthetic skin-like datasets: what the demo, the tests and the benchmarks run on.

`tissue` lays out label masks and `stain` renders an image that follows them; `defects` plants faults and
says which findings they must lead to; `demo`, `benchmark` and `conventions` write whole datasets.
"""

from histods.synthetic.benchmark import drsk_proportions, make_benchmark
from histods.synthetic.conventions import CONVENTIONS, ConventionTruth, make_convention
from histods.synthetic.demo import Planted, make_demo, make_unconditional
from histods.synthetic.faults import Fault, read_faults

__all__ = [
    "CONVENTIONS",
    "ConventionTruth",
    "Fault",
    "Planted",
    "drsk_proportions",
    "make_benchmark",
    "make_convention",
    "make_demo",
    "make_unconditional",
    "read_faults",
]
