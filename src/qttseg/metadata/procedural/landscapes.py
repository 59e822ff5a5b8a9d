"""Land from above and from the driver's seat: told apart by texture and place as much as by colour."""

from __future__ import annotations

import numpy as np

from qttseg.metadata.procedural.drawing import (
    Drawing,
    Picture,
    Plane,
    Points,
    Size,
    Vector,
    blur,
    clouds,
    dots,
    fill,
    finish,
    grained,
    grid,
    label,
    outline,
    paint,
    rounded,
    tint,
    wander,
)


def golf(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Draw a golf hole from the air: fairway, green, tee, bunker, water. Groups: courses."""
    size = (176, 256)
    y, x = grid(size)
    season, heath = tint(look, (0.3, 0.42, 0.2), 0.06), tint(look, (0.48, 0.46, 0.28), 0.03)
    sand_tone, water_tone = tint(look, (0.87, 0.8, 0.66), 0.03), tint(look, (0.16, 0.25, 0.3), 0.04)
    turn = rng.uniform(0, 2 * np.pi)
    fairway, green, tee, sand, pond = layers = _hole(rng, size, turn)

    picture = grained(season, 0.07 * clouds(rng, size, 16))
    paint(picture, np.clip(clouds(rng, size, 3), 0, 1), heath, opacity=0.6)
    stripes = 0.035 * np.sign(np.sin((x * np.cos(turn + 0.8) + y * np.sin(turn + 0.8)) * 75))
    paint(picture, fairway, grained(season * (1.15, 1.3, 1.1), stripes + 0.02 * clouds(rng, size, 9)))
    paint(picture, blur(green, 0.015), season * 1.25)
    paint(picture, green, season * (1.35, 1.55, 1.45))
    paint(picture, tee, season * (1.25, 1.45, 1.2))
    paint(picture, sand, grained(sand_tone, 0.03 * clouds(rng, size, 25, octaves=1)))
    paint(picture, pond, grained(water_tone, 0.03 * clouds(rng, size, 4)))
    _trees(rng, picture, season, open_land=blur(np.maximum.reduce(layers), 0.05))
    return finish(rng, picture, noise=0.02), label(size, *layers)


def _hole(rng: np.random.Generator, size: Size, turn: float) -> tuple[Plane, ...]:
    """Return the coverage of fairway, green, tee, bunkers and water along one line of play."""
    line = wander(rng, (0, 0), turn, rng.uniform(0.75, 1), bend=0.8)
    line = line + rng.normal((0.73, 0.5), 0.07) - (line.min(axis=0) + line.max(axis=0)) / 2
    along = np.gradient(line, axis=0)
    along /= np.hypot(along[:, :1], along[:, 1:])
    across = along[:, ::-1] * (-1, 1)

    half = rng.uniform(0.045, 0.1) * (1 + 0.3 * np.sin(np.linspace(0, rng.uniform(3, 9), len(line))))[:, None]
    fairway = fill(size, rounded(np.concatenate([(line + half * across)[3:], (line - half * across)[:2:-1]])))
    flag = line[-1] + 0.05 * along[-1]
    green = fill(size, outline(rng, flag, rng.uniform(0.05, 0.09, 2), rough=0.1, turn=rng.uniform(0, 3)))
    tees = []
    for number in range(rng.integers(1, 4)):
        spot = line[0] - 0.075 * number * along[0] + rng.normal(0, 0.03) * across[0]
        corners = np.array([(-0.032, -0.018), (0.032, -0.018), (0.032, 0.018), (-0.032, 0.018)])
        tees.append(corners @ np.stack([along[0], across[0]]) + spot)
    angles, beside = rng.uniform(0, 2 * np.pi, 2), rng.integers(5, 10, 2)
    pits = np.concatenate([
        flag + 0.12 * np.stack([np.cos(angles), np.sin(angles)], axis=1),
        line[beside] + 0.1 * across[beside] * rng.choice([-1, 1]),
    ])  # fmt: skip
    bunkers = [outline(rng, pit, rng.uniform(0.015, 0.042, 2), rough=0.2, turn=rng.uniform(0, 3)) for pit in pits]
    water: list[Points] = []
    if rng.random() < 0.6:
        shore = line[7] + 0.28 * across[7] * rng.choice([-1, 1])
        water.append(outline(rng, shore, rng.uniform(0.07, 0.19, 2), rough=0.15))
    return fairway, green, fill(size, *tees), fill(size, *bunkers), fill(size, *water)


def _trees(rng: np.random.Generator, picture: Picture, season: Vector, *, open_land: Plane) -> None:
    """Add crowns with their shadows, in groves, where the land is not open."""
    size = height, width = picture.shape[0], picture.shape[1]
    groves = rng.uniform((0, 0), (width / height, 1), (9, 2))
    centres = groves[rng.integers(0, 9, 90)] + rng.normal(0, 0.09, (90, 2))
    columns, rows = np.clip((centres * height).astype(int), 0, (width - 1, height - 1)).T
    kept = open_land[rows, columns] < 0.08
    radii = rng.uniform(0.012, 0.03, 90)[kept]
    paint(picture, dots(size, centres[kept] + 0.018, radii), (0.07, 0.1, 0.06), opacity=0.6)
    crowns = grained(np.asarray(season) * 0.62, 0.05 * clouds(rng, size, 40, octaves=1))
    paint(picture, dots(size, centres[kept], radii), crowns)


def terrain(look: np.random.Generator, rng: np.random.Generator) -> Drawing:
    """Draw a track through open country: sky, grass, track, rocks, roughly labelled. Groups: drives in one season."""
    size = (160, 248)
    y, x = grid(size)
    dry, light, width = look.random(), look.uniform(0.7, 1.1), look.uniform(0.25, 0.5)
    earth = np.array((0.46, 0.36, 0.25)) * look.uniform(0.8, 1.2)
    meadow = np.array((0.3, 0.4, 0.17)) * (1 - dry) + np.array((0.56, 0.48, 0.28)) * dry
    horizon, sway = look.uniform(0.32, 0.45) + rng.normal(0, 0.02), look.normal(0, 0.25) + rng.normal(0, 0.2)
    air = tint(look, (0.66, 0.75, 0.86), 0.05)

    depth = np.clip((y - horizon) / (1 - horizon), 0.004, 1)
    ridge = horizon + 0.035 * clouds(rng, (2, size[1]), 1)[:1] + 0.02 * np.sin(x[:1] * rng.uniform(2, 7))
    sky = (y < ridge - 0.06 * (1 + clouds(rng, (2, size[1]), 9)[:1])).astype(np.float32)
    land = (y > ridge + 0.01).astype(np.float32)
    centre = 0.775 + rng.normal(0, 0.12) * depth + sway * (1 - depth) ** 2
    half = 0.02 + width * depth
    track = (np.abs(x - centre) < half * (1 + 0.25 * clouds(rng, size, 7, octaves=2))) * land

    tufts = clouds(rng, size, 45, octaves=1, stretch=1.5) * (0.3 + depth) + 0.5 * clouds(rng, size, 9)
    picture = grained(meadow, 0.13 * tufts)
    ruts = np.exp(-(((np.abs(x - centre) - half * 0.5) / (0.12 * half + 0.004)) ** 2))
    paint(picture, blur(track, 0.008), grained(earth, 0.05 * clouds(rng, size, 30, stretch=0.3) - 0.07 * ruts))
    paint(picture, np.clip(1 - depth * 4, 0, 1), (0.62, 0.66, 0.7), opacity=0.5)
    rocks = _rocks(rng, picture, horizon)
    woods = grained(meadow * 0.6, 0.08 * clouds(rng, size, 30, octaves=1))
    paint(picture, 1 - land, woods)
    paint(picture, sky, grained(air, 0.12 * clouds(rng, size, 3, stretch=0.5) + 0.2 * y))
    picture *= np.float32(light)
    by_hand = blur(track, 0.03) * land
    return finish(rng, picture, noise=0.025), label(size, sky, land, by_hand, rocks * land)


def _rocks(rng: np.random.Generator, picture: Picture, horizon: float) -> Plane:
    """Add stones beside the track, bigger where nearer, and return their coverage."""
    size = picture.shape[0], picture.shape[1]
    nearness = np.sort(rng.uniform(0.05, 1, rng.integers(5, 16)))
    beside = 0.775 + rng.choice([-1, 1], len(nearness)) * (0.1 + 0.4 * nearness + rng.exponential(0.2, len(nearness)))
    places = np.stack([beside, horizon + (1 - horizon) * nearness], axis=1)
    stones = [
        outline(rng, place, (0.09 * near, 0.06 * near), rough=0.16, corners=20)
        for place, near in zip(places, nearness, strict=True)
    ]
    rocks = fill(size, *stones)
    grey = np.full(size, 0.42) + 0.12 * clouds(rng, size, 14)
    paint(picture, rocks, grained((0.02, 0, -0.02), grey))
    paint(picture, fill(size, *(stone - 0.012 for stone in stones)) * rocks, (0.7, 0.69, 0.66), opacity=0.4)
    return rocks
