"""Streets full of things with writing on them: a banner is more than its letters, a number plate less than its car."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qttseg.metadata.procedural.drawing import (
    Drawing,
    Floats,
    Picture,
    Plane,
    Points,
    Size,
    Stroke,
    blur,
    box,
    clouds,
    dots,
    fill,
    finish,
    grained,
    grid,
    label,
    lines,
    moved,
    paint,
    rounded,
    shade,
    tint,
)
from qttseg.metadata.procedural.lettering import Sheet, tilted

Placing = Callable[[Floats | list[tuple[float, float]]], Points]
"""From a car's own coordinates to the picture's."""

WALLS = ((0.62, 0.42, 0.34), (0.7, 0.66, 0.58), (0.5, 0.5, 0.52), (0.78, 0.74, 0.7), (0.55, 0.6, 0.62))
LACQUERS = (
    (0.75, 0.76, 0.78),
    (0.12, 0.12, 0.14),
    (0.9, 0.9, 0.9),
    (0.55, 0.1, 0.1),
    (0.12, 0.2, 0.42),
    (0.35, 0.4, 0.36),
)


def banners(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """A banner before houses or between posts, among signs, windows, cars and posts; all of it is the object."""
    del look  # each image is a place of its own
    size = (180, 240)
    horizon = rng.uniform(0.68, 0.85)
    picture = _street(rng, size, horizon)
    for _ in range(int(rng.integers(0, 4))):
        _sign(rng, picture, size, horizon)
    for _ in range(int(rng.integers(0, 3))):
        _side_car(
            rng, picture, size, rng.uniform(0.05, 1.3), horizon + rng.uniform(0.02, 0.12), rng.uniform(0.09, 0.15)
        )
    upright = rng.random() < 0.25
    width, height = (
        (rng.uniform(0.16, 0.26), rng.uniform(0.4, 0.62))
        if upright
        else (rng.uniform(0.45, 1.05), rng.uniform(0.16, 0.34))
    )
    centre = np.array(
        [rng.uniform(width / 2 + 0.05, 1.28 - width / 2), rng.uniform(height / 2 + 0.08, 0.78 - height / 2)]
    )
    flat = tilted(rng, centre, width, height, skew=0.14)
    sheet = Sheet(corners=flat.corners, sag=0.0 if upright else rng.uniform(0, 0.035))
    _hang(rng, picture, size, sheet, upright=upright)
    cover = _banner(rng, picture, size, sheet, upright=upright)
    hidden = _before(rng, picture, size)
    shade(picture, 1 + 0.12 * clouds(rng, size, 2, octaves=1))
    return finish(rng, picture, noise=rng.uniform(0.01, 0.03)), label(size, cover * (1 - hidden))


def plates(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """A car from the front or from behind with its number plate, among lamps, grille, badge and other cars."""
    del look  # each image is a car of its own
    size = (180, 240)
    horizon = rng.uniform(0.3, 0.5)
    picture = _street(rng, size, horizon)
    for _ in range(int(rng.integers(0, 4))):
        _side_car(rng, picture, size, rng.uniform(0, 1.33), horizon + rng.uniform(0.05, 0.12), rng.uniform(0.1, 0.2))
    half = rng.uniform(0.3, 0.62)
    middle = np.array([rng.uniform(0.5, 0.83), rng.uniform(0.5, 0.62)])
    cover = _front_car(rng, picture, size, middle, half)
    shade(picture, 1 + 0.15 * clouds(rng, size, 2, octaves=1))
    return finish(rng, picture, noise=rng.uniform(0.01, 0.03)), label(size, cover)


def _street(rng: np.random.Generator, size: Size, horizon: float) -> Picture:
    """Return house fronts with windows and doors under a sky, before a road."""
    y, _ = grid(size)
    picture = grained(tint(rng, (0.66, 0.74, 0.84), 0.08), 0.08 * clouds(rng, size, 2))
    left = -rng.uniform(0, 0.3)
    while left < 1.34:
        right, roof = left + rng.uniform(0.3, 0.75), rng.uniform(-0.15, horizon * 0.45)
        wall = tint(rng, WALLS[rng.integers(len(WALLS))], 0.08)
        front = fill(size, box(left, roof, right, horizon))
        paint(picture, front, grained(wall, 0.04 * clouds(rng, size, 12)))
        panes = _windows(rng, left, right, roof, horizon)
        paint(
            picture, fill(size, *(pane + (pane - pane.mean(0)) * 0.2 for pane in panes)), wall * rng.uniform(0.6, 1.2)
        )
        glass = fill(size, *panes)
        paint(picture, glass, grained(tint(rng, (0.24, 0.28, 0.34), 0.08), 0.08 * clouds(rng, size, 5)))
        left = right
    road = (y > horizon).astype(np.float32)
    paint(picture, road, grained(tint(rng, (0.42, 0.42, 0.43), 0.06), 0.04 * clouds(rng, size, 20, octaves=2)))
    kerb = ((y > horizon) & (y < horizon + 0.02)).astype(np.float32)
    paint(picture, kerb, (0.68, 0.67, 0.65))
    return picture


def _windows(rng: np.random.Generator, left: float, right: float, roof: float, ground_: float) -> list[Points]:
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(2, 4))
    across, down = (right - left) / columns, (ground_ - roof) / rows
    wide, high = rng.uniform(0.35, 0.6) * across, rng.uniform(0.4, 0.65) * down
    return [
        box(x, y, x + wide, y + high)
        for x in left + (np.arange(columns) + 0.5) * across - wide / 2
        for y in roof + (np.arange(rows) + 0.5) * down - high / 2
    ]


def _sign(rng: np.random.Generator, picture: Picture, size: Size, horizon: float) -> None:
    """Paint a shop sign with writing, which is no banner: a board on the wall at the height of a door."""
    centre = np.array([rng.uniform(0, 1.33), horizon - rng.uniform(0.05, 0.2)])
    sheet = tilted(rng, centre, rng.uniform(0.15, 0.35), rng.uniform(0.05, 0.08), skew=0.03)
    board, ink = rng.uniform(0.1, 0.6, 3), rng.uniform(0.7, 1, 3)
    paint(picture, fill(size, sheet.edge()), board)
    words = sheet.writing(rng, left=0.1, right=0.9, top=0.25, bottom=0.75, letters=int(rng.integers(4, 8)))
    paint(picture, lines(size, words), ink)


def _hang(rng: np.random.Generator, picture: Picture, size: Size, sheet: Sheet, *, upright: bool) -> None:
    """Paint what holds a banner: two posts, a pole at its side, or ropes to the wall."""
    metal = tint(rng, (0.4, 0.41, 0.42), 0.1)
    a, b, c, d = sheet.corners
    if upright:
        pole = np.array([a - [0.015, 0.05], [d[0] - 0.015, 1.0]])
        arms = [np.stack([start - [0.02, 0], end]) for start, end in ((a, b), (d, c))]
        paint(picture, lines(size, [(pole, 0.018), *((arm, 0.01) for arm in arms)]), metal)
    elif rng.random() < 0.5:
        posts: list[Stroke] = [
            (np.array([top - [0, 0.05], [top[0], 1.0]]), rng.uniform(0.014, 0.026)) for top in (a, b)
        ]
        paint(picture, lines(size, posts), metal)
    else:
        away = np.array([(-0.1, -0.08), (0.1, -0.08), (0.1, 0.05), (-0.1, 0.05)])
        ropes = [(np.stack([end, end + pull]), 0.006) for end, pull in zip(sheet.corners, away, strict=True)]
        paint(picture, lines(size, ropes), (0.85, 0.84, 0.8))
        shade(picture, 1 - 0.35 * blur(fill(size, moved(sheet.edge(), 0.012, 0.02)), 0.02))


def _banner(rng: np.random.Generator, picture: Picture, size: Size, sheet: Sheet, *, upright: bool) -> Plane:
    """Paint the banner and return its coverage: cloth, border, emblem and lines of writing of any colours."""
    cover = fill(size, sheet.edge())
    cloth = rng.uniform(0, 1, 3)
    pale = cloth.mean() > 0.5
    ink, other = (
        (rng.uniform(0, 0.45, 3), rng.uniform(0, 0.6, 3)) if pale else (rng.uniform(0.6, 1, 3), rng.uniform(0.4, 1, 3))
    )
    paint(picture, cover, cloth)
    if rng.random() < 0.4:  # a field of another colour
        share = rng.uniform(0.2, 0.5)
        part = sheet.place(box(0, 0, share, 1) if rng.random() < 0.5 and not upright else box(0, 0, 1, share))
        paint(picture, fill(size, part) * cover, (other + cloth) / 2)
    if rng.random() < 0.35:
        paint(picture, cover - fill(size, sheet.edge(inset=0.07)), other)
    emblem = rng.random() < 0.5
    if emblem:
        spot = (0.5, 0.2) if upright else (0.14, 0.5)
        radius = 0.3 * min(sheet.width, sheet.height)
        paint(picture, dots(size, sheet.place(np.array([spot])), np.full(1, radius)) * cover, other)
    left, top = (0.28 if emblem and not upright else 0.08), (0.4 if emblem and upright else 0.12)
    rows = int(rng.integers(3, 6)) if upright else int(rng.integers(1, 3))
    step = (0.9 - top) / rows
    for row in range(rows):
        letters = int(rng.integers(2, 4)) if upright else int(rng.integers(5, 12))
        start = top + row * step
        words = sheet.writing(
            rng, left=left, right=0.93, top=start + 0.12 * step, bottom=start + 0.85 * step, letters=letters
        )
        paint(picture, lines(size, words) * cover, ink if row % 2 == 0 else other)
    y, x = grid(size)
    folds = np.sin((x + 0.4 * y) * rng.uniform(10, 40) + rng.uniform(0, 6)) + clouds(rng, size, 5)
    shade(picture, 1 + cover * rng.uniform(0.02, 0.12) * folds)
    return cover


def _before(rng: np.random.Generator, picture: Picture, size: Size) -> Plane:
    """Paint a lamp post, leaves or a car before everything and return their coverage."""
    hidden: Plane = np.zeros(size, np.float32)
    if rng.random() < 0.4:
        foot = np.array([rng.uniform(0.05, 1.28), 1.0])
        post = lines(size, [(np.array([foot, foot * [1, 0] + [0, rng.uniform(-0.1, 0.2)]]), rng.uniform(0.012, 0.024))])
        paint(picture, post, tint(rng, (0.24, 0.26, 0.27), 0.1))
        hidden = np.maximum(hidden, post)
    if rng.random() < 0.35:
        corner = np.array([rng.choice([0.0, 1.33]), rng.uniform(0, 0.3)])
        places = rng.normal(corner, (0.16, 0.12), (60, 2))
        leaves = dots(size, places, rng.uniform(0.008, 0.026, 60))
        paint(picture, leaves, grained(tint(rng, (0.24, 0.38, 0.14), 0.08), 0.12 * clouds(rng, size, 20, octaves=2)))
        hidden = np.maximum(hidden, leaves)
    if rng.random() < 0.3:
        car = _side_car(rng, picture, size, rng.uniform(0.1, 1.2), 0.98, rng.uniform(0.13, 0.2))
        hidden = np.maximum(hidden, car)
    return hidden


def _side_car(rng: np.random.Generator, picture: Picture, size: Size, x: float, base: float, height: float) -> Plane:
    """Paint a car from its side, standing at `base`, in image heights, and return the coverage of its body."""
    lacquer = tint(rng, LACQUERS[rng.integers(len(LACQUERS))], 0.08)
    side = [(-1.5, 0), (-1.5, -0.5), (-0.85, -0.6), (-0.45, -1), (0.6, -1), (1.0, -0.6), (1.5, -0.5), (1.5, 0)]
    body = fill(size, rounded(np.array(side) * height + [x, base - 0.15 * height], rounds=2))
    shade(
        picture,
        1
        - 0.4
        * blur(fill(size, box(x - 1.5 * height, base - 0.1 * height, x + 1.5 * height, base + 0.08 * height)), 0.02),
    )
    paint(picture, body, lacquer)
    front = np.array([(0.12, -0.6), (0.12, -0.9), (0.55, -0.9), (0.8, -0.6)])
    back = np.array([(-0.7, -0.6), (-0.4, -0.9), (0.02, -0.9), (0.02, -0.6)])
    glass = [pane * height + [x, base - 0.15 * height] for pane in (back, front)]
    paint(picture, fill(size, *glass), (0.18, 0.21, 0.25))
    wheels = np.array([(-0.95, 0.0), (0.95, 0.0)]) * height + [x, base - 0.12 * height]
    tyres = dots(size, wheels, np.full(2, 0.27 * height))
    paint(picture, tyres, (0.07, 0.07, 0.07))
    paint(picture, dots(size, wheels, np.full(2, 0.14 * height)), (0.55, 0.56, 0.57))
    return np.maximum(body, tyres)


def _front_car(rng: np.random.Generator, picture: Picture, size: Size, middle: Points, half: float) -> Plane:
    """Paint a car seen along its length, `half` as wide to each side of `middle`, and return its plate's coverage."""
    lean, squeeze = rng.normal(0, 0.03), rng.uniform(0.9, 1.05)

    def at(points: Floats | list[tuple[float, float]]) -> Points:
        spread = np.asarray(points, float) * (half * squeeze, half)
        return np.asarray(spread + np.stack([0 * spread[:, 0], spread[:, 0] * lean], axis=1) + middle)

    lacquer = tint(rng, LACQUERS[rng.integers(len(LACQUERS))], 0.08)
    rear = rng.random() < 0.5
    shade(picture, 1 - 0.55 * blur(fill(size, at(box(-1, 0.62, 1, 0.86))), 0.03))
    paint(picture, fill(size, at(box(-0.95, 0.4, -0.68, 0.83)), at(box(0.68, 0.4, 0.95, 0.83))), (0.06, 0.06, 0.07))
    cabin = [
        (-0.62, -0.78),
        (0.62, -0.78),
        (0.9, -0.12),
        (1.0, 0.1),
        (1.0, 0.62),
        (-1.0, 0.62),
        (-1.0, 0.1),
        (-0.9, -0.12),
    ]
    body = fill(size, rounded(at(cabin), rounds=2))
    y, _ = grid(size)
    paint(picture, body, grained(lacquer, 0.04 * clouds(rng, size, 3) + 0.12 * (0.6 - y) * body))
    glass = fill(size, rounded(at([(-0.54, -0.7), (0.54, -0.7), (0.74, -0.2), (-0.74, -0.2)]), rounds=1))
    paint(picture, glass, grained(tint(rng, (0.2, 0.24, 0.28), 0.1), 0.12 * clouds(rng, size, 4)))
    _lamps(rng, picture, size, at, rear=rear)
    bumper = fill(size, rounded(at([(-1.02, 0.36), (1.02, 0.36), (0.98, 0.66), (-0.98, 0.66)]), rounds=1))
    paint(picture, bumper, lacquer * rng.uniform(0.35, 0.95))
    shade(picture, 1 - 0.2 * blur(lines(size, [(at([(-1, 0.36), (1, 0.36)]), 0.012)]), 0.006))
    low = rng.uniform(0.44, 0.52) if not rear or rng.random() < 0.5 else rng.uniform(0.16, 0.24)
    return _plate(rng, picture, size, at, low=low)


