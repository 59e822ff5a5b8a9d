"""Portraits: parts that lie within parts, so that a point says little about which one is meant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qttseg.metadata.procedural.drawing import (
    Drawing,
    Picture,
    Plane,
    Points,
    Size,
    Stroke,
    Vector,
    blur,
    box,
    clouds,
    dome,
    dots,
    fill,
    finish,
    grained,
    grid,
    label,
    lines,
    moved,
    outline,
    paint,
    relief,
    rounded,
    shade,
    tint,
)

HAIRS = ((0.1, 0.07, 0.06), (0.28, 0.17, 0.1), (0.42, 0.26, 0.13), (0.72, 0.55, 0.32), (0.55, 0.52, 0.5))
IRISES = ((0.28, 0.17, 0.1), (0.3, 0.42, 0.5), (0.35, 0.42, 0.27), (0.15, 0.1, 0.08))


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """How a head is held. Points of a face lie from -1 (the ears; the hairline) to 1 (the chin) in both directions.

    Attributes:
        centre: The middle of the face, in image heights.
        size: Half the height of the face, in image heights.
        roll: Turn in the picture, in radians.
        yaw: Turn to the side, from -1 to 1.
    """

    centre: Points
    size: float
    roll: float
    yaw: float

    def place(self, points: Vector | list[tuple[float, float]], *, depth: float = 0.0) -> Points:
        """Return where points of the face are; what stands out of it by `depth` moves when it turns."""
        x, y = np.asarray(points, float).reshape(-1, 2).T
        x = 0.76 * x * (1 - 0.12 * abs(self.yaw)) + 0.3 * (depth + 0.35) * self.yaw
        cosine, sine = np.cos(self.roll), np.sin(self.roll)
        return self.centre + self.size * np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1)

    def shape(self, corners: list[tuple[float, float]], *, depth: float = 0.0, rounds: int = 3) -> Points:
        """Return the rounded outline about these corners of the face."""
        return rounded(self.place(corners, depth=depth), rounds=rounds)


def faces(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Faces: skin around eyes, nose and mouth, hair around skin; neck and ears are background of the skin's colour."""
    del look  # each image is a person of its own
    size = (216, 180)
    head = Head(
        centre=np.array([0.417, 0.5]) + rng.normal(0, 0.02, 2),
        size=rng.uniform(0.26, 0.34),
        roll=rng.normal(0, 0.09),
        yaw=rng.uniform(-1, 1),
    )
    complexion = tint(rng, (0.86, 0.66, 0.55), 0.03) * rng.uniform(0.42, 1.08) ** np.array([0.8, 1, 1.15])
    tone = tint(rng, HAIRS[rng.integers(len(HAIRS))], 0.1)
    picture = _room(rng, size)
    behind, fringe = _hair(rng, size, head)
    skin = fill(size, _oval(rng, head))
    _body(rng, picture, size, head, complexion)
    paint(picture, behind, _strands(rng, size, head, tone))
    paint(picture, skin, grained(complexion, 0.03 * clouds(rng, size, 5)))
    light = rng.uniform(3.4, 6)
    shade(picture, 1 + skin * (relief(dome(skin, head.size * 0.8), angle=light, strength=0.07) - 1))
    _cheeks(rng, picture, size, head, skin, tone)
    nose = _nose(rng, picture, size, head, light)
    mouth = _mouth(rng, picture, size, head, complexion)
    eyes = _eyes(rng, picture, size, head, tone)
    shade(picture, 1 - 0.25 * blur(fringe, 0.02) * (1 - fringe) * skin)
    paint(picture, fringe, _strands(rng, size, head, tone))
    shade(picture, 1 + rng.uniform(0, 0.3) * (grid(size)[1] / 0.83 - 0.5) * rng.choice([-1, 1]))
    mask = label(size, skin, behind * (1 - skin), eyes, nose, mouth)
    mask[fringe > 0.5] = 2
    return finish(rng, picture, noise=rng.uniform(0.008, 0.025)), mask


