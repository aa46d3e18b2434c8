"""A skeleton as a stick figure over a ground grid, seen from a three-quarter view.

Points are in a camera's axes, y down, so that the figure stands if the camera was held level.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from meshreg.errors import InputError
from meshreg.render.annotate import PAPER, Color, draw_keypoints

LEFT: Color = (38, 110, 230)  # the person's left
RIGHT: Color = (235, 100, 25)
MIDDLE: Color = (70, 70, 80)
GRID: Color = (205, 207, 212)
GRID_STEP = 0.5  # metres
MARGIN = 0.08  # share of the picture left free on each side
GROUND_PERCENTILE = 98  # of the lowest joints: a single bad frame must not sink the ground
_ANKLE_TO_GROUND = 0.08  # metres that ankles are above the floor
_SHARPNESS = 2  # grid lines are drawn this many times larger, then averaged


def draw_stick_figures(
    joints_cam: Float[np.ndarray, "T J 3"],
    bones: Sequence[tuple[int, int]],
    colors: Sequence[Color],
    size: tuple[int, int] = (420, 420),
    *,
    azimuth_deg: float = 35.0,
    elevation_deg: float = 14.0,
) -> list[np.ndarray]:
    """One (H, W) RGB picture per frame, all in one view that holds the whole motion.

    The viewer walks `azimuth_deg` around the person from the camera's side, towards the picture's
    right, and climbs by `elevation_deg`. Lines are parallel in the view: sizes can be compared.

    Args:
        joints_cam: metres; x right, y down, z away from the camera.
        bones: pairs of joint indices; a bone has the colour of its first joint.
        colors: one per joint.
        size: height and width of the pictures.
        azimuth_deg: 0 is the camera's own side, 90 the right one.
        elevation_deg: 90 is from above.

    Raises:
        InputError: if there are no frames, or a joint is not finite.
    """
    if not len(joints_cam) or not np.isfinite(joints_cam).all():
        raise InputError("expected frames of finite joints, found none or NaN: lift them again.")
    R_view_cam = _view(azimuth_deg, elevation_deg)
    ground = float(np.percentile(joints_cam[..., 1].max(1), GROUND_PERCENTILE)) + _ANKLE_TO_GROUND
    lines = _grid(joints_cam, ground)
    seen = joints_cam @ R_view_cam.T
    scale, shift = _frame(
        np.concatenate([seen.reshape(-1, 3), _corners(lines) @ R_view_cam.T]), size
    )
    paper = _paper(lines @ R_view_cam.T, scale, shift, size)
    radius = max(1.5, 0.011 * min(size))
    return [_figure(paper, frame, scale, shift, bones, colors, radius) for frame in seen]


def side_colors(names: Sequence[str]) -> list[Color]:
    """Blue for joints of the person's left, orange for the right, grey for the middle."""
    sides = {"left": LEFT, "right": RIGHT}
    return [sides.get(name.partition("_")[0], MIDDLE) for name in names]


def _view(azimuth_deg: float, elevation_deg: float) -> np.ndarray:  # (3, 3)
    """Axes of a viewer: right, down, away; see `draw_stick_figures`."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    right = np.array([math.cos(azimuth), 0.0, math.sin(azimuth)])
    away = np.array(
        [
            -math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
            math.cos(azimuth) * math.cos(elevation),
        ]
    )
    return np.stack([right, np.cross(away, right), away])


def _grid(joints_cam: np.ndarray, ground: float) -> np.ndarray:  # (lines, 2, 3)
    """Lines on the floor, on whole steps, a step beyond everything that happens."""
    low = np.floor(joints_cam[..., [0, 2]].min((0, 1)) / GRID_STEP) * GRID_STEP - GRID_STEP / 2
    high = np.ceil(joints_cam[..., [0, 2]].max((0, 1)) / GRID_STEP) * GRID_STEP + GRID_STEP / 2
    lines = []
    for axis in (0, 1):
        first = np.ceil(low[axis] / GRID_STEP) * GRID_STEP
        for value in np.arange(first, high[axis] + 1e-6, GRID_STEP):
            ends = np.full((2, 3), ground)
            ends[:, 2 * axis] = value
            ends[:, 2 - 2 * axis] = low[1 - axis], high[1 - axis]
            lines.append(ends)
    return np.stack(lines)


def _corners(lines: np.ndarray) -> np.ndarray:
    return lines.reshape(-1, 3)


def _frame(points: np.ndarray, size: tuple[int, int]) -> tuple[float, np.ndarray]:
    """Pixels per metre, and where the origin goes, so that the picture holds all points."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    room = np.array([size[1], size[0]]) * (1 - 2 * MARGIN)
    scale = float((room / np.maximum(high - low, 1e-3)).min())
    middle = np.array([size[1] - 1, size[0] - 1]) / 2
    return scale, middle - scale * (low + high) / 2


def _paper(lines: np.ndarray, scale: float, shift: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The empty ground."""
    fine = Image.new("RGB", (size[1] * _SHARPNESS, size[0] * _SHARPNESS), (PAPER,) * 3)
    pen = ImageDraw.Draw(fine)
    for ends in (lines[..., :2] * scale + shift + 0.5) * _SHARPNESS - 0.5:
        pen.line([tuple(end) for end in ends.tolist()], fill=GRID, width=_SHARPNESS)
    return np.asarray(fine.resize((size[1], size[0]), Image.Resampling.BOX)).copy()


def _figure(  # noqa: PLR0913
    paper: np.ndarray,
    joints: np.ndarray,
    scale: float,
    shift: np.ndarray,
    bones: Sequence[tuple[int, int]],
    colors: Sequence[Color],
    radius: float,
) -> np.ndarray:
    """One frame, far bones first."""
    pixels = joints[:, :2] * scale + shift
    order = sorted(bones, key=lambda bone: -joints[list(bone), 2].mean())
    return draw_keypoints(
        paper,
        pixels,
        np.ones(len(joints)),
        [(parent, child) for child, parent in order],
        color=colors,
        radius=radius,
    )
