"""Reading image and mask files of any mode that Pillow opens."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from qttseg.errors import DatasetError

# What Pillow is known to raise for damaged files, besides its own OSErrors.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(file: Path) -> NDArray[np.uint8]:
    """Return the image in `file` as uint8 `height x width x 3`, turned as its EXIF says.

    Images of more than 8 bits a channel are stretched between their 0.5 and 99.5 percentiles.

    Raises:
        DatasetError: the file cannot be read.
    """
    picture = _open(file)
    if picture.mode.startswith("I") or picture.mode == "F":
        return np.repeat(_stretch(np.asarray(picture, np.float64))[:, :, None], 3, axis=2)
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA")  # keeps Pillow from guessing at transparent palette entries
    try:
        return np.array(picture.convert("RGB"))
    except ValueError as error:
        raise DatasetError(f"{file}: {error}; save it as an RGB image") from error


def read_mask(file: Path) -> NDArray[np.uint8]:
    """Return the values in `file` as uint8 `height x width`: palette indices where it has a palette.

    Raises:
        DatasetError: the file cannot be read or does not hold one 8-bit value a pixel.
    """
    picture = _open(file)
    values = np.asarray(picture)
    if values.ndim == 3:
        colours = values[:, :, : 1 if picture.mode in ("LA", "PA") else 3]
        if (colours != colours[:, :, :1]).any():
            raise DatasetError(f"{file}: the mask is in colour; save one 8-bit class id a pixel")
        values = colours[:, :, 0]
    if values.dtype.kind not in "bui" or values.min() < 0 or values.max() > 255:
        raise DatasetError(f"{file}: the mask holds {values.dtype} values beyond 0 to 255; save 8-bit class ids")
    return values.astype(np.uint8)


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as picture:
            return ImageOps.exif_transpose(picture)
    except _UNREADABLE as error:
        raise DatasetError(f"{file}: cannot be read as an image ({error}); replace or remove it") from error


def _stretch(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    values = np.nan_to_num(values)
    low, high = np.percentile(values, (0.5, 99.5))
    if values.min() >= 0 and values.max() <= 255:  # 8-bit values in a wider container
        low, high = 0.0, 255.0
    scaled = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return np.asarray((scaled * 255).round(), np.uint8)
