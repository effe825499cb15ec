"""Find out which mask belongs to which image from the names of the files.

These modules read no files: paths are POSIX and relative to the dataset's root.

```
names.py     what a layout is, and the role and link that it gives a file by its name
patterns.py  patterns with {key} and *
links.py     names that differ in capitals, accents or zeros before numbers only
pairing.py   pairing: names in, one row per sample out
auxiliary_files.py  files that are neither image nor mask
detect.py    the layout of a dataset, or the patterns to propose
candidates.py  candidates with the pairs that they make, weighted by the appearance of pictures
pattern_search.py  patterns that would pair files whose names follow no layout
cuts.py      the rest of a name without the texts that many names share
globs.py     * for folders that differ from pair to pair
roles.py     words that tell images from masks
lookalikes.py  names of pictures that are not images
vocabulary.py  the words of such names, in several languages
object_masks.py  images with one mask file per object
unread_labels.py  labels in unsupported formats
file_sample.py  a sample of many files that keeps pairs together
```
"""

from histods.dataset.layouts.detect import Choice, Suggestion, choose_layout, suggest
from histods.dataset.layouts.names import Layout
from histods.dataset.layouts.pairing import Pairing, pair, pair_rows
from histods.dataset.layouts.unread_labels import with_unread_labels

__all__ = [
    "Choice",
    "Layout",
    "Pairing",
    "Suggestion",
    "choose_layout",
    "pair",
    "pair_rows",
    "suggest",
    "with_unread_labels",
]
