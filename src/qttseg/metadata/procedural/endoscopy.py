"""Views from inside the body: colonoscopy and laparoscopy. Images of one video share look and place."""

from __future__ import annotations

import numpy as np

from qttseg.metadata.procedural.drawing import (
    Drawing,
    Picture,
    Plane,
    Points,
    blur,
    clouds,
    dome,
    dots,
    fill,
    finish,
    grid,
    ground,
    label,
    lines,
    moved,
    outline,
    paint,
    relief,
    rounded,
    shade,
    tint,
    tree,
)


def polyp(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Polyps on folded mucosa of nearly their own colour; shading and gloss give them away."""
    size = (200, 240)
    y, x = grid(size)
    mucosa = tint(look, (0.82, 0.47, 0.38), 0.05)
    picture = ground(size, mucosa)
    lumen = look.uniform(0.1, 1.1) + rng.normal(0, 0.06), look.uniform(0.1, 0.9) + rng.normal(0, 0.06)
    far = np.hypot(x - lumen[0], y - lumen[1]) + 0.06 * clouds(rng, size, 3)
    picture += 0.06 * clouds(rng, size, 4)[:, :, None] * np.array([0.6, 1, 0.9], np.float32)
    veins = lines(size, tree(look, lumen, look.uniform(0, 6), 0.45, 0.009))
    paint(picture, veins, mucosa * [0.85, 0.55, 0.55], opacity=0.5)
    folds = np.abs(np.sin(far * look.uniform(9, 15) + look.uniform(0, 6))) ** 0.4
    shade(picture, 0.72 + 0.28 * folds)

    radius = rng.uniform(0.09, 0.27) * look.uniform(0.7, 1.2)
    centre = look.uniform(0.35, 0.85) + rng.normal(0, 0.09), look.uniform(0.3, 0.7) + rng.normal(0, 0.09)
    shape = outline(rng, centre, (radius, radius * rng.uniform(0.7, 1)), rough=0.09, turn=rng.uniform(0, 6))
    body = fill(size, shape)
    shade(picture, 1 - 0.3 * blur(fill(size, shape + radius * 0.1), 0.02) * (1 - body))
    surface = look.uniform(0.02, 0.09) * clouds(rng, size, 2 / radius)
    flesh = np.clip(mucosa * tint(look, (0.97, 0.92, 0.92), 0.07) + 0.02, 0, 1)
    paint(picture, blur(body, look.uniform(0.004, 0.02)), flesh + surface[:, :, None], opacity=0.85)
    light = look.uniform(3.6, 5.6)
    shade(picture, relief(dome(body, radius * 0.6), angle=light, strength=look.uniform(0.04, 0.08)))
    shade(picture, 1 - 0.85 * np.exp(-((far / look.uniform(0.12, 0.2)) ** 2)) * (1 - blur(body, 0.02)))

    _gloss(rng, picture, count=int(rng.integers(4, 22)), size=0.011)
    glint = np.array(centre) + radius * 0.35 * np.array([np.cos(light), np.sin(light)])
    paint(picture, dots(size, rng.normal(glint, radius * 0.12, (5, 2)), rng.uniform(0.004, 0.02, 5)), (1, 1, 0.97))
    shade(picture, 1.15 - 0.5 * np.hypot(x - 0.6, y - 0.5))
    window = fill(
        size,
        rounded(
            [
                (0.2, -0.02),
                (1.0, -0.02),
                (1.17, 0.18),
                (1.17, 0.82),
                (1, 1.02),
                (0.2, 1.02),
                (0.03, 0.82),
                (0.03, 0.18),
            ],
            rounds=1,
        ),
    )
    paint(picture, 1 - window, (0.02, 0.02, 0.03))
    return finish(rng, picture, noise=0.015), label(size, body * window)


def cholec(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Laparoscopy: wall, liver, gallbladder, fat, and the instruments before them."""
    size = (168, 248)
    y, x = grid(size)
    wall_tone, liver_tone = tint(look, (0.78, 0.5, 0.42), 0.06), tint(look, (0.5, 0.2, 0.16), 0.05)
    bladder_tone, fat_tone = tint(look, (0.66, 0.66, 0.42), 0.08), tint(look, (0.86, 0.7, 0.38), 0.05)
    shift = rng.normal(0, 0.05, 2)
    sway = look.uniform(-0.12, 0.12) + rng.normal(0, 0.03)

    wall = np.ones(size, np.float32)
    rim = [(-0.2, 0.42 + sway), (0.3, 0.3), (0.8, 0.24), (1.3, 0.34 - sway), (1.8, 0.3), (1.8, 1.2), (-0.2, 1.2)]
    liver = fill(size, rounded(np.array(rim) + shift))
    fat = fill(
        size, outline(rng, moved(shift, look.uniform(0.2, 1.2), 1.0), (0.75, look.uniform(0.22, 0.38)), rough=0.14)
    )
    place = np.array([look.uniform(0.55, 0.95), look.uniform(0.55, 0.7)]) + shift
    turn = look.uniform(-0.6, 0.6)
    bladder = fill(
        size, outline(rng, place, (look.uniform(0.22, 0.34), look.uniform(0.12, 0.18)), rough=0.05, turn=turn)
    )

    picture = ground(size, wall_tone)
    veins = [stroke for _ in range(3) for stroke in tree(look, (look.uniform(0, 1.5), 0), 1.5, 0.3, 0.012)]
    paint(picture, lines(size, veins), wall_tone * 0.7, opacity=0.6)
    for layer, tone, height in ((liver, liver_tone, 0.04), (fat, fat_tone, 0.03), (bladder, bladder_tone, 0.06)):
        paint(picture, layer, tone)
        shade(picture, relief(dome(layer, 0.1), angle=4.5, strength=height))
    shade(picture, 1 + 0.1 * clouds(rng, size, 5) * liver)
    shade(picture, 1 + fat * (1 - bladder) * (0.28 * clouds(rng, size, 12, octaves=2) - 0.05))
    paint(picture, lines(size, tree(rng, place, turn, 0.2, 0.012)) * bladder, (0.6, 0.3, 0.22), opacity=0.5)
    shade(picture, 1.05 + 0.06 * clouds(rng, size, 20, octaves=1) * wall)
    _gloss(rng, picture, count=int(rng.integers(10, 40)), size=0.009)

    grasper, hook = np.zeros(size, np.float32), np.zeros(size, np.float32)
    port, hooked = look.uniform(0, 0.9), look.random() < 0.6
    if rng.random() < 0.8:
        grasper = _grasper(picture, rng, place, port)
    if hooked and rng.random() < 0.8:
        hook = _hook(picture, rng, place)
    shade(picture, 1.25 - 0.75 * np.hypot(x - 0.74, y - 0.5))
    scope = (np.hypot(x - 0.74, y - 0.5) < 0.78).astype(np.float32)
    paint(picture, 1 - scope, (0.01, 0.01, 0.01))
    layers = (wall, liver, bladder, fat * (1 - bladder), grasper, hook)
    return finish(rng, picture, noise=0.02), label(size, *layers) * (scope > 0.5)


def _grasper(picture: Picture, rng: np.random.Generator, target: Points, port: float) -> Plane:
    """Draw a steel shaft from the right, where its `port` is, with two jaws at its tip."""
    size = picture.shape[0], picture.shape[1]
    tip = moved(target, 0.12, -0.05) + rng.normal(0, 0.09, 2)
    root = np.array([1.7, port])
    way = (tip - root) / np.hypot(*(tip - root))
    side = np.array([-way[1], way[0]])
    neck = tip - 0.17 * way
    gape = rng.uniform(0.01, 0.05)
    jaws = [
        (rounded([neck, neck + 0.08 * way + sign * gape * side, tip + sign * gape * 0.6 * side], closed=False), 0.028)
        for sign in (-1, 1)
    ]
    shaft = lines(size, [(np.stack([root, neck]), 0.075)])
    whole = np.maximum(shaft, lines(size, jaws))
    y, x = grid(size)
    across = (x - neck[0]) * side[0] + (y - neck[1]) * side[1]
    paint(picture, whole, 0.58 + 0.3 * np.cos(across * 60) * (np.abs(across) < 0.05))
    return whole


def _hook(picture: Picture, rng: np.random.Generator, target: Points) -> Plane:
    """Draw a dark insulated shaft from the lower left with a thin bent wire."""
    size = picture.shape[0], picture.shape[1]
    tip = moved(target, -0.16, 0.02) + rng.normal(0, 0.08, 2)
    root = np.array([rng.uniform(-0.1, 0.3), 1.15])
    way = (tip - root) / np.hypot(*(tip - root))
    shaft = lines(size, [(np.stack([root, tip]), 0.06)])
    bend = tip + 0.08 * way
    wire = lines(size, [(np.stack([tip, bend, moved(bend, -0.05 * way[1], 0.05 * way[0])]), 0.016)])
    paint(picture, shaft, (0.09, 0.09, 0.11))
    paint(picture, wire, (0.8, 0.8, 0.78))
    return np.maximum(shaft, wire)


def _gloss(rng: np.random.Generator, picture: Picture, *, count: int, size: float) -> None:
    """Add wet highlights: small, white, in clusters."""
    height, width = picture.shape[:2]
    cluster = rng.uniform((0.1, 0.1), (width / height - 0.1, 0.9), (max(2, count // 4), 2))
    centres = cluster[rng.integers(0, len(cluster), count)] + rng.normal(0, 0.03, (count, 2))
    paint(
        picture,
        dots((height, width), centres, rng.exponential(size / 2, count) + size / 3),
        (1, 0.98, 0.95),
        opacity=0.9,
    )