def _room(rng: np.random.Generator, size: Size) -> Picture:
    """Return a background out of focus: a wall, or a few shapes and lights."""
    picture = grained(rng.uniform(0.15, 0.8, 3) * 0.6 + rng.uniform(0.05, 0.35), 0.06 * clouds(rng, size, 2))
    for _ in range(int(rng.integers(0, 7))):
        place = rng.uniform((-0.1, -0.1), (0.9, 1))
        thing = fill(size, box(*place, *(place + rng.uniform(0.08, 0.5, 2))))
        paint(picture, blur(thing, rng.uniform(0.01, 0.05)), rng.uniform(0.1, 0.9, 3), opacity=rng.uniform(0.3, 0.9))
    return picture


def _body(rng: np.random.Generator, picture: Picture, size: Size, head: Head, complexion: Vector) -> None:
    """Paint neck, ears and clothes."""
    chin = moved(head.centre, 0, head.size)
    neck = 0.42 * head.size
    shoulders = [(-0.2, 1.1), (chin[0] - 1.9 * neck * 1.6, chin[1] + 0.16), (chin[0] - neck, chin[1] + 0.05)]
    shoulders += [(chin[0] + neck, chin[1] + 0.05), (chin[0] + 1.9 * neck * 1.6, chin[1] + 0.16), (1.1, 1.1)]
    throat = fill(size, box(chin[0] - neck, head.centre[1], chin[0] + neck, chin[1] + 0.14))
    paint(picture, throat, np.asarray(complexion) * 0.8)
    cloth = fill(size, rounded(shoulders)) * (
        1 - fill(size, outline(rng, (chin[0], chin[1] + 0.03), (neck, 0.09), rough=0))
    )
    paint(picture, cloth, grained(rng.uniform(0.05, 0.9, 3), 0.06 * clouds(rng, size, 7)))
    ears = [head.shape([(s * 0.9, -0.2), (s * 1.12, -0.25), (s * 1.08, 0.2), (s * 0.9, 0.25)]) for s in (-1, 1)]
    paint(picture, fill(size, *ears), np.asarray(complexion) * 0.9)


def _oval(rng: np.random.Generator, head: Head) -> Points:
    jaw, brow = rng.uniform(0.6, 0.82), rng.uniform(0.86, 1)
    side = [(0.0, -1.0), (0.6, -0.97), (brow, -0.55), (0.98, 0.0), (jaw + 0.12, 0.5), (jaw * 0.62, 0.93), (0.0, 1.04)]
    return head.shape([*side, *((-x, y) for x, y in side[-2:0:-1])])


def _hair(rng: np.random.Generator, size: Size, head: Head) -> tuple[Plane, Plane]:
    """Return the coverage of the hair behind the face and before it."""
    length, width = rng.choice([0.1, 0.3, 1.0, 1.7]), rng.uniform(1.12, 1.4)
    behind = [
        (-width, -0.5),
        (-width * 0.8, -1.25),
        (0.0, -rng.uniform(1.35, 1.6)),
        (width * 0.8, -1.25),
        (width, -0.5),
    ]
    behind += [(width * rng.uniform(0.85, 1.15), length), (-width * rng.uniform(0.85, 1.15), length)]
    parting, low, high = rng.uniform(-0.7, 0.7), rng.uniform(-0.95, -0.35), -rng.uniform(0.72, 1.0)
    temple = rng.uniform(-0.35, 0.35)
    front = [(-1.08, temple), (-1.1, -0.7), (-0.7, -1.2), (0.0, -1.35), (0.7, -1.2), (1.1, -0.7), (1.08, temple)]
    front += [(0.88, -0.45), (0.5, low), (parting, high), (-0.5, low), (-0.88, -0.45)]
    bumps = 1 + rng.normal(0, 0.012, (len(front), 1))
    fringe = rounded(head.centre + (head.place(front) - head.centre) * bumps)
    throat = fill(size, head.shape([(-0.5, 0.2), (0.5, 0.2), (0.45, 1.2), (0.8, 2.6), (-0.8, 2.6), (-0.45, 1.2)]))
    return np.maximum(fill(size, head.shape(behind)) * (1 - throat), fill(size, fringe)), fill(size, fringe)


