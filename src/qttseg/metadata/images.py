"""Reading image and mask files of any mode that Pillow opens."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from qttseg.errors import DatasetError

# By content, whatever the suffix. Left out is what Pillow hands to other programs (EPS) or nobody keeps datasets in.
# The modules are imported here, and not by several threads at once when files are read, which Pillow does not bear.
_FORMATS = {
    "BMP": BmpImagePlugin,
    "GIF": GifImagePlugin,
    "JPEG": JpegImagePlugin,  # MPO too, as phones write it
    "PNG": PngImagePlugin,
    "PPM": PpmImagePlugin,
    "TIFF": TiffImagePlugin,
    "WEBP": WebPImagePlugin,
}
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif"}

# What Pillow is known to raise for damaged files, besides its own OSErrors.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # an exception where warnings are made errors
)


def read_image(file: Path, content: bytes | None = None) -> NDArray[np.uint8]:
    """Return the image in `file` as uint8 `height x width x 3`, turned as its EXIF says.

    Images of more than 8 bits a channel are stretched between their 0.5 and 99.5 percentiles.

    Args:
        file: The file, or what to call `content` in messages.
        content: The file's bytes, where they do not lie on a disk.

    Raises:
        DatasetError: the file cannot be read, or is animated.
    """
    picture = _open(file, content)
    if picture.mode.startswith("I") or picture.mode == "F":
        return np.repeat(_stretch(np.asarray(picture, np.float64))[:, :, None], 3, axis=2)
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA")  # keeps Pillow from guessing at transparent palette entries
    try:
        return np.array(picture.convert("RGB"))
    except ValueError as error:
        raise DatasetError(f"{file}: {error}; save it as an RGB image") from error


def read_mask(file: Path, content: bytes | None = None) -> NDArray[np.uint8]:
    """Return the values in `file` as uint8 `height x width`: palette indices where it has a palette.

    Args:
        file: The file, or what to call `content` in messages.
        content: The file's bytes, where they do not lie on a disk.

    Raises:
        DatasetError: the file cannot be read or does not hold one 8-bit value a pixel.
    """
    picture = _open(file, content)
    values = np.asarray(picture)
    if values.ndim == 3:
        colours = values[:, :, : 1 if picture.mode in ("LA", "PA") else 3]
        if (colours != colours[:, :, :1]).any():
            raise DatasetError(f"{file}: the mask is in colour; save one 8-bit class id a pixel")
        values = colours[:, :, 0]
    if values.dtype.kind not in "bui" or values.min() < 0 or values.max() > 255:
        raise DatasetError(f"{file}: the mask holds {values.dtype} values beyond 0 to 255; save 8-bit class ids")
    return values.astype(np.uint8)


def read_header(file: Path, content: bytes | None = None) -> tuple[tuple[int, int], int, str]:
    """Return width and height as stored, the EXIF orientation (1 to 8) and the usual suffix; reads no pixels.

    Raises:
        DatasetError: the file cannot be read.
    """
    try:
        with _opened(file, content) as picture:
            orientation = picture.getexif().get(0x0112, 1)
            suffix = _SUFFIXES.get(picture.format or "", f".{picture.format}".lower())
            return picture.size, orientation if orientation in range(1, 9) else 1, suffix
    except _UNREADABLE as error:
        raise _unreadable(file, error) from error


def turned(mask: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return a mask that was drawn on the image as stored, turned and mirrored as EXIF (1 to 8) says of the image."""
    mask = mask.T if orientation > 4 else mask
    if orientation in (2, 3, 6, 7):
        mask = mask[:, ::-1]
    if orientation in (3, 4, 7, 8):
        mask = mask[::-1]
    return np.ascontiguousarray(mask)


def _open(file: Path, content: bytes | None) -> Image.Image:
    try:
        with _opened(file, content) as picture:
            if _pages(picture) > 1:
                raise DatasetError(
                    f"{file}: holds several pictures (an animation or a stack); save the one that the mask belongs to"
                )
            return ImageOps.exif_transpose(picture)
    except _UNREADABLE as error:
        raise _unreadable(file, error) from error


def _opened(file: Path, content: bytes | None) -> Image.Image:
    if content is not None:
        return Image.open(io.BytesIO(content), formats=tuple(_FORMATS))
    if file.exists() and not file.is_file():  # a pipe would be waited for, a device read for ever
        raise DatasetError(f"{file}: is no ordinary file; replace or remove it")
    if file.is_file() and not file.stat().st_size:
        raise DatasetError(f"{file}: is empty; get it anew, or remove it")
    return Image.open(file, formats=tuple(_FORMATS))


def _unreadable(file: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{file}: cannot be read as an image ({error or type(error).__name__}); replace or remove it")


def _pages(picture: Image.Image) -> int:
    """Return the number of pictures in one file that could be meant; thumbnails and a phone's second views are none."""
    if picture.format == "MPO" or not getattr(picture, "is_animated", False):
        return 1
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        size = picture.size
        picture.seek(1)
        smaller = picture.size != size
        picture.seek(0)
        return 1 if smaller else 2
    return 2


def _stretch(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    values = np.nan_to_num(values)
    low, high = np.percentile(values, (0.5, 99.5))
    if values.min() >= 0 and values.max() <= 255:  # 8-bit values in a wider container
        low, high = 0.0, 255.0
    scaled = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    return np.asarray((scaled * 255).round(), np.uint8)
