"""People in the street: many parts of fixed order, any colour and pattern."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qttseg.metadata.procedural.drawing import (
    Drawing,
    Picture,
    Plane,
    Points,
    Size,
    blur,
    box,
    clouds,
    fill,
    finish,
    grained,
    grid,
    ground,
    label,
    lines,
    moved,
    outline,
    paint,
    rounded,
    shade,
    tint,
)

HAIR_COLOURS = ((0.12, 0.08, 0.06), (0.35, 0.2, 0.1), (0.7, 0.55, 0.3))
HOUSE_COLOURS = ((0.62, 0.42, 0.34), (0.7, 0.66, 0.58), (0.5, 0.5, 0.52), (0.78, 0.74, 0.7))


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where a standing person's parts are; arms and legs are lines of three points, the left one first."""

    middle: float
    hips: float
    waist: float
    head: Points
    arms: tuple[Points, ...]
    legs: tuple[Points, ...]


def human_parsing(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Draw a standing person: hair, skin, upper clothes, trousers or skirt, shoes, at times a bag."""
    del look  # each image is a person of its own
    size = (240, 160)
    picture, pose = _street(rng, size), _pose(rng)
    hair, fringe, face = _head(rng, size, pose.head)
    neck = (np.stack([moved(pose.head, 0, 0.04), moved(pose.head, 0, 0.09)]), 0.045)
    skin = lines(size, [neck, *((arm, 0.032) for arm in pose.arms), *((leg, 0.045) for leg in pose.legs)])
    top = _top(rng, size, pose)
    nothing: Plane = np.zeros(size)
    in_skirt, with_bag = rng.random() < 0.45, rng.random() < 0.5
    skirt = _skirt(rng, size, pose) if in_skirt else nothing
    trousers = nothing if in_skirt else _trousers(rng, size, pose)
    shoes, bag = _shoes(rng, size, pose), _bag(rng, size, pose) if with_bag else nothing

    complexion = tint(rng, (0.8, 0.6, 0.48), 0.03) * rng.uniform(0.5, 1.1)
    hair_colour = tint(rng, HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))], 0.1)
    paint(picture, blur(shoes, 0.03), (0.1, 0.1, 0.1), opacity=0.6)
    paint(picture, hair, hair_colour)
    paint(picture, skin, complexion)
    for garment in (np.maximum(skirt, trousers), top):
        paint(picture, garment, _cloth(rng, size))
    body = np.maximum.reduce([skin, skirt, trousers, top])
    shade(picture, 1 - 0.35 * body * (blur(body, 0.03) < 0.75) + 0.08 * clouds(rng, size, 12) * body)
    paint(picture, face, complexion * 1.05)
    paint(picture, fringe, hair_colour)
    for thing in (shoes, bag):
        paint(picture, thing, _cloth(rng, size))

    mask = label(size, hair, skin, top, trousers, skirt, shoes, bag)
    for covering, index in ((top, 3), (face, 2), (fringe, 1), (shoes, 6), (bag, 7)):  # as they were painted
        mask[covering > 0.5] = index
    return finish(rng, picture, noise=0.02), mask


def _pose(rng: np.random.Generator) -> Pose:
    middle, hips, waist = 0.333 + rng.normal(0, 0.03), rng.uniform(0.07, 0.095), rng.uniform(0.46, 0.5)
    step = rng.uniform(0.015, 0.07)
    arms, legs = [], []
    for sign in (-1, 1):
        foot = sign * (0.03 + step), 0.93 + rng.uniform(-0.01, 0.02)
        legs.append(moved(np.array([(sign * hips * 0.5, waist), (sign * (0.035 + step * 0.5), 0.7), foot]), middle, 0))
        elbow = sign * (hips + rng.uniform(0.04, 0.08)), 0.37
        hand = elbow[0] + rng.uniform(-0.05, 0.05), 0.5
        arms.append(moved(np.array([(sign * hips * 0.9, 0.235), elbow, hand]), middle, 0))
    head = np.array((middle + rng.normal(0, 0.02), 0.135))
    return Pose(middle=middle, hips=hips, waist=waist, head=head, arms=tuple(arms), legs=tuple(legs))


def _head(rng: np.random.Generator, size: Size, head: Points) -> tuple[Plane, Plane, Plane]:
    """Return the coverage of the hair behind the face, of the fringe before it and of the face."""
    end = 0.03 + rng.uniform(0, 0.14)
    locks = np.array([(-0.05, -0.02), (0.05, -0.02), (0.055, end), (-0.055, end)]) + head
    hair = fill(size, outline(rng, moved(head, 0, -0.012), (0.052, 0.06), rough=0.05), rounded(locks))
    fringe = fill(size, outline(rng, moved(head, 0, -0.035), (0.045, 0.024), rough=0.08))
    return hair, fringe, fill(size, outline(rng, moved(head, 0, 0.014), (0.037, 0.05), rough=0.02))


def _top(rng: np.random.Generator, size: Size, pose: Pose) -> Plane:
    """Return the coverage of upper clothes with short or long sleeves."""
    side = [(0.55, 0.2), (1.15, 0.24), (0.85, 0.36), (1, pose.waist + 0.04)]
    right = moved(np.array(side) * (pose.hips, 1), pose.middle, 0)
    left = moved(np.array(side[::-1]) * (-pose.hips, 1), pose.middle, 0)
    reach = max(0.0, rng.uniform(-0.6, 1))
    sleeves = [(np.stack([arm[0], arm[1], arm[1] + (arm[2] - arm[1]) * reach]), 0.05) for arm in pose.arms]
    return np.maximum(fill(size, rounded(np.concatenate([right, left]), rounds=2)), lines(size, sleeves))


def _trousers(rng: np.random.Generator, size: Size, pose: Pose) -> Plane:
    hips = box(pose.middle - pose.hips, pose.waist, pose.middle + pose.hips, pose.waist + 0.09)
    width = rng.uniform(0.055, 0.08)
    return np.maximum(fill(size, hips), lines(size, [(leg, width) for leg in pose.legs]))


def _skirt(rng: np.random.Generator, size: Size, pose: Pose) -> Plane:
    hem, flare, waist = rng.uniform(0.6, 0.75), pose.hips * rng.uniform(1, 1.7), pose.hips * 0.9
    corners = np.array([(-waist, pose.waist), (waist, pose.waist), (flare, hem), (-flare, hem)])
    return fill(size, moved(corners, pose.middle, 0))


def _shoes(rng: np.random.Generator, size: Size, pose: Pose) -> Plane:
    return fill(size, *(outline(rng, moved(leg[-1], 0, 0.012), (0.036, 0.02), rough=0.05) for leg in pose.legs))


def _bag(rng: np.random.Generator, size: Size, pose: Pose) -> Plane:
    hand = pose.arms[int(rng.integers(2))][-1]
    pouch = rounded(np.array([(-0.045, 0.03), (0.045, 0.03), (0.055, 0.12), (-0.055, 0.12)]) + hand, rounds=1)
    strap = np.array([(-0.03, 0.03), (0, 0), (0.03, 0.03)]) + hand
    return np.maximum(fill(size, pouch), lines(size, [(strap, 0.009)]))


def _cloth(rng: np.random.Generator, size: Size) -> Picture:
    """Return a fabric: plain, striped or checked, in any colour."""
    y, x = grid(size)
    cloth = ground(size, rng.uniform(0.05, 0.95, 3) * rng.uniform(0.5, 1))
    kind = rng.random()
    if kind < 0.45:
        bars = np.sin(y[:, :1] * rng.uniform(90, 220)) > 0.2
        if kind < 0.15:
            bars = bars ^ (np.sin(x[:1] * rng.uniform(90, 220)) > 0.2)
        paint(cloth, bars, rng.uniform(0.1, 0.9, 3), opacity=rng.uniform(0.3, 0.9))
    shade(cloth, 1 + 0.15 * clouds(rng, size, 10, stretch=2))
    return cloth


def _street(rng: np.random.Generator, size: Size) -> Picture:
    """Return house fronts with windows above a pavement, out of focus."""
    y, x = grid(size)
    horizon = rng.uniform(0.55, 0.75)
    picture = ground(size, tint(rng, (0.62, 0.66, 0.7), 0.08))
    for left in np.arange(-0.1, 0.7, rng.uniform(0.2, 0.35)):
        front = fill(size, box(left, rng.uniform(-0.2, 0.2), left + 0.3, horizon))
        paint(picture, front, tint(rng, HOUSE_COLOURS[rng.integers(len(HOUSE_COLOURS))], 0.1))
    panes = (np.sin(x[:1] * rng.uniform(35, 60)) > 0.3) & (np.sin(y[:, :1] * rng.uniform(25, 45)) > 0.2)
    glass = blur((panes & (y < horizon - 0.1)).astype(np.float32), 0.008)
    paint(picture, glass, tint(rng, (0.25, 0.28, 0.33), 0.05), opacity=rng.uniform(0.2, 0.8))
    paving = (y > horizon).astype(np.float32)
    paint(picture, paving, grained(tint(rng, (0.5, 0.48, 0.46), 0.06), 0.05 * clouds(rng, size, 20, octaves=2)))
    joints = np.sin(np.log(np.maximum(y[:, :1] - horizon, 0) + 0.05) * 16) > 0.93
    paint(picture, paving * joints, (0.35, 0.34, 0.33), opacity=0.5)
    return picture
