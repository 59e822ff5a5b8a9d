"""Drawing primitives of the procedural suite.

Coordinates are in units of the image height: (x, y) with y from 0 (top) to 1 and x from 0 to width / height.
Coverages are float32 planes `height x width` in [0, 1]; images are float32 `height x width x 3` in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Size = tuple[int, int]
Floats = NDArray[np.floating[Any]]
Plane = Floats
Picture = Floats
Points = Floats
Vector = Sequence[float] | Floats
Stroke = tuple[Points, float]
Drawing = tuple[NDArray[np.uint8], NDArray[np.uint8]]

_FINE = 3  # polygons are drawn this much larger and averaged, for soft edges


def grid(size: Size) -> tuple[Plane, Plane]:
    """Return the planes y and x of the pixel centres."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return (y + 0.5) / height, (x + 0.5) / height


def moved(point: Vector, x: float, y: float) -> Points:
    """Return `point` moved to the right by `x` and down by `y`."""
    target: Points = np.asarray(point) + np.array((x, y))
    return target


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """Return the outline of a rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def grained(colour: Vector, texture: Plane) -> Picture:
    """Return `colour` made lighter and darker by `texture`."""
    return np.asarray(np.asarray(colour) + texture[:, :, None], np.float32)


def ground(size: Size, colour: Vector) -> Picture:
    """Return a picture of one colour."""
    return np.broadcast_to(np.asarray(colour, np.float32), (*size, 3)).copy()


def resized(plane: Floats, size: Size, *, smooth: bool = True) -> Plane:
    """Return `plane` at `size`."""
    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.BOX
    image = Image.fromarray(np.asarray(plane, np.float32))
    return np.asarray(image.resize((size[1], size[0]), method), np.float32)


def clouds(rng: np.random.Generator, size: Size, cells: float, *, octaves: int = 3, stretch: float = 1.0) -> Plane:
    """Return smooth noise in about [-1, 1], of `cells` bumps over the height and `stretch` times as many over the width."""
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        rows = max(2, round(cells * 2**octave))
        columns = max(2, round(cells * 2**octave * stretch * size[1] / size[0]))
        if rows >= size[0] or columns >= size[1] * 2:
            break
        total += resized(rng.uniform(-1, 1, (rows, columns)), size) * 0.55**octave
    return total


def blur(plane: Plane, reach: float) -> Plane:
    """Return `plane` softened over about `reach` (in image heights)."""
    pixels = reach * plane.shape[0]
    if pixels < 1.5:
        return np.asarray(ndimage.gaussian_filter(plane, max(pixels, 0.1), truncate=3), np.float32)
    height, width = plane.shape
    cells = max(2, round(2 * height / pixels)), max(2, round(2 * width / pixels))  # few enough to soften cheaply
    soft = ndimage.gaussian_filter(resized(plane, cells, smooth=False), 1.0, truncate=3)
    return resized(soft, (height, width))


def outline(
    rng: np.random.Generator,
    centre: Vector,
    radii: Vector,
    *,
    rough: float = 0.1,
    turn: float = 0.0,
    corners: int = 64,
) -> Points:
    """Return a closed outline about `centre`: an ellipse of `radii` (x, y), turned, with bumps of relative size `rough`."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    waves = np.arange(2, 9)
    heights = rng.normal(0, 1, waves.size) / waves**0.8
    radius = 1 + rough * (heights[:, None] * np.cos(waves[:, None] * angle + rng.uniform(0, 7, (waves.size, 1)))).sum(0)
    along, across = radius * np.cos(angle) * radii[0], radius * np.sin(angle) * radii[1]
    cosine, sine = np.cos(turn), np.sin(turn)
    return np.stack([centre[0] + along * cosine - across * sine, centre[1] + along * sine + across * cosine], axis=1)


def rounded(corners: Sequence[Vector] | Points, *, closed: bool = True, rounds: int = 3) -> Points:
    """Return the outline or line through about `corners`, by cutting corners (Chaikin)."""
    points = np.asarray(corners, np.float64)
    for _ in range(rounds):
        following = np.roll(points, -1, axis=0) if closed else points[1:]
        before = points if closed else points[:-1]
        cut = np.stack([0.75 * before + 0.25 * following, 0.25 * before + 0.75 * following], axis=1).reshape(-1, 2)
        points = cut if closed else np.concatenate([points[:1], cut, points[-1:]])
    return points


def wander(
    rng: np.random.Generator, start: Vector, angle: float, length: float, *, bend: float, steps: int = 12
) -> Points:
    """Return a line from `start` that leaves at `angle` and turns at random by about `bend` radians over its length."""
    angles = angle + np.cumsum(rng.normal(0, bend / np.sqrt(steps), steps))
    strides = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (length / steps)
    return np.concatenate([[np.asarray(start, np.float64)], start + np.cumsum(strides, axis=0)])


