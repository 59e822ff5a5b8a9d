"""COCO's run lengths: down the columns, background first, as a list of numbers or as text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qttseg.errors import DatasetError

_LONGEST = 7
"""Characters of five bits that one number may take."""


def from_counts(counts: object, height: int, width: int, where: str) -> NDArray[np.bool_]:
    """Return the pixels (height x width) of run lengths.

    pycocotools decodes the same, but leaves pixels that no run covers as the memory was.

    Args:
        counts: A list of numbers, or COCO's compressed text.
        height: Of the image.
        width: Of the image.
        where: What to call the annotation in messages.

    Raises:
        DatasetError: the runs do not cover the image exactly.
    """
    try:
        runs = _unpacked(counts.encode("ascii")) if isinstance(counts, str) else np.array(counts, np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise DatasetError(f"{where}: its run lengths are malformed ({error}); export the file anew") from error
    if runs.ndim != 1 or (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise DatasetError(f"{where}: its run lengths do not add up to {height} x {width} pixels; export the file anew")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _unpacked(text: bytes) -> NDArray[np.int64]:
    """Return the numbers in COCO's text: five bits a character, low ones first, each a step from the last but one."""
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("no such text")
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        raise ValueError("a number of too many digits")
    digits = np.arange(len(codes)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * digits), starts)
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    for first in (1, 2):  # the first background run stands for itself
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers
