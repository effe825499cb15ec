"""`untag`: the orientation tag is set to 1, and the pixels stay as they are stored.

It is right if image and mask agree as stored, so only by name, or where the size of the partner proves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from histods.remedies.base import RefusedError, Remedy, Repaired
from histods.remedies.orientation import check_fit, read_header, without_tag

if TYPE_CHECKING:
    from histods.remedies.base import Source


def repair(source: Source) -> Repaired:
    """Change the tag alone."""
    header = read_header(source.content)
    if header.orientation == 1:
        raise RefusedError("it has no orientation tag")
    together = check_fit(source, header, upright=False)
    new = without_tag(source.content)
    return Repaired(new, f"tag {header.orientation}", "tag 1, pixels as stored", together=together)


REMEDY = Remedy(
    name="untag",
    repairs=("turned",),
    summary="Removes the orientation from files whose pixels are right as they are stored.",
    repair=repair,
    by_name=True,
)