def _strands(rng: np.random.Generator, size: Size, head: Head, tone: Vector) -> Picture:
    """Return hair of this colour as it falls from the crown."""
    y, x = grid(size)
    crown = head.place([(0.0, -1.3)])[0]
    around = np.arctan2(y - crown[1] + 0.12, x - crown[0])
    streaks = np.sin(around * rng.uniform(50, 90) + 2.5 * clouds(rng, size, 4)) * 0.5 + clouds(rng, size, 14, octaves=2)
    gloss = np.exp(-(((np.hypot(x - crown[0], y - crown[1]) - 0.4 * head.size) / (0.35 * head.size)) ** 2))
    hair = grained(tone, 0.035 * streaks)
    shade(hair, 0.75 + 0.6 * gloss)
    return hair


def _cheeks(rng: np.random.Generator, picture: Picture, size: Size, head: Head, skin: Plane, tone: Vector) -> None:
    """Paint red cheeks and, at times, a beard: both are skin."""
    blush = dots(size, head.place([(-0.5, 0.3), (0.5, 0.3)]), np.full(2, 0.28 * head.size))
    paint(picture, blur(blush, 0.06) * skin, (0.85, 0.35, 0.3), opacity=rng.uniform(0, 0.25))
    if rng.random() < 0.25:
        jaw = [(-0.95, 0.1), (-0.55, 0.45), (0.0, 0.38), (0.55, 0.45), (0.95, 0.1), (0.8, 0.7), (0.0, 1.1), (-0.8, 0.7)]
        beard = blur(fill(size, head.shape(jaw)), 0.03) * (0.8 + 0.3 * clouds(rng, size, 30, octaves=2))
        paint(picture, np.clip(beard, 0, 1) * skin, np.asarray(tone) * 0.8, opacity=rng.uniform(0.2, 0.75))


def _nose(rng: np.random.Generator, picture: Picture, size: Size, head: Head, light: float) -> Plane:
    """Paint the nose, of the colour of the skin, and return its coverage."""
    wide, tip = rng.uniform(0.19, 0.27), rng.uniform(0.26, 0.36)
    side = [(0.07, -0.22), (0.1, 0.02), (wide, tip - 0.1), (wide * 0.95, tip + 0.06), (wide * 0.4, tip + 0.08)]
    shape = head.shape([*side, *((-x, y) for x, y in side[::-1])], depth=0.22, rounds=2)
    nose = fill(size, shape)
    shade(picture, 1 + nose * (relief(dome(nose, head.size * 0.16), angle=light, strength=0.03) - 1))
    shade(picture, 1 - 0.2 * blur(fill(size, moved(shape, 0, 0.05 * head.size)), 0.015) * (1 - nose))
    holes = dots(size, head.place([(-wide * 0.5, tip), (wide * 0.5, tip)], depth=0.22), np.full(2, 0.045 * head.size))
    paint(picture, blur(holes, 0.006) * nose, (0.2, 0.08, 0.06), opacity=0.7)
    glint = dots(size, head.place([(0.0, tip - 0.1)], depth=0.26), np.full(1, 0.06 * head.size))
    paint(picture, blur(glint, 0.015), (1, 0.96, 0.92), opacity=rng.uniform(0.1, 0.5))
    return nose


