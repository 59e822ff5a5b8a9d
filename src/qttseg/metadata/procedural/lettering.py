"""Letters as strokes, and flat things seen at an angle: what is written on banners and number plates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qttseg.metadata.procedural.drawing import Points, Stroke

GLYPHS: Sequence[Sequence[Sequence[tuple[float, float]]]] = (
    (((0, 1), (0.5, 0), (1, 1)), ((0.2, 0.62), (0.8, 0.62))),  # A
    (((1, 0.1), (0.3, 0), (0, 0.5), (0.3, 1), (1, 0.9)),),  # C
    (((1, 0), (0, 0), (0, 1), (1, 1)), ((0, 0.5), (0.8, 0.5))),  # E
    (((0, 0), (0, 1)), ((1, 0), (1, 1)), ((0, 0.5), (1, 0.5))),  # H
    (((0, 0), (0, 1)), ((1, 0), (0, 0.55), (1, 1))),  # K
    (((0, 0), (0, 1), (1, 1)),),  # L
    (((0, 1), (0, 0), (1, 1), (1, 0)),),  # N
    (((0.5, 0), (0, 0.3), (0, 0.7), (0.5, 1), (1, 0.7), (1, 0.3), (0.5, 0)),),  # O
    (((0, 1), (0, 0), (1, 0.1), (1, 0.45), (0, 0.5), (1, 1)),),  # R
    (((1, 0.05), (0, 0.15), (0.1, 0.45), (0.9, 0.6), (0.9, 0.95), (0, 0.95)),),  # S
    (((0, 0), (1, 0)), ((0.5, 0), (0.5, 1))),  # T
    (((0, 0), (0.5, 1), (1, 0)),),  # V
    (((0.2, 0.2), (0.6, 0), (0.6, 1)),),  # 1
    (((0, 0.15), (0.8, 0), (1, 0.35), (0, 1), (1, 1)),),  # 2
    (((0.8, 1), (0.8, 0), (0, 0.65), (1, 0.65)),),  # 4
    (((0, 0), (1, 0), (0.3, 1)),),  # 7
    (((0.5, 0.48), (0.1, 0.2), (0.5, 0), (0.9, 0.2), (0.5, 0.48), (0, 0.75), (0.5, 1), (1, 0.75), (0.5, 0.48)),),  # 8
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """A flat thing with four corners somewhere in the picture, which may sag.

    Attributes:
        corners: 4 × 2, from the top left one clockwise, in image heights.
        sag: How far its middle hangs below the line between its ends, in image heights.
    """

    corners: Points
    sag: float = 0.0

    def place(self, points: Points) -> Points:
        """Return where `points` (n × 2, from 0 to 1 on the sheet) are in the picture."""
        x, y = points[:, :1], points[:, 1:]
        a, b, c, d = self.corners
        spread = a * (1 - x) * (1 - y) + b * x * (1 - y) + c * x * y + d * (1 - x) * y
        return np.asarray(spread + np.array([0, 1]) * self.sag * np.sin(np.pi * x))

    def edge(self, *, inset: float = 0.0) -> Points:
        """Return the outline of the sheet, or of what lies `inset` within it, in shares of its height."""
        along, across = inset * self.height / self.width, inset
        steps = np.linspace(0, 1, 13)[:, None]
        near, far = np.hstack([steps, 0 * steps]), np.hstack([1 - steps, 0 * steps + 1])
        unit = np.concatenate([near, far])
        return self.place(np.array([along, across]) + unit * (1 - 2 * np.array([along, across])))

    @property
    def width(self) -> float:
        """The length of its upper edge, in image heights."""
        return float(np.linalg.norm(self.corners[1] - self.corners[0]))

    @property
    def height(self) -> float:
        """The length of its left edge, in image heights."""
        return float(np.linalg.norm(self.corners[3] - self.corners[0]))

    def writing(
        self, rng: np.random.Generator, *, left: float, right: float, top: float, bottom: float, letters: int
    ) -> list[Stroke]:
        """Return the strokes of so many random letters in a line that fills a part of the sheet (in shares of it)."""
        pitch = (right - left) / letters
        thick = 0.17 * min((bottom - top) * self.height, 1.4 * pitch * self.width)
        strokes: list[Stroke] = []
        for place in range(letters):
            size = np.array([pitch * 0.66, bottom - top])
            corner = np.array([left + pitch * (place + 0.17), top])
            glyph = GLYPHS[int(rng.integers(len(GLYPHS)))]
            strokes += [(self.place(corner + np.array(line, float) * size), thick) for line in glyph]
        return strokes


def tilted(rng: np.random.Generator, centre: Points, width: float, height: float, *, skew: float) -> Sheet:
    """Return an upright sheet about `centre` whose corners are moved as if it were seen at an angle of up to `skew`."""
    half = np.array([width, height]) / 2
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    slope, near = rng.uniform(-skew, skew), 1 + rng.uniform(-skew, skew)
    corners[:, 1] *= np.where(corners[:, 0] > 0, near, 1 / near)
    corners[:, 1] += corners[:, 0] * slope
    return Sheet(corners=corners + centre)
