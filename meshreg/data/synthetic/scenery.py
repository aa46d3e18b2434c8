"""Places to stand in: rooms, streets and parks made of planes and boxes, as plain numbers."""

import math
from dataclasses import dataclass

import numpy as np

from meshreg.data.synthetic.palettes import (
    EARTH,
    LEATHER,
    NEUTRAL,
    PASTEL,
    SATURATED,
    Rgb,
    pick,
    table,
)

KINDS = ("room", "street", "park", "abstract")
TEXTURES = (
    "plain",
    "planks",
    "tiles",
    "bricks",
    "windows",
    "stripes",
    "grass",
    "asphalt",
    "foliage",
    "shelf",
    "picture",
    "glow",
)
MAX_BOXES = 14
GROUND, WALLS, SKYLINE, FIRST_BOX = 0, 1, 2, 3  # rows of a scene's materials
_WALL = table("f0ede6 e8e2d4 d9d4cb c9d0d3 b8c4bd d8c7b0 9fb0b8 8a8f94 c48f77 7d8a7a 5b6670")
_FLOOR = table("8a6444 a98259 5d422e 9a948a 777470 b8ad9d 4b4a49")
_GREEN = table("4a5f2c 5f763a 3a4f2a 74813f 868a52 324526 8f9a5c")
_GLASS = table("2b3138 3d4a57 5a6a78 8fa3b3 1c2024")
_DAYLIGHT = table("e8eef5 d5e2ee f4ecd8 c9d8e2")
_GREY = table("5a5a5a 6b6863 7d7a74 4a4b4e 8a8377")
_FACADE = table("9c7a64 b5a48d 8b8d90 7a4a3a c9bfae 64686e a89c8a")


@dataclass(frozen=True)
class Material:
    """What covers a surface."""

    texture: int  # index into TEXTURES
    color: Rgb
    other: Rgb  # joints, frames, the texture's second colour
    scale: float  # metres of a repeat
    seed: int