def tree(
    rng: np.random.Generator, start: Vector, angle: float, length: float, width: float, *, bend: float = 0.6
) -> list[Stroke]:
    """Return the strokes of a vessel that thins and forks until it is a third as wide."""
    strokes: list[Stroke] = []
    todo = [(np.asarray(start, np.float64), angle, length, width, 0)]
    while todo:
        root, heading, reach, thick, level = todo.pop()
        line = wander(rng, root, heading, reach, bend=bend, steps=8)
        strokes.append((line, thick))
        if level == 3 or thick < width / 3:
            continue
        end = line[-1] - line[-2]
        heading = float(np.arctan2(end[1], end[0]))
        fork = rng.uniform(0.3, 0.9)
        todo.append((line[-1], heading + fork * 0.5, reach * rng.uniform(0.6, 0.9), thick * 0.75, level + 1))
        todo.append((line[-1], heading - fork, reach * rng.uniform(0.4, 0.8), thick * 0.6, level + 1))
        side = int(rng.integers(3, len(line) - 2))
        sign = rng.choice([-1, 1])
        todo.append((line[side], heading + sign * rng.uniform(0.6, 1.3), reach * 0.5, thick * 0.5, level + 2))
    return strokes


def fill(size: Size, *outlines: Points) -> Plane:
    """Return the coverage of the closed outlines."""
    image = Image.new("L", (size[1] * _FINE, size[0] * _FINE))
    pen = ImageDraw.Draw(image)
    for points in outlines:
        pen.polygon((points * (size[0] * _FINE)).ravel().tolist(), fill=255)
    return _coverage(image)


def lines(size: Size, strokes: Iterable[Stroke]) -> Plane:
    """Return the coverage of lines, each given by its points and its width."""
    image = Image.new("L", (size[1] * _FINE, size[0] * _FINE))
    pen = ImageDraw.Draw(image)
    for points, width in strokes:
        pixels = (points * (size[0] * _FINE)).ravel().tolist()
        pen.line(pixels, fill=255, width=max(1, round(width * size[0] * _FINE)), joint="curve")
    return _coverage(image)


def dots(size: Size, centres: Points, radii: Floats) -> Plane:
    """Return the coverage of discs."""
    image = Image.new("L", (size[1] * _FINE, size[0] * _FINE))
    pen = ImageDraw.Draw(image)
    scale = size[0] * _FINE
    for (x, y), radius in zip(centres * scale, radii * scale, strict=True):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return _coverage(image)


def _coverage(image: Image.Image) -> Plane:
    return np.asarray(image.reduce(_FINE), np.float32) / np.float32(255)


def paint(picture: Picture, coverage: Plane, colour: Vector, *, opacity: float = 1.0) -> None:
    """Lay `colour` (one colour, a plane of grey or a whole picture) over `picture` where there is coverage."""
    coverage = np.broadcast_to(coverage, picture.shape[:2])
    rows, columns = np.flatnonzero(coverage.any(axis=1)), np.flatnonzero(coverage.any(axis=0))
    if not rows.size:
        return
    covered = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    layer = np.asarray(colour, np.float32)
    if layer.ndim > 1:
        layer = layer[covered] if layer.ndim == 3 else layer[covered][:, :, None]
    weight = np.asarray(coverage[covered] * opacity, np.float32)[:, :, None]
    picture[covered] += weight * (layer - picture[covered])


def shade(picture: Picture, light: Plane) -> None:
    """Multiply `picture` by `light`."""
    picture *= np.asarray(light, np.float32)[:, :, None]


def relief(height: Plane, *, angle: float, strength: float) -> Plane:
    """Return how much light falls on a surface of `height`, about 1; the light comes from `angle`."""
    down, right = np.gradient(height)
    slope = (np.cos(angle) * right + np.sin(angle) * down) * height.shape[0]
    return np.asarray(np.clip(1 - strength * slope, 0.3, 1.7), np.float32)


def dome(coverage: Plane, reach: float) -> Plane:
    """Return a height that rises from 0 at the edge of `coverage` to about 1 where the edge is farther than `reach`."""
    return np.clip(2 * blur(coverage, reach) - 1, 0, 1)


def tint(rng: np.random.Generator, colour: Vector, spread: float) -> Floats:
    """Return `colour`, a little different each time: rather in brightness than in hue."""
    return np.clip(np.asarray(colour) * rng.normal(1, spread) + rng.normal(0, spread / 2, 3), 0, 1)


def finish(rng: np.random.Generator, picture: Picture, *, noise: float) -> NDArray[np.uint8]:
    """Return the picture as a camera gives it: with noise of standard deviation `noise`, 8 bits a channel."""
    grain = rng.standard_normal(picture.shape, np.float32) * np.float32(noise)
    return np.asarray(np.clip((picture + grain) * 255, 0, 255), np.uint8)


def finish_grey(rng: np.random.Generator, plane: Plane, *, noise: float) -> NDArray[np.uint8]:
    """Return the grey plane as three equal channels with noise of standard deviation `noise`."""
    grain = rng.standard_normal(plane.shape, np.float32) * np.float32(noise)
    grey = np.asarray(np.clip((plane + grain) * 255, 0, 255), np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def label(size: Size, *layers: Plane) -> NDArray[np.uint8]:
    """Return the mask in which the n-th layer has class n; later layers cover earlier ones."""
    mask = np.zeros(size, np.uint8)
    for index, coverage in enumerate(layers, start=1):
        mask[coverage > 0.5] = index
    return mask