def _lamps(rng: np.random.Generator, picture: Picture, size: Size, at: Placing, *, rear: bool) -> None:
    """Paint lamps and, in front, the grille, behind, the lid; a badge on both."""
    corners = np.array([(0.6, 0.06), (0.95, 0.0), (0.96, 0.24), (0.66, 0.24)])
    lamps = fill(size, *(rounded(at(corners * (sign, 1)), rounds=1) for sign in (-1, 1)))
    paint(picture, lamps, tint(rng, (0.65, 0.08, 0.06) if rear else (0.86, 0.88, 0.9), 0.06))
    if rear:
        lid = at([(-0.6, -0.12), (0.6, -0.12), (0.58, 0.32), (-0.58, 0.32), (-0.6, -0.12)])
        paint(picture, lines(size, [(lid, 0.008)]), (0.05, 0.05, 0.05), opacity=0.6)
    else:
        wide = rng.uniform(0.35, 0.55)
        paint(picture, fill(size, rounded(at(box(-wide, 0.06, wide, 0.3)), rounds=1)), (0.08, 0.08, 0.09))
        bars: list[Stroke] = [
            (at([(-wide * 0.9, level), (wide * 0.9, level)]), 0.007) for level in np.linspace(0.1, 0.26, 4)
        ]
        paint(picture, lines(size, bars), (0.6, 0.61, 0.62), opacity=rng.uniform(0.2, 0.9))
    paint(picture, dots(size, at([(0.0, 0.0)]), np.full(1, 0.02)), (0.8, 0.8, 0.82))


