"""Close views of skin, leaf, retina and material: colour or texture on one surface, some things very thin."""

from __future__ import annotations

import numpy as np

from qttseg.metadata.procedural.drawing import (
    Drawing,
    Stroke,
    blur,
    clouds,
    dots,
    fill,
    finish,
    finish_grey,
    grained,
    grid,
    label,
    lines,
    outline,
    paint,
    rounded,
    shade,
    tint,
    tree,
    wander,
)


def lesion(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Dermoscopy: pigmented lesions with fading edges under hair; some fill the frame."""
    del look  # each image is a patient of its own
    size = (184, 240)
    y, x = grid(size)
    skin = tint(rng, (0.84, 0.66, 0.56), 0.08)
    picture = grained(skin, 0.03 * clouds(rng, size, 6))
    radius = rng.uniform(0.13, 0.46)
    centre = rng.normal((0.65, 0.5), 0.06)
    shape = outline(
        rng, centre, (radius * rng.uniform(1, 1.35), radius), rough=rng.uniform(0.04, 0.16), turn=rng.uniform(0, 6)
    )
    body = fill(size, shape)
    pigment = tint(rng, (0.42, 0.26, 0.18), 0.12)
    edge = np.clip(blur(body, rng.uniform(0.01, 0.05)) + 0.12 * clouds(rng, size, 8) * blur(body, 0.08), 0, 1)
    paint(picture, edge, grained(pigment, 0.1 * clouds(rng, size, 4)), opacity=rng.uniform(0.45, 0.95))
    blotch = fill(size, outline(rng, centre + rng.normal(0, radius * 0.3, 2), (radius * 0.4, radius * 0.35), rough=0.2))
    paint(picture, blur(blotch, 0.03) * edge, pigment * [0.45, 0.45, 0.6], opacity=rng.uniform(0, 0.8))
    net = np.abs(np.sin(x * 130 + 9 * clouds(rng, size, 6)) * np.sin(y * 130 + 9 * clouds(rng, size, 6)))
    shade(picture, 1 - 0.2 * edge * (net < 0.14) * (rng.random() < 0.6))
    hairs: list[Stroke] = []
    for _ in range(int(rng.choice([0, 3, 9, 22]))):
        start = rng.uniform((0, 0), (1.3, 1))
        hairs.append(
            (wander(rng, start, rng.uniform(0, 6), rng.uniform(0.3, 0.9), bend=0.6), rng.uniform(0.003, 0.008))
        )
    paint(picture, lines(size, hairs), (0.13, 0.09, 0.08), opacity=0.85)
    if rng.random() < 0.35:
        bubbles = dots(size, rng.uniform((0, 0), (1.3, 1), (12, 2)), rng.uniform(0.006, 0.02, 12))
        paint(picture, np.maximum(bubbles - blur(bubbles, 0.01), 0), (1, 1, 1))
    if rng.random() < 0.4:
        shade(picture, np.clip(1.9 - 1.9 * np.hypot(x - 0.652, y - 0.5), 0.03, 1))
    return finish(rng, picture, noise=0.015), label(size, blur(body, 0.015))


def leaf(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Leaves with many brown spots, before soil and litter of the same brown. Groups: plants."""
    size = (232, 176)
    soil = tint(look, (0.42, 0.33, 0.24), 0.06)
    picture = grained(soil, 0.12 * clouds(rng, size, 9, octaves=4))
    for _ in range(rng.integers(4, 9)):  # litter and other leaves, out of focus
        tone = tint(rng, (0.45, 0.35, 0.18), 0.08) if rng.random() < 0.6 else tint(rng, (0.25, 0.42, 0.16), 0.05)
        scrap = outline(
            rng, rng.uniform((0, 0), (0.76, 1)), rng.uniform(0.04, 0.16, 2), rough=0.15, turn=rng.uniform(0, 6)
        )
        paint(picture, blur(fill(size, scrap), 0.012), tone)

    turn = rng.normal(0, 0.25)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    middle, half = rng.normal((0.38, 0.5), 0.02), look.uniform(0.2, 0.3)
    side = np.array([(0, -0.46), (half * 0.6, -0.3), (half, -0.02), (half * 0.8, 0.25), (0, 0.44)]) * rng.uniform(
        0.85, 1.05
    )
    blade = fill(size, rounded(np.concatenate([side, side[-2:0:-1] * [-1, 1]]) @ spin + middle))
    green = tint(look, (0.3, 0.52, 0.17), 0.06)
    paint(picture, blade, grained(green, 0.06 * clouds(rng, size, 5)))
    veins = [(np.array([(0, -0.45), (0, 0.52)]) @ spin + middle, 0.012)]
    for along in np.linspace(-0.3, 0.3, 8):
        veins += [(np.array([(0, along), (way * half * 0.85, along - 0.12)]) @ spin + middle, 0.005) for way in (-1, 1)]
    paint(picture, lines(size, veins) * blade, green * 1.25 + 0.06, opacity=0.7)
    shade(picture, 1 + 0.3 * (blur(lines(size, veins), 0.012) - 0.3) * blade)

    spots, rims = [], []
    for _ in range(int(look.integers(3, 26))):
        place = (rng.uniform(-1, 1, 2) * [half * 0.8, 0.38]) @ spin + middle
        radius = rng.gamma(2.5, 0.009) + 0.008
        spot = outline(
            rng, place, (radius, radius * rng.uniform(0.7, 1)), rough=0.16, turn=rng.uniform(0, 6), corners=32
        )
        spots.append(spot)
        rims.append(place + (spot - place) * 1.5)
    ill = fill(size, *spots) * blade
    paint(picture, blur(fill(size, *rims), 0.012) * blade, (0.72, 0.68, 0.2), opacity=look.uniform(0.1, 0.7))
    paint(picture, ill, grained(tint(look, (0.42, 0.28, 0.14), 0.05), 0.1 * clouds(rng, size, 20)), opacity=0.9)
    shade(picture, 0.85 + 0.3 * clouds(rng, size, 2, octaves=1) + 0.1)
    return finish(rng, picture, noise=0.02), label(size, ill)


def eyes(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Fundus photographs: thin branching vessels that leave the disc; bleedings and exudates distract."""
    del look  # each image is an eye of its own
    size = (224, 224)
    y, x = grid(size)
    flip = rng.choice([-1, 1])
    disc = np.array([0.5 + flip * rng.uniform(0.22, 0.33), 0.5 + rng.normal(0, 0.03)])
    picture = grained(tint(rng, (0.78, 0.38, 0.18), 0.06), 0.05 * clouds(rng, size, 6, octaves=4))
    fovea = np.array([0.5 - flip * 0.08, 0.53])
    shade(picture, 1 - 0.35 * np.exp(-(((x - fovea[0]) ** 2 + (y - fovea[1]) ** 2) / 0.008)))
    head = fill(size, outline(rng, disc, (0.06, 0.068), rough=0.02))
    paint(picture, blur(head, 0.012), (0.98, 0.82, 0.5), opacity=0.9)

    strokes: list[Stroke] = []
    for sign in (-1, 1):
        for reach, width in ((0.3, 0.017), (0.26, 0.012)):
            heading = np.arctan2(sign * rng.uniform(0.7, 1.3), -flip * 0.55)
            strokes += tree(rng, disc, float(heading), reach, width * rng.uniform(0.85, 1.1), bend=0.5)
        strokes += tree(rng, disc, float(np.arctan2(sign, flip * 0.7)), 0.16, 0.009)
        strokes += tree(rng, disc, float(np.arctan2(sign * 0.15, -flip)), 0.17, 0.006)
    globe = (np.hypot(x - 0.5, y - 0.5) < 0.475).astype(np.float32)
    vessels = lines(size, strokes)
    paint(picture, blur(vessels, 0.004), (0.45, 0.12, 0.08), opacity=rng.uniform(0.5, 0.85))
    for tone, count in (((0.45, 0.1, 0.07), rng.integers(0, 14)), ((0.95, 0.85, 0.45), rng.integers(0, 12))):
        spots = dots(size, rng.normal(fovea, 0.15, (int(count), 2)), rng.uniform(0.003, 0.012, int(count)))
        paint(picture, blur(spots, 0.005), tone, opacity=0.8)
    shade(picture, (1.15 - 0.9 * np.hypot(x - 0.5, y - 0.5)) * (1 + 0.15 * clouds(rng, size, 2, octaves=1)))
    paint(picture, 1 - globe, (0.02, 0.01, 0.01))
    return finish(rng, picture, noise=0.015), label(size, vessels * globe * 1.2)


def fiber(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Micro-CT of a composite: short bright fibres, cut lengthwise or across, in strong noise. Groups: volumes."""
    size = (208, 208)
    y, x = grid(size)
    plane = np.full(size, 0.16, np.float32)
    block = fill(
        size, np.array([(0.05, 0.06), (0.95, 0.05), (0.96, 0.94), (0.04, 0.95)]) + look.normal(0, 0.01, (4, 2))
    )
    plane += block * (0.2 + 0.03 * clouds(rng, size, 3))
    grain, spread = look.uniform(0, np.pi), look.uniform(0.15, 1.5)
    count = int(look.integers(25, 110))
    width = look.uniform(0.009, 0.017)
    lengths = rng.gamma(1.5, 0.05, count) + 0.008
    centres, angles = rng.uniform(0.06, 0.94, (count, 2)), rng.normal(grain, spread, count)
    halves = np.stack([np.cos(angles), np.sin(angles)], 1) * lengths[:, None] / 2
    strokes = [(np.stack([centre - half, centre + half]), width) for centre, half in zip(centres, halves, strict=True)]
    cut = dots(size, rng.uniform(0.06, 0.94, (count // 2, 2)), np.full(count // 2, width * 0.6))
    fibres = np.maximum(lines(size, strokes), cut) * block
    plane += blur(fibres, 0.004) * look.uniform(0.25, 0.5)
    pores = dots(size, rng.uniform(0.08, 0.92, (9, 2)), rng.uniform(0.005, 0.016, 9))
    plane -= 0.2 * blur(pores, 0.005) * block
    plane += 0.02 * np.sin(np.hypot(x - 0.5, y - 0.5) * 160)  # rings of the detector
    return finish_grey(rng, plane, noise=look.uniform(0.05, 0.1)), label(size, fibres)