def _mouth(rng: np.random.Generator, picture: Picture, size: Size, head: Head, complexion: Vector) -> Plane:
    """Paint the mouth, at times open, and return its coverage."""
    wide, high, smile = rng.uniform(0.3, 0.44), rng.uniform(0.58, 0.64), rng.uniform(-0.03, 0.1)
    gap = rng.uniform(0.06, 0.2) * (rng.random() < 0.45)
    ends = (-wide, high - smile), (wide, high - smile)
    upper, lower = high - rng.uniform(0.07, 0.1), high + rng.uniform(0.1, 0.16) + gap
    shape = [ends[0], (-0.14, upper - 0.01), (0.0, upper + 0.02), (0.14, upper - 0.01), ends[1]]
    shape += [(wide * 0.55, lower), (-wide * 0.55, lower)]
    mouth = fill(size, head.shape(shape, depth=0.12, rounds=2))
    red = np.clip(np.asarray(complexion) * (1, 0.68, 0.68) + (rng.uniform(0, 0.12), 0, 0), 0, 1)
    paint(picture, mouth, grained(red, 0.04 * clouds(rng, size, 20, octaves=2)), opacity=rng.uniform(0.6, 1))
    inner = [ends[0], (0.0, high - 0.02), ends[1], (wide * 0.5, high + gap), (-wide * 0.5, high + gap)]
    opening = head.place(inner, depth=0.12)
    seam: Stroke = (head.shape([ends[0], (0.0, high + smile * 0.4), ends[1]], depth=0.12)[:8], 0.006)
    inside = fill(size, rounded(opening, rounds=2)) * mouth if gap else lines(size, [seam]) * mouth
    paint(picture, inside, (0.25, 0.06, 0.06), opacity=0.85)
    if gap:
        teeth = [
            (-wide * 0.75, high - 0.02),
            (wide * 0.75, high - 0.02),
            (wide * 0.5, high + gap * 0.45),
            (-wide * 0.5, high + gap * 0.45),
        ]
        paint(picture, fill(size, head.place(teeth, depth=0.12)) * inside, (0.93, 0.9, 0.84))
    return mouth


def _eyes(rng: np.random.Generator, picture: Picture, size: Size, head: Head, tone: Vector) -> Plane:
    """Paint brows and eyes, and return the coverage of the eyes."""
    apart, level = rng.uniform(0.4, 0.47), rng.uniform(-0.2, -0.12)
    wide, open_, slant = rng.uniform(0.19, 0.23), rng.uniform(0.06, 0.11), rng.uniform(-0.03, 0.03)
    gaze = rng.uniform(-0.06, 0.06, 2) * (1, 0.4)
    whites, brows, lids, irises = [], [], [], []
    for side in (-1, 1):
        corners = [
            (-wide, slant * side),
            (-wide * 0.4, -open_ * 1.2),
            (wide * 0.4, -open_ * 1.2),
            (wide, -slant * side),
        ]
        corners += [(wide * 0.4, open_), (-wide * 0.4, open_)]
        whites.append(head.shape([(side * apart + x, level + y) for x, y in corners], rounds=2))
        lids.append((head.place([(side * apart + x, level + y) for x, y in corners[:4]]), 0.011))
        arch = [(-wide * 1.15, -0.19), (0.0, -0.27), (wide * 1.15, -0.2)]
        brows.append((rounded(head.place([(side * apart + x, level + y) for x, y in arch]), closed=False), 0.02))
        irises.append(head.place([(side * apart + gaze[0], level + gaze[1])])[0])
    eyes = fill(size, *whites)
    shade(picture, 1 - 0.25 * blur(np.clip(eyes * 2, 0, 1), 0.03) * (1 - eyes))
    paint(picture, eyes, (0.9, 0.88, 0.86))
    centres, radius = np.array(irises), 0.098 * head.size
    paint(picture, dots(size, centres, np.full(2, radius)) * eyes, tint(rng, IRISES[rng.integers(len(IRISES))], 0.08))
    paint(picture, dots(size, centres, np.full(2, radius * 0.45)) * eyes, (0.03, 0.03, 0.03))
    paint(picture, dots(size, centres - radius * 0.4, np.full(2, radius * 0.25)) * eyes, (1, 1, 1), opacity=0.8)
    paint(picture, lines(size, lids), (0.12, 0.07, 0.06), opacity=0.8)
    paint(picture, blur(lines(size, brows), 0.005), np.asarray(tone) * 0.75, opacity=rng.uniform(0.5, 0.95))
    return eyes
