"""Where people stand: the subject anywhere in the picture, others around it, nobody in anybody."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meshreg.data.synthetic.cameras import PictureCamera, project
from meshreg.data.synthetic.outline import (
    HEAD_SHOULDERS,
    LEGS,
    TO_KNEES,
    UPPER_BODY,
    PosedOutline,
)
from meshreg.data.synthetic.settings import SceneSettings

REFERENCE_HEIGHT = 1.7  # metres; what "apparent height" is the height of
OUTER = 0.1  # metres that clothes and skin reach beyond the outline's points
SUBJECT_TRIES, NEIGHBOUR_TRIES = 8, 12
VISIBLE_SHARE = 0.55  # of what the picture is aimed at must lie inside it
EVERYTHING = range(24)
SMALLEST_BOX = 16.0  # pixels
BENT_AWAY = 0.25  # metres that the head lies behind the pelvis, seen from the camera


@dataclass(frozen=True, eq=False)
class Standing:
    """A posed person put somewhere in front of the camera."""

    outline: PosedOutline
    pelvis_cam: np.ndarray  # (3,), metres
    focus: Sequence[int] = EVERYTHING  # joints of the part that the picture is aimed at

    @property
    def points_cam(self) -> np.ndarray:  # (P, 3)
        return self.outline.points + self.pelvis_cam

    @property
    def transl(self) -> np.ndarray:  # (3,)
        """What moves an SMPL body, whose root turns about its pelvis, to this place."""
        return self.pelvis_cam - self.outline.rest_pelvis

    def radius(self, up_cam: np.ndarray) -> float:
        """Of the upright cylinder around the pelvis that holds the person with its clothes."""
        points = self.outline.points
        flat = points - (points @ up_cam)[:, None] * up_cam
        return float(np.sqrt((flat**2).sum(1)).max()) + OUTER


def place_subject(
    rng: np.random.Generator,
    outline: PosedOutline,
    camera: PictureCamera,
    settings: SceneSettings,
) -> Standing:
    """Draw an apparent size, then a place in the picture at which enough of the person shows."""
    low, high = np.log(settings.apparent_height)
    apparent = float(np.exp(rng.uniform(low, high)))
    focus = _focus(rng, outline, apparent, settings)
    depth = camera.focal * REFERENCE_HEIGHT / (apparent * camera.size[0])
    aimed = outline.of(focus)
    middle = (aimed.min(0) + aimed.max(0)) / 2
    depth = max(depth, settings.nearest_m + float((middle[2] - outline.points[:, 2]).max()))
    half_px = camera.focal * (aimed.max(0) - aimed.min(0))[:2] / 2 / depth
    standing = None
    for attempt in range(SUBJECT_TRIES):
        central = attempt == SUBJECT_TRIES - 1
        pixel = _aim(rng, half_px, camera, settings, central=central)
        ray = np.array([*((pixel - camera.K[:2, 2]) / camera.focal), 1.0])
        standing = Standing(outline, ray * depth - middle, focus)
        inside = _inside(project(aimed + standing.pelvis_cam, camera.K), camera.size)
        if inside.mean() >= VISIBLE_SHARE:
            break
    assert standing is not None
    return standing


def _focus(
    rng: np.random.Generator, outline: PosedOutline, apparent: float, settings: SceneSettings
) -> Sequence[int]:
    """The part of the body that the picture is aimed at."""
    legs, tight = rng.random(2)
    if apparent < settings.close_up_from:
        return EVERYTHING
    if legs < settings.legs_share:
        return LEGS
    return _head(outline) if tight < apparent - settings.close_up_from else UPPER_BODY


def _head(outline: PosedOutline) -> Sequence[int]:
    """Head and shoulders, or more if the head is bent away behind the body."""
    hidden = outline.of(HEAD_SHOULDERS)[:, 2].mean() > BENT_AWAY
    return UPPER_BODY if hidden else HEAD_SHOULDERS


def _aim(
    rng: np.random.Generator,
    half_px: np.ndarray,
    camera: PictureCamera,
    settings: SceneSettings,
    *,
    central: bool,
) -> np.ndarray:  # (2,)
    """The pixel at which the middle of the aimed part appears; part of it may be cut off."""
    size = np.array(camera.size[::-1], np.float64)
    middle = (size - 1) / 2
    spread = rng.uniform(-1, 1, 2)
    # The sum of two draws prefers the middle; two thirds of the half extent keep most inside.
    near = (spread + rng.uniform(-1, 1, 2)) * size * 0.12
    reach = np.maximum(size / 2 - half_px * 2 / 3, 0)
    chosen = near if rng.random() < settings.central_share else spread * reach
    return middle if central else middle + chosen


def _inside(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:  # (N,) bool
    low_enough = pixels < np.array(size[::-1]) - 0.5
    return np.all(low_enough & (pixels > -0.5), axis=1)


def sample_box(
    rng: np.random.Generator, subject: Standing, camera: PictureCamera, settings: SceneSettings
) -> np.ndarray:  # (3,): centre x, centre y, side
    """A square around what the picture shows of the subject, as loose as a detector's."""
    truncated, kind = rng.random(2)
    joints: Sequence[int] = EVERYTHING
    if truncated < settings.truncated_share:
        joints = (_head(subject.outline), UPPER_BODY, TO_KNEES)[int(kind * 3)]
    scale, shift = rng.uniform(*settings.box_scale), rng.uniform(-1, 1, 2) * settings.box_shift
    low, high = _shown_extent(subject, joints, camera)
    side = max(float((high - low).max()) * scale, SMALLEST_BOX)
    centre = (low + high) / 2 + shift * side
    if rng.random() < settings.inside_share:
        centre, side = _kept_inside(centre, side, camera.size, settings.most_shrunk)
    return np.round([*centre, side], 6)