def _plate(rng: np.random.Generator, picture: Picture, size: Size, at: Placing, *, low: float) -> Plane:
    """Paint the number plate at the height `low` of the car and return its coverage."""
    wide, high = (rng.uniform(0.27, 0.32), 0.066) if rng.random() < 0.7 else (rng.uniform(0.2, 0.24), 0.11)
    side = rng.normal(0, 0.04)
    sheet = Sheet(corners=at(box(side - wide, low - high, side + wide, low + high)))
    cover = fill(size, sheet.edge())
    plain = ((0.93, 0.93, 0.92), (0.9, 0.78, 0.2), (0.86, 0.9, 0.93), (0.12, 0.13, 0.16))[
        rng.choice(4, p=[0.6, 0.2, 0.1, 0.1])
    ]
    paint(picture, blur(fill(size, sheet.edge(inset=-0.12)), 0.004), (0.05, 0.05, 0.05), opacity=0.7)
    paint(picture, cover, tint(rng, plain, 0.03))
    stripe = rng.random() < 0.5 and high < 0.1
    if stripe:
        paint(picture, fill(size, sheet.place(box(0, 0, 0.09, 1))) * cover, (0.1, 0.2, 0.6))
    ink = (0.08, 0.08, 0.1) if np.mean(plain) > 0.4 else (0.92, 0.92, 0.9)
    rows = 1 if high < 0.1 else 2
    for row in range(rows):
        letters = int(rng.integers(6, 9)) if rows == 1 else int(rng.integers(3, 5))
        top = 0.2 if rows == 1 else 0.12 + 0.42 * row
        words = sheet.writing(
            rng,
            left=0.14 if stripe else 0.07,
            right=0.95,
            top=top,
            bottom=top + (0.6 if rows == 1 else 0.32),
            letters=letters,
        )
        paint(picture, lines(size, words) * cover, ink)
    return cover
