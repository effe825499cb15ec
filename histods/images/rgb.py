"""Convert stored samples to 8-bit RGB as a viewer shows it, which training uses.

Transparent pixels are shown on white, as in viewers and on printed pages; most transparent margins are stored as
black, which would make a slide's background black in training. 16 bits are scaled by the depth that the file's
largest value needs (8, 10, 12, 14 or 16 bits), since cameras of 10 to 14 bits store their values unscaled. A
largest value in the lower half of the range does not determine the depth, and the file is rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from histods.errors import UnreadableFileError
from histods.images.png import decode_png, read_palette, read_transparency
from histods.images.tiff import PILLOW_SPREAD

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from histods.images.header import Header

_DEPTHS = (8, 10, 12, 14, 16)  # of cameras and scanners
_WIDE = 16
_OPAQUE = 255
_ONE_SCALE = "store 8 bits per channel, with one scale for all images"
_PALETTE, _GREY, _COLOURS = 3, 0, 2  # colour types of PNG


class Shown(NamedTuple):
    """Pixels as a viewer shows them, [height, width, 3] uint8, and how they differ from those stored.

    Advice follows "; " in `converted`; None if the pixels are shown unchanged.
    """

    pixels: NDArray[np.uint8]
    converted: str | None = None


def show(samples: NDArray[Any], *, alpha: bool, bits: int = 8) -> Shown:
    """Convert samples to what a viewer shows.

    Args:
        samples: [height, width] grey or [height, width, channels]; uint8, or uint16 of `bits` bits.
        alpha: whether the last channel is opacity.
        bits: bits per sample; 16 for any depth up to 16.

    Raises:
        UnreadableFileError: the intended brightness of the values is unclear.
    """
    colours, opacity, reasons = samples, None, []
    if alpha:
        colours, opacity = samples[..., :-1], samples[..., -1]
    if samples.dtype != np.uint8:
        colours, reason = _to_bytes(colours, bits)
        reasons.append(reason)
        opacity = None if opacity is None else (opacity >> 8).astype(np.uint8)
    colours = colours[..., None] if colours.ndim == 2 else colours
    if opacity is not None:
        transparent = np.count_nonzero(opacity != _OPAQUE)
        if transparent:
            colours = _on_white(colours, opacity)
            share = f"{100 * transparent / opacity.size:.3g} % of its pixels are not opaque"
            reasons.append(f"{share}, which training sees on white; store them as the colour that is meant")
    pixels = np.broadcast_to(colours, (*colours.shape[:2], 3)) if colours.shape[2] == 1 else colours
    return Shown(np.ascontiguousarray(pixels), join_reasons(*reasons))


def join_reasons(*reasons: str | None) -> str | None:
    """Combine several reasons into one, with the advice of the first."""
    given = [reason.split("; ", 1) for reason in reasons if reason]
    return "; ".join([", and ".join(reason for reason, _ in given), given[0][1]]) if given else None


def _to_bytes(values: NDArray[np.uint16], bits: int) -> tuple[NDArray[np.uint8], str]:
    top = int(values.max())
    depth = bits if bits < _WIDE else next(depth for depth in _DEPTHS if top < 1 << depth)
    if bits == _WIDE and 0 < top < 1 << (depth - 1):
        raise UnreadableFileError(
            f"16 bits per channel, whose largest value is {top:,}: nothing tells how bright that is; "
            f"{_ONE_SCALE}, for example with 'magick IN -level 0,{(1 << depth) - 1} -depth 8 OUT.png'"
        )
    scale = (1 << depth) - 1
    scaled = (values.astype(np.uint32) * _OPAQUE + scale // 2) // scale
    reason = f"{bits} bits per channel, which training sees as 8, with 0 to {scale:,} as 0 to 255; {_ONE_SCALE}"
    return np.minimum(scaled, _OPAQUE).astype(np.uint8), reason


def check_high_bytes(pixels: NDArray[np.uint8]) -> str:
    """Judge 16-bit colours of which a decoder returned only the high bytes; see `_to_bytes`.

    Raises:
        UnreadableFileError: the high bytes are not sufficient.
    """
    top = int(pixels.max())
    if top <= _OPAQUE // 2:
        raise UnreadableFileError(
            f"16 bits per channel, none of whose values is above {(top << 8) + 255:,}: "
            f"nothing tells how bright that is; {_ONE_SCALE}"
        )
    return f"16 bits per channel, which training sees as 8; {_ONE_SCALE}"


def _on_white(colours: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    weight = opacity.astype(np.uint16)[..., None]
    return ((colours * weight + _OPAQUE * (_OPAQUE - weight) + _OPAQUE // 2) // _OPAQUE).astype(np.uint8)


def show_png(content: bytes, header: Header) -> Shown:
    """Decode a PNG file that passed `check_png`, as a viewer shows it.

    Raises:
        UnreadableFileError: its pixel data are damaged, or their intended brightness is unclear.
    """
    depth, colour = content[24], content[25]
    samples = decode_png(content, header)
    transparency = read_transparency(content) if header.doubtful else None
    if colour == _PALETTE:
        return _show_palette(samples, read_palette(content), transparency)
    opacity = None
    if transparency and colour in (_GREY, _COLOURS):
        value = np.frombuffer(transparency[: len(transparency) // 2 * 2], ">u2")
        opacity = (samples != value).any(axis=2) if colour == _COLOURS and value.size == 3 else samples != value[0]
    if depth < 8:
        samples = samples * np.uint8(PILLOW_SPREAD.get(depth, _OPAQUE))
    if opacity is None:
        return show(samples, alpha=samples.ndim == 3 and samples.shape[2] in (2, 4), bits=depth)
    channels = samples[..., None] if samples.ndim == 2 else samples
    plane = opacity.astype(samples.dtype) * np.iinfo(samples.dtype).max
    return show(np.concatenate([channels, plane[..., None]], axis=2), alpha=True, bits=depth)


def _show_palette(indices: NDArray[np.uint8], colours: NDArray[np.uint8], transparency: bytes | None) -> Shown:
    table = np.zeros((256, 4), np.uint8)
    table[: len(colours), :3] = colours[:256]
    table[:, 3] = _OPAQUE
    opacity = np.frombuffer(transparency or b"", np.uint8)[:256]
    table[: opacity.size, 3] = opacity
    return show(table[indices], alpha=True) if opacity.size else show(table[indices, :3], alpha=False)


def show_pillow(image: Image.Image) -> Shown:
    """Convert a picture decoded by Pillow to what a viewer shows.

    Raises:
        UnreadableFileError: its values are not shown as colours.
    """
    mode = image.mode
    if mode in ("RGBA", "LA", "RGBa", "La", "PA") or (mode == "P" and "transparency" in image.info):
        return show(np.asarray(image.convert("RGBA")), alpha=True)
    if mode in ("1", "L", "P", "RGB", "YCbCr", "CMYK", "RGBX"):
        return show(np.asarray(image.convert("RGB")), alpha=False)
    raise UnreadableFileError(
        f"pixels that are not shown as colours (Pillow's mode {mode}); convert it to 8-bit RGB"
    )
