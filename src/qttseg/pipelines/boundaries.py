"""How well each class is met, in area and along its outline: what scores averaged over an image do not tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from qttseg.errors import DatasetError
from qttseg.metadata.datasets import IGNORE

TOLERANCE = 0.0075
"""Distance up to which two outlines count as one, as a share of the image's diagonal (Csurka et al. 2013, section 3)."""

Plane = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """How well one class is met over all images that show it.

    Attributes:
        name: The class.
        images: How many images show it.
        iou: Mean over these images, in [0, 1]; higher is better.
        boundary_f1: Mean over these images, in [0, 1]; higher is better.
    """

    name: str
    images: int
    iou: float
    boundary_f1: float


def boundary_f1(predicted: Plane, truth: Plane, *, tolerance: float = TOLERANCE, valid: Plane | None = None) -> float:
    """Return the boundary F1 of one object in [0, 1]; higher is better.

    The harmonic mean of the shares of predicted outline pixels near the true outline and of true ones near the predicted
    outline (Csurka, Larlus, Perronnin: What is a good evaluation measure for semantic segmentation? BMVC 2013). An outline
    is made of the object's pixels that have a neighbour (of four) outside of it; the frame of the image and the edge of
    what is not valid are no outline. Where neither has an outline, equal masks score 1 and others 0.

    Args:
        predicted: h × w, True where the object is.
        truth: h × w.
        tolerance: How near is near, as a share of the diagonal.
        valid: h × w, False where nobody knows; everywhere known by default.

    Raises:
        DatasetError: the planes differ in size.
    """
    if predicted.shape != truth.shape:
        raise DatasetError(f"a predicted mask of {predicted.shape} pixels was held against one of {truth.shape}")
    if valid is None:
        valid = np.ones(truth.shape, bool)
    predicted, truth = predicted & valid, truth & valid
    ours, theirs = _outline(predicted, valid), _outline(truth, valid)
    if not ours.any() or not theirs.any():
        return float(np.array_equal(predicted, truth))
    reach = tolerance * float(np.hypot(*truth.shape))
    precision, recall = _share_near(ours, theirs, reach), _share_near(theirs, ours, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _outline(mask: Plane, valid: Plane) -> Plane:
    return np.asarray(mask & ndimage.binary_dilation(valid & ~mask), bool)


def _share_near(outline: Plane, other: Plane, reach: float) -> float:
    distance = ndimage.distance_transform_edt(~other)
    return float((distance[outline] <= reach).mean())


def class_scores(
    predicted: Iterable[NDArray[np.uint8]],
    truths: Iterable[NDArray[np.uint8]],
    *,
    classes: Sequence[str],
    tolerance: float = TOLERANCE,
) -> tuple[ClassScore, ...]:
    """Return the scores of each foreground class that at least one image shows, by rising class id.

    Args:
        predicted: Label maps, h × w class ids each.
        truths: As many masks of the same sizes; 255 does not count.
        classes: Class names by class id, the background first.
        tolerance: See `boundary_f1`.

    Raises:
        DatasetError: a map and its mask differ in size.
    """
    found: dict[int, list[tuple[float, float]]] = {}
    for ours, truth in zip(predicted, truths, strict=True):
        if ours.shape != truth.shape:
            raise DatasetError(f"a predicted map of {ours.shape} pixels was held against a mask of {truth.shape}")
        valid = truth != IGNORE
        for label in sorted(set(np.unique(truth).tolist()) - {0, IGNORE}):
            own, true = (ours == label) & valid, truth == label
            iou = float(np.count_nonzero(own & true) / np.count_nonzero(own | true))
            outline = boundary_f1(own, true, tolerance=tolerance, valid=valid)
            found.setdefault(label, []).append((iou, outline))
    return tuple(
        ClassScore(
            name=classes[label],
            images=len(pairs),
            iou=fmean(iou for iou, _ in pairs),
            boundary_f1=fmean(outline for _, outline in pairs),
        )
        for label, pairs in sorted(found.items())
    )