def _kept_inside(
    centre: np.ndarray, side: float, size: tuple[int, int], most_shrunk: float
) -> tuple[np.ndarray, float]:
    """Shrink and move a box so that as little as possible reaches over the picture's border."""
    side = float(max(min(side, *size), side * most_shrunk))
    reach = np.array(size[::-1]) - 0.5 - side / 2
    least = np.full(2, side / 2 - 0.5)
    middle = (reach + least) / 2
    return centre.clip(np.minimum(least, middle), np.maximum(reach, middle)), side


def _shown_extent(
    subject: Standing, joints: Sequence[int], camera: PictureCamera
) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the box around these joints' points, cut off at the picture's borders."""
    size = np.array(camera.size[::-1])
    for part in (joints, subject.focus):
        pixels = project(subject.outline.of(part) + subject.pelvis_cam, camera.K)
        if _inside(pixels, camera.size).mean() > 0.3:
            break
    low, high = pixels.min(0).clip(-0.5, size - 0.5), pixels.max(0).clip(-0.5, size - 0.5)
    return low, high


def place_neighbour(
    rng: np.random.Generator,
    outline: PosedOutline,
    placed: Sequence[Standing],
    camera: PictureCamera,
    box: np.ndarray,
    settings: SceneSettings,
) -> Standing | None:
    """Someone beside, behind or in front of the subject, on the same floor; None if none fits."""
    subject, up = placed[0], camera.R_cam_world[:, 1]
    floor = float((subject.outline.points @ up).min() - (outline.points @ up).min())
    candidate = Standing(outline, np.zeros(3))
    radius = candidate.radius(up)
    for _ in range(NEIGHBOUR_TRIES):
        angle, gap = rng.uniform(0, 2 * np.pi), rng.random() ** 2 * settings.widest_gap_m
        distance = radius + subject.radius(up) + gap
        offset = np.array([np.sin(angle) * distance, floor, np.cos(angle) * distance])
        pelvis_cam = subject.pelvis_cam + camera.R_cam_world @ offset
        candidate = Standing(outline, pelvis_cam)
        if _fits(candidate, placed, camera, box, settings):
            return candidate
    return None


def _fits(
    candidate: Standing,
    placed: Sequence[Standing],
    camera: PictureCamera,
    box: np.ndarray,
    settings: SceneSettings,
) -> bool:
    """In front of the camera, in nobody, seen in the box, and not hiding the subject."""
    if candidate.points_cam[:, 2].min() < settings.nearest_m:
        return False
    if any(_collide(candidate, other, camera.R_cam_world[:, 1]) for other in placed):
        return False
    pixels = project(candidate.points_cam, camera.K)
    if (np.abs(pixels - box[:2]) < box[2] / 2).all(1).mean() < 0.1:
        return False
    subject = placed[0]
    if candidate.pelvis_cam[2] > subject.pelvis_cam[2]:
        return True
    shown = project(subject.outline.of(subject.focus) + subject.pelvis_cam, camera.K)
    behind = ((shown > pixels.min(0)) & (shown < pixels.max(0))).all(1)
    return float(behind.mean()) <= settings.hidden_limit


def _collide(one: Standing, other: Standing, up_cam: np.ndarray) -> bool:
    """Whether the upright cylinders around two people meet."""
    apart = one.pelvis_cam - other.pelvis_cam
    flat = apart - (apart @ up_cam) * up_cam
    return bool(np.sqrt((flat**2).sum()) < one.radius(up_cam) + other.radius(up_cam))
