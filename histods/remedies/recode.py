"""`recode`: like `upright`, but a JPEG file that cannot be turned without loss is decoded and encoded again.

The quantisation tables and the subsampling of the file are kept, so that its quality setting stays the same, but
pixels change a little. Whether that is acceptable only the user can say, so this remedy is applied by name alone.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps, JpegImagePlugin

from histods.remedies.base import RefusedError, Remedy, Repaired
from histods.remedies.upright import NO_JPEGTRAN, NOT_WHOLE, check, repaired
from histods.remedies.upright import repair as turn_upright

if TYPE_CHECKING:
    from histods.remedies.base import Source


def repair(source: Source) -> Repaired:
    """Turn without loss where that is possible; else encode again."""
    try:
        return turn_upright(source)
    except RefusedError as error:
        if error.reason not in (NO_JPEGTRAN, NOT_WHOLE):
            raise
    header, together = check(source)
    file = io.BytesIO()
    try:
        with Image.open(io.BytesIO(source.content), formats=["JPEG"]) as image:
            if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("L", "RGB"):
                raise RefusedError(f"a JPEG file of mode {image.mode} is not encoded again")
            turned = ImageOps.exif_transpose(image)
            options: dict[str, Any] = {"qtables": image.quantization, "exif": turned.getexif()}
            sampling = JpegImagePlugin.get_sampling(image)
            if image.mode == "RGB" and sampling >= 0:
                options["subsampling"] = sampling
            if "icc_profile" in image.info:
                options["icc_profile"] = image.info["icc_profile"]
            turned.save(file, format="JPEG", **options)
    except (OSError, ValueError, SyntaxError) as error:
        raise RefusedError("it cannot be encoded again", str(error)) from error
    kept = "encoded again with the same quantisation tables: pixels change a little"
    return repaired(header, file.getvalue(), kept)._replace(together=together)


REMEDY = Remedy(
    name="recode",
    repairs=("turned",),
    summary="Like upright; JPEG files that cannot be turned without loss are encoded again, which changes pixels.",
    repair=repair,
    by_name=True,
)
