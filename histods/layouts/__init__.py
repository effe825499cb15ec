"""Which mask belongs to which image, told from the names of the files alone.

Nothing here touches a disk: paths are POSIX and relative to the dataset's root.

```
names.py    what a layout is, and the role and link it gives a file by its name
pairs.py    pairing: names in, one row a sample out
other.py    files that are neither image nor mask
search.py   patterns that would pair files whose names follow no layout
choose.py   the layout a dataset has, or the pattern to propose
```
"""

from histods.layouts.choose import Suggestion, find_layout, suggest
from histods.layouts.names import Layout
from histods.layouts.pairs import Pairing, pair, pair_rows

__all__ = ["Layout", "Pairing", "Suggestion", "find_layout", "pair", "pair_rows", "suggest"]
