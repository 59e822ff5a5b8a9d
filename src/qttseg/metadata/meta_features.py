"""Meta-features: cheap numbers that tell a predictor what kind of dataset it faces (QTT-SEG, section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from qttseg.errors import ConfigurationError, DatasetError
from qttseg.metadata.datasets import IGNORE, Dataset, Sample

LONG_SIDE = 256
"""Images are measured at no more than this many pixels on their long side."""

LAYOUT_CELLS = 16
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
GREY_TOLERANCE = 2.0
QUANTUM = 1 / 255
TINY = 1e-6

Plane = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class MetaFeatures:
    """Numbers about a dataset; all finite. Per-object ones are means over every class of every image, 0 without objects.

    Attributes:
        images: Images in the dataset.
        height: Median image height in pixels.
        width: Median image width in pixels.
        channels: Channels that carry information: 1 if grey, else 3.
        foreground_classes: Classes without the background.
        classes_per_image: Mean number of foreground classes in an image.
        foreground_share: Mean share of an image that is foreground, in [0, 1].
        foreground_share_spread: Standard deviation of that share.
        components: Mean natural logarithm of the number of connected components of an object.
        box_fill: Share of an object's bounding box that it fills, in [0, 1].
        box_share: Share of the image that the bounding box covers, in [0, 1].
        boundary: Boundary length over the square root of the area; a disc has about 4.
        thickness: Mean distance from an object's pixels to its edge over the short image side; small for vessels.
        contrast: Absolute difference of mean luminance inside and outside, in standard deviations.
        colour_contrast: The same for the colour channels that differ most.
        texture_contrast: Absolute log ratio of local deviation inside and outside.
        edge_strength: Gradient on the object's boundary over that of the whole image.
        luminance: Mean luminance in [0, 1].
        luminance_spread: Mean standard deviation of luminance within an image.
        saturation: Mean of (max - min) / max over the channels, in [0, 1].
        colourfulness: Hasler and Süsstrunk's measure (2003), for channels in [0, 1].
        local_deviation: Mean standard deviation in 5 x 5 pixels.
        gradient: Root of the mean squared luminance gradient.
        spectral_slope: Exponent of power over frequency; about -2 for natural images, 0 for white noise.
        layout: Share of the foreground's variance that position alone explains, in [0, 1]; high for aligned scans.
        layout_upright: Difference between the mean foreground and its upside-down mirror, in [0, 1].
        layout_sided: Difference between the mean foreground and its left-right mirror, in [0, 1].
    """

    images: float
    height: float
    width: float
    channels: float
    foreground_classes: float
    classes_per_image: float
    foreground_share: float
    foreground_share_spread: float
    components: float
    box_fill: float
    box_share: float
    boundary: float
    thickness: float
    contrast: float
    colour_contrast: float
    texture_contrast: float
    edge_strength: float
    luminance: float
    luminance_spread: float
    saturation: float
    colourfulness: float
    local_deviation: float
    gradient: float
    spectral_slope: float
    layout: float
    layout_upright: float
    layout_sided: float

    def to_dict(self) -> dict[str, float]:
        """Return name → value."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> Self:
        """Return the meta-features that `to_dict` gave.

        Raises:
            ConfigurationError: a name is unknown or missing, or a value is not a finite number.
        """
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            wrong = ", ".join(sorted(set(values) ^ known))
            raise ConfigurationError(f"unknown or missing meta-features: {wrong}; measure the dataset anew")
        infinite = sorted(name for name, value in values.items() if not np.isfinite(value))
        if infinite:
            raise ConfigurationError(
                f"meta-features that are not finite: {', '.join(infinite)}; measure the dataset anew"
            )
        return cls(**{name: float(value) for name, value in values.items()})


def measure(dataset: Dataset, indices: Sequence[int]) -> MetaFeatures:
    """Return the meta-features of `dataset`, measured on the items at `indices` (training and validation ones).

    Raises:
        DatasetError: `indices` is empty or an item cannot be read.
    """
    if not indices:
        raise DatasetError(f"no images of dataset {dataset.name} to measure; name at least one")
    seen = [_measure_image(dataset[index]) for index in indices]
    objects = [found for image in seen for found in image.objects]
    shares = [image.foreground_share for image in seen]
    return MetaFeatures(
        images=float(len(dataset)),
        height=float(np.median([image.height for image in seen])),
        width=float(np.median([image.width for image in seen])),
        channels=1.0 if all(image.grey for image in seen) else 3.0,
        foreground_classes=float(len(dataset.classes) - 1),
        classes_per_image=len(objects) / len(seen),
        foreground_share=float(np.mean(shares)),
        foreground_share_spread=float(np.std(shares)),
        **_means([asdict(found) for found in objects], [field.name for field in fields(_Object)]),
        **_means([image.texture for image in seen], seen[0].texture),
        **_layout(np.stack([image.cells for image in seen])),
    )


