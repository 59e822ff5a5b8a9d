"""X-ray, computed tomography and ultrasound: grey, aligned, low in contrast."""

from __future__ import annotations

import numpy as np

from qttseg.metadata.procedural.drawing import (
    Drawing,
    Plane,
    Points,
    Stroke,
    blur,
    clouds,
    dots,
    fill,
    finish_grey,
    grid,
    label,
    lines,
    moved,
    outline,
    rounded,
    tree,
    wander,
)


def _lay(plane: Plane, coverage: Plane, grey: float | Plane, opacity: float = 1.0) -> None:
    """Lay `grey` over `plane` where there is coverage."""
    plane += coverage * np.float32(opacity) * (np.asarray(grey, np.float32) - plane)


def covid(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Axial CT: ground-glass patches in dark lungs, outlined generously by hand; vessels look alike. Groups: patients."""
    size = (192, 216)
    middle = np.array([0.5625, 0.5]) + rng.normal(0, 0.01, 2)
    width, height = look.uniform(0.44, 0.52), look.uniform(0.33, 0.4)
    lung_size = rng.uniform(0.75, 1.05)
    body = fill(size, outline(look, middle, (width, height), rough=0.02))
    inner = fill(size, outline(look, middle, (width * 0.86, height * 0.84), rough=0.02))
    lungs: Plane = np.zeros(size, np.float32)
    outer = []
    for sign in (-1, 1):
        radii = width * 0.36 * lung_size, height * 0.7 * lung_size
        centre = moved(middle, sign * width * 0.44, -0.01)
        lungs = np.maximum(lungs, fill(size, outline(rng, centre, radii, rough=0.07, turn=sign * -0.15)))
        outer.append((centre, radii, sign))
    plane = np.full(size, 0.02, np.float32)
    _lay(plane, body, 0.5)
    _lay(plane, inner, 0.66 + 0.03 * clouds(rng, size, 12))
    ribs = middle + 0.92 * np.stack(
        [np.cos(np.linspace(0, 6.3, 15)) * width, np.sin(np.linspace(0, 6.3, 15)) * height], 1
    )
    _lay(plane, dots(size, ribs, rng.uniform(0.012, 0.024, 15)), 0.95)
    _lay(plane, lungs, 0.13 + 0.02 * clouds(rng, size, 20))
    heart = fill(size, outline(rng, moved(middle, 0.05, -0.03), (0.15, 0.14), rough=0.07))
    _lay(plane, heart, 0.72)
    spine = fill(size, outline(rng, moved(middle, 0, height * 0.66), (0.075, 0.06), rough=0.08))
    _lay(plane, spine, 0.92 + 0.05 * clouds(rng, size, 20))
    lungs = lungs * (1 - heart) * (1 - spine)
    vessels: list[Stroke] = []
    for centre, _, sign in outer:
        hilum = centre - [sign * 0.09, 0]
        vessels += [
            stroke for turn in (-0.9, 0, 0.9) for stroke in tree(rng, hilum, turn + (sign < 0) * np.pi, 0.11, 0.012)
        ]
    _lay(plane, lines(size, vessels) * lungs, 0.55, 0.8)

    patches = []
    for _ in range(rng.integers(1, 6)):
        centre, radii, sign = outer[rng.integers(2)]
        angle = rng.uniform(-1.2, 1.7)  # along the outer wall, rather at the back
        place = centre + 0.85 * np.array([sign * np.cos(angle) * radii[0], np.sin(angle) * radii[1]])
        patches.append(outline(rng, place, rng.uniform(0.03, 0.12, 2), rough=0.25, turn=rng.uniform(0, 3)))
    ill = fill(size, *patches)
    hazy = np.clip(blur(ill, 0.02) * (0.75 + 0.6 * clouds(rng, size, 14)), 0, 1) * lungs
    _lay(plane, hazy, look.uniform(0.45, 0.65), look.uniform(0.55, 0.9))
    _lay(plane, lines(size, [(rounded([(0, 0.93), (0.56, 0.99), (1.13, 0.93)], closed=False), 0.008)]), 0.4)
    drawn_by_hand = blur(ill * lungs, 0.02) + rng.normal(0, 0.05)
    return finish_grey(rng, plane, noise=look.uniform(0.02, 0.05)), label(size, drawn_by_hand)


def cardiac(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Ventriculography: a beating chamber of thinning contrast medium, between ribs and diaphragm. Groups: runs."""
    size = (208, 208)
    y, x = grid(size)
    plane = 0.72 + 0.1 * clouds(look, size, 2, octaves=2) - 0.12 * np.abs(x - 0.45)
    slope = look.uniform(0.25, 0.6)
    for rib in range(6):
        start = -0.2 + 0.22 * rib + look.uniform(-0.03, 0.03)
        arc = rounded([(-0.1, start + slope), (0.4, start + 0.1), (1.1, start + slope * 0.7)], closed=False)
        plane -= 0.07 * blur(lines(size, [(arc, 0.055)]), 0.008)
    plane -= 0.22 * blur(np.asarray(np.abs(x - look.uniform(0.1, 0.2)) < 0.07, np.float32), 0.03)
    breath = rng.normal(0, 0.02)
    plane -= 0.25 * blur(
        fill(size, rounded([(-0.2, 1.2), (0.1, 0.88 + breath), (0.6, 0.8 + breath), (1.2, 1.0 + breath)])), 0.02
    )
    plane -= 0.12 * blur(fill(size, outline(look, (0.5, 0.52), (0.4, 0.34), rough=0.05, turn=0.5)), 0.05)

    squeeze = rng.uniform(0.62, 1.0)  # systole to diastole
    base, axis = np.array([look.uniform(0.33, 0.42), look.uniform(0.28, 0.38)]), look.uniform(0.6, 0.95)
    length, half = look.uniform(0.42, 0.52) * (0.6 + 0.4 * squeeze), look.uniform(0.14, 0.19) * squeeze
    profile = np.array(
        [
            (0, -0.5),
            (0.12, -0.95),
            (0.4, -1.05),
            (0.75, -0.7),
            (1, -0.1),
            (1, 0.15),
            (0.7, 0.75),
            (0.35, 1),
            (0.1, 0.9),
            (0, 0.5),
        ]
    )
    profile = profile * [length, half] + rng.normal(0, 0.008, profile.shape)
    turn = np.array([[np.cos(axis), np.sin(axis)], [-np.sin(axis), np.cos(axis)]])
    chamber = fill(size, rounded(profile @ turn + base))
    depth = 0.35 + 0.65 * blur(chamber, 0.05)
    thinning = np.clip(1.15 - 0.75 * ((x - base[0]) * np.cos(axis) + (y - base[1]) * np.sin(axis)) / length, 0.25, 1)
    plane -= look.uniform(0.25, 0.5) * blur(chamber, 0.012) * depth * thinning * (1 + 0.12 * clouds(rng, size, 9))
    aorta = rounded(
        [moved(base, 0.02, 0.02), moved(base, 0.04, -0.12), moved(base, -0.06, -0.26), moved(base, -0.2, -0.25)],
        closed=False,
    )
    plane -= 0.1 * blur(lines(size, [(aorta, 0.09)]), 0.02) * (1 - chamber)
    plane -= 0.3 * lines(size, [(np.concatenate([aorta[::-1], [base + 0.1]]), 0.014)])
    shutter = np.hypot(x - 0.5, y - 0.5) > look.uniform(0.56, 0.7)
    plane[shutter] = 0.03
    return finish_grey(rng, plane, noise=0.035), label(size, chamber * ~shutter)


def chest(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Frontal chest x-rays, always upright: ribs, heart, diaphragm, gas in the stomach, a marker in the corner."""
    del look  # each image is a patient of its own
    size = (216, 200)
    y, x = grid(size)
    middle, scale = 0.463 + rng.normal(0, 0.012), rng.uniform(0.9, 1.08)
    plane = np.full(size, rng.uniform(0.05, 0.14), np.float32)
    trunk = np.array([(-0.14, -0.1), (-0.16, 0.08), (-0.44, 0.2), (-0.52, 0.5), (-0.42, 1.2)])
    _lay(plane, blur(fill(size, rounded(_mirrored(trunk, middle))), 0.02), 0.62 + 0.06 * clouds(rng, size, 3))
    lungs, arcs = [], []
    for sign in (-1, 1):
        floor = rng.uniform(0.74, 0.84) + 0.03 * (sign > 0)
        notch = 0.16 if sign > 0 else 0.07  # the heart takes its place on the patient's left
        corners = [
            (0.07, 0.2),
            (0.14, 0.11),
            (0.24, 0.16),
            (0.31, 0.34),
            (0.35, 0.58),
            (0.37, floor),
            (0.3, floor - 0.05),
            (0.2, floor - 0.08),
            (notch, floor - 0.04),
            (notch, 0.55),
            (0.06, 0.42),
        ]
        points = np.array(corners) * [scale, 1] + rng.normal(0, 0.007, (len(corners), 2))
        lungs.append(fill(size, rounded(points * [sign, 1] + [middle, 0])))
        for rib in range(8):
            top = 0.1 + 0.085 * rib
            arc = np.array(
                [(0.03, top + 0.02), (0.16, top - 0.01), (0.34, top + 0.07), (0.39, top + 0.16), (0.28, top + 0.22)]
            )
            arcs.append((rounded(arc * [sign * scale, 1] + [middle, 0], closed=False), 0.018))
        collar = np.array([(0.03, 0.17), (0.2, 0.1), (0.42, 0.08)])
        arcs.append((rounded(collar * [sign * scale, 1] + [middle, 0], closed=False), 0.024))
    air = np.maximum(*lungs)
    _lay(plane, blur(air, 0.012), 0.2 + 0.05 * clouds(rng, size, 6), rng.uniform(0.55, 0.95))
    _lay(plane, blur(lines(size, arcs), 0.006), 0.72, 0.28)
    strands = [
        s for sign in (-1, 1) for s in tree(rng, (middle + sign * 0.08, 0.45), 1.2 if sign > 0 else 1.9, 0.17, 0.014)
    ]
    _lay(plane, blur(lines(size, strands), 0.008), 0.6, 0.3)
    heart = fill(size, outline(rng, (middle + 0.05, 0.64), (0.17, 0.15), rough=0.03, turn=0.4)) * (1 - 0.9 * air)
    _lay(plane, blur(heart, 0.02), 0.78, 0.7)
    _lay(plane, blur((np.abs(x - middle) < 0.045).astype(np.float32), 0.015), 0.82 + 0.06 * np.sin(y * 75), 0.6)
    if rng.random() < 0.7:  # as dark as lung, but below the diaphragm
        _lay(plane, blur(fill(size, outline(rng, (middle + 0.22, 0.88), (0.08, 0.045), rough=0.1)), 0.01), 0.25, 0.8)
    _lay(plane, fill(size, np.array([(0.02, 0.03), (0.07, 0.03), (0.07, 0.08), (0.02, 0.08)])), 0.97)
    gamma = rng.uniform(0.75, 1.35)
    return finish_grey(rng, np.clip(plane, 0, 1) ** gamma, noise=0.025), label(size, air)


def _mirrored(half: Points, middle: float) -> Points:
    """Return the outline of which `half` is the left side, about the vertical axis at `middle`."""
    return moved(np.concatenate([half, half[::-1] * (-1, 1)]), middle, 0)


def ultrasound(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Abdominal ultrasound: organs told apart by their speckle, below a curved probe. Groups: patients."""
    size = (192, 232)
    y, x = grid(size)
    depth, angle = np.hypot(x - 0.604, y + 0.25), np.arctan2(x - 0.604, y + 0.25)
    fan = ((depth > 0.3) & (depth < 1.22) & (np.abs(angle) < 0.62)).astype(np.float32)
    jolt = rng.normal(0, 0.025, (5, 2))
    liver = fill(
        size, outline(look, np.array([0.42, 0.42]) + jolt[0], (0.32, look.uniform(0.2, 0.27)), rough=0.06, turn=0.3)
    )
    spot = np.array([look.uniform(0.66, 0.82), look.uniform(0.52, 0.68)]) + jolt[1]
    turn = look.uniform(0.2, 0.9)
    kidney = fill(size, outline(rng, spot, (look.uniform(0.15, 0.2), 0.095), rough=0.04, turn=turn))
    core = fill(size, outline(rng, spot, (0.085, 0.035), rough=0.25, turn=turn))
    place = np.array([look.uniform(0.48, 0.62), look.uniform(0.36, 0.48)]) + jolt[2]
    bladder = fill(size, outline(rng, place, (look.uniform(0.06, 0.12), 0.05), rough=0.05, turn=look.uniform(0.3, 1.2)))
    strokes = [
        (wander(rng, np.array([0.25, 0.4]) + jolt[3], rng.uniform(-0.3, 0.5), 0.33, bend=0.7), 0.03) for _ in range(2)
    ]
    vessels = lines(size, strokes) * liver * (1 - bladder)
    back = np.array([look.uniform(0.38, 0.6), look.uniform(0.78, 0.84)]) + jolt[4]
    spine = lines(
        size, [(rounded([back - [0.09, -0.03], back - [0, 0.02], moved(back, 0.09, 0.03)], closed=False), 0.035)]
    )

    echo = 0.36 + 0.2 * clouds(rng, size, 7, stretch=0.5)
    for layer, grey in (
        (liver, look.uniform(0.42, 0.5)),
        (kidney, look.uniform(0.24, 0.32)),
        (core * kidney, 0.62),
        (vessels, 0.12),
        (bladder, 0.05),
    ):
        _lay(echo, blur(layer, 0.008), grey, 0.9)
    behind = (depth > np.hypot(place[0] - 0.604, place[1] + 0.25)) & (
        np.abs(angle - np.arctan2(place[0] - 0.604, place[1] + 0.25)) < 0.09
    )
    echo *= 1 + 0.35 * (behind & (bladder < 0.5))
    shadow = (depth > np.hypot(back[0] - 0.604, back[1] + 0.25)) & (
        np.abs(angle - np.arctan2(back[0] - 0.604, back[1] + 0.25)) < 0.085
    )
    echo *= 1 - 0.75 * blur(shadow.astype(np.float32), 0.02)
    _lay(echo, blur(spine, 0.006), 1.0)
    echo += 0.35 * np.exp(-(((depth - 0.33) / 0.02) ** 2)) + 0.12 * np.exp(-(((depth - 0.4) / 0.01) ** 2))
    speckle = np.abs(rng.standard_normal(size, np.float32) + 1j * rng.standard_normal(size, np.float32))
    grain = 0.35 + 0.55 * np.maximum(blur(np.asarray(speckle, np.float32), 0.004), 0)
    frame = echo * grain * (1.15 - 0.35 * depth) * fan
    layers = (liver, kidney, bladder, vessels, spine)
    return finish_grey(rng, frame, noise=0.01), label(size, *(layer * fan for layer in layers))