@dataclass(frozen=True)
class Box:
    """An upright box in the scene's frame: x right, y up from the ground, z away; metres."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    material: Material


@dataclass(frozen=True)
class Scene:
    """A place, with the camera above its origin; lengths are for a subject one metre away."""

    kind: int  # index into KINDS
    yaw: float  # turn of the whole place around the vertical, radians
    room: tuple[float, float, float, float, float]  # left, right, near, far, height of the walls
    ground: Material
    walls: Material
    skyline: Material
    skyline_height: float  # how high trees or hills stand above the horizon, as a slope
    sky: Rgb
    horizon: Rgb
    clouds: float  # 0 none .. 1 closed
    seed: int
    boxes: tuple[Box, ...]  # always MAX_BOXES; those not there have no extent


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low + (high - low) * rng.random())


def _material(
    rng: np.random.Generator,
    textures: str,
    colors: tuple[Rgb, ...],
    scale: tuple[float, float],
    others: tuple[Rgb, ...] = NEUTRAL,
) -> Material:
    names = textures.split()
    return Material(
        texture=TEXTURES.index(names[int(rng.integers(len(names)))]),
        color=pick(rng, colors),
        other=pick(rng, others),
        scale=_between(rng, *scale),
        seed=int(rng.integers(2**30)),
    )


def sample_scene(rng: np.random.Generator, *, outdoor: bool) -> Scene:
    """Draw a place; now and then it is no place at all but an abstract pattern."""
    if rng.random() < 0.1:
        kind = "abstract"
    elif outdoor:
        kind = "street" if rng.random() < 0.6 else "park"
    else:
        kind = "room"
    boxes = {"room": _furniture, "street": _houses, "park": _bushes, "abstract": _nothing}[kind](
        rng
    )
    walls = _material(rng, "plain plain plain stripes bricks tiles", _WALL, (0.15, 0.4), _WALL)
    floor = _material(rng, "planks planks tiles plain", _FLOOR, (0.12, 0.5), _GREY)
    if kind == "street":
        floor = _material(rng, "asphalt asphalt tiles bricks", _GREY, (0.2, 0.9), _GREY)
    elif kind == "park":
        floor = _material(rng, "grass grass asphalt", _GREEN, (0.2, 0.5), EARTH)
    skyline = _material(rng, "foliage foliage plain", _GREEN, (0.3, 1.2), _GREEN)
    if kind == "abstract":  # only the colours count
        skyline = _material(rng, "plain", SATURATED + EARTH, (1.0, 2.0))
        floor = _material(rng, "plain", SATURATED + PASTEL + NEUTRAL + EARTH, (1.0, 2.0))
    blue = _between(rng, 0.0, 1.0)
    sky_light = _between(rng, 0.5, 1.1)
    side = sorted(_between(rng, 0.35, 2.2) for _ in range(2))
    return Scene(
        kind=KINDS.index(kind),
        yaw=_between(rng, -0.6, 0.6),
        room=(-side[0], side[1], -1.5, _between(rng, 1.15, 2.4), _between(rng, 2.4, 3.4)),
        ground=floor,
        walls=walls,
        skyline=skyline,
        skyline_height=_between(rng, 0.02, 0.25) * (rng.random() < 0.75),
        sky=(sky_light * (0.75 - 0.5 * blue), sky_light * (0.82 - 0.25 * blue), sky_light),
        horizon=(sky_light * 1.05, sky_light * 1.05, sky_light * 1.05),
        clouds=_between(rng, 0.0, 1.0),
        seed=int(rng.integers(2**30)),
        boxes=tuple(boxes[:MAX_BOXES]) + (NO_BOX,) * (MAX_BOXES - len(boxes)),
    )


_NO_MATERIAL = Material(0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, 0)
NO_BOX = Box((0.0, -9e3, 0.0), (0.0, -9e3, 0.0), _NO_MATERIAL)


def _nothing(rng: np.random.Generator) -> list[Box]:
    return []


def _furniture(rng: np.random.Generator) -> list[Box]:
    """Cupboards, tables, shelves; pictures, windows and doors are flat boxes on the far wall.

    Boxes have z in units of the subject's distance, other lengths in metres.
    """
    boxes: list[Box] = []
    for _ in range(int(rng.integers(2, 6))):
        width, height, depth = _between(rng, 0.4, 1.8), _between(rng, 0.3, 2.0), 0.25
        x, z = _between(rng, -3.0, 3.0), _between(rng, 1.12, 1.9)
        look = _material(
            rng, "plain plain planks shelf", EARTH + LEATHER + NEUTRAL[2:], (0.2, 0.5), EARTH
        )
        if height < 0.9 and rng.random() < 0.5:  # a table: its top alone, and something on it
            boxes.append(Box((x, height - 0.05, z), (x + width, height, z + depth), look))
            small = _material(rng, "plain", SATURATED + NEUTRAL, (0.1, 0.2))
            boxes.append(
                Box(
                    (x + 0.1, height, z + 0.03),
                    (x + 0.3, height + _between(rng, 0.1, 0.4), z + 0.1),
                    small,
                )
            )
        else:
            boxes.append(Box((x, 0.0, z), (x + width, height, z + depth), look))
    for _ in range(int(rng.integers(1, 6))):
        x, y = _between(rng, -3.5, 3.0), _between(rng, 0.9, 1.7)
        width, height = _between(rng, 0.3, 1.6), _between(rng, 0.3, 1.3)
        look = _material(rng, "picture picture plain", SATURATED + PASTEL + NEUTRAL, (0.2, 0.8))
        window = _material(rng, "glow", _DAYLIGHT, (0.4, 0.8), NEUTRAL[6:])
        look = window if rng.random() < 0.35 else look
        boxes.append(Box((x, y, 90.0), (x + width, y + height, 91.0), look))
    if rng.random() < 0.4:
        x = _between(rng, -3.0, 2.0)
        door = _material(rng, "plain planks", EARTH + NEUTRAL[3:], (0.3, 0.9), EARTH)
        boxes.append(Box((x, 0.0, 90.0), (x + 0.95, 2.05, 91.0), door))
    return boxes


def _houses(rng: np.random.Generator) -> list[Box]:
    boxes: list[Box] = []
    x = _between(rng, -30.0, -14.0)
    depth = _between(rng, 1.6, 6.0)
    while x < 30 and len(boxes) < 6:
        width, height = _between(rng, 5.0, 14.0), _between(rng, 5.0, 22.0)
        look = _material(rng, "windows windows windows plain", _FACADE, (1.4, 3.2), _GLASS)
        bricks = _material(rng, "bricks", _FACADE, (0.22, 0.3), _GREY)
        look = bricks if rng.random() < 0.2 else look
        z = depth + _between(rng, 0.0, 0.5)
        boxes.append(Box((x, 0.0, z), (x + width, height, z + 2.0), look))
        x += width * _between(rng, 1.0, 1.5)
    for _ in range(int(rng.integers(1, 6))):  # poles, cars, bins, walls
        x, z = _between(rng, -8.0, 8.0), _between(rng, 1.15, depth)
        shape = int(rng.integers(3))
        width, height = (
            (0.12, 4.0),
            (_between(rng, 2.0, 4.0), 1.4),
            (_between(rng, 0.4, 2.0), 1.0),
        )[shape]
        colors = NEUTRAL[:6] if shape == 0 else SATURATED + NEUTRAL * 2
        look = _material(rng, "plain", colors, (0.5, 1.0))
        boxes.append(Box((x, 0.0 if shape != 1 else 0.25, z), (x + width, height, z + 0.1), look))
    return boxes


def _bushes(rng: np.random.Generator) -> list[Box]:
    boxes: list[Box] = []
    for _ in range(int(rng.integers(1, 5))):
        x, z = _between(rng, -9.0, 9.0), _between(rng, 1.3, 4.0)
        width, height = _between(rng, 0.8, 6.0), _between(rng, 0.5, 2.5)
        look = _material(rng, "foliage", _GREEN, (0.15, 0.5), _GREEN)
        boxes.append(Box((x, 0.0, z), (x + width, height, z + 0.3), look))
    for _ in range(int(rng.integers(0, 6))):
        x, z, radius = _between(rng, -7.0, 7.0), _between(rng, 1.2, 3.0), _between(rng, 0.1, 0.4)
        look = _material(rng, "planks", EARTH[:3] + LEATHER, (0.05, 0.1), LEATHER)
        boxes.append(Box((x, 0.0, z), (x + radius, 9.0, z + 0.05), look))
    if rng.random() < 0.4:
        look = _material(rng, "planks plain", EARTH + NEUTRAL, (0.1, 0.2), EARTH)
        boxes.append(Box((-20.0, 0.0, 2.5), (20.0, _between(rng, 0.8, 1.4), 2.55), look))
    return boxes


def room_far(scene: Scene, distance: float) -> float:
    """How far away the far wall stands for a subject at this distance, metres."""
    return scene.room[3] * max(distance, 1.0) + 0.3


def placed(scene: Scene, distance: float) -> list[tuple[float, ...]]:
    """Low and high corners of all boxes in metres, for a subject at this distance."""
    far = room_far(scene, distance)
    rows: list[tuple[float, ...]] = []
    for box in scene.boxes:
        (x0, y0, z0), (x1, y1, z1) = box.low, box.high
        if z0 >= 90:  # hangs on the far wall
            near, deep = far - 0.04, far
        else:
            near, deep = z0 * distance, z0 * distance + max(0.3, (z1 - z0) * max(distance, 1.0))
        if scene.kind == KINDS.index("room") and z0 < 90:
            near, deep = min(near, far - 0.5), min(deep, far)
        wide = 1.0 if scene.kind != KINDS.index("room") else max(1.0, math.sqrt(distance / 3))
        rows.append((x0 * wide, y0, near, x1 * wide, y1, deep))
    return rows