@dataclass(frozen=True, kw_only=True)
class _Object:
    """One class of one image; the fields are those of `MetaFeatures`."""

    components: float
    box_fill: float
    box_share: float
    boundary: float
    thickness: float
    contrast: float
    colour_contrast: float
    texture_contrast: float
    edge_strength: float


@dataclass(frozen=True, kw_only=True)
class _Image:
    height: int
    width: int
    grey: bool
    foreground_share: float
    objects: tuple[_Object, ...]
    texture: dict[str, float]
    cells: NDArray[np.float64]


def _means(rows: Sequence[Mapping[str, float]], names: Iterable[str]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) if rows else 0.0 for name in names}


def _measure_image(sample: Sample) -> _Image:
    height, width = sample.mask.shape
    image, mask = _shrink(sample)
    colours = np.moveaxis(image, 2, 0).astype(np.float32, order="C") / np.float32(255)
    luminance = np.tensordot(LUMINANCE, colours, 1).astype(np.float32)
    gradient, deviation = _gradient(luminance), _local_deviation(luminance)
    foreground = (mask != 0) & (mask != IGNORE)
    highest, lowest = np.maximum.reduce(list(colours)), np.minimum.reduce(list(colours))
    return _Image(
        height=height,
        width=width,
        grey=bool((highest - lowest).mean() * 255 < GREY_TOLERANCE),
        foreground_share=float(foreground.mean()),
        objects=tuple(_objects(mask, colours, luminance, gradient, deviation)),
        texture={
            "luminance": float(luminance.mean()),
            "luminance_spread": float(luminance.std()),
            "saturation": float(((highest - lowest) / (highest + TINY)).mean()),
            "colourfulness": _colourfulness(colours),
            "local_deviation": float(deviation.mean()),
            "gradient": float(np.sqrt(np.mean(gradient * gradient))),
            "spectral_slope": _spectral_slope(luminance),
        },
        cells=_cells(foreground),
    )


def _shrink(sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    height, width = sample.mask.shape
    scale = LONG_SIDE / max(height, width)
    if scale >= 1:
        return sample.image, sample.mask
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(sample.image).resize(size, Image.Resampling.BOX)
    mask = Image.fromarray(sample.mask).resize(size, Image.Resampling.NEAREST)
    return np.asarray(image), np.asarray(mask)


def _gradient(luminance: Plane) -> Plane:
    down = np.diff(luminance, axis=0, append=luminance[-1:])
    right = np.diff(luminance, axis=1, append=luminance[:, -1:])
    length: Plane = np.sqrt(down * down + right * right)
    return length


def _local_deviation(luminance: Plane) -> Plane:
    mean = ndimage.uniform_filter(luminance, 5)
    variance = ndimage.uniform_filter(luminance * luminance, 5) - mean * mean
    deviation: Plane = np.sqrt(np.maximum(variance, 0))
    return deviation


def _objects(
    mask: NDArray[np.uint8], colours: NDArray[np.float32], luminance: Plane, gradient: Plane, deviation: Plane
) -> Iterator[_Object]:
    """Measure every foreground class of `mask`; the sums over pixels are taken for all classes at once."""
    padded = np.pad(mask, 1)
    pixels = np.bincount(mask.ravel(), minlength=256)
    down, right = padded[1:] != padded[:-1], padded[:, 1:] != padded[:, :-1]
    steps = (
        _sums(padded[1:], down) + _sums(padded[:-1], down) + _sums(padded[:, 1:], right) + _sums(padded[:, :-1], right)
    )
    edge = (down[:-1] | down[1:])[:, 1:-1] | (right[:, :-1] | right[:, 1:])[1:-1]
    edge_strength = _sums(mask, gradient * edge) / np.maximum(_sums(mask, edge), 1) / (gradient.mean() + TINY)
    contrast = _contrast(mask, luminance)
    colour_contrast = np.max([_contrast(mask, plane) for plane in colours], axis=0)
    inside, outside = _inside_and_outside(mask, deviation)
    texture_contrast = np.abs(np.log((inside + QUANTUM) / (outside + QUANTUM)))
    for label, box in enumerate(ndimage.find_objects(mask, max_label=IGNORE - 1), start=1):
        if box is None:
            continue
        shape = np.pad(mask[box] == label, 1)
        covered = mask[box].size
        yield _Object(
            components=float(np.log(ndimage.label(shape, np.ones((3, 3)))[1])),
            box_fill=float(pixels[label] / covered),
            box_share=covered / mask.size,
            # pixel edges times pi / 4: the right length on average over all directions (Cauchy-Crofton)
            boundary=float(steps[label] * np.pi / 4 / np.sqrt(pixels[label])),
            thickness=float(ndimage.distance_transform_edt(shape)[shape].mean() / min(mask.shape)),
            contrast=float(contrast[label]),
            colour_contrast=float(colour_contrast[label]),
            texture_contrast=float(texture_contrast[label]) if pixels[label] < mask.size else 0.0,
            edge_strength=float(edge_strength[label]),
        )


def _sums(mask: NDArray[np.uint8], values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return for each mask value the sum of `values` over its pixels."""
    return np.bincount(mask.ravel(), values.ravel(), minlength=256).astype(np.float64)


def _inside_and_outside(mask: NDArray[np.uint8], plane: Plane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each class the mean of `plane` inside it and outside; ignored pixels are on neither side."""
    sums, pixels = _sums(mask, plane)[:IGNORE], np.bincount(mask.ravel(), minlength=256)[:IGNORE]
    return sums / np.maximum(pixels, 1), (sums.sum() - sums) / np.maximum(pixels.sum() - pixels, 1)


def _contrast(mask: NDArray[np.uint8], plane: Plane) -> NDArray[np.float64]:
    """Return for each class the distance of its mean from the mean outside, in standard deviations, at most 10."""
    inside, outside = _inside_and_outside(mask, plane)
    squares_inside, squares_outside = _inside_and_outside(mask, plane * plane)
    variance = (squares_inside - inside**2 + squares_outside - outside**2) / 2
    distances = np.abs(inside - outside) / (np.sqrt(np.maximum(variance, 0)) + QUANTUM)
    return np.asarray(np.minimum(distances, 10))


def _colourfulness(colours: NDArray[np.float32]) -> float:
    red, green, blue = colours
    opposed = (red - green, (red + green) / 2 - blue)
    spread, mean = ([plane.std() for plane in opposed], [plane.mean() for plane in opposed])
    return float(np.hypot(*spread) + 0.3 * np.hypot(*mean))


def _spectral_slope(luminance: Plane) -> float:
    """Slope of log power over log frequency, on the central square under a Hann window; 0 for constant images."""
    side = min(*luminance.shape, 128)
    if side < 16:
        return 0.0
    top, left = ((length - side) // 2 for length in luminance.shape)
    square = luminance[top : top + side, left : left + side]
    window = np.hanning(side).astype(np.float32)
    power = np.abs(np.fft.rfft2((square - square.mean()) * np.outer(window, window))) ** 2
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    rings = np.clip((frequency * side).astype(int), 0, side // 2)
    mean_power = np.bincount(rings.ravel(), power.ravel()) / np.bincount(rings.ravel())
    rays = np.arange(2, side // 2)
    if mean_power[rays].max() < TINY:
        return 0.0
    return float(np.polyfit(np.log(rays), np.log(mean_power[rays] + TINY * mean_power.max()), 1)[0])


def _cells(foreground: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the foreground's share in each of 16 x 16 cells."""
    image = Image.fromarray(foreground.astype(np.float32))
    return np.asarray(image.resize((LAYOUT_CELLS, LAYOUT_CELLS), Image.Resampling.BOX), np.float64)


def _layout(cells: NDArray[np.float64]) -> dict[str, float]:
    """Compare the mean foreground `images x 16 x 16` with its spread and its mirrors."""
    mean = cells.mean(axis=0)
    total = 2 * mean.sum() + TINY
    return {
        "layout": float(mean.var() / (cells.var() + TINY)),
        "layout_upright": float(np.abs(mean - mean[::-1]).sum() / total),
        "layout_sided": float(np.abs(mean - mean[:, ::-1]).sum() / total),
    }
